"""Hostile text in every place that shows what a person or a model wrote, in a real browser: nothing of it runs."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Request, expect
from review_scene import IN_A_BROWSER, Words, chromium, new_tab, page_of, turned
from test_web_runs import REPORT
from xss_payloads import payloads

from assistant.assistants import create_assistant
from store import Store
from store.records import Example, MessageStatus, Role, RunStatus, Segment, SegmentKind, Split, Usage, Verdict
from store.runs import GateAnswer

pytestmark = IN_A_BROWSER

OUTSIDE = "http://attacker.example/x"
PAYLOADS = payloads(OUTSIDE)
ALL = "\n".join(PAYLOADS)
# Whatever could act within what people and models wrote; links may lead to pages alone.
ACTIVE = """() => [...document.querySelectorAll('.prose-text *, .bubble *, .review-card *, .run *, .segment *')]
    .filter((e) => ['SCRIPT', 'IFRAME', 'OBJECT', 'EMBED', 'IMG', 'STYLE', 'LINK', 'BASE', 'META', 'VIDEO', 'AUDIO']
        .includes(e.tagName) || [...e.attributes].some((a) => a.name.startsWith('on'))
        || (e.hasAttribute('href') && !/^(https?|mailto):/i.test(e.getAttribute('href'))))
    .map((e) => e.outerHTML.slice(0, 200))"""
TOUCH = """() => { for (const e of document.querySelectorAll('.prose-text *, .bubble *, .review-text *'))
    for (const what of ['mouseover', 'focus', 'pointerenter', 'animationstart'])
        e.dispatchEvent(new Event(what, {bubbles: true})); }"""


def test_there_are_more_than_300_payloads_and_they_do_run_where_nothing_is_escaped(page: Page) -> None:
    assert len(set(PAYLOADS)) > 300
    bare = page.context.new_page()
    asked: list[str] = []
    bare.on("request", lambda request: asked.append(request.url))
    bare.set_content(f"<p>{ALL}</p>", wait_until="commit")
    bare.wait_for_function("window.ran === 1 || document.readyState === 'complete'")
    assert bare.evaluate("window.ran") == 1 or any(url.startswith("http://attacker") for url in asked)
    bare.close()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(tmp_path_factory.mktemp("xss") / "shorthand.sqlite") as opened:
        with opened._file.writing():  # one transaction, or 1,000 syncs
            _fill(opened)
        yield opened


def _fill(store: Store) -> None:
    segments = [
        Segment(f"s{n}", SegmentKind.INSTRUCTION, text=f"{text} ") for n, text in enumerate(PAYLOADS[:40])
    ]
    segments.append(Segment("example", SegmentKind.EXAMPLE, user=ALL, assistant=ALL))
    create_assistant(store, Words(), PAYLOADS[0], "exact", segments, assistant_id="xss")
    served = store.deployments.active("xss")
    assert served is not None
    usage = Usage(50, 40, 32, 9, 0.25, 1.0)
    talk, parent = store.conversations.create("xss", PAYLOADS[4]), None
    for text in PAYLOADS:
        asked = store.messages.add(talk.id, parent, Role.USER, text)
        parent = store.messages.add(
            talk.id, asked.id, Role.ASSISTANT, text, MessageStatus.COMPLETE, served.id, usage
        ).id
    for number, text in enumerate(PAYLOADS[:: len(PAYLOADS) // 12]):
        other = store.conversations.create("xss", text)
        asked = store.messages.add(other.id, None, Role.USER, ALL)
        answer = store.messages.add(
            other.id, asked.id, Role.ASSISTANT, ALL, MessageStatus.COMPLETE, served.id, usage
        )
        store.ratings.add(answer.id, text, Verdict.DOWN, text, ALL, ALL if number % 2 else None)
        store.ratings.add(answer.id, f"{text} two", Verdict.UP, text, ALL)
    run = store.runs.start("xss", {}, ALL)
    store.judgement_requests.add(run.id, [(answer.id, ALL)])
    example = Example(answer.id, other.id, ((Role.USER, ALL),), ALL, False, Split.GATE, ALL)
    store.runs.update(run.id, dataset_id=store.datasets.add("xss", served.prompt_id, "h", [example], {}).id)
    scored = [("base_full", 0.0), (ALL, 1.0)]
    store.gate_answers.add(run.id, [GateAnswer(0, answer.id, system, ALL, score) for system, score in scored])
    gate = REPORT["gate"] | {
        "shown": ALL,
        "scorer": ALL,
        "guards": [{"name": text, "passed": False, "detail": ALL} for text in PAYLOADS[:3]],
        "reasons": [ALL],
    }
    dataset = {"train": 1, "dev": 1, "gate": 1, "dropped": {ALL: 3}, "replaced": {ALL: 2}}
    store.runs.finish(run.id, RunStatus.REFUSED, ALL, {"gate": gate, "dataset": dataset})
    other_served = store.deployments.add(
        "xss", served.prompt_id, PAYLOADS[1], [segments[0].id], 1, 10, run.id
    )
    store.deployments.activate(other_served.id)
    store.deployments.rollback("xss", ALL)


@pytest.fixture(scope="module")
def requests() -> list[Request]:
    return []


@pytest.fixture(scope="module")
def page(store: Store, requests: list[Request]) -> Iterator[Page]:
    with page_of(store) as url, chromium() as browser:
        tab = new_tab(browser)
        tab.on("request", lambda request: requests.append(request))
        tab.on("dialog", lambda dialog: dialog.dismiss())
        tab.goto(url)
        yield tab


def harmless(page: Page, requests: list[Request]) -> None:
    page.evaluate(TOUCH)
    page.wait_for_timeout(300)
    assert page.evaluate("window.ran") is None
    assert page.evaluate(ACTIVE) == []
    here = page.url.split("#")[0].rstrip("/")
    outside = [r.url for r in requests if not r.url.startswith((here, "data:", "blob:"))]
    assert outside == []


def test_chat_shows_all_of_it_as_text(page: Page, requests: list[Request]) -> None:
    page.locator("#conversation-list button.open").last.click()
    expect(page.locator(".turns .bubble")).to_have_count(len(PAYLOADS))
    shown = page.locator(".turns .bubble").all_inner_texts()
    same = sum(" ".join(a.split()) == " ".join(b.split()) for a, b in zip(shown, PAYLOADS, strict=True))
    assert same == len(PAYLOADS), [a for a, b in zip(shown, PAYLOADS, strict=True) if a != b][:3]
    harmless(page, requests)


@pytest.mark.parametrize(
    ("tab", "shown"),
    [
        ("Prompt", "#segments li"),
        ("Training", "#gate-answers tbody tr"),
        ("Savings", "#saved-tokens"),
        ("Review", "article.review[data-message]"),
    ],
)
def test_every_other_page_runs_none_of_it(page: Page, requests: list[Request], tab: str, shown: str) -> None:
    page.get_by_role("tab", name=tab, exact=True).click()
    expect(page.locator(shown).first).to_be_visible()
    harmless(page, requests)
    if tab == "Review":
        for _ in range(8):  # judgement requests, disagreements, corrections
            turned(page, lambda: page.keyboard.press("s"))
            harmless(page, requests)
