"""A model's chat template: the markup that it puts around contents, rendered as transformers renders it.

Contents go through the template as private-use marks, so that the template never sees a person's text. What a template
would refuse, leave out or repeat is found by trying when it is loaded, and messages are put as it wants them.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import chain, product
from os.path import commonprefix
from typing import Any, NoReturn

import jinja2
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

from assistant.tool_calls import PROBE_CALLS, PROBE_TOOL, TYPED, Call, CallForm, form_of, typed

# Around the marks stand spaces that a text would not have: where they are gone, the template strips contents.
_MARK = re.compile("(\u2003?)\ue000(\\d+)\ue001(\u2003?)")
_OPENED_THOUGHT = re.compile(r"<(think\w*|reasoning)>\s*\Z")
_UNFINISHED_TAG = re.compile(r"[<\[][^>\]]*\Z")
_ANSWER_WITH_THOUGHT = "<think>\nwhy\n</think>\n\nyes"

Tools = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Turn:
    """One message for the template: `role` is system, user, assistant or tool.

    `calls` are those of an answer, or the one whose result a tool gives.
    """

    role: str
    content: str
    calls: tuple[Call, ...] = ()


_PROBES = [
    [Turn(role, f"text {n}") for n, role in enumerate(roles.split())]
    for roles in (
        "system user assistant user",
        "system user",
        "system user user",
        "system user assistant user user assistant user",
        "system user assistant assistant user",
    )
]


@dataclass(frozen=True)
class _MessageLayout:
    """How messages are put: contents as lists of parts, instructions in the first question, neighbours of one role
    as one message.
    """

    parts: bool
    fold: bool
    merge: bool

    def apply(self, turns: Sequence[Turn]) -> list[Turn]:
        if self.fold and turns and turns[0].role == "system":
            turns = _join([Turn("user", turns[0].content), *turns[1:2]]) + list(turns[2:])
        return _join(turns) if self.merge else list(turns)


def _join(turns: Sequence[Turn]) -> list[Turn]:
    joined: list[Turn] = []
    for turn in turns:
        if joined and joined[-1].role == turn.role and not (joined[-1].calls or turn.calls):
            turn = Turn(turn.role, "\n\n".join(filter(None, (joined.pop().content, turn.content))))
        joined.append(turn)
    return joined


_LAYOUTS = sorted(
    (_MessageLayout(*flags) for flags in product((False, True), repeat=3)),
    key=lambda m: sum(vars(m).values()),
)


class UnusableTemplate(Exception):
    """No way of putting messages makes the template show each of them once, or it refuses these; the message says what
    it does.
    """


class ChatTemplate:
    """`pieces` of a conversation, which are markup and contents in turn."""

    def __init__(self, template: str, special_tokens: dict[str, str]):
        """Raises UnusableTemplate."""
        self._specials = special_tokens
        self._shown: Callable[[str], str] = str
        try:
            self._template = _environment().from_string(template)
        except jinja2.TemplateSyntaxError as error:
            raise UnusableTemplate(f"cannot be read ({error})") from error
        problems: list[str] = []
        for self._layout in _LAYOUTS:
            problems.append(self._problem())
            if not problems[-1]:
                break
        else:
            raise UnusableTemplate(problems[0])  # with messages as they come
        self._shown = self._history_filter()

    def pieces(self, turns: Sequence[Turn], answer_follows: bool = True, tools: Tools = ()) -> list[str]:
        """Markup, content, markup, content, ..., markup; contents as far as the template shows them."""
        put = self._layout.apply(
            [replace(t, content=self.history(t.content)) if t.role == "assistant" else t for t in turns]
        )
        # What is empty stays empty: templates ask for it. What a tool answers may be quoted.
        marks = [
            typed(turn.content)
            if turn.role == "tool"
            else f"\u2003\ue000{n}\ue001\u2003"
            if turn.content
            else ""
            for n, turn in enumerate(put)
        ]
        marked = [replace(turn, content=mark) for turn, mark in zip(put, marks, strict=True)]
        text = self._render(marked, answer_follows, tools)
        if answer_follows and (opened := _OPENED_THOUGHT.search(text)):
            # Answers are learned and given without a thought: an opened one is closed, as Qwen3's template closes it.
            text = f"{text.rstrip()}\n\n</{opened[1]}>\n\n"
        found = _MARK.split(text)  # markup, space, number, space, markup, ...
        for at in range(2, len(found), 4):
            content = put[int(found[at])].content
            content = content if found[at - 1] else content.lstrip()
            found[at] = content if found[at + 1] else content.rstrip()
        pieces = [[piece] if n % 2 else TYPED.split(piece) for n, piece in enumerate(found[::2])]
        return [*chain(*pieces)]

    def history(self, answer: str) -> str:
        """An answer as later turns show it: without the thought before it, where the template leaves that out."""
        return self._shown(answer)

    def call_form(self, ends: Sequence[str]) -> CallForm:
        """How an answer calls tools, found by trying; raises UnusableTemplate where the template has no tools, or
        writes calls as nothing here reads them. `ends` are the tokens that end an answer.
        """
        asked, problem = [Turn("user", "q")], ""
        advice = "Leave tools out, or serve a model whose template has them"
        for calls in (PROBE_CALLS, PROBE_CALLS[:1]):  # some have one call in an answer, and no more
            results = [Turn("tool", f"result {call.id}", (call,)) for call in calls]
            try:
                before = "".join(self.pieces(asked, tools=[PROBE_TOOL]))
                text = "".join(
                    self.pieces([*asked, Turn("assistant", "", calls), *results], tools=[PROBE_TOOL])
                )
            except Exception as error:  # a template is a program, and may raise anything
                problem = f"cannot show calls of tools ({error})"
                continue
            if calls[0].name not in before or not all(one.content in text for one in results):
                problem = "has no tools: it leaves out those that a request names, or what they answer"
                continue
            start = len(_UNFINISHED_TAG.sub("", commonprefix([before, text])))
            answer = re.split("|".join(map(re.escape, ends)), text[start:])[0]
            if form := form_of(answer, calls):
                return form
            problem = "writes calls of tools in a form that is not read here"
        raise UnusableTemplate(f"{problem}. {advice}")

    def _render(self, turns: Iterable[Turn], answer_follows: bool = True, tools: Tools = ()) -> str:
        try:
            return self._template.render(
                messages=[self._message(turn) for turn in turns],
                add_generation_prompt=answer_follows,
                tools=typed([*tools]) or None,
                documents=None,
                **self._specials,
            )
        except jinja2.TemplateError as error:
            raise UnusableTemplate(f"refuses these messages ({error})") from error

    def _message(self, turn: Turn) -> dict[str, Any]:
        content: Any = [{"type": "text", "text": turn.content}] if self._layout.parts else turn.content
        message = {"role": turn.role, "content": content}
        if turn.role == "tool":
            return message | {"tool_call_id": turn.calls[0].id, "name": typed(turn.calls[0].name)}
        calls = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": typed(call.name), "arguments": typed(call.arguments)},
            }
            for call in turn.calls
        ]
        return message | ({"tool_calls": calls} if calls else {})

    def _problem(self) -> str:
        """What the template does wrong with messages that are put in this manner."""
        for probe in [*_PROBES, [Turn("system", ""), Turn("user", "text 1")]]:
            try:
                text = "".join(self.pieces(probe))
            except Exception as error:  # a template is a program, and may raise anything
                return f"cannot render {' '.join(turn.role for turn in probe)} ({error})"
            for turn in probe:
                if turn.content and text.count(turn.content) != 1:
                    often = "leaves out" if turn.content not in text else "repeats"
                    return f"{often} what the {turn.role} says"
        return ""

    def _history_filter(self) -> Callable[[str], str]:
        def text(answer: str) -> str:
            return self._render([Turn("user", "a"), Turn("assistant", answer), Turn("user", "b")])

        raw = text(_ANSWER_WITH_THOUGHT)
        candidates = [partial(re.sub, pattern, "") for pattern in (r"(?s).*</think>\n*", r"(?s).*</think>")]
        return next((shown for shown in candidates if text(shown(_ANSWER_WITH_THOUGHT)) == raw), str)


class _Generation(Extension):
    """`{% generation %}`, around what an assistant says; what is in it is printed, as transformers does."""

    tags = {"generation"}

    def parse(self, parser: Any) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        return jinja2.nodes.Scope(
            parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line
        )


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _raise_from_template
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    environment.filters["tojson"] = lambda value, ensure_ascii=False, **form: json.dumps(
        value, ensure_ascii=ensure_ascii, **form
    )
    return environment


def _raise_from_template(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
