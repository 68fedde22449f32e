"""The pages as one Gradio app: header, tabs, and what happens when the page opens.

In: the services. Out: the Blocks and the options of its `launch`. Does not start anything.

Ids for tests: #assistant-picker #server-state (class ready/starting/restarting/stopped); the tabs are named
Chat, Review, Prompt, Training and Savings.
"""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from assistant.vllm_server import Phase
from assistant.web import theme, words
from assistant.web.chat_page import QUIET, ChatPage
from assistant.web.prompt_page import PromptPage
from assistant.web.review_page import ReviewPage
from assistant.web.savings_page import SavingsPage
from assistant.web.services import Services
from assistant.web.training_page import TrainingPage
from store import StoreError

_LOADING_S, _READY_S = 1.0, 10.0  # how often the server's state is looked at


def build(services: Services) -> gr.Blocks:
    """Every page, wired; queueing is set so that a hundred answers can stream at once."""
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
            pill = gr.HTML(_pill(services), elem_id="server-state")
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Chat", id="chat"):
                chat = ChatPage(services, picker, conversation)
            with gr.Tab("Review", id="review") as review_tab:
                review = ReviewPage(services, picker)
            with gr.Tab("Prompt", id="prompt") as prompt_tab:
                prompt = PromptPage(services, picker)
            with gr.Tab("Training", id="training") as training_tab:
                training = TrainingPage(services, picker)
            with gr.Tab("Savings", id="savings") as savings_tab:
                savings = SavingsPage(services, picker)

        opened = page.load(lambda last: _choice(services, last), conversation, picker, **QUIET)
        opened.then(chat.show, chat.here, chat.shown, **QUIET)
        chosen = picker.input(chat.show, chat.here, chat.shown, **QUIET)
        for part, tab in ((prompt, prompt_tab), (training, training_tab), (savings, savings_tab)):
            for moment in (opened, chosen):
                moment.then(part.show, picker, part.shown, **QUIET)
            tab.select(part.show, picker, part.shown, **QUIET)
        review_tab.select(review.show, review.here, review.shown, **QUIET)
        for moment in (opened, chosen):
            moment.then(review.show_if_open, review.here, review.shown, **QUIET)
        loaded = chat.log.sample(prompt.load, None, prompt.wanted, **QUIET)
        for made in (*prompt.made, loaded):  # a new assistant becomes the one that every page shows
            made.then(lambda id: _choice(services, None, id), prompt.wanted, picker, **QUIET).then(
                chat.show, chat.here, chat.shown, **QUIET
            ).then(prompt.show, picker, prompt.shown, **QUIET)

        def look() -> tuple[str, str, gr.Timer]:
            ready = services.server_state().phase is Phase.READY
            return _pill(services), chat.hint_text(), gr.Timer(_READY_S if ready else _LOADING_S)

        pulse.tick(look, None, [pill, chat.hint, pulse], queue=False, **QUIET)
    page.queue(max_size=1000, default_concurrency_limit=40, api_open=False)
    return page


def launch_options() -> dict[str, Any]:
    """What belongs to `launch` in Gradio 6: the look, and everything off that talks to someone else."""
    return {
        "theme": theme.theme(),
        "css_paths": [theme.CSS],
        "head": theme.HEAD,
        "footer_links": [],
        "quiet": True,
        "ssr_mode": False,
        "run_history": False,
        "enable_monitoring": False,
        "share": False,
        "max_file_size": "1kb",
    }


def _choice(services: Services, conversation_id: str | None, wanted: str | None = None) -> gr.Dropdown:
    """The picker: the wanted assistant, the last conversation's, or the newest; hidden while alone."""
    assistants = services.store.assistants()
    ids = [assistant.id for assistant in assistants]
    if wanted is None and conversation_id:
        try:
            wanted = services.store.conversation(conversation_id).assistant_id
        except StoreError:
            wanted = None
    value = wanted if wanted in ids else ids[-1] if ids else None
    choices = [(assistant.name, assistant.id) for assistant in assistants]
    return gr.Dropdown(choices=choices, value=value, visible=len(ids) > 1)


def _pill(services: Services) -> str:
    state = services.server_state()
    return f'<span class="pill {state.phase}" role="status">{escape(words.server(state))}</span>'
