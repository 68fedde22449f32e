"""The sample as several people have rated it, and the pages on a loopback port without any model."""

import gc
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr
import pytest
from fake_vllm import FakeVllm
from imported_turns import ImportedTurn, load_turns
from page_client import GRADIO_WARNINGS
from playwright.sync_api import Browser, Page, expect, sync_playwright
from waiting import PATIENCE_S

from assistant.assistants import SAMPLE_ID, create_assistant, load_sample
from assistant.chat import Chat
from assistant.limits import ChatLimits
from assistant.prompt_text import parse
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_client import VllmClient
from assistant.vllm_health import Phase, ServerState
from assistant.vllm_pool import VllmPool
from assistant.web.access import Access, RateLimits, Services
from assistant.web.app import build, web_app
from assistant.web.server import PageServer
from benchmarks.processes import free_port
from store import Store
from store.records import Role, Usage, Verdict
from trainer.examples.dataset import dataset_stats
from trainer.settings import TrainerSettings

IN_A_BROWSER = [pytest.mark.slow, *GRADIO_WARNINGS]
DESKTOP = {"width": 1280, "height": 900}
expect.set_options(timeout=1000 * PATIENCE_S)
REASONS = ("wrong fact", "too long", "wrong tone", "off topic")
COMMENTS = ("", "", "prices are old", "nobody talks like that", "<b>bold</b> claim")

RATES = RateLimits(messages=20, ratings=60, streams=4)


class Words:
    """As much of a tokenizer as counting needs: a token is a word."""

    def encode_chat(self, turns: Any) -> tuple[int, ...]:
        return tuple(range(sum(3 + len(turn.content.split()) for turn in turns)))


def fill(store: Store, seed: int = 1) -> str:
    """The sample, which one person has rated, with disagreements, objections and odd questions; the assistant's id."""
    with store._file.writing():  # one transaction, or a hundred syncs
        return _fill(store, seed)


def _fill(store: Store, seed: int) -> str:
    load_sample(store, cast(Any, Words()))
    chance = random.Random(seed)
    for answer in store.answers.rated(SAMPLE_ID):
        if chance.random() < 0.12:
            store.ratings.add(answer.message_id, "ann", Verdict.UP)
        if chance.random() < 0.10:
            reason, comment = chance.choice(REASONS), chance.choice(COMMENTS)
            store.ratings.add(answer.message_id, "bo", Verdict.DOWN, reason, comment)
        if chance.random() < 0.03:
            words = answer.answer.split()
            store.ratings.add(
                answer.message_id, "cy", Verdict.DOWN, correction=" ".join(words[: len(words) // 2]) + "."
            )
    odd = [
        ImportedTurn("odd-1", "Do you rent submarines with heated periscopes?", "Yes, from $12.", Verdict.UP),
        ImportedTurn(
            "odd-2", "<img src=x onerror=alert(1)> xylophone zeppelin?", "<script>alert(2)</script>"
        ),
        ImportedTurn("odd-3", "Which quokka sanctuary sponsors you?", "", Verdict.DOWN),
    ]
    load_turns(store, SAMPLE_ID, odd)
    _talk(store)
    return SAMPLE_ID


def _talk(store: Store) -> None:
    """A conversation of several turns that was answered here."""
    active = store.deployments.active(SAMPLE_ID)
    assert active is not None
    chat = store.conversations.create(SAMPLE_ID, "A long day", id="talk")
    parent = None
    for number in range(5):
        asked = store.messages.add(chat.id, parent, Role.USER, f"And on day {number + 1}, what is open?")
        usage = Usage(620, 592, 576, 20, 0.14, 1.2)
        text = f"On day {number + 1} the desk is open from **nine** to six.\n\n- kayaks\n- canoes"
        given = store.messages.add(
            chat.id, asked.id, Role.ASSISTANT, text, deployment_id=active.id, usage=usage
        )
        parent = given.id
    assert parent is not None
    store.ratings.add(parent, "ann", Verdict.UP)
    store.ratings.add(parent, "bo", Verdict.DOWN, "wrong fact", "we close at five")


def services_of(store: Store, chat: Any = None, rates: RateLimits = RATES) -> Services:
    """What the pages need, without a model unless `chat` is given."""
    settings = TrainerSettings()
    return Services(
        store,
        Access(store),
        cast(Any, Words()),
        cast(Any, chat or SimpleNamespace(limits=ChatLimits(), notices=list)),
        lambda: ServerState(Phase.READY, "ready", 0.0),
        False,
        lambda assistant_id: dataset_stats(store, assistant_id, settings),
        replace(rates),  # counted from now on
    )


@contextmanager
def chromium() -> Iterator[Browser]:
    """A real browser."""
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=options)
        yield browser
        browser.close()


def new_tab(browser: Browser, **options: Any) -> Page:
    """A tab in a context of its own with these options. Without a graphics card each pulsing dot takes a quarter of a
    core for as long as it pulses.
    """
    tab = browser.new_context(**{"viewport": DESKTOP, "reduced_motion": "reduce", **options}).new_page()
    tab.set_default_timeout(1000 * PATIENCE_S)
    return tab


def turned(page: Page, act: Callable[[], object]) -> None:
    """Do it, and wait until the Review page shows what it brought."""
    before = page.locator("article.review").get_attribute("data-turn") or ""
    act()
    expect(page.locator("article.review")).not_to_have_attribute("data-turn", before)


@contextmanager
def answering(
    store: Store, tokenizer: ChatTokenizer, vllm: FakeVllm, rates: RateLimits = RATES
) -> Iterator[tuple[str, gr.Blocks]]:
    """The pages with an assistant “desk”, answered by a fake vLLM."""
    create_assistant(store, tokenizer, "Desk", "exact", parse("Be brief."), (), "desk")
    with answered(store, tokenizer, vllm, rates) as running:
        yield running


@contextmanager
def answered(
    store: Store, tokenizer: ChatTokenizer, vllm: FakeVllm, rates: RateLimits = RATES
) -> Iterator[tuple[str, gr.Blocks]]:
    """The pages of a store as it is, answered by a fake vLLM."""
    with vllm.serving() as address:
        pool = VllmPool([VllmClient(address)])
        chat = Chat(store, pool, tokenizer, "base", store.path.parent, ChatLimits(8192))
        with serving(services_of(store, chat, rates), on_stop=pool.close) as running:
            yield running


@contextmanager
def page_of(store: Store) -> Iterator[str]:
    """The pages on a free loopback port; gives their address."""
    with serving(services_of(store)) as (url, _):
        yield url


@contextmanager
def serving(services: Services, port: int = 0, **options: Any) -> Iterator[tuple[str, gr.Blocks]]:
    """The same, with what was built."""
    port = port or free_port()
    page = build(services)
    server = PageServer(web_app(services, page), "127.0.0.1", port, **options)
    server.start()
    try:
        yield f"http://127.0.0.1:{port}", page
    finally:
        server.stop()
        # Gradio leaves sockets open; found by chance within `ast.parse`, they make Python 3.11 fail there.
        gc.collect()


def text_of(html: str) -> str:
    """The words of a page's part, without its tags."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())
