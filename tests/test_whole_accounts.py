"""Signing in as a person does it, in a real browser: what each role sees, and the way out."""

from collections.abc import Iterator

import pytest
from page_client import cheap_passwords
from playwright.sync_api import Browser, Page, expect
from review_scene import IN_A_BROWSER, chromium, fill, new_tab, page_of

from store import Store
from store.accounts import UserRole
from store.records import Role, Segment, SegmentKind

pytestmark = IN_A_BROWSER

TABS = {
    "bo": ["Chat", "Savings"],
    "rev": ["Chat", "Review", "Prompt", "Training", "Savings"],
    "ann": ["Chat", "Review", "Prompt", "Training", "Savings", "People"],
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    path = tmp_path_factory.mktemp("accounts") / "shorthand.sqlite"
    with cheap_passwords(), Store(path) as opened:
        fill(opened)
        for name, role in (("ann", "admin"), ("rev", "reviewer"), ("bo", "user")):
            opened.users.add(name, UserRole(role), f"password of {name}")
        for id, day in (("prompt-1", "Monday"), ("prompt-2", "Tuesday")):
            texts = ("You are a poet of the sea.", f"Today is {day}.")
            opened.assistants.create(id, texts[0], "chrf", found=True)
            opened.prompts.add(
                id, [Segment(f"part-{n}", SegmentKind.INSTRUCTION, text=text) for n, text in enumerate(texts)]
            )
        opened.conversations.create("prompt-1", owner="api:shop")
        for name in ("ann", "bo"):
            talk = opened.conversations.create("otter-quay", f"talk of {name}", owner=name)
            opened.messages.add(talk.id, None, Role.USER, f"a secret of {name}")
        yield opened


@pytest.fixture(scope="module")
def site(store: Store) -> Iterator[tuple[str, Browser]]:
    with page_of(store) as url, chromium() as browser:
        yield url, browser


def sign_in(site: tuple[str, Browser], name: str) -> Page:
    url, browser = site
    page = new_tab(browser)
    page.goto(url)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill("not this one")
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#sign-in-wrong")).to_contain_text("do not belong together")
    expect(page.get_by_label("Name")).to_have_value(name)
    page.get_by_label("Password").fill(f"password of {name}")
    page.keyboard.press("Enter")
    expect(page.locator("#signed-in")).to_contain_text(name)
    return page


@pytest.mark.parametrize("name", ["bo", "rev", "ann"])
def test_each_role_sees_its_own_tabs_and_conversations(
    site: tuple[str, Browser], store: Store, name: str
) -> None:
    page = sign_in(site, name)
    shown = page.get_by_role("tab")
    expect(shown.filter(visible=True)).to_have_count(len(TABS[name]))
    assert [tab.inner_text() for tab in shown.all() if tab.is_visible()] == TABS[name]
    listed = page.locator("#conversation-list")
    if name == "rev":
        expect(listed).to_contain_text("No conversations yet")
        page.get_by_role("tab", name="Prompt", exact=True).click()
        expect(page.locator("#segments li").first).to_be_visible()
        expect(page.locator("#prompt-save")).to_be_hidden()
        expect(page.locator("#load-sample")).to_be_hidden()
        expect(page.locator("#found-prompts")).to_contain_text("1 conversation")
        expect(page.get_by_role("button", name="Make it an assistant")).to_have_count(0)
    else:
        other = {"ann": "bo", "bo": "ann"}[name]
        expect(listed).to_contain_text(f"talk of {name}")
        assert f"talk of {other}" not in page.content()
        page.locator("#conversation-list button.open").first.click()
        expect(page.locator("#chat-log")).to_contain_text(f"a secret of {name}")
    if name == "ann":
        page.get_by_role("tab", name="People", exact=True).click()
        expect(page.locator("#people-users")).to_contain_text("reviewer")
        expect(page.locator("#people-audit")).to_contain_text("sign-in failed")
        change_people(page, store)
        change_keys(page, store)
        adopt_a_prompt(page, store)
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("#sign-in")).to_be_visible()
    page.go_back()
    page.reload()
    expect(page.locator("#sign-in")).to_be_visible()
    page.context.close()


def change_people(page: Page, store: Store) -> None:
    """All that `python -m store user` can; what is refused leaves what was typed."""
    add = page.locator("#people-add")
    add.get_by_label("Name").fill("cy")
    add.get_by_label("Password").fill("short")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The password has 5 characters").first).to_be_visible()
    expect(add.get_by_label("Name")).to_have_value("cy")
    page.wait_for_timeout(600)  # a second press within half a second is the same press (page.js)
    add.get_by_label("Password").fill("long enough")
    add.get_by_role("button", name="Add").click()
    expect(page.locator("tr[data-name=cy]")).to_contain_text("user")
    expect(add.get_by_label("Password")).to_have_value("")
    page.get_by_label("Change cy").click()
    page.get_by_label("Role of cy").select_option("reviewer")
    page.get_by_role("button", name="Change role").filter(visible=True).click()
    expect(page.locator("tr[data-name=cy]")).to_contain_text("reviewer")
    page.get_by_label("Change cy").click()
    page.get_by_label("New password of cy").fill("another one")
    page.keyboard.press("Enter")
    expect(page.get_by_text("cy has a new password").first).to_be_visible()
    assert store.users.check_password("cy", "another one") is not None
    for name in ("cy", "ann"):
        page.get_by_label(f"Change {name}").click()
        page.get_by_role("button", name="Remove…").filter(visible=True).click()
        page.get_by_role("button", name=f"Remove {name}").click()
        if name == "cy":
            expect(page.locator("tr[data-name=cy]")).to_have_count(0)
    expect(page.get_by_text("'ann' is the last admin").first).to_be_visible()
    actors = {one.actor for one in store.audit.entries(20, action="user added") if one.subject == "cy"}
    assert actors == {"ann"}


def change_keys(page: Page, store: Store) -> None:
    """A key is shown once, works, and can be revoked."""
    page.get_by_label("Name of the program").fill("shop")
    page.get_by_label("Whose it is").select_option("ann")
    page.get_by_label("feedback").uncheck()
    page.get_by_role("button", name="Make a key").click()
    key = page.locator("#new-key").inner_text()
    made = store.api_keys.of(key)
    assert made and (made.name, made.scopes, made.user) == ("shop", ("chat",), "ann")
    page.get_by_label("Revoke shop").click()
    expect(page.locator("tr[data-key=shop]")).to_contain_text("revoked")
    expect(page.locator("#new-key")).to_have_count(0)
    assert store.api_keys.of(key) is None


def adopt_a_prompt(page: Page, store: Store) -> None:
    """What came through the API becomes an assistant, which every page then shows."""
    page.get_by_role("tab", name="Prompt", exact=True).click()
    expect(page.locator("#found-prompts")).to_contain_text("in 2 forms")
    page.get_by_role("button", name="Make it an assistant").click()
    expect(page.get_by_text("Give the assistant a name").first).to_be_visible()
    page.get_by_label("Name of the assistant").fill("Poet")
    page.wait_for_timeout(600)  # a second press within half a second is the same press (page.js)
    page.get_by_role("button", name="Make it an assistant").click()
    expected = "You are a poet of the sea.\n\n[varies]"
    expect(page.locator("#prompt-text textarea")).to_have_value(expected)
    expect(page.locator("#found-prompts")).to_have_count(0)
    assert [one.name for one in store.assistants.all()][-1] == "Poet"
