"""Our scheduler with the same limit on any machine: what `vllm_on_cpu` compares ours with.

In: `--scheduler-cls benchmarks.servers.fixed_steps.Scheduler`. Out: batches. Runs within vLLM's engine.
"""

from assistant import vllm_scheduler


class Scheduler(vllm_scheduler.Scheduler):
    """Steps beside people take 0.1 s at most, even where one token takes as long: then a gate gets one token a step."""

    def _allowed_s(self, now: float) -> float:
        return self._limit_s(now)
