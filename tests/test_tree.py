"""The dependency rules of the design, read off the source."""

import ast
import gc
import graphlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# A module's last name: what trains, embeds or compares weights. All other modules stay light.
TRAINING = {
    "candidate",
    "embedded_model",
    "environment",
    "finetune",
    "fused",
    "lora",
    "model_check",
    "names",
    "publish",
    "rerun",
    "variants",
    "distributed",
    "teacher",
}
# It runs in the app's process, and imports torch and transformers when the first question is embedded, never before.
EMBEDS = {"assistant.embedding"}
WITHIN_VLLM = {"vllm_extension"}  # loaded by vLLM's own processes, never by ours


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {
    module_name(path): path
    for pattern in ("app.py", "assistant/**/*.py", "store/**/*.py", "trainer/**/*.py")
    for path in ROOT.glob(pattern)
}


def parsed(path: Path) -> ast.Module:
    """On Python 3.11 `ast.parse` fails where garbage that warns is collected meanwhile, which another test has left."""
    gc.disable()
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    finally:
        gc.enable()


@cache
def imports(module: str) -> frozenset[str]:
    """Every module that a module imports, at the top or within a function, by its full dotted name."""
    return imported(module, ast.walk(parsed(MODULES[module])))


def imported(module: str, nodes: Iterable[ast.AST]) -> frozenset[str]:
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


@cache
def ours(module: str) -> set[str]:
    """The modules of this project that a module imports directly."""
    names = imports(module)
    return (names | {name.rpartition(".")[0] for name in names}) & MODULES.keys() - {module}


def reached(module: str) -> set[str]:
    """The modules of this project that a module imports, directly or through others, itself included."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += ours(name)
    return found


def who_imports(package: str) -> set[str]:
    return {module for module in MODULES if any(name.split(".")[0] == package for name in imports(module))}


def when_loaded(package: str) -> set[str]:
    """Who imports it outside any function, so at once."""
    found = set()
    for module, path in MODULES.items():
        waiting: list[ast.AST] = [parsed(path)]
        for node in waiting:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                waiting += ast.iter_child_nodes(node)
        if any(name.split(".")[0] == package for name in imported(module, waiting)):
            found.add(module)
    return found


def outside(modules: set[str], *packages: str) -> set[str]:
    return {module for module in modules if not f"{module}.".startswith(tuple(f"{p}." for p in packages))}


def last(module: str) -> str:
    return module.rpartition(".")[2]


def test_the_reader_of_imports_sees_them() -> None:
    assert "app" in who_imports("assistant")
    assert any(module.startswith("store.") for module in who_imports("sqlite3"))
    assert "assistant.chat" in when_loaded("store") and "assistant.embedding" in when_loaded("numpy")
    assert "assistant.web" in {module.rpartition(".")[0] for module in reached("app")}


def test_store_imports_neither_of_the_others_and_assistant_never_the_trainer() -> None:
    assert not outside(who_imports("assistant"), "app", "assistant", "trainer")
    assert not outside(who_imports("trainer"), "app", "trainer")


def test_assistant_does_not_start_the_trainer_by_its_name() -> None:
    starts = {m for m, path in MODULES.items() if '"trainer.' in path.read_text(encoding="utf-8")}
    assert not outside(starts, "app", "trainer")


def test_what_the_trainer_uses_of_the_assistant_knows_no_page_and_no_store() -> None:
    used = {name for module in MODULES if module.startswith("trainer.") for name in ours(module)}
    for module in outside(used, "store", "trainer"):
        assert not {m for m in reached(module) if m.startswith("assistant.web")}, module
        assert last(module) not in ("chat", "app"), module


def test_no_import_circles() -> None:
    graph = {module: ours(module) for module in MODULES}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError with the circle


def test_gradio_stays_in_the_web_pages() -> None:
    assert not outside(who_imports("gradio"), "assistant.web")


@pytest.mark.parametrize("package", ["sqlite3", "sqlite_utils"])
def test_only_the_store_speaks_sql(package: str) -> None:
    elsewhere = outside(who_imports(package), "store")
    # The scorer of queries runs them in the database that the assistant is about. It never opens the store: two SQLite
    # libraries in one process do not see each other's locks.
    assert not {module for module in elsewhere if package == "sqlite_utils" or last(module) != "sql"}


@pytest.mark.parametrize("package", ["torch", "transformers", "peft"])
def test_only_what_trains_or_embeds_imports(package: str) -> None:
    assert {last(module) for module in who_imports(package) - EMBEDS} <= TRAINING | WITHIN_VLLM
    assert not EMBEDS & when_loaded(package)


def test_vllm_is_a_process_and_never_imported() -> None:
    assert {last(module) for module in who_imports("vllm")} <= WITHIN_VLLM
    assert not {module for module in MODULES if WITHIN_VLLM & {last(name) for name in ours(module)}}


@pytest.mark.parametrize("module", ["app", "trainer.watch", "trainer.report"])
def test_what_runs_beside_the_chat_imports_no_training_module(module: str) -> None:
    assert not (reached(module) - EMBEDS) & set().union(*map(who_imports, ("torch", "transformers", "peft")))


def test_every_file_has_a_name_and_a_docstring_that_say_something() -> None:
    empty = {"utils", "util", "helpers", "helper", "manager", "handler", "engine", "common", "misc"}
    for module, path in MODULES.items():
        assert not empty & set(last(module).split("_")), module
        assert ast.get_docstring(parsed(path)), module
