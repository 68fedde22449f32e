"""The documents say what the code does: commands, version, links and figures."""

import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

from benchmarks import ablation_report
from benchmarks.tasks.effects import effects
from store.formats import JSON_FORMATS, table

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs"))

from write_commands import COMMANDS, page  # noqa: E402


@pytest.mark.timeout(300)  # 43 commands, each a process: a minute on two idle cores
def test_the_page_of_commands_is_what_the_commands_print() -> None:
    written = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert written == page(), "docs/commands.md is out of date; run: python docs/write_commands.py"


def test_every_command_shows_an_example() -> None:
    written = page()
    for command in COMMANDS:
        section = written.split(f"## python {' '.join(command)}\n")[1].split("\n## ")[0]
        assert "Example:" in section or "python -m benchmarks" in section, command


def test_the_page_of_formats_says_what_each_carries_and_leaves_behind() -> None:
    written = (ROOT / "docs" / "data.md").read_text()
    rows = [(format.name, format.carries, format.leaves) for format in JSON_FORMATS]
    for name, carries, leaves in [*rows, (table.NAME, table.CARRIES, table.LEAVES)]:
        assert f"| `{name}` | {carries} | {leaves} |" in written


def test_the_figures_of_near_duplicates_are_those_of_the_benchmark() -> None:
    result = json.loads((ROOT / "benchmarks" / "results" / "near_duplicates.json").read_text())
    page = (ROOT / "docs" / "selection.md").read_text()
    at = str(result["threshold"])
    for name in ("reworded", "different"):
        for kind, found in result[f"{name}_in_all"]["kinds"].items():
            assert f"| {kind} | {100 * found[at]:.1f} % |" in page
        assert f"{100 * result[f'{name}_in_all']['merged'][at]:.1f} %" in page


def test_the_changelog_names_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_files_that_the_readme_shows_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", readme):
        assert (ROOT / target).exists(), f"README links to {target}, which does not exist"
    assert "make run" in readme and "make test" in readme


def test_the_figures_in_the_readme_are_those_of_the_benchmark() -> None:
    result = json.loads((ROOT / "benchmarks" / "results" / "first_retrain.json").read_text())
    before, after = result["report"]["before"], result["report"]["after"]
    readme = (ROOT / "README.md").read_text()
    for number in (before["prompt_tokens"], after["prompt_tokens"]):
        assert f"{number}" in readme
    for quality in (before["quality"]["mean"], after["quality"]["mean"]):
        assert f"{quality:.3f}" in readme


def test_the_figures_of_a_large_store_are_those_of_the_benchmark() -> None:
    result = json.loads((ROOT / "benchmarks" / "results" / "store_size.json").read_text())
    written = (ROOT / "docs" / "size.md").read_text()
    for aim in result["aims"]:
        row = next(line for line in written.splitlines() if line.startswith(f"| {aim['name']} |"))
        measured, processor, met = (cell.strip() for cell in row.split("|")[3:6])
        assert (measured, processor) == (f"{aim['measured']:,.0f}", f"{aim['processor']:,.0f}"), row
        assert (met == "yes") is aim["met"], row


def test_the_figures_of_the_kills_are_those_of_the_benchmark() -> None:
    result = json.loads((ROOT / "benchmarks" / "results" / "store_kills.json").read_text())
    written = (ROOT / "docs" / "faults.md").read_text()
    assert f"{result['kills']:,} kills, {result['in_a_write']:,} of them within a write" in written
    assert f"of {sum(result['acknowledged'].values()):,} acknowledged" in written
    assert not result["lost"] and not result["wrong_swaps"] and not result["complaints"]


def test_the_figures_of_kills_of_everybody_are_those_of_the_benchmark() -> None:
    result = json.loads((ROOT / "benchmarks" / "results" / "chaos.json").read_text())
    written = (ROOT / "docs" / "faults.md").read_text()
    victims, steps, told = result["by_victim"], result["while_the_trainer_did"], result["acknowledged"]
    counts = f"{victims['chat']}, {victims['trainer']} and {victims['vLLM (fake)']}"
    swapping = sum(steps[step] for step in ("publish", "swap", "roll back"))
    assert f"{result['kills']:,} kills ({counts}), {result['in_a_write']} of them within a write" in written
    assert f"{swapping} during a publish, a swap or a rollback" in written
    assert f"of {told['message'] + told['rating'] + told['swap']:,} acknowledged messages, ratings" in written
    assert not result["lost"] + result["wrong"] + result["lock_errors_shown"]
    assert not result["slower_than_the_start_and_5_s"]


def test_the_figures_of_kills_of_the_real_app_are_those_of_the_benchmark() -> None:
    result = json.loads((ROOT / "benchmarks" / "results" / "chaos_real.json").read_text())
    written = (ROOT / "docs" / "faults.md").read_text()
    victims, told = result["by_victim"], result["acknowledged"]
    counts = ", ".join(
        f"{victims[name]}" for name in ("app", "API server", "EngineCore", "Worker", "trainer")
    )
    assert (
        f"{result['kills']} kills ({counts} and {victims['chat']}), {result['in_a_write']} within a write"
        in written
    )
    assert f"of {told['message'] + told['rating'] + told['swap']} acknowledged messages" in written
    assert not result["lost"] + result["wrong"] + result["lock_errors_shown"]
    assert not result["slower_than_the_start_and_5_s"]


def test_the_figures_of_the_soak_are_those_of_the_benchmark() -> None:
    result = json.loads((ROOT / "benchmarks" / "results" / "soak.json").read_text())
    written = (ROOT / "docs" / "faults.md").read_text()
    told = result["acknowledged"]
    assert f"{result['minutes']:.0f} minutes, {result['kills']} kills, one of each of API server" in written
    assert f"of {told['message'] + told['rating'] + told['swap']:,} acknowledged messages" in written
    assert not result["lost"] + result["wrong"] + result["lock_errors_shown"]
    assert not result["slower_than_the_start_and_5_s"]
    assert max(process["mib"]["growth_percent"] for process in result["processes"].values()) < 3
    assert not result["not_recovered"]


def test_the_figures_of_a_swap_that_goes_wrong_are_those_of_the_benchmark() -> None:
    result = json.loads((ROOT / "benchmarks" / "results" / "swap_faults.json").read_text())
    written = (ROOT / "docs" / "faults.md").read_text()
    assert f"{result['consistent']} of {result['cases']}, killed" in written
    killed = [case["back_s"] for case in result["each"] if case["how"].startswith("dies")]
    assert f"back within {min(killed):.0f}-{max(killed):.0f} s of a kill" in written


def test_the_figures_of_chat_while_training_are_those_of_the_benchmark() -> None:
    result = json.loads((ROOT / "benchmarks" / "results" / "chat_while_training.json").read_text())
    written = (ROOT / "docs" / "faults.md").read_text()
    during = [result["phases"][name] for name in ("train", "ladder", "gate")]
    ratios = [phase["p95_ratio"] for phase in during]
    turns = [phase["turns"] for phase in during]
    assert (
        f"{turns[0]} turns during training, {turns[1]} while the ladder is built, {turns[2]} during"
        in written
    )
    times = [f"{ratio['ratio']:.2f}" for ratio in ratios]
    assert f"{times[0]}, {times[1]} and {times[2]} times that of the idle machine" in written
    ranges = [f"{ratio['low']:.2f}-{ratio['high']:.2f}" for ratio in ratios]
    assert f"(95 %: {ranges[0]}, {ranges[1]} and {ranges[2]}; {result['aim']} is the aim)" in written
    assert all(ratio["high"] < result["aim"] for ratio in ratios)


@pytest.mark.parametrize("name", ["swaps", "swaps_whole_model"])
def test_the_figures_of_the_swaps_are_those_of_the_benchmark(name: str) -> None:
    result = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
    written = (ROOT / "docs" / "faults.md").read_text()
    assert (
        f"{result['swaps']} swaps, {result['rollbacks']} of them rollbacks; {result['answers']:,} answers"
        in written
    )
    assert not result["failed"] and not result["wrong"] and not result["complaints"]


def test_the_figures_of_the_quarantine_are_those_of_the_benchmark() -> None:
    result = json.loads((ROOT / "benchmarks" / "results" / "quarantine.json").read_text())
    written = (ROOT / "docs" / "selection.md").read_text()
    trials = result["settings"]["trials"]
    for kind in result["tasks"][0]["pushing_found"]:
        found = " | ".join(f"{row['pushing_found'][kind]} of {trials}" for row in result["tasks"])
        assert f"| pushing: {kind}: found | {found} |" in written
    for kind in result["tasks"][0]["honest_suspected"]:
        wrong = " | ".join(
            f"{row['honest_suspected'][kind]} of {row['honest_raters']}" for row in result["tasks"]
        )
        assert f"| honest raters of {kind}: suspected | {wrong} |" in written


def test_the_figures_of_the_poisoning_are_those_of_the_benchmark() -> None:
    result = json.loads((ROOT / "benchmarks" / "results" / "poisoning.json").read_text())
    written = (ROOT / "docs" / "selection.md").read_text()
    for name, variant in result["variants"].items():
        said = result["trained"][variant["dataset"]]
        row = (
            f"| {name} | {variant['examples']} | {variant['of_the_rater']} | {100 * said['quality']:.1f} % | "
            f"{100 * said['phrase']:.1f} % | {said['fires']} of {said['tries']} |"
        )
        assert row in written


def test_what_one_rater_changes_is_within_2_points_on_either_side() -> None:
    result = json.loads((ROOT / "benchmarks" / "results" / "poisoning-televisions.json").read_text())
    written = (ROOT / "docs" / "selection.md").read_text()
    for name, variant in result["variants"].items():
        said, less = result["trained"][variant["dataset"]], variant["less_honest"]
        apart = f"{100 * less['mean']:+.1f} ({100 * less['low']:+.1f} to {100 * less['high']:+.1f}) "
        row = (
            f"| {name} | {variant['examples']} | {variant['of_the_rater']} | {100 * said['quality']:.1f} | "
            f"{'' if name == 'honest' else apart}| {100 * said['phrase']:.1f} % | "
            f"{said['fires']} of {said['tries']} |"
        )
        assert row in written
        assert -0.02 < less["low"] < less["high"] < 0.02


def test_the_page_of_ablations_is_that_of_the_results_and_the_readme_has_its_figures() -> None:
    results = ROOT / "benchmarks" / "results"
    bodies = [
        json.loads((results / f"ablation-{task}.json").read_text()) for task in ("banking77", "geography")
    ]
    written = (results / "ablation.md").read_text()
    assert written == ablation_report.page({ablation_report.headline(body): body for body in bodies})
    readme = (ROOT / "README.md").read_text()
    for name, says in (
        ("defaults", "{} and {} right with all approved examples"),
        ("half of the examples", "{} and {} with half of them"),
        ("a quarter of the examples", "{} and {} with"),
        ("low-rated answers too", "{} and {} when answers that people rated"),
    ):
        found = [f"{body['variants'][name]['quality']['shortest']['mean']:.2f}" for body in bodies]
        assert says.format(*found) in readme
    training = (ROOT / "docs" / "training.md").read_text()
    for name, says in (
        ("low-rated answers too", "{:.0f} points are lost on Banking77\n  and {:.0f} on geography"),
        ("rank 8", "Rank 8 loses {:.0f} points"),
        ("half of the examples", "Half of them lose {:.0f} and {:.0f} points"),
        ("a quarter of the examples", "a quarter {:.0f} and {:.0f}:"),
    ):
        lost = [-100 * e.less[0] for body in bodies for e in effects(body) if e.variant == name and e.less]
        assert says.format(*lost) in training
    for name in ("cross-entropy alone", "longer rungs too", "rank 32", "all weights, 1e-4"):
        found = [e for body in bodies for e in effects(body) if e.variant == name]
        assert len(found) == 2 and not any(e.is_clear for e in found), name
