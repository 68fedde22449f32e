"""The documents name commands, files and a version that exist."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs"))

from write_commands import page  # noqa: E402

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def written() -> str:
    return (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")


def test_the_page_of_commands_is_what_the_commands_print(written: str) -> None:
    assert written == page(), "docs/commands.md is out of date; run: python docs/write_commands.py"


def test_every_command_shows_an_example(written: str) -> None:
    for section in written.split("\n## ")[1:]:
        assert "Example:" in section, section.splitlines()[0]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings_that_exist(path: Path) -> None:
    for target, _, heading in (link.partition("#") for link in links(path)):
        file = path.parent / target if target else path
        assert file.exists(), f"{path.name} links to {target}, which does not exist"
        assert not heading or heading in headings(file), f"{path.name} links to {target}#{heading}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_commands_that_are_shown_exist(path: Path, written: str) -> None:
    text = path.read_text(encoding="utf-8")
    for package, word in re.findall(r"python -m (trainer|store) ([a-z]+)", text):
        assert f"## python -m {package} {word}" in written, f"{path.name}: python -m {package} {word}"
    for name in re.findall(r"python -m benchmarks\.([a-z_]+)", text):
        assert (ROOT / "benchmarks" / f"{name}.py").exists(), f"{path.name}: benchmarks.{name}"


def test_the_readme_shows_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make run" in readme and "make test" in readme


def test_the_changelog_names_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def links(path: Path) -> list[str]:
    found = re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    return [link for link in found if "://" not in link]


def headings(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
