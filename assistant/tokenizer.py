"""Encodes text to token ids, where text that people wrote can never become a control token.

The ids are those of transformers. `tokenizers` and `jinja2` alone are used, so the web process needs neither torch nor
transformers.
"""

import json
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Self

from tokenizers import AddedToken, Tokenizer

from assistant.chat_template import ChatTemplate, Tools, Turn, UnusableTemplate
from assistant.tool_calls import CallForm

__all__ = ["ChatTokenizer", "TokenizerError", "Tools", "Turn", "UnusableTemplate"]

_TALK = [Turn("user", "q"), Turn("assistant", "a"), Turn("user", "q")]


class TokenizerError(Exception):
    """The model directory has no usable tokenizer or chat template; the message says which file and why."""


class ChatTokenizer:
    """The tokenizer of one model: `encode_chat` for messages, `encode_answer` for what follows, `encode_text` for text.

    What stands between two control tokens of the template is encoded as a whole, as transformers does, but by a copy of
    the tokenizer without control tokens: `<|im_end|>` typed by a person becomes ordinary pieces. Chat, training and
    gate use the same ids.
    """

    def __init__(self, markup: Tokenizer, template: ChatTemplate, end_ids: Sequence[int], bos: str | None):
        self._markup = markup
        self._template = template
        self._controls = {
            token.content: (id, token) for id, token in markup.get_added_tokens_decoder().items()
        }
        longest_first = sorted(map(re.escape, self._controls), key=len, reverse=True)
        self._control = re.compile("|".join(longest_first) or "(?!)")
        self._anchor = _unique_marker()
        self._plain = _without_controls(markup)
        self._plain.add_special_tokens([AddedToken(self._anchor, normalized=False)])
        self._encode_run = lru_cache(maxsize=4096)(self._encode_uncached)
        # Any of these ends an answer; the first is the one that training teaches.
        self.end_ids = tuple(dict.fromkeys([*self._end_of_turn(end_ids, bos), *end_ids]))
        self._opening = self._find_opening()

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read the tokenizer of a model directory; raises TokenizerError with the file that is missing or bad."""
        config = _read_json(directory / "tokenizer_config.json")
        if "added_tokens_decoder" not in config:  # else transformers does not look at it either
            config |= _read_json(directory / "special_tokens_map.json")
        specials = _special_tokens(config)
        markup = _read_tokenizer(directory, config, specials)
        own_end = markup.token_to_id(specials.get("eos_token", ""))
        end = _read_json(directory / "generation_config.json").get("eos_token_id", [])
        end_ids = [*([] if own_end is None else [own_end]), *(end if isinstance(end, list) else [end])]
        if not end_ids:
            raise TokenizerError(
                f"{directory} names no end-of-text token (eos_token in tokenizer_config.json)."
            )
        try:
            template = ChatTemplate(_read_template(directory, config), specials)
        except UnusableTemplate as error:
            raise TokenizerError(
                f"The chat_template of {directory} {error}. Choose another model."
            ) from error
        return cls(markup, template, end_ids, specials.get("bos_token"))

    def encode_chat(
        self, turns: Sequence[Turn], tools: Tools = (), begun: Sequence[str] = ("",)
    ) -> tuple[int, ...]:
        """Token ids of the messages, up to where the next answer starts, or goes on behind what is `begun` of it:
        markup, and by turns a text and more markup.
        """
        ids: list[int] = []
        *pieces, last = self._template.pieces(turns, tools=tools)
        for run in self._runs([*pieces, last + begun[0], *begun[1:]]):
            ids += [run] if isinstance(run, int) else self._encode_run(run, bool(ids))
        return tuple(ids)

    @cached_property
    def call_form(self) -> CallForm:
        """How answers call tools; raises UnusableTemplate where that is impossible."""
        return self._template.call_form([self._markup.id_to_token(id) or "" for id in self.end_ids])

    def render(self, turns: Sequence[Turn]) -> str:
        """The text that `encode_chat` encodes."""
        return "".join(self._template.pieces(turns))

    def encode_answer(self, text: str) -> tuple[int, ...]:
        """Token ids of an answer behind `encode_chat`, as later turns show it, with the token that ends it."""
        shown = self._template.history(text)
        text = text if shown == text else shown.lstrip()
        before, space = self._opening
        head, whole = self._encode_run(before, True), self._encode_run(before + space + text, True)
        # Where the first piece has grown together with what is before it, the answer is encoded alone.
        ids = whole[len(head) :] if whole[: len(head)] == head else self.encode_text(text)
        return (*ids, self.end_ids[0])

    def encode_text(self, text: str) -> tuple[int, ...]:
        """Token ids of plain text; no token in it is a control token, whatever it says."""
        return self._encode_run(text, True)

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._markup.decode(list(ids), skip_special_tokens=False))

    def _runs(self, pieces: Sequence[str]) -> Iterator[int | str]:
        """The ids of control tokens, which are in markup alone, and the text between them."""
        run, strips = "", False
        for n, piece in enumerate(pieces):
            at = 0
            for found in self._control.finditer(piece) if n % 2 == 0 else ():
                id, token = self._controls[found[0]]
                run += piece[at : found.start()]
                run = run.lstrip() if strips else run
                if run := run.rstrip() if token.lstrip else run:
                    yield run
                yield id
                run, strips, at = "", token.rstrip, found.end()
            run += piece[at:]
        if run := run.lstrip() if strips else run:
            yield run

    def _encode_uncached(self, run: str, follows: bool) -> tuple[int, ...]:
        # Many tokenizers put a space before what starts a text, and not before what follows a control token.
        start = self._anchor if follows else ""
        return tuple(self._plain.encode(start + run, add_special_tokens=False).ids[bool(start) :])

    def _end_of_turn(self, end_ids: Sequence[int], bos: str | None) -> list[int]:
        """The control token with which the template ends an answer, if it does."""
        for turns in (_TALK[:2], _TALK):
            with suppress(Exception):  # a template may want a question at the end
                found = self._control.match(self._template.pieces(turns, answer_follows=False)[4].lstrip())
                id = self._controls[found[0]][0] if found and found[0] != bos else None
                if id is not None and (id in end_ids or turns is not _TALK):  # not what begins a question
                    return [id]
        return []

    def _find_opening(self) -> tuple[str, str]:
        """What stands between the last control token and an answer, and the space that history has there besides."""
        before = "".join(self._template.pieces(_TALK[:1]))
        after = "".join(self._template.pieces(_TALK)[:3]).removeprefix(before)
        *_, last = self._runs([before])
        return last if isinstance(last, str) else "", "" if after.strip() else after


def _unique_marker() -> str:
    return f"\ue000{secrets.token_hex(8)}\ue001"


def _added(tokenizer: Tokenizer) -> set[str]:
    return {token.content for token in tokenizer.get_added_tokens_decoder().values()}


def _without_controls(markup: Tokenizer) -> Tokenizer:
    """A copy that cannot make the id of any added token, whether it is looked up, merged or found as a piece."""
    state = json.loads(markup.to_str())
    controls, model = _added(markup), state["model"]
    state |= {"added_tokens": [], "post_processor": None, "padding": None, "truncation": None}
    model |= {"dropout": None} if "dropout" in model else {}
    controls -= {model.get("unk_token")}  # looked up by its name
    if isinstance(model["vocab"], list):
        model["vocab"] = [
            [_unique_marker() if piece in controls else piece, p] for piece, p in model["vocab"]
        ]
    else:
        model["vocab"] = {
            (_unique_marker() if piece in controls else piece): id for piece, id in model["vocab"].items()
        }
    if "merges" in model:
        pairs = (pair if isinstance(pair, list) else pair.split(" ") for pair in model["merges"])
        model["merges"] = [pair for pair in pairs if not controls & {*pair, "".join(pair)}]
    return Tokenizer.from_str(json.dumps(state))


def _read_tokenizer(directory: Path, config: dict[str, Any], specials: dict[str, str]) -> Tokenizer:
    path = directory / "tokenizer.json"
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        if _read_json(directory / "config.json").get("model_type") == "llama":
            state |= _as_llama(config)
        tokenizer = Tokenizer.from_str(json.dumps(state))
    except Exception as error:  # tokenizers raises bare Exception for what is malformed
        raise TokenizerError(
            f"{path} cannot be read ({error}). Shorthand needs a model with a fast tokenizer: convert it with "
            "transformers, or choose another model."
        ) from error
    listed = sorted(config.get("added_tokens_decoder", {}).items(), key=lambda item: int(item[0]))
    tokens = [AddedToken(**token) for _, token in listed]
    tokens += [AddedToken(text, special=True, normalized=False) for text in specials.values()]
    known = _added(tokenizer)
    tokenizer.add_tokens([token for token in tokens if token.content not in known])
    return tokenizer


def _as_llama(config: dict[str, Any]) -> dict[str, Any]:
    """What transformers 5 puts in place of the file's own where it builds its class for Llama anew."""
    if not config.get("tokenizer_class", "Llama").startswith("Llama"):
        return {}
    spaced = (
        "never" if config.get("add_prefix_space") is False else "always" if config.get("legacy") else "first"
    )
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": spaced, "split": False}
    return {"normalizer": None, "pre_tokenizer": metaspace}


def _special_tokens(config: dict[str, Any]) -> dict[str, str]:
    extra = config.get("extra_special_tokens")
    named = {name: token for name, token in config.items() if name.endswith("_token")}
    named |= extra if isinstance(extra, dict) else {}
    texts = {name: token["content"] if isinstance(token, dict) else token for name, token in named.items()}
    return {name: text for name, text in texts.items() if isinstance(text, str)}


def _read_template(directory: Path, config: dict[str, Any]) -> str:
    template = config.get("chat_template")
    if isinstance(template, list):  # several named templates: the default one
        template = next((t["template"] for t in template if t["name"] == "default"), None)
    jinja_file = directory / "chat_template.jinja"
    if jinja_file.exists():
        template = jinja_file.read_text(encoding="utf-8")
    if not template:
        raise TokenizerError(
            f"{directory} has no chat template (neither chat_template.jinja nor one in tokenizer_config.json). "
            "Choose an instruction-tuned model."
        )
    return str(template)


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
