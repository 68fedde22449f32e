"""Every page as people meet it, in a real browser with a fake model: for eyes, ears, thumbs and keyboards.

Each test also fails for whatever the browser's console says.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from fake_vllm import FakeVllm
from playwright.sync_api import Browser, Page, expect
from review_scene import DESKTOP, IN_A_BROWSER, answered, chromium, fill, new_tab
from test_web_runs import REPORT
from tiny_model import write_adapter
from waiting import wait_for

from assistant.tokenizer import ChatTokenizer
from store import Store
from store.records import Role, RunStatus, Verdict
from store.sqlite import sqlite3

pytestmark = IN_A_BROWSER

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
FINDINGS = """async () => {
    for (const one of document.getAnimations()) try { one.finish(); } catch { /* it has no end */ }
    return (await axe.run(document, {resultTypes: ['violations']})).violations.flatMap(
        (one) => one.nodes.map((node) => `${one.id}: ${node.html.slice(0, 120)}`)); }"""
SMALL = """() => [...document.querySelectorAll('button, a[href], input, textarea, summary')]
    .filter((one) => one.checkVisibility({visibilityProperty: true}) && !one.closest('.prose-text'))
    .map((one) => [(one.type === 'checkbox' ? one.closest('label') : one).getBoundingClientRect(), one.outerHTML])
    .filter(([box]) => box.width && Math.min(box.width, box.height) < 39.5).map(([box, html]) => html.slice(0, 120))"""
PAGES = ("Chat", "Review", "Prompt", "Training", "Savings", "People")
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(tmp_path_factory.mktemp("pages") / "shorthand.sqlite") as opened:
        assistant = fill(opened)
        run = opened.runs.start(assistant, {}, "button")
        for step in range(1, 9):
            opened.runs.add_event(run.id, "train", {"step": step, "steps": 8, "loss": 3 / step})
        opened.runs.finish(run.id, RunStatus.PROMOTED, "The prompt is shorter.", REPORT)
        base = opened.deployments.active(assistant)
        assert base is not None
        write_adapter(opened.path.parent, "otter-quay-1", "base")
        served = opened.deployments.add(assistant, base.prompt_id, "otter-quay-1", ["role"], 1, 60, run.id)
        opened.deployments.activate(served.id)
        with opened._file.writing():  # one transaction, or 240 syncs
            for number in range(120):
                talk = opened.conversations.create(
                    assistant, f"Question number {number}", id=f"talk-{number}"
                )
                opened.messages.add(talk.id, None, Role.USER, f"What about number {number}?")
        yield opened


@pytest.fixture(scope="module")
def site(store: Store, tokenizer: ChatTokenizer) -> Iterator[tuple[str, Browser]]:
    vllm = FakeVllm(max_model_len=8192, answer=lambda model, ids: "A kayak costs $14 for one hour.")
    with answered(store, tokenizer, vllm) as (url, _), chromium() as browser:
        yield url, browser


@pytest.fixture
def said() -> list[str]:
    """What the console says."""
    return []


@pytest.fixture
def page(site: tuple[str, Browser], said: list[str], request: pytest.FixtureRequest) -> Iterator[Page]:
    """A tab of its own; a parameter has options of its context, such as a phone's size."""
    url, browser = site
    tab = opened(new_tab(browser, **getattr(request, "param", {})), url, said)
    yield tab
    tab.context.close()
    assert said == []


def opened(tab: Page, url: str, said: list[str]) -> Page:
    tab.on("console", lambda one: said.append(one.text) if one.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.goto(url)
    expect(tab.locator("#server-state")).to_contain_text("ready")
    expect(tab.locator("#chat-log .empty, #chat-log .turns")).to_be_visible()
    return tab


def go(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()
    expect(page).to_have_title(f"{name} · Shorthand")
    shown = {"Review": "#review-item article", "Prompt": "#segments li", "Training": "#runs button"}
    expect(page.locator(shown.get(name, "body")).first).to_be_visible()


def looks(**options: Any) -> Any:
    return pytest.mark.parametrize("page", [options], indirect=True)


@pytest.mark.parametrize(
    "page", [{"viewport": DESKTOP}, {"viewport": PHONE, "has_touch": True}], indirect=True
)
def test_axe_finds_nothing_on_any_page_in_the_light_or_in_the_dark(page: Page) -> None:
    page.evaluate(f"{AXE};0")
    for name in PAGES:
        go(page, name)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            expect(page.locator("body.dark")).to_have_count(int(scheme == "dark"))
            assert page.evaluate(FINDINGS) == [], (name, scheme)


@looks(viewport=PHONE, has_touch=True)
def test_a_phone_shows_every_tab_and_nothing_that_is_too_wide_or_too_small(page: Page) -> None:
    for name in PAGES:
        go(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], name
        assert page.evaluate(SMALL) == [], name
    go(page, "Savings")
    expect(page.locator(".gradio-container")).to_have_css("padding-left", "10px")
    chart = page.locator("#savings-plot .drawing").first
    expect(chart).to_be_visible()
    box = chart.bounding_box()
    assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"]
    go(page, "Chat")
    expect(page.locator("#chat-send")).to_be_in_viewport(ratio=1)


@looks(viewport=PHONE, has_touch=True)
def test_the_drawer_closes_on_a_tap_outside(page: Page) -> None:
    drawer, toggle = page.locator("#chat-sidebar"), page.locator("#chat-list-toggle")
    toggle.tap()
    expect(drawer).to_be_visible()
    page.touchscreen.tap(200, 830)
    expect(drawer).to_be_hidden()
    toggle.tap()
    page.locator("#conversation-list button.open").first.tap()
    expect(drawer).to_be_hidden()
    expect(page.locator("#chat-log .turns")).to_be_visible()


KEYS = {
    "type": (["Control+a", *"number 11"], "number 11"),
    "Backspace": (["Control+a", *"number 11", "Backspace"], "number 1"),
    "Delete": (["Control+a", *"number 11", "ArrowLeft", "Delete"], "number 1"),
    "cut": (["Control+a", *"number 11", "Control+a", "Control+x"], ""),
    "paste": (["Control+a", *"number 11", "Control+a", "Control+x", "Control+v"], "number 11"),
    "undo": (["Control+a", *"number 11", "Backspace", "Control+z"], "number 11"),
}


@looks(permissions=["clipboard-read", "clipboard-write"])
def test_the_searches_follow_every_way_to_change_them(page: Page, store: Store) -> None:
    for name, box in (("Chat", "#chat-search"), ("Review", "#review-search")):
        go(page, name)
        field = page.locator(f"{box} textarea, {box} input")
        turn = page.locator("article.review")
        for what, (keys, text) in KEYS.items():
            before = turn.get_attribute("data-turn") if name == "Review" else ""
            field.focus()
            for key in keys:
                page.keyboard.press(key if key != " " else "Space")
            expect(field).to_have_value(text)
            if name == "Chat":
                found = store.conversations.all("otter-quay", "local", "chat", text or None)
                expect(page.locator("#conversation-list .conversation")).to_have_count(min(100, len(found)))
            else:
                expect(turn).not_to_have_attribute("data-turn", str(before))
            assert page.locator("#conversation-list .conversation").count() or name == "Review", what


def test_keys_alone_do_everything(page: Page, store: Store) -> None:
    expect(page.locator("#chat-input textarea")).to_be_focused()  # the first stop
    page.keyboard.type("By keys alone?")
    page.keyboard.press("Enter")
    expect(page.locator("#rate-up")).to_be_visible()
    page.locator("#rate-up").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#rate-up.on")).to_be_focused()
    page.locator("#correct").press("Enter")
    page.locator("#correction-text").fill("Corrected by keys.")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#chat-log .correction")).to_contain_text("Corrected by keys.")
    expect(page.locator("#correct")).to_be_focused()
    page.get_by_role("tab", name="Chat", exact=True).focus()
    for key, name in (
        ("ArrowRight", "Review"),
        ("End", "People"),
        ("ArrowRight", "Chat"),
        ("ArrowLeft", "People"),
    ):
        page.keyboard.press(key)
        expect(page.get_by_role("tab", name=name, exact=True)).to_be_focused()
        expect(page).to_have_title(f"{name} · Shorthand")
    go(page, "Prompt")
    before = store.prompts.latest("otter-quay")
    box = page.locator("#prompt-text textarea")
    box.press("End")
    box.press("x")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#prompt-notice")).to_contain_text(f"Version {before.version + 1}")
    assert store.prompts.latest("otter-quay").version == before.version + 1


def test_what_is_typed_into_the_prompt_stays_while_one_looks_elsewhere(page: Page) -> None:
    go(page, "Prompt")
    assert wait_for(lambda: typed(page, "otters are "), every_s=0.5)
    box = page.locator("#prompt-text textarea")
    text = box.input_value()
    for _ in range(2):
        go(page, "Review")
        with page.expect_response(lambda one: "/queue/join" in one.url):
            go(page, "Prompt")
        expect(page.locator("#segments")).to_contain_text("otters are")
        expect(box).to_have_value(text)


def test_focus_waits_beside_a_button_that_is_disabled_and_goes_back_to_it(page: Page, store: Store) -> None:
    store.runs.take_request()
    go(page, "Training")
    train = page.locator("#train-now")
    expect(train).to_be_enabled()
    train.press("Enter")
    expect(train).to_be_disabled()
    expect(page.locator("#training-bar")).to_be_focused()
    store.runs.take_request()
    expect(train).to_be_enabled()
    expect(train).to_be_focused()


def test_a_conversation_and_a_page_have_an_address(
    site: tuple[str, Browser], page: Page, said: list[str]
) -> None:
    for row in ("talk-107", "talk-109"):
        page.locator(f"#conversation-list .open[data-id={row}]").click()
        expect(page).to_have_url(re.compile(f"#chat/{row}$"))
    go(page, "Savings")
    expect(page).to_have_url(re.compile("#savings$"))
    for address, text in (("talk-109", "number 109?"), ("talk-107", "number 107?")):
        page.go_back()
        expect(page.locator("#chat-log .bubble")).to_contain_text(text)
        expect(page).to_have_title("Chat · Shorthand")
        expect(page).to_have_url(re.compile(f"#chat/{address}$"))
    page.go_forward()
    page.reload()
    expect(page.locator("#chat-log .bubble")).to_contain_text("number 109?")
    page.goto(page.url.split("#")[0] + "#training")
    expect(page.locator("#runs button").first).to_be_visible()
    page.reload()
    expect(page.locator("#runs button").first).to_be_visible()
    stranger = new_tab(site[1])
    stranger.goto(page.url.split("#")[0] + "#chat/talk-3")
    expect(stranger.locator("#chat-log .bubble")).to_contain_text("number 3?")
    stranger.context.close()
    # A page that is left ends what is on its way, which Gradio reports, or the server where it comes too late.
    left = ("AbortError", "errored out", "404 (Not Found)")
    said[:] = [text for text in said if text != "Response" and not any(one in text for one in left)]


def test_the_list_goes_on_and_can_be_downloaded(page: Page, store: Store) -> None:
    rows = page.locator("#conversation-list .conversation")
    expect(rows).to_have_count(100)
    page.locator("#conversation-list").hover()
    page.mouse.wheel(0, 100_000)
    expect(page.locator("#chat-more")).to_be_in_viewport()
    page.locator("#chat-more").click()
    expect(rows).to_have_count(len(store.conversations.all("otter-quay", "local", "chat", limit=1000)))
    expect(page.locator("#chat-more")).to_have_count(0)
    with page.expect_download() as one:
        page.locator("#conversation-list .tool[data-toggle='menu-talk-5']").click()
        page.locator("#menu-talk-5 a").click()
    assert one.value.suggested_filename == "Question number 5.md"
    with page.expect_download() as all_of_them:
        page.locator("#download-all").click()
    text = Path(all_of_them.value.path()).read_text()
    assert Path(one.value.path()).read_text() in text and text.count("\n# ") >= 100


ASKED = {"conversations": 1, "questions": 1, "answers": 1}
PRESSES = {  # what is pressed twice, on which page, and what one press does
    "Send": ("Chat", "#chat-send", ASKED),
    "a starter": ("Chat", "#starters button", ASKED),
    "Regenerate": ("Chat", "#regenerate", {"answers": 1}),
    "thumbs up": ("Chat", "#rate-up", {"ratings": 1}),
    "Send again": ("Chat", ".question .panel [type=submit]", {"questions": 1, "answers": 1}),
    "Save correction": ("Chat", "#correction-save", {"ratings": 1}),
    "Train now": ("Training", "#train-now", {"requests": 1}),
    "Save the prompt": ("Prompt", "#prompt-save", {"prompts": 1}),
    "Approve": ("Review", "#review-approve", {"decisions": 1}),
    "Create the assistant": ("Prompt", "#create-assistant", {"assistants": 1, "prompts": 1}),
}


def test_a_double_click_is_one_click(page: Page, store: Store) -> None:
    expected = Counter(counted(store))
    for what, (name, button, changes) in PRESSES.items():
        expected.update(get_ready(page, what, name))
        page.wait_for_timeout(600)  # a first press of its own
        page.locator(button).first.dblclick()
        if name == "Chat":
            expect(page.locator("#newest-answer")).to_be_visible()
        expected.update(changes)
        assert wait_for(lambda: counted(store) >= expected, every_s=0.1), (what, counted(store), expected)
    page.wait_for_timeout(2500)  # for what the second presses would do
    assert counted(store) == expected
    assert page.locator(".toast-body.warning, .toast-body.error").count() == 0


def get_ready(page: Page, what: str, name: str) -> dict[str, int]:
    """Up to the double click; gives what that stores."""
    asks = what in ("Regenerate", "thumbs up", "Send again", "Save correction")
    if name == "Chat":
        page.locator("#chat-new").click()
        expect(page.locator("#chat-log article")).to_have_count(0)
        page.locator("#chat-input textarea").fill(f"Twice {what}?")
    if asks:
        page.locator("#chat-send").click()
        expect(page.locator("#newest-answer")).to_be_visible()
        if opens := {"Send again": ".question .tools [data-toggle]", "Save correction": "#correct"}.get(what):
            page.locator(opens).last.click()
            page.locator("[data-panel]:visible textarea").fill(f"Twice, {what}")
    go(page, name)
    if what == "Save the prompt":
        assert wait_for(lambda: typed(page, "Twice. "), every_s=0.5)
    if what == "Create the assistant":
        page.get_by_role("button", name="Another assistant").click()
        page.locator("#assistant-name input, #assistant-name textarea").fill("Twice")
        page.locator("#new-prompt-text textarea").fill("Be brief.")
    return ASKED if asks else {}


def typed(page: Page, text: str) -> bool:
    """Whether the page knows of it; what is typed before all of the page has come is overwritten."""
    box = page.locator("#prompt-text textarea")
    if text not in box.input_value():
        box.press_sequentially(text)
    return "Saving makes a new version" in page.locator("#prompt-notice").inner_text()


def counted(store: Store) -> Counter[str]:
    tables = {
        "conversations": "conversations",
        "questions": "messages WHERE role = 'user'",
        "answers": "messages WHERE role = 'assistant'",
        "ratings": "ratings",
        "requests": "training_requests",
        "prompts": "prompts",
        "assistants": "assistants",
        "decisions": "decisions",
    }
    with sqlite3.connect(f"file:{store.path}?mode=ro", uri=True) as file:
        found = {name: file.execute(f"SELECT count(*) FROM {sql}").fetchone() for name, sql in tables.items()}
    return Counter({name: count for name, (count,) in found.items()})


def test_a_newcomer_with_a_phone_finds_the_way(
    site: tuple[str, Browser], said: list[str], tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    vllm = FakeVllm(max_model_len=8192, answer=lambda model, ids: "We close at 7 pm.")
    with Store(tmp_path / "new.sqlite") as new, answered(new, tokenizer, vllm) as (url, _):
        tab = opened(new_tab(site[1], viewport=PHONE, has_touch=True), url, said)
        tab.locator("#chat-load-sample").tap()
        tab.locator("#starters button").first.tap()
        expect(tab.locator("#newest-answer")).to_contain_text("We close at 7 pm.")
        tab.locator("#rate-up").tap()
        expect(tab.locator("#rate-up.on")).to_be_visible()
        tab.locator("#correct").tap()
        tab.locator("#correction-text").fill("We close at 6 pm.")
        tab.locator("#correction-save").tap()
        expect(tab.locator("#chat-log .correction")).to_contain_text("We close at 6 pm.")
        tab.locator("#chat-input textarea").fill("And on Sundays?")
        expect(tab.locator("#chat-send")).to_be_in_viewport(ratio=1)
        tab.locator("#chat-send").tap()
        expect(tab.locator("article.answer[data-status=complete]")).to_have_count(2)
        tab.get_by_role("tab", name="Training", exact=True).tap()
        tab.locator("#train-now").tap()
        expect(tab.locator("#train-now")).to_be_disabled()
        tab.get_by_role("tab", name="Savings", exact=True).tap()
        expect(tab.locator("#saved-tokens")).to_contain_text("tokens")
        assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        [talk] = new.conversations.all("otter-quay", source="chat")
        rated = new.ratings.all(new.messages.thread(talk.id)[1].id)[-1]
        assert rated.correction == "We close at 6 pm." and rated.verdict is Verdict.UP
        tab.context.close()
    assert said == []
