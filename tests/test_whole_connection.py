"""A tab that loses its server comes back by itself, with what was typed, in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from review_scene import IN_A_BROWSER, chromium, fill, new_tab, services_of, serving

from benchmarks.processes import free_port
from store import Store

pytestmark = IN_A_BROWSER

TYPED = "Is the otter in?\nI have typed for a while."


@pytest.fixture(autouse=True)
def seen_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tab finds out when it next reads the server's state."""
    monkeypatch.setattr("assistant.web.app._READY_S", 1.0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(tmp_path_factory.mktemp("connection") / "s.sqlite") as opened:
        fill(opened)
        yield opened


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


def typed(browser: Browser, url: str) -> Page:
    page = new_tab(browser)
    page.goto(url)
    page.locator("#conversation-list button.open").first.click()
    expect(page.locator("#chat-log article").first).to_be_visible()
    page.locator("#chat-input textarea").fill(TYPED)
    page.evaluate("window.wasHereBefore = true")
    return page


def is_back(page: Page) -> None:
    """Loaded again, with the conversation and the text, and its events work."""
    page.wait_for_function("!window.wasHereBefore")
    expect(page.locator("#chat-input textarea")).to_have_value(TYPED)
    expect(page.locator("#chat-log article").first).to_be_visible()
    page.locator("#chat-new").click()
    expect(page.locator("#chat-log article")).to_have_count(0)
    assert page.evaluate("sessionStorage.length") <= 2


def test_a_tab_that_is_open_over_a_restart(browser: Browser, store: Store, tmp_path: Path) -> None:
    port = free_port()
    with serving(services_of(store), port) as (url, _):
        page = typed(browser, url)
    with serving(services_of(store), port):
        is_back(page)
        page.context.close()


def test_a_tab_without_network_for_a_while(browser: Browser, store: Store) -> None:
    with serving(services_of(store)) as (url, _):
        page = typed(browser, url)
        page.context.set_offline(True)
        expect(page.get_by_text("Attempting reconnection")).to_be_visible()
        page.context.set_offline(False)
        is_back(page)
        page.context.close()
