"""A page's first load, a switch to another tab, and a click until the answer, in a real browser with an empty cache."""

import time
from dataclasses import dataclass
from functools import partial

from playwright.sync_api import Browser, Page, expect, sync_playwright

from benchmarks.peer_rows.bench import Bench, Found, Turn
from benchmarks.peer_rows.chat_apps import ChatApp, chat_apps

_STILL_LOADS_MS = 1500  # after the box takes text; some keep a connection open, so that no page is ever idle


@dataclass(frozen=True)
class Look:
    """Where a page has its box for questions; what is pressed to switch to another tab, and what is seen there."""

    box: str
    tab: str = ""
    seen: str = ""


LOOKS = {
    "Shorthand": Look("#chat-input textarea", "role=tab[name='Training']", "#train-now"),
    "Gradio ChatInterface": Look("textarea"),
    "chainlit": Look("#chat-input"),
    "open-webui": Look("#chat-input", "a[href='/workspace']", "text=Models"),
}


def measure(bench: Bench) -> Found:
    with (
        chat_apps(bench, with_open_webui=True) as apps,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"]) as browser,
    ):
        ways = {way: partial(_turn, browser, apps[way], look) for way, look in LOOKS.items() if way in apps}
        for measure_once in ways.values():  # what an app keeps for itself, and the user that open-webui makes
            measure_once()
        return bench.in_turn(ways)


def _turn(browser: Browser, app: ChatApp, look: Look) -> Turn:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    sizes = _bytes_of(page)
    began = time.monotonic()
    page.goto(app.url, wait_until="commit")
    box = page.locator(look.box).first
    expect(box).to_be_editable(timeout=60_000)
    turn = {"load, s": time.monotonic() - began}
    page.wait_for_timeout(_STILL_LOADS_MS)
    turn |= {"load, kB": sum(sizes) / 1000, "requests": float(len(sizes))}
    page.keyboard.press("Escape")  # what is new in open-webui
    box.click()
    page.keyboard.type("hello")
    began = time.monotonic()
    page.keyboard.press("Enter")
    page.get_by_text("word word").first.wait_for()
    turn["click to first text, ms"] = 1000 * (time.monotonic() - began)
    page.get_by_text(" ".join(["word"] * 50)).first.wait_for()
    turn["click to the whole answer, ms"] = 1000 * (time.monotonic() - began)
    if look.tab:
        began = time.monotonic()
        page.locator(look.tab).first.click()
        page.locator(look.seen).first.wait_for()
        turn["switch, ms"] = 1000 * (time.monotonic() - began)
    context.close()
    return turn


def _bytes_of(page: Page) -> list[float]:
    """What comes over the network from now on, as it is sent (compressed)."""
    sizes: list[float] = []
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    return sizes
