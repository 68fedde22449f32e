"""The Review page in a real browser: every key, without a model.

Its name puts it last: on Python 3.11, `ast.parse` sometimes fails in a process that has run Playwright's greenlets.
"""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from review_scene import IN_A_BROWSER, chromium, fill, new_tab, page_of, turned

from store import Store
from store.errors import NotSaved
from store.records import Ruling
from store.reviews import ReviewFilter

pytestmark = IN_A_BROWSER


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(tmp_path_factory.mktemp("review") / "shorthand.sqlite") as opened:
        fill(opened)
        yield opened


@pytest.fixture(scope="module")
def page(store: Store) -> Iterator[Page]:
    with page_of(store) as url, chromium() as browser:
        tab = new_tab(browser)
        tab.goto(url)
        tab.get_by_role("tab", name="Review", exact=True).click()
        expect(tab.locator("article.review[data-message]")).to_be_visible()
        yield tab


def shown(page: Page) -> str:
    """The id of the answer that is shown."""
    return page.locator("article.review").get_attribute("data-message") or ""


def press(page: Page, key: str) -> None:
    turned(page, lambda: page.keyboard.press(key))


def ruled(store: Store, message_id: str) -> Ruling | None:
    found = store.decisions.effective([message_id]).get(message_id)
    return found and found.ruling


def test_keys_approve_reject_skip_and_undo(page: Page, store: Store) -> None:
    first = shown(page)
    press(page, "a")
    second = shown(page)
    assert ruled(store, first) is Ruling.APPROVE and second != first
    press(page, "r")
    third = shown(page)
    assert ruled(store, second) is Ruling.REJECT
    press(page, "ArrowRight")
    assert ruled(store, third) is None and shown(page) != third
    expect(page.locator("#review-count")).to_have_text(re.compile(r"^2 of \d+ today$"))
    for expected in (third, second, first):
        press(page, "z")
        assert shown(page) == expected
    assert ruled(store, first) is ruled(store, second) is None
    expect(page.locator("#review-undo")).to_be_disabled()


def test_a_correction_is_typed_left_and_saved_by_keys(page: Page, store: Store) -> None:
    id = shown(page)
    page.keyboard.press("c")
    box = page.locator("#review-correction")
    expect(box).to_be_focused()
    box.fill("ask <b>ann</b>, azure rarely shuts")  # every letter is a key elsewhere
    page.keyboard.type(" z")
    page.keyboard.press("Escape")
    expect(box).to_be_hidden()
    assert shown(page) == id and store.decisions.all(id) == [] or ruled(store, id) is None
    page.keyboard.press("c")
    expect(box).to_have_value("ask <b>ann</b>, azure rarely shuts z")
    press(page, "Control+Enter")
    assert store.decisions.effective([id])[id].correction == "ask <b>ann</b>, azure rarely shuts z"
    press(page, "u")
    assert ruled(store, id) is None and shown(page) == id


def test_what_was_typed_stays_when_it_cannot_be_saved(
    page: Page, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise NotSaved("The disk is full.")

    id = shown(page)
    monkeypatch.setattr(store.decisions, "add_all", full)
    page.keyboard.press("c")
    page.locator("#review-correction").fill("precious words")
    press(page, "Control+Enter")
    expect(page.locator(".review-notice")).to_contain_text("Not saved. The disk is full.")
    expect(page.locator("#review-correction")).to_have_value("precious words")
    expect(page.locator("#review-correction")).to_be_visible()
    assert shown(page) == id
    monkeypatch.undo()
    page.locator("#review-correction").press("Escape")
    press(page, "s")  # the keys work on
    press(page, "z")


def test_what_was_typed_comes_back_after_a_reload(page: Page, store: Store) -> None:
    id = shown(page)
    page.keyboard.press("c")
    page.locator("#review-correction").press_sequentially("Kept: ")
    typed = page.locator("#review-correction").input_value()
    page.reload()
    page.get_by_role("tab", name="Review", exact=True).click()
    expect(page.locator("#review-correction")).to_have_value(typed)
    expect(page.locator(".review-notice")).to_contain_text("not saved yet")
    assert shown(page) == id
    page.locator("#review-correction").focus()
    press(page, "Control+Enter")
    assert store.decisions.effective([id])[id].correction == typed.strip()
    press(page, "z")
    expect(page.locator("#review-editor")).to_be_hidden()  # it was saved, so nothing is kept


def test_search_then_all_at_once_and_undo_as_one(page: Page, store: Store) -> None:
    page.keyboard.press("/")
    turned(page, lambda: page.keyboard.insert_text("lesson"))  # as one change: each draws the page anew
    expect(page.locator("#review-bulk")).to_contain_text("answers found")
    found = [item.message_id for item in store.reviews.find("otter-quay", ReviewFilter(text="lesson"))[0]]
    page.locator("#bulk-reject-open").click()
    confirm = page.locator("#bulk-reject-confirm")
    count = int(re.search(r"\d+", confirm.inner_text())[0])
    assert 2 <= count <= len(found)
    confirm.click()
    expect(page.locator("article.review")).to_contain_text("Nothing is left")
    rejected = store.decisions.effective(found)
    assert len(rejected) == count and {one.ruling for one in rejected.values()} == {Ruling.REJECT}
    press(page, "z")
    assert store.decisions.effective(found) == {} and shown(page) in found
    page.locator("#review-search input").fill("")
    expect(page.locator("#review-bulk")).not_to_contain_text("found")


def test_the_numbers_of_the_dataset_are_new_each_time_the_page_is_opened(page: Page) -> None:
    expect(page.locator("#review-dataset")).to_contain_text("examples")
    page.locator("h3").first.focus()
    page.keyboard.press("Escape")
    page.locator("#review-legend").click()
    press(page, "r")
    for name in ("Chat", "Review"):
        page.get_by_role("tab", name=name, exact=True).click()
    expect(page.locator("#review-funnel")).to_contain_text("rejected by a reviewer")


def test_undo_stands_alone_on_no_line_of_a_phone(page: Page) -> None:
    for width in (300, 320, 360, 390, 430):
        page.set_viewport_size({"width": width, "height": 844})
        skip, undo = (page.locator(f"#review-{name}").bounding_box() for name in ("skip", "undo"))
        assert skip and undo and abs(skip["y"] - undo["y"]) < skip["height"] / 2, width
    page.set_viewport_size({"width": 1280, "height": 900})


def accepted(store: Store) -> dict[str, bool | None]:
    return {one.text: one.accepted for one in store.judgement_requests.decided("otter-quay")}


def test_answers_to_one_question_are_judged_blind_by_their_numbers(page: Page, store: Store) -> None:
    several, one = (answer.message_id for answer in store.answers.rated("otter-quay")[:2])
    run = store.runs.start("otter-quay", {}, "test")
    asked = [(several, text) for text in ("served", "candidate", "base")]
    store.judgement_requests.add(run.id, [*asked, (one, "alone")])
    page.reload()
    page.get_by_role("tab", name="Review", exact=True).click()
    card = page.locator(".review-card")
    expect(card).to_contain_text("Which answer is right?")
    expect(card.locator(".review-ratings, .caption", has_text=re.compile("answered|rated"))).to_have_count(0)
    texts = card.locator(".review-choices .answer").all_inner_texts()
    id, done = shown(page), page.locator("#review-count strong").inner_text()
    page.keyboard.press("4")  # there are three
    for key, right in (("2", texts[1:2]), ("0", []), ("r", []), ("=", texts), ("a", texts), ("3", texts[2:])):
        press(page, key)
        expect(card).to_contain_text("Would this answer do?")
        assert accepted(store) == {text: text in right for text in texts}, key
        expect(page.locator("#review-count strong")).to_have_text(str(int(done) + 1))
        press(page, "z")
        assert accepted(store) == {} and shown(page) == id
    page.set_viewport_size({"width": 390, "height": 500})
    expect(page.locator("#review-only-1")).to_be_in_viewport(ratio=1)
    turned(page, page.locator("#review-only-1").click)
    for key, right in (("0", False), ("1", True)):
        expect(card).to_contain_text("Would this answer do?")
        press(page, key)
        assert accepted(store)["alone"] is right and accepted(store)[texts[0]] is True
        expect(card).not_to_contain_text("Would this answer do?")
        press(page, "z")
