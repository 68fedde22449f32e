"""Encodes text to token ids, where text that people wrote can never become a control token.

The only place that reads a chat template. It uses `tokenizers` and `jinja2` alone, so the web process needs neither
torch nor transformers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

# Contents go through the template as these private-use markers and are put back as token ids afterwards, so
# that neither the template nor the tokenizer ever sees a person's text beside markup.
_MARK = re.compile("\ue000(\\d+)\ue001")


class TokenizerError(Exception):
    """The model directory has no usable tokenizer or chat template; the message says which file and why."""


@dataclass(frozen=True)
class Turn:
    """One message for the template: `role` is system, user or assistant."""

    role: str
    content: str


class ChatTokenizer:
    """The tokenizer of one model: `encode_chat` for messages, `encode_text` for plain text.

    Contents are encoded by a copy of the tokenizer without its added tokens: `<|im_end|>` typed by a person
    becomes ordinary pieces, and the same ids are used in chat, training and gate.
    """

    def __init__(
        self, markup: Tokenizer, template: str, special_tokens: dict[str, str], end_ids: Sequence[int]
    ):
        self._markup = markup
        plain = json.loads(markup.to_str())
        plain["added_tokens"] = []
        plain["post_processor"] = None
        self._plain = Tokenizer.from_str(json.dumps(plain))
        self._plain.no_padding()
        self._plain.no_truncation()
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = _raise_from_template
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
        self._template = environment.from_string(template)
        self._specials = special_tokens
        self.end_ids = tuple(
            end_ids
        )  # any of these ends an answer; the first is the one that training teaches
        self._system_is_refused = self._find_out_whether_system_is_refused()
        self.encode_text = lru_cache(maxsize=4096)(self._encode_text)

    @classmethod
    def load(cls, directory: Path) -> ChatTokenizer:
        """Read the tokenizer of a model directory; raises TokenizerError with the file that is missing or bad."""
        try:
            markup = Tokenizer.from_file(str(directory / "tokenizer.json"))
        except Exception as error:  # tokenizers raises bare Exception for a missing or malformed file
            raise TokenizerError(
                f"{directory}/tokenizer.json cannot be read ({error}). Shorthand needs a model with a fast "
                "tokenizer: convert it with transformers, or choose another model."
            ) from error
        config = _read_json(directory / "tokenizer_config.json")
        template = config.get("chat_template")
        if isinstance(template, list):  # several named templates: the default one
            template = next((t["template"] for t in template if t["name"] == "default"), None)
        jinja_file = directory / "chat_template.jinja"
        if jinja_file.exists():
            template = jinja_file.read_text(encoding="utf-8")
        if not template:
            raise TokenizerError(
                f"{directory} has no chat template (neither chat_template.jinja nor one in "
                "tokenizer_config.json). Choose an instruction-tuned model."
            )
        specials = {
            name: _token_text(config[name])
            for name in ("bos_token", "eos_token", "pad_token")
            if config.get(name)
        }
        generation = _read_json(directory / "generation_config.json")
        end = generation.get("eos_token_id", [])
        end_ids = list(end) if isinstance(end, list) else [end]
        own_end = markup.token_to_id(specials.get("eos_token", ""))
        if own_end is not None:  # first: chat models end a turn with the tokenizer's own end token
            end_ids = [own_end] + [i for i in end_ids if i != own_end]
        if not end_ids:
            raise TokenizerError(
                f"{directory} names no end-of-text token (eos_token in tokenizer_config.json)."
            )
        try:
            return cls(markup, template, specials, end_ids)
        except jinja2.TemplateSyntaxError as error:
            raise TokenizerError(
                f"The chat_template of {directory} cannot be read ({error}). Choose another model."
            ) from error

    def encode_chat(self, turns: Sequence[Turn], *, answer_follows: bool = True) -> tuple[int, ...]:
        """Token ids of the messages; with `answer_follows`, up to where the next answer starts."""
        if self._system_is_refused:
            turns = _fold_system(turns)
        marked = [{"role": t.role, "content": f"\ue000{i}\ue001"} for i, t in enumerate(turns)]
        text = self._template.render(
            messages=marked, add_generation_prompt=answer_follows, tools=None, **self._specials
        )
        ids: list[int] = []
        pieces = _MARK.split(text)  # markup, index, markup, index, ..., markup
        for position, piece in enumerate(pieces):
            if position % 2:
                ids.extend(self.encode_text(turns[int(piece)].content))
            elif piece:
                ids.extend(self._markup.encode(piece, add_special_tokens=False).ids)
        return tuple(ids)

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._markup.decode(list(ids), skip_special_tokens=False))

    def _encode_text(self, text: str) -> tuple[int, ...]:
        """Token ids of plain text; no token in it is a control token, whatever it says."""
        return tuple(self._plain.encode(text, add_special_tokens=False).ids)

    def _find_out_whether_system_is_refused(self) -> bool:
        # Gemma's template, for one, raises on a system message.
        try:
            self._template.render(
                messages=[{"role": "system", "content": "a"}, {"role": "user", "content": "b"}],
                add_generation_prompt=True,
                tools=None,
                **self._specials,
            )
        except jinja2.TemplateError:
            return True
        return False


def _fold_system(turns: Sequence[Turn]) -> list[Turn]:
    """The system message as the start of the first user message, for templates without a system role."""
    if not turns or turns[0].role != "system":
        return list(turns)
    system, first, *rest = turns
    content = f"{system.content}\n\n{first.content}" if system.content else first.content
    return [Turn("user", content), *rest]


def _raise_from_template(message: str) -> None:
    raise jinja2.TemplateError(message)


def _token_text(token: Any) -> str:
    return str(token["content"] if isinstance(token, dict) else token)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TokenizerError(
            f"{path} is not valid JSON ({error}). Download or convert the model again."
        ) from error
    return value
