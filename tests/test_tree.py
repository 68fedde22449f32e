"""The dependency rules of the design, read off the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = [ROOT / "app.py"] + [
    path for package in ("assistant", "store", "trainer") for path in (ROOT / package).rglob("*.py")
]
TRAINING = {
    "candidate",
    "embedded",
    "environment",
    "learning/dpo",
    "learning/finetune",
    "learning/lora",
    "learning/objective",
    "learning/precision",
    "learning/publish",
    "learning/ranks",
    "learning/sweep",
    "learning/teacher",
    "privacy/names",
    "proof/helpfulness",
}
FROM_ASSISTANT = {
    "rendering",
    "tokenizer",
    "vllm_client",
    "vllm_pool",
    "adapter_files",
    "serving",
    "server_file",
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at the top or within a function, by its full dotted name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def who_imports(package: str) -> set[str]:
    return {name_of(path) for path in SOURCES if any(name.split(".")[0] == package for name in imports(path))}


def within(files: set[str], *folders: str) -> set[str]:
    return {file for file in files if file.startswith(folders)}


def test_the_reader_of_imports_sees_them() -> None:
    assert "store/connection.py" in who_imports("sqlite3")
    assert "app.py" in who_imports("assistant")


def test_store_imports_neither_of_the_others() -> None:
    assert not within(who_imports("assistant") | who_imports("trainer"), "store/")


def test_assistant_never_imports_trainer() -> None:
    assert not within(who_imports("trainer"), "assistant/")


def test_trainer_imports_from_assistant_only_what_renders_prompts_and_talks_to_vllm() -> None:
    used = {
        name.split(".")[1]
        for path in SOURCES
        if name_of(path).startswith("trainer/")
        for name in imports(path)
        if name.split(".")[0] == "assistant"
    }
    assert used <= FROM_ASSISTANT


def test_a_package_of_the_trainer_imports_only_those_before_it() -> None:
    order = ("examples", "privacy", "learning", "proof", "swapping")
    for place, package in enumerate(order):
        for path in (ROOT / "trainer" / package).glob("*.py"):
            used = {name.split(".")[1] for name in imports(path) if name.startswith("trainer.")}
            assert not used & set(order[place + 1 :]), name_of(path)


def test_gradio_stays_in_the_web_pages() -> None:
    assert not {file for file in who_imports("gradio") if not file.startswith("assistant/web/")}


@pytest.mark.parametrize("package", ["sqlite3", "sqlite_utils"])
def test_only_the_store_speaks_sql(package: str) -> None:
    # The scorer of queries runs them in the database that the assistant is about, and never opens the store.
    elsewhere = {"trainer/proof/sql.py"} if package == "sqlite3" else set()
    assert {file for file in who_imports(package) if not file.startswith("store/")} == elsewhere


@pytest.mark.parametrize("package", ["torch", "transformers", "peft"])
def test_only_the_modules_that_train_import(package: str) -> None:
    within_vllm = {"assistant/vllm_extension.py"}
    assert who_imports(package) - within_vllm <= {f"trainer/{name}.py" for name in TRAINING}


@pytest.mark.parametrize(("package", "module"), [("phonenumbers", "phones"), ("regex", "patterns")])
def test_what_finds_personal_data_stays_behind_one_module(package: str, module: str) -> None:
    assert who_imports(package) == {f"trainer/privacy/{module}.py"}


@pytest.mark.parametrize("package", ["trl", "datasets"])
def test_only_one_module_knows_trl(package: str) -> None:
    assert who_imports(package) == {"trainer/learning/dpo.py"}


def test_who_trains_without_pairs_does_not_wait_for_trl() -> None:
    """It takes 2 s to import, so what knows it is imported where it is needed and not before."""
    lazy = {
        path for path in SOURCES if any(name.startswith("trainer.learning.dpo") for name in imports(path))
    }
    assert {name_of(path) for path in lazy} == {"trainer/learning/preferences.py"}
    for path in lazy:
        at_the_top = {getattr(node, "module", None) for node in ast.parse(path.read_text()).body}
        assert "trainer.learning.dpo" not in at_the_top


def test_vllm_is_a_process_and_never_imported() -> None:
    within = ("vllm_extension", "vllm_scheduler")  # what vLLM's own processes import
    assert who_imports("vllm") == {f"assistant/{name}.py" for name in within}
    names = {name for path in SOURCES for name in imports(path)}
    assert not {name for name in names if name.startswith(tuple(f"assistant.{one}" for one in within))}


def test_what_runs_beside_the_chat_pulls_in_no_training_module() -> None:
    """`watch` lives as long as the app, and `swap` and `gate` judge without a model of their own."""

    def reached(module: str, seen: set[str]) -> set[str]:
        path = ROOT / "trainer" / f"{module}.py"
        if module in seen or not path.exists():
            return seen
        seen.add(module)
        for name in imports(path):
            if name.startswith("trainer."):
                _, *parts = name.split(".")
                for depth in range(1, len(parts) + 1):  # a module of a package, or a name within it
                    reached("/".join(parts[:depth]), seen)
        return seen

    judges = ("proof/gate", "proof/statistics", "proof/evaluate", "swapping/swap", "swapping/probe")
    assert "proof/bounded_mean" in reached("proof/gate", set())
    for module in ("watch", "report", *judges):
        assert not reached(module, set()) & TRAINING, module


def test_no_file_has_a_name_that_says_nothing() -> None:
    empty = {"utils", "util", "helpers", "helper", "manager", "handler", "engine", "common", "misc"}
    assert not {name_of(path) for path in SOURCES if empty & set(path.stem.split("_"))}


def test_every_file_says_what_it_is_for() -> None:
    assert not {name_of(path) for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text()))}
