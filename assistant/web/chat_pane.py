"""The middle of the Chat page: a conversation, the answer that is being written, and the box to type in.

In: what is said above the box. Out: components. Their events are the chat page's, which names their ids for tests.
"""

from __future__ import annotations

import gradio as gr

from assistant.chat import MAX_MESSAGE_CHARACTERS
from assistant.web.markup import forward, stick_to_end

_CLICKS = forward("start", "resend", "regenerate", "show", "rate", "correct", "sample")


class ChatPane:
    """Builds the components where it is made."""

    def __init__(self, hint: str):
        with gr.Column(elem_id="chat-main", scale=1):
            self.toggle = gr.Button("Conversations", elem_id="chat-list-toggle", size="sm")
            with gr.Column(elem_id="chat-scroll", elem_classes="scroll-pane"):
                self.log = gr.HTML(elem_id="chat-log", js_on_load=_CLICKS)
                self.live = gr.HTML(elem_id="chat-live", js_on_load=stick_to_end())
            with gr.Column(elem_id="chat-foot"):
                self.hint = gr.HTML(hint, elem_id="chat-hint")
                with gr.Row(elem_id="chat-bar"):
                    self.box = gr.Textbox(
                        placeholder="Ask something",
                        show_label=False,
                        label="Message",
                        container=False,
                        lines=1,
                        max_lines=8,
                        autofocus=True,
                        elem_id="chat-input",
                        max_length=MAX_MESSAGE_CHARACTERS,
                        scale=1,
                    )
                    self.send = gr.Button(
                        "Send", variant="primary", elem_id="chat-send", scale=0, min_width=88
                    )
                    self.stop = gr.Button(
                        "Stop", variant="stop", elem_id="chat-stop", visible=False, scale=0, min_width=88
                    )
