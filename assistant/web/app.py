"""The pages as one Gradio app: header, tabs, and what happens when the page opens.

In: the services. Out: the Blocks and the options of its `launch`. Does not start anything.

Ids for tests: #assistant-picker #server-state (class ready/starting/restarting/stopped) #signed-in; the tabs are named
Chat, Review, Prompt, Training, Savings and, for admins who are signed in, People.
"""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.responses import JSONResponse

from assistant.web import theme
from assistant.web.access import QUIET, Person, Update
from assistant.web.allowlist import AllowlistMiddleware, user_name
from assistant.web.chat_page import ChatPage
from assistant.web.own import OwnConversations
from assistant.web.people_page import PeoplePage
from assistant.web.prompt_page import PromptPage
from assistant.web.readiness import Readiness
from assistant.web.review_page import ReviewPage
from assistant.web.savings_page import SavingsPage
from assistant.web.services import Services
from assistant.web.sign_in import SessionBackend, SignIn
from assistant.web.training_page import TrainingPage
from store import StoreError
from store.users import UserRole

_LOADING_S, _READY_S = 1.0, 10.0  # how often the server's state is looked at


def build(services: Services) -> gr.Blocks:
    """Every page, wired; queueing is set so that a hundred answers can stream at once."""
    access, readiness = services.access, Readiness(services.server_state)
    alone = not access.sign_in_required()  # then nobody has to wait until it is known who looks
    with gr.Blocks(title="Shorthand", analytics_enabled=False, fill_width=True) as page:
        # A constant secret: it hides nothing, and with Gradio's random one a restart would forget the place.
        conversation = gr.BrowserState(None, storage_key="shorthand-conversation", secret="shorthand")
        pulse = gr.Timer(_LOADING_S)
        with gr.Row(elem_id="header"):
            gr.HTML(
                f'<div class="brand">{theme.MARK}<strong>Shorthand</strong>'
                "<span>the assistant that learns its own prompt</span></div>",
                elem_id="brand",
            )
            picker = gr.Dropdown(
                show_label=False,
                label="Assistant",
                container=False,
                visible=False,
                elem_id="assistant-picker",
            )
            pill = gr.HTML(readiness.pill(), elem_id="server-state")
            signed_in = gr.HTML(visible=False, elem_id="signed-in")
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Chat", id="chat"):
                chat = ChatPage(services, picker, conversation)
            with gr.Tab("Review", id="review", visible=alone) as review_tab:
                review = ReviewPage(services, picker)
            with gr.Tab("Prompt", id="prompt", visible=alone) as prompt_tab:
                prompt = PromptPage(services, picker)
            with gr.Tab("Training", id="training", visible=alone) as training_tab:
                training = TrainingPage(services, picker)
            with gr.Tab("Savings", id="savings") as savings_tab:
                savings = SavingsPage(services, picker)
            with gr.Tab("People", id="people", visible=False) as people_tab:
                people = PeoplePage(services)

        def welcome(person: Person, last: str | None) -> Update:
            """The page was opened: what this person may see of it."""
            admin, reviewer = (person.may(role) for role in (UserRole.ADMIN, UserRole.REVIEWER))
            return {
                picker: _choice(services, person, last),
                signed_in: gr.HTML(_signed_in(person), visible=person.signed_in),
                chat.sidebar.samples: gr.Checkbox(visible=not person.signed_in),
                **{tab: gr.Tab(visible=reviewer) for tab in (review_tab, prompt_tab, training_tab)},
                people_tab: gr.Tab(visible=admin and person.signed_in),
            }

        def choose(person: Person, made: str | None) -> gr.Dropdown:
            """A new assistant becomes the one that every page shows."""
            return _choice(services, person, None, made)

        def look(person: Person) -> tuple[str, str, gr.Timer]:
            """A tick: how the server is."""
            return readiness.pill(), readiness.hint(), gr.Timer(_READY_S if readiness else _LOADING_S)

        changing = [picker, signed_in, chat.sidebar.samples, review_tab, prompt_tab, training_tab, people_tab]
        opened = page.load(access.event(UserRole.USER, welcome, quiet=True), conversation, changing, **QUIET)
        shown = access.event(UserRole.USER, chat.show, quiet=True)
        opened.then(shown, chat.here, chat.shown, **QUIET)
        chosen = picker.input(shown, chat.here, chat.shown, **QUIET)
        for part, tab, least in (
            (prompt, prompt_tab, UserRole.REVIEWER),
            (training, training_tab, UserRole.REVIEWER),
            (savings, savings_tab, UserRole.USER),
        ):
            show = access.event(least, part.show, quiet=True)
            for moment in (opened, chosen):
                moment.then(show, part.here, part.shown, **QUIET)
            tab.select(show, part.here, part.shown, **QUIET)
        review_tab.select(
            access.event(UserRole.REVIEWER, review.show, quiet=True), review.here, review.shown, **QUIET
        )
        people_tab.select(access.event(UserRole.ADMIN, people.show, quiet=True), None, people.shown, **QUIET)
        if_open = access.event(UserRole.REVIEWER, review.show_if_open, quiet=True)
        for moment in (opened, chosen):
            moment.then(if_open, review.here, review.shown, **QUIET)
        loaded = chat.log.sample(access.event(UserRole.ADMIN, prompt.load), None, prompt.wanted, **QUIET)
        again = access.event(UserRole.REVIEWER, prompt.show, quiet=True)
        for made in (*prompt.made, loaded):
            made.then(access.event(UserRole.USER, choose, quiet=True), prompt.wanted, picker, **QUIET).then(
                shown, chat.here, chat.shown, **QUIET
            ).then(again, picker, prompt.shown, **QUIET)
        ticked = access.event(UserRole.USER, look, quiet=True)
        pulse.tick(ticked, None, [pill, chat.hint, pulse], queue=False, **QUIET)
    page.queue(max_size=1000, default_concurrency_limit=40, api_open=False)
    access.check(page)
    return page


def launch_options(services: Services, page: gr.Blocks) -> dict[str, Any]:
    """What belongs to `launch` in Gradio 6: the look, what stands in front of it, and nothing that talks to others."""
    store, access = services.store, services.access
    authentication = Middleware(
        AuthenticationMiddleware,
        backend=SessionBackend(store, access),
        on_error=lambda request, error: JSONResponse({"detail": str(error)}, 503),
    )
    return {
        "theme": theme.theme(),
        "css_paths": [theme.CSS],
        "head": theme.HEAD,
        "footer_links": [],
        "quiet": True,
        "ssr_mode": False,
        "pwa": False,
        "mcp_server": False,
        "run_history": False,
        "enable_monitoring": False,
        "share": False,
        "show_error": False,
        "strict_cors": True,
        "max_file_size": "1kb",
        "auth_dependency": user_name,
        "app_kwargs": {
            "middleware": [authentication, Middleware(AllowlistMiddleware, page=page)],
            "routes": SignIn(store, access).routes(),
            "docs_url": None,
            "redoc_url": None,
            "openapi_url": None,
        },
    }


def _choice(
    services: Services, person: Person, conversation_id: str | None, wanted: str | None = None
) -> gr.Dropdown:
    """The picker: the wanted assistant, the last conversation's, or the newest; hidden while alone."""
    assistants = services.store.assistants.all()
    ids = [assistant.id for assistant in assistants]
    if wanted is None and conversation_id:
        try:
            wanted = OwnConversations(services.store, person.name).conversation(conversation_id).assistant_id
        except StoreError:
            wanted = None
    value = wanted if wanted in ids else ids[-1] if ids else None
    choices = [(assistant.name, assistant.id) for assistant in assistants]
    return gr.Dropdown(choices=choices, value=value, visible=len(ids) > 1)


def _signed_in(person: Person) -> str:
    """Who is signed in, and the way out; a form, since a link could be followed from elsewhere."""
    if not person.signed_in:
        return ""
    return (
        f'<form method="post" action="sign-out" class="signed-in"><b>{escape(person.name)}</b>'
        f'<span class="badge">{person.role}</span><button type="submit" class="small">Sign out</button></form>'
    )
