"""The pages build and show an empty and a filled store; what people write is escaped."""

import asyncio
import re
from typing import Any

import gradio as gr
import pytest
from gradio.components import _Keywords
from jinja2 import UndefinedError
from review_scene import services_of
from test_web_runs import REPORT

from assistant.assistants import create_assistant
from assistant.prompt_text import parse
from assistant.web import theme
from assistant.web.access import Person, Services
from assistant.web.app import build, web_app
from assistant.web.markup import render
from assistant.web.review_queue import ReviewSession
from assistant.web.user_conversations import Turn, UserConversations
from store import Store
from store.connection import Transaction
from store.records import Message, MessageStatus, Rating, Role, RunStatus, Usage, Verdict

pytestmark = pytest.mark.usefixtures("event_loops")


@pytest.fixture
def services(store: Store) -> Services:
    return services_of(store)


def test_what_the_page_changes_of_gradios_queue_is_there_in_this_version() -> None:
    with gr.Blocks() as page:
        page.queue()
    assert hasattr(page._queue, "sleep_when_free") and hasattr(page._queue, "ANALYTICS_MAX_EVENTS")


def test_no_rule_for_some_screens_names_what_gradio_puts_them_below() -> None:
    """Gradio writes its container in front of every rule within @media: one that names it finds nothing."""
    css = re.sub(r"/\*.*?\*/", "", theme.CSS.read_text("utf-8"), flags=re.DOTALL)
    blocks = re.findall(r"@media[^{]*\{((?:[^{}]*\{[^{}]*\})*)\s*\}", css)
    assert len(blocks) == css.count("@media") > 5
    selectors = [one for block in blocks for one in re.findall(r"([^{}]+)\{", block)]
    outside = re.compile(r"\.gradio-container|:root|(^|,)\s*(html|body)\b")
    assert [one for one in selectors if outside.search(one)] == []


def fill(services: Services) -> str:
    store = services.store
    segments = parse("Be brief.\n\n[keep] Be kind.\n\nUser: hi\nAssistant: hello")
    assistant = create_assistant(store, services.tokenizer, "Desk <b>", "chrf", segments, ["Open?"])
    active = store.deployments.active(assistant.id)
    assert active is not None
    talk = store.conversations.create(assistant.id, "<script>x</script>").id
    question = store.messages.add(talk, None, Role.USER, "<img src=x onerror=alert(1)>")
    text, cost = "<img src=y> ![z](http://e/z.png) [l](javascript:x)", Usage(20, 12, 0, 5, 0.4, 1.0)
    given = {"deployment_id": active.id, "usage": cost}
    answer = store.messages.add(talk, question.id, Role.ASSISTANT, text, **given)
    store.ratings.add(answer.id, "local", Verdict.DOWN, "wrong fact", "no", "It is <b>nine</b>.")
    run = store.runs.start(assistant.id, {}, "button")
    store.runs.add_event(run.id, "train", {"step": 1, "steps": 2, "loss": 2.0})
    store.runs.finish(run.id, RunStatus.REFUSED, "no", {"gate": REPORT["gate"] | {"promoted": False}})
    return talk


def test_it_has_no_public_endpoints_and_talks_to_nobody(services: Services) -> None:
    page = build(services)
    assert {fn.api_visibility for fn in page.fns.values() if fn.fn is not None} == {"private"}
    inputs = [one for fn in page.fns.values() for one in fn.inputs]
    assert not any(getattr(one, "data_model", None) for one in inputs)  # nothing that could name a file
    web_app(services, page)
    assert (page.run_history, page.enable_monitoring, page.footer_links) == (False, False, [])


def test_every_page_shows_a_store_without_an_assistant(services: Services) -> None:
    page = build(services)
    shows = [fn.fn.method for fn in page.fns.values() if fn.fn is not None and fn.name == "show"]
    inputs = {"SavingsPage": (0.5, 0.05), "ReviewPage": (ReviewSession(), "", "undecided", "", "")}
    shown = {}
    for name, show in {type(show.__self__).__name__: show for show in shows}.items():
        if name not in ("ChatPage", "PeoplePage"):  # the one streams, the other knows no assistants
            shown[name] = str(show(Person(), None, *inputs.get(name, ())).values())
    assert "No assistant yet" in shown["ReviewPage"] and "No assistant yet" in shown["TrainingPage"]
    assert "Nothing is served yet" in shown["SavingsPage"] and "PromptPage" in shown


def test_a_review_page_that_shows_an_assistant_is_not_emptied_by_an_event_from_before(
    services: Services,
) -> None:
    """As a click on the tab does that comes while the page still loads."""
    fill(services)
    (shows,) = (fn.fn.method for fn in build(services).fns.values() if fn.fn and _is_of_review(fn.fn))
    session, filters = ReviewSession(), ("", "rated down", "", "")
    assert "No assistant yet" in str(shows(Person(), None, session, *filters).values())
    (assistant,) = services.store.assistants.all()
    for id in (assistant.id, None):
        assert "No assistant yet" not in str(shows(Person(), id, session, *filters).values())
    assert session.assistant_id == assistant.id


def _is_of_review(call: Any) -> bool:
    method = getattr(call, "method", None)
    return type(getattr(method, "__self__", None)).__name__ == "ReviewPage" and method.__name__ == "find"


def test_the_chat_shows_cost_and_rating_and_escapes_everything(services: Services) -> None:
    conversation_id = fill(services)
    own = UserConversations(services.store, "local")
    html = render("turns.html", conversation=conversation_id, turns=own.turns(conversation_id))
    assert "<img" not in html
    assert 'href="javascript' not in html
    assert "It is &lt;b&gt;nine" in html
    assert "prompt 12 tokens (total 20, cached 0)" in html
    assert "base model, full prompt" in html
    assert 'id="rate-up"' in html
    assert "wrong fact" in html
    found = own.newest(services.store.assistants.all()[0].id, None, None, 100)
    listed = render("conversations.html", conversations=found, current=conversation_id, search="", more=False)
    assert "&lt;script&gt;x&lt;/script&gt;" in listed and "<script" not in listed


def test_versions_and_status_of_an_answer() -> None:
    message = Message("m2", "c", "q", Role.ASSISTANT, "half", 0.0, MessageStatus.STOPPED)
    turn = Turn(message, ("m1", "m2"), Rating("r", "m2", "local", Verdict.UP, 0.0), 1)
    html = render("turns.html", conversation="c", turns=[turn])
    assert "2 of 2" in html
    assert 'id="answer-previous" data-event="show" data-id="m1"' in html
    assert 'data-status="stopped"' in html
    assert 'class="tool on up"' in html


def test_a_long_conversation_takes_as_many_queries_as_a_short_one(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = services.store
    conversation_id, own = fill(services), UserConversations(services.store, "local")
    asked: list[str] = []
    rows = Transaction.rows

    def counted(self: Transaction, sql: str, *values: Any) -> Any:
        asked.append(sql)
        return rows(self, sql, *values)

    monkeypatch.setattr(Transaction, "rows", counted)
    own.turns(conversation_id)
    short = len(asked)
    parent: str | None = store.messages.thread(conversation_id)[-1].id
    for number in range(20):
        role = Role.ASSISTANT if number % 2 else Role.USER
        parent = store.messages.add(conversation_id, parent, role, "text").id
    asked.clear()
    assert len(own.turns(conversation_id)) == 22
    assert len(asked) == short


def test_a_name_that_a_template_does_not_get_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="text"):
        render("empty.html", title="No text")


def test_what_an_event_leaves_as_it_is_costs_nothing_and_reads_the_same(services: Services) -> None:
    page = build(services)
    ask = next(one for one in page.fns.values() if one.name == "ask")
    log, live, _, talk, box, send, stop, _ = ask.outputs

    async def compare() -> None:
        for predictions in (
            {live: "<p>one</p>"},
            {log: "a", live: "b", send: gr.Button(visible=False), stop: gr.skip()},
            {talk: "id", box: "", send: gr.update(visible=True), stop: gr.update(visible=False)},
            {live: gr.skip()},
            [gr.skip()] * len(ask.outputs),
            [_Keywords.FINISHED_ITERATING] * len(ask.outputs),
        ):
            expected = await gr.Blocks.postprocess_data(page, ask, predictions, None)
            unchanged = {"props": gr.skip(), "__type__": "update"}  # as Gradio says it of some components
            expected = [gr.skip() if one == unchanged else one for one in expected]
            found = await page.postprocess_data(ask, predictions, None)
            assert [gr.skip() if one == unchanged else one for one in found] == expected
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gr.Button, "__init__", lambda *_, **__: pytest.fail("made anew"))
            await page.postprocess_data(ask, {live: "<p>two</p>"}, None)

    asyncio.run(compare())


def test_the_end_of_a_stream_repeats_nothing(services: Services) -> None:
    """Another event may have changed the page since the last value was sent."""
    page = build(services)
    ask = next(one for one in page.fns.values() if one.name == "ask")
    kept = [gr.skip()] * len(ask.outputs)
    values = ["log", *kept[1:]]
    assert page.handle_streaming_diffs(ask, list(values), "session", "run", final=False) == values
    assert page.handle_streaming_diffs(ask, [None] * len(kept), "session", "run", final=True) == kept
