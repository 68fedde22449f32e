"""The pages as one Gradio app: header, tabs, and what happens when the page opens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from html import escape
from typing import Any

import gradio as gr
from fastapi import FastAPI
from gradio.blocks import Block
from starlette.middleware import Middleware
from starlette.responses import FileResponse
from starlette.routing import Route

from assistant.vllm_health import Phase
from assistant.web import downloads, run_report, theme, words
from assistant.web.access import QUIET, Person, Services, Update
from assistant.web.allowlist import ICON, AllowlistMiddleware, user_name
from assistant.web.chat_page import ChatPage
from assistant.web.document import ROOT
from assistant.web.markup import forward, render, script
from assistant.web.people_page import PeoplePage
from assistant.web.prompt_page import PromptPage
from assistant.web.review_page import ReviewPage
from assistant.web.savings_page import SavingsPage
from assistant.web.sign_in import SignIn
from assistant.web.training_page import TrainingPage
from assistant.web.user_conversations import UserConversations
from store.accounts import UserRole

_LOADING_S, _READY_S = 1.0, 10.0  # how often the server's state is read
# The conversation of the address (page.js), or the one that was open last.
_ADDRESSED = "(last) => [location.hash.match(/^#chat.(.+)/)?.[1] ?? last]"
_EVENTS_AT_ONCE = 2000
_BRAND = (
    f'<div class="brand">{theme.MARK}<h1>Shorthand</h1>'
    "<span>the assistant that learns its own prompt</span></div>"
)


class _Blocks(gr.Blocks):  # type: ignore[misc]
    """Gradio sends and makes anew what an event leaves as it is; this does not."""

    def handle_streaming_diffs(self, *args: Any, final: bool, **kwargs: Any) -> list[Any]:
        """The end of a stream changes nothing; Gradio would repeat what came last, over what another event shows."""
        sent = super().handle_streaming_diffs(*args, final=final, **kwargs)
        return [gr.skip()] * len(sent) if final else list(sent)

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], state: Any, *rest: Any) -> list[Any]:
        """Gradio passes each input through a thread, and looks for files in it; our pages have none."""
        self.validate_inputs(block_fn, inputs)
        pairs = zip(block_fn.inputs, inputs, strict=True)
        return [state[one._id] if one.stateful else state[one._id].preprocess(value) for one, value in pairs]

    async def postprocess_data(self, block_fn: Any, predictions: Any, state: Any) -> list[Any]:
        """Each component that is made anew takes milliseconds, with each piece of text; text needs no thread."""
        if not (isinstance(predictions, dict) and all(isinstance(key, Block) for key in predictions)):
            return list(await super().postprocess_data(block_fn, predictions, state))
        sent = {key: value for key, value in predictions.items() if _is_as_sent(key, value)}
        changes = {key: value for key, value in predictions.items() if key not in sent}
        changed = copy(block_fn)
        changed.outputs = [one for one in block_fn.outputs if one in changes]
        values = await super().postprocess_data(changed, changes, state) if changes else []
        sent |= dict(zip(changed.outputs, values, strict=True))
        return [sent.get(one, gr.skip()) for one in block_fn.outputs]


def _is_as_sent(component: Block, value: Any) -> bool:
    """Whether it goes to the browser as it is: text, and what says nothing new but whether something is shown."""
    if isinstance(value, dict):
        return value.keys() - {"visible"} == {"__type__"}
    return isinstance(component, (gr.HTML, gr.Textbox, gr.BrowserState)) and isinstance(value, str | None)


def build(services: Services) -> gr.Blocks:
    """Every page, wired; an event that only waits, as for an answer's next words, holds up no other."""
    with _Blocks(title="Shorthand", analytics_enabled=False, fill_width=True) as page:
        _Pages(services).wire(page)
    page.max_threads = _EVENTS_AT_ONCE  # Gradio's word for places; our events are coroutines
    page.queue(max_size=_EVENTS_AT_ONCE, api_open=False)
    page._queue.ANALYTICS_MAX_EVENTS = 0  # a table of all events was made anew after each one
    page._queue.sleep_when_free = 0.005  # looking every millisecond took 6 % of a core while the app ran
    services.access.check(page)
    return page


class _Pages:
    """Header and tabs. Builds the components where it is made."""

    def __init__(self, services: Services):
        self._services = services
        self._on = services.access.event
        # Without users nobody has to wait until it is known who opened the page.
        alone = not services.access.sign_in_required()
        # A constant secret: it hides nothing, and with Gradio's random one a restart would forget the place.
        self.conversation = gr.BrowserState(None, storage_key="shorthand-conversation", secret="shorthand")
        self.timer = gr.Timer(_LOADING_S)
        with gr.Row(elem_id="header"):
            gr.HTML(_BRAND, elem_id="brand")
            shown: dict[str, Any] = {"show_label": False, "container": False, "visible": False}
            self.picker = gr.Dropdown(label="Assistant", elem_id="assistant-picker", **shown)
            self.server = gr.HTML(elem_id="server-state", js_on_load=forward("training"))
            self.signed_in = gr.HTML(visible=False, elem_id="signed-in")
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap") as self.tabs:
            with _tab("Chat"):
                self.chat = ChatPage(services, self.picker, self.conversation)
            with _tab("Review", alone) as self.review_tab:
                self.review = ReviewPage(services, self.picker)
            with _tab("Prompt", alone) as self.prompt_tab:
                self.prompt = PromptPage(services, self.picker)
            with _tab("Training", alone) as self.training_tab:
                self.training = TrainingPage(services, self.picker)
            with _tab("Savings") as self.savings_tab:
                self.savings = SavingsPage(services, self.picker)
            with _tab("People", alone) as self.people_tab:
                self.people = PeoplePage(services)

    def wire(self, page: gr.Blocks) -> None:
        self.reviewers = [self.review_tab, self.prompt_tab, self.training_tab]
        changing = [self.conversation, self.picker, self.signed_in, self.chat.samples]
        changing += [*self.reviewers, self.people_tab]
        opened = page.load(
            self._quiet(UserRole.USER, self.welcome), self.conversation, changing, js=_ADDRESSED, **QUIET
        )
        show_chat = self._quiet(UserRole.USER, self.chat.show)
        opened.then(show_chat, self.chat.here, self.chat.shown, **QUIET)
        chosen = self.picker.input(show_chat, self.chat.here, self.chat.shown, **QUIET)
        for part, tab, least in (
            (self.prompt, self.prompt_tab, UserRole.REVIEWER),
            (self.training, self.training_tab, UserRole.REVIEWER),
            (self.savings, self.savings_tab, UserRole.USER),
            (self.review, self.review_tab, UserRole.REVIEWER),
        ):
            tab.select(self._quiet(least, part.show), part.here, part.shown, **QUIET)
            again = self.review.show_if_open if part is self.review else part.show
            for moment in (opened, chosen):
                moment.then(self._quiet(least, again), part.here, part.shown, **QUIET)
        self.people_tab.select(self._quiet(UserRole.ADMIN, self.people.show), None, self.people.page, **QUIET)
        self._wire_new_assistants(show_chat)
        self.server.training(self._quiet(UserRole.REVIEWER, self.open_training), None, self.tabs, **QUIET)
        ticked = self._quiet(UserRole.USER, self.show_server)
        shown = [self.server, self.chat.hint, self.timer]
        self.timer.tick(ticked, None, shown, queue=False, **QUIET)
        swapped = self._quiet(UserRole.USER, self.chat.show_swap)
        self.timer.tick(swapped, self.conversation, self.chat.swap, queue=False, **QUIET)

    def _wire_new_assistants(self, show_chat: Callable[..., Any]) -> None:
        """A new assistant becomes the one that every page shows."""
        chat, prompt = self.chat, self.prompt
        loaded = chat.log.sample(self._on(UserRole.ADMIN, prompt.load), None, prompt.wanted, **QUIET)
        show_prompt = self._quiet(UserRole.REVIEWER, prompt.show)
        for made in (*prompt.made, loaded):
            made.then(self._quiet(UserRole.USER, self.choose), prompt.wanted, self.picker, **QUIET).then(
                show_chat, chat.here, chat.shown, **QUIET
            ).then(show_prompt, self.picker, prompt.shown, **QUIET)

    def _quiet(self, least: UserRole, method: Callable[..., Any]) -> Callable[..., Any]:
        return self._on(least, method, quiet=True)

    def welcome(self, person: Person, last: str | None) -> Update:
        """The page was opened: what this person may see of it."""
        admin, reviewer = (person.may(role) for role in (UserRole.ADMIN, UserRole.REVIEWER))
        return {
            self.conversation: last,
            self.picker: self.choose(person, None, last),
            self.signed_in: gr.HTML(render("signed_in.html", person=person), visible=person.signed_in),
            self.chat.samples: gr.Checkbox(visible=not person.signed_in),
            **{tab: gr.Tab(visible=reviewer) for tab in self.reviewers},
            self.people_tab: gr.Tab(visible=admin),
        }

    def open_training(self, person: Person) -> gr.Tabs:
        return gr.Tabs(selected="training")

    def show_server(self, person: Person) -> tuple[str, str, gr.Timer]:
        """A tick: the server's state and a running retrain in the header; above the chat's box what is not ready."""
        state = self._services.server_state()
        ready = state.phase is Phase.READY
        notices = [] if ready else [f"{words.server(state)}. What you type stays here until then."]
        notices += self._services.chat.notices()
        hint = "".join(f'<p class="notice">{escape(notice)}</p>' for notice in notices)
        run = run_report.pill(self._services.store) if person.may(UserRole.REVIEWER) else ""
        pill = f'<span class="pill {state.phase}" role="status">{escape(words.server(state))}</span>'
        return run + pill, hint, gr.Timer(_READY_S if ready else _LOADING_S)

    def choose(self, person: Person, wanted: str | None, conversation_id: str | None = None) -> gr.Dropdown:
        """The picker: the wanted assistant, the last conversation's, or the newest; hidden while alone."""
        value = wanted or UserConversations(self._services.store, person.name).assistant(conversation_id)
        choices = [(assistant.name, assistant.id) for assistant in self._services.store.assistants.all()]
        return gr.Dropdown(choices=choices, value=value, visible=len(choices) > 1)


def web_app(services: Services, page: gr.Blocks) -> FastAPI:
    """The pages behind what stands in front of them, with nothing that talks to others."""
    store, access = services.store, services.access
    icon = Route(ICON, lambda request: FileResponse(theme.ICON, media_type="image/svg+xml"))
    front = FastAPI(
        routes=[*SignIn(store, access).routes(), *downloads.routes(store), icon],
        middleware=[Middleware(AllowlistMiddleware, page=page, access=access)],
        openapi_url=None,
    )
    closed: dict[str, Any] = {"openapi_url": None, "docs_url": None, "redoc_url": None}
    gr.mount_gradio_app(
        front,
        page,
        "/",
        theme=theme.theme(),
        css_paths=[theme.CSS],
        js=script("page.js"),
        footer_links=[],
        root_path=ROOT,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        run_history=False,
        enable_monitoring=False,
        show_error=False,
        max_file_size="1kb",
        auth_dependency=user_name,
        app_kwargs=closed,
    )
    return front


@contextmanager
def _tab(name: str, visible: bool = True) -> Iterator[gr.Tab]:
    """A page, with a heading for those who hear it read."""
    with gr.Tab(name, id=name.lower(), visible=visible) as tab:
        gr.HTML(f"<h2>{name}</h2>", elem_classes="sr-only")
        yield tab
