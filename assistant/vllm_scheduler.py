"""Which requests vLLM computes next, where some can wait: a gate's questions yield to people's, step by step.

In: `--scheduler-cls assistant.vllm_scheduler.Scheduler`, and requests with `X-Vllm-Priority` above 0 for what can wait.
Out: the batch of each step. Place in the flow: within vLLM's engine, beside `vllm_extension`; imported by nothing of
ours. Does not know who asks, nor what for.

vLLM's own priorities order the requests that wait; those that run are all in every batch. A new question then waits for
a step that reads 32 others (up to 2 s on two cores) and is read among their tokens: with a gate running, the first word
came after 1.8 s at the 95th percentile, and comes after 0.23 s. Here nothing that can wait is computed while somebody's
prompt is being read, and its share of any other step is as large as lets the step end in time
(`benchmarks/chat_while_training.py`).
"""

from __future__ import annotations

import time
from typing import Any

from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler as VllmScheduler
from vllm.v1.request import Request

# How long a step may take that has something in it which can wait: half of what the first token of a short question
# takes on two idle cores; and on a slower machine, or with a larger model, twice as long as a step with hardly
# anything in it. Where that alone takes 0.1 s, a gate would otherwise advance by one token a step.
_STEP_S = 0.1
_STEP_RATIO = 2.0
_HARDLY_ANYTHING = 4  # tokens at most
# The first of these where nobody has asked anything for a while. Longer steps read more tokens a second; the first
# question after a silence waits for one of them. Without a limit they take up to 2 s.
_QUIET_STEP_S = 0.5
_QUIET_AFTER_S = 60.0
# Steps in a row at most that nothing in it can wait: a gate goes on, slowly, where people ask without a pause.
_HELD_BACK = 16


class Room:
    """Tokens that one step has for what can wait: more after a short step, fewer after a long one.

    Additive increase, multiplicative decrease (Chiu and Jain 1989), so that it follows the machine and its load.
    """

    def __init__(self, most: int, tokens: int = 8):
        self.tokens, self._most = tokens, most

    def learn(self, used: int, seconds: float, allowed_s: float) -> None:
        """`used`: of this room, in a step of that length."""
        if seconds > allowed_s:
            self.tokens = max(1, self.tokens * 3 // 4)
        elif used >= self.tokens:
            self.tokens = min(self._most, self.tokens + 1 + self.tokens // 16)


class Least:
    """Seconds of a step with hardly anything in it: the mean of such steps, the last ten counting most."""

    def __init__(self) -> None:
        self.seconds = 0.0  # none yet

    def learn(self, tokens: int, seconds: float) -> None:
        """`tokens`: all in that step."""
        if 0 < tokens <= _HARDLY_ANYTHING:
            self.seconds += (seconds - self.seconds) * (0.1 if self.seconds else 1.0)


class Scheduler(VllmScheduler):
    """Synchronous, as on CPU; with asynchronous steps vLLM counts tokens that are not there yet."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._room = Room(self.max_num_scheduled_tokens)
        self._least = Least()
        self._asked_at = -_QUIET_AFTER_S
        self._held_back = 0  # steps in a row
        self._planned: tuple[float, int] | None = None  # when, and how many tokens that could have waited

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        now = time.monotonic()
        waiting = sum(not _can_wait(one) for one in self.waiting)
        asked = [one for one in self.running if not _can_wait(one)]
        if waiting or asked:
            self._asked_at = now
        most_tokens, most_requests = self.max_num_scheduled_tokens, self.max_num_active_reqs
        try:
            if waiting + len(asked) < sum(self.get_request_counts()):
                self.running.sort(key=_can_wait)
                if self._held_back < _HELD_BACK and self._reads(asked, waiting):
                    self._hold_back(waiting)
                else:
                    self._held_back = 0
                    peoples = sum(one.num_tokens_with_spec - one.num_computed_tokens for one in asked)
                    self.max_num_scheduled_tokens = min(most_tokens, peoples + self._room.tokens)
            planned = super().schedule(throttle_prefills)
        finally:
            self.max_num_scheduled_tokens, self.max_num_active_reqs = most_tokens, most_requests
        if planned.total_num_scheduled_tokens == 0:  # what is held back has the memory that a question needs
            self._held_back = _HELD_BACK
        patient = sum(n for id, n in planned.num_scheduled_tokens.items() if _can_wait(self.requests[id]))
        self._planned = (now, patient)
        return planned

    def _reads(self, asked: list[Request], waiting: int) -> bool:
        """Whether somebody's prompt is being read, or would be in this step."""
        return waiting > 0 or any(one.num_computed_tokens < one.num_prompt_tokens for one in asked)

    def _hold_back(self, waiting: int) -> None:
        """For this step: of those that run, none that can wait; of those that do not run yet, the `waiting` first."""
        self._held_back += 1
        after_this = self.current_step + 2  # vLLM counts this step when it begins to plan it
        for one in self.running:
            if _can_wait(one):
                one.next_decode_eligible_step = after_this
        self.max_num_active_reqs = min(self.max_num_active_reqs, len(self.running) + waiting)

    def update_from_output(self, scheduler_output: SchedulerOutput, *args: Any, **kwargs: Any) -> Any:
        if self._planned is not None:
            (begun, patient), self._planned = self._planned, None
            ended = time.monotonic()
            self._least.learn(scheduler_output.total_num_scheduled_tokens, ended - begun)
            if patient:
                self._room.learn(patient, ended - begun, self._allowed_s(ended))
        return super().update_from_output(scheduler_output, *args, **kwargs)

    def _allowed_s(self, now: float) -> float:
        return max(self._limit_s(now), _STEP_RATIO * self._least.seconds)

    def _limit_s(self, now: float) -> float:
        return _QUIET_STEP_S if now - self._asked_at > _QUIET_AFTER_S else _STEP_S


def _can_wait(request: Request) -> bool:
    return request.priority > 0
