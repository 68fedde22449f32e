"""How long people wait for the first token while a retrain runs on the same cores, compared with an idle machine.

All real: app, chat, vLLM, training and gate, on the sample. One person asks one question after the other, and each
answer is read to its end. The result has seconds to the first token by what the retrain was doing.
"""

import asyncio
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from assistant.assistants import SAMPLE_ID
from assistant.chat import Chat
from benchmarks.faults.references import questions
from benchmarks.processes import AppProcess
from benchmarks.record import Screen, percentiles, write_result
from benchmarks.serving import Serving
from store import Store
from store.records import RunEvent, RunStatus

RESULT = Path("benchmarks/results/chat_while_training.json")
IDLE = "idle"
AIM = 1.5  # times as long as on the idle machine, at the 95th percentile
_BREATH_S = 2.0  # between an answer and the next question
_RESAMPLES = 2000
_SHARES = (5, 50, 95)


@dataclass(frozen=True)
class Waited:
    """One turn of chat: when it was asked (epoch seconds), seconds to the first token and to the end, who answered."""

    asked_at: float
    first_token_s: float
    total_s: float
    deployment_id: int | None


def main(
    idle: Annotated[int, typer.Option(min=5, help="Questions before the retrain, and after it.")] = 30,
    rated: Annotated[int, typer.Option(min=1, help="Newest rated answers to read.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Of the intervals.")] = 1,
    out: Annotated[Path, typer.Option(help="Where the result goes.")] = RESULT,
) -> None:
    """Chat on an idle machine, during a whole retrain, and again. 15 minutes on two cores.

    Example: python -m benchmarks.chat_while_training --rated 120 --out /tmp/chat_while_training.json
    """
    screen = Screen()
    os.environ["SHORTHAND_SET"] = f"newest_answers={rated}"
    with tempfile.TemporaryDirectory() as temporary, AppProcess(Path(temporary), "--sample") as app:
        app.wait_for_page()
        app.wait_for_model()
        with Store(Path(temporary) / "shorthand.sqlite") as store:
            result = asyncio.run(_measure(Serving(Path(temporary), store), idle, seed, screen))
    write_result(out, "chat_while_training", seed, result)
    for phase, row in result["phases"].items():
        screen.say(f"{phase}: {row}")
    screen.say(f"Written to {out}.")


async def _measure(serving: Serving, idle: int, seed: int, screen: Screen) -> dict[str, Any]:
    asked = iter(questions(180) * 10)
    pool = await serving.pool()
    chat = serving.chat(pool)
    await _turn(chat, next(asked))  # fills the cache of the prompt
    with screen.status("Idle"):
        before = [await _turn(chat, next(asked)) for _ in range(idle)]
    run, during = await _during(serving.store, chat, asked, screen)
    # The candidate may serve by now; what it is compared with is the base under the same prompt.
    served = before[0].deployment_id
    after = [await _turn(chat, next(asked)) for _ in range(idle)]
    await pool.close()
    finished = serving.store.runs.get(run)
    phases = by_phase(during, serving.store.runs.events(run), served)
    return {
        "aim": AIM,
        "phases": summary({IDLE: before, **phases}, seed),
        "after": {"first_token_s": percentiles([one.first_token_s for one in after], _SHARES)},
        "run": {
            "status": finished.status.value,
            "seconds": finished.report.get("seconds"),
            "training": {
                name: finished.report.get("training", {}).get(name) for name in ("seconds", "tokens_per_s")
            },
        },
    }


async def _during(store: Store, chat: Chat, asked: Iterator[str], screen: Screen) -> tuple[int, list[Waited]]:
    """The run's id, and every turn from the request for it until its end."""
    store.runs.request(SAMPLE_ID, "benchmark")
    waited: list[Waited] = []
    with screen.status("Chat while training") as show:
        while True:
            waited.append(await _turn(chat, next(asked)))
            runs = store.runs.all(SAMPLE_ID)
            if runs and runs[0].status is not RunStatus.RUNNING:
                return runs[0].id, waited
            events = store.runs.events(runs[0].id) if runs else []
            show(f"{events[-1].phase if events else 'waiting'}, first token {waited[-1].first_token_s:.2f} s")


async def _turn(chat: Chat, text: str) -> Waited:
    message = await asyncio.to_thread(chat.ask, SAMPLE_ID, None, text)
    asked_at, started = time.time(), time.perf_counter()
    first = None
    async with aclosing(chat.answer(message)) as steps:
        async for step in steps:
            if first is None and step.message.text:
                first = time.perf_counter() - started
    ended = time.perf_counter() - started
    await asyncio.sleep(_BREATH_S)
    return Waited(asked_at, ended if first is None else first, ended, step.message.deployment_id)


def by_phase(
    waited: Sequence[Waited], events: Sequence[RunEvent], served: int | None
) -> Mapping[str, list[Waited]]:
    """Turns by the phase that the run was in when they were asked; those before it, and those of another deployment,
    are left out.
    """
    phases: dict[str, list[Waited]] = defaultdict(list)
    for turn in waited:
        begun = [event.phase for event in events if event.at <= turn.asked_at]
        if begun and turn.deployment_id == served:
            phases[begun[-1]].append(turn)
    return phases


def summary(phases: Mapping[str, Sequence[Waited]], seed: int) -> dict[str, Any]:
    """By phase: how many turns, percentiles of the first token, and the ratio of the 95th to the idle one with a 95 %
    interval (bootstrap, percentile method).
    """
    idle = [turn.first_token_s for turn in phases[IDLE]]
    rows: dict[str, Any] = {}
    for phase, turns in phases.items():
        times = [turn.first_token_s for turn in turns]
        rows[phase] = {
            "turns": len(turns),
            "first_token_s": percentiles(times, _SHARES),
            "whole_answer_p50_s": round(float(np.median([turn.total_s for turn in turns])), 3),
        }
        if phase != IDLE:
            rows[phase]["p95_ratio"] = _ratio(times, idle, np.random.default_rng(seed))
    return rows


def _ratio(times: Sequence[float], idle: Sequence[float], chance: np.random.Generator) -> dict[str, float]:
    def p95(of: Sequence[float]) -> Any:
        drawn = chance.choice(np.asarray(of), (_RESAMPLES, len(of)))
        return np.percentile(drawn, 95, axis=1)

    low, high = np.percentile(p95(times) / p95(idle), [2.5, 97.5])
    measured = np.percentile(times, 95) / np.percentile(idle, 95)
    return {
        name: round(float(value), 2) for name, value in (("ratio", measured), ("low", low), ("high", high))
    }


if __name__ == "__main__":
    typer.run(main)
