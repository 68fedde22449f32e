"""Ablations of several tasks, side by side: paired differences, and what the page and the picture make of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks import ablation_report
from benchmarks.tasks.effects import effects, in_order

HALF = [0.0, 1.0] * 50


def variant(scores: list[float | None], **more: Any) -> dict[str, Any]:
    mean = sum(score or 0.0 for score in scores) / len(scores)
    quality = {"mean": mean, "low": 0.0, "high": 1.0}
    trained = {"examples": 9, "row_tokens": 1000, "seconds": 12.3, "peak_memory_mib": 99, "best_epoch": 4}
    trained["question"] = "Why?"
    return (
        {"quality": {"shortest": quality, "full": quality}, "scores": {"shortest": scores}} | trained | more
    )


def body(task: str = "codes", scorer: str = "exact", **variants: dict[str, Any]) -> dict[str, Any]:
    base = {"question": "", "quality": {"shortest": None, "full": {"mean": 0.07, "low": 0.0, "high": 0.1}}}
    return {
        "benchmark": "ablation",
        "task": {"name": task, "scorer": scorer, "source": "here", "license": "MIT", "sha256": "a" * 64},
        "settings": {"ratings": 60, "test": 100, "seed": 1},
        "provenance": {
            "commit": "c0ffee",
            "machine": "a machine",
            "versions": {"torch": "2"},
            "command": "run",
        },
        "variants": {"base model": base, "defaults": variant(HALF), **variants},
    }


def run(folder: Path, *bodies: dict[str, Any]) -> Any:
    paths = []
    for number, one in enumerate(bodies):
        paths.append(folder / f"{number}.json")
        paths[-1].write_text(json.dumps(one))
    return CliRunner().invoke(ablation_report.app, [*map(str, paths), "--out-dir", str(folder / "out")])


def test_what_is_alike_question_by_question_differs_by_nothing_and_is_not_clear() -> None:
    [_, same] = effects(body(same=variant(HALF)))
    assert same.less is not None and same.less[0] == 0.0
    assert same.less[1] < 0 < same.less[2] and not same.is_clear


@pytest.mark.parametrize("scorer", ["exact", "sql", "chrf"])
def test_what_loses_most_of_what_the_defaults_win_is_clearly_worse_and_the_reverse_better(
    scorer: str,
) -> None:
    worse, better = [0.0] * 90 + [0.0, 1.0] * 5, [1.0] * 90 + [0.0, 1.0] * 5
    [_, low, high] = effects(body(scorer=scorer, worse=variant(worse), better=variant(better)))
    assert low.less is not None and high.less is not None
    assert low.less[0] == pytest.approx(-0.45) and low.less[1] < -0.45 < low.less[2] < 0 and low.is_clear
    assert high.less == pytest.approx([-low.less[0], -low.less[2], -low.less[1]]) and high.is_clear


def test_variants_stand_in_the_order_of_the_list_and_others_follow() -> None:
    assert in_order(["mine", "rank 32", "rank 8", "defaults", "rank 32"]) == [
        "defaults",
        "rank 8",
        "rank 32",
        "mine",
    ]


def test_a_question_without_a_score_leaves_no_difference() -> None:
    [_, found] = effects(body(failed=variant([None, *HALF[1:]])))
    assert found.less is None and not found.is_clear


def test_the_page_has_a_row_a_variant_and_two_columns_a_task(tmp_path: Path) -> None:
    first = body(worse=variant([0.0] * 100), wild={"question": "How?", "diverged": "NaN at step 3"})
    second = body(task="maps", slow=variant(HALF, resumed_at=90)) | {
        "edited_by_hand": "Seconds without a pause."
    }
    done = run(tmp_path, first, second)
    assert done.exit_code == 0, done.output
    page = (tmp_path / "out" / "ablation.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert [row.split(" | ")[0] for row in rows[2:]] == [
        "| base model, full prompt", "| defaults", "| worse", "| wild", "| slow"
    ]  # fmt: skip
    assert {row.count("|") for row in rows} == {7}
    assert "codes, 60 ratings: quality" in rows[0] and "maps, 60 ratings: training" in rows[0]
    assert "| 0.07 | none | 0.07 | none |" in rows[2]
    assert "| 0.00, **-50** (-" in rows[4] and rows[4].endswith("| – | – |")
    assert "| diverged |" in rows[5]
    assert "12 s (timed from step 90 on)" in rows[6]
    assert "Seconds without a pause." in page
    picture = (tmp_path / "out" / "ablation.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 10_000


def test_what_is_no_ablation_or_has_no_defaults_is_refused_in_words(tmp_path: Path) -> None:
    without = body()
    del without["variants"]["defaults"]
    for one, says in (({"benchmark": "loop"}, "benchmarks.ablation"), (without, "has no defaults yet")):
        done = run(tmp_path, one)
        assert done.exit_code == 2 and says in done.output.replace("\n", " ")
        assert not (tmp_path / "out").exists()
