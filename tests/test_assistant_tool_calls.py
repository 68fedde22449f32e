"""Requests with tools render as transformers renders them, and calls are read as the template writes them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_kinds import CHATML, write_kind
from tool_templates import TOOL_TEMPLATES

from assistant.tokenizer import ChatTokenizer, Turn, UnusableTemplate
from assistant.tool_calls import Call


def tool(description: str = "Looks.", name: str = "look") -> dict[str, Any]:
    properties = {"at": {"type": "string", "description": description}, name: {"type": "integer"}}
    parameters = {"type": "object", "properties": properties, "required": ["at"]}
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


@pytest.fixture(scope="module", params=TOOL_TEMPLATES)
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_kind(tmp_path_factory.mktemp("tools"), TOOL_TEMPLATES[request.param], "bytes")


def calls_for(tokenizer: ChatTokenizer, *values: str) -> tuple[Call, ...]:
    made = (Call("look", {"at": one, "n": n}, f"call{n:05}") for n, one in enumerate(values))
    return tuple(made)[: None if tokenizer.call_form.between else 1]


def talk(tokenizer: ChatTokenizer, text: str) -> list[Turn]:
    calls = calls_for(tokenizer, text, text)
    results = [Turn("tool", f'{{"a": "{text}"}}', (call,)) for call in calls]
    return [Turn("system", "Be brief."), Turn("user", text), Turn("assistant", "", calls), *results]


def test_a_request_with_tools_has_the_ids_of_transformers(directory: Path) -> None:
    from transformers import AutoTokenizer

    ours, theirs = ChatTokenizer.load(directory), AutoTokenizer.from_pretrained(directory)
    messages = []
    for turn in (turns := talk(ours, 'the "red"\nname')):
        message: dict[str, Any] = {"role": turn.role, "content": turn.content}
        called = [
            {"id": one.id, "type": "function", "function": {"name": one.name, "arguments": one.arguments}}
            for one in turn.calls
        ]
        if turn.role == "tool":
            message["tool_call_id"] = turn.calls[0].id
        elif called:
            message["tool_calls"] = called
        messages.append(message)
    tools = [tool(), tool('What is the "name"?\n', "name")]
    options: dict[str, Any] = {"tools": tools, "add_generation_prompt": True, "return_dict": False}
    assert ours.encode_chat(turns, tools) == tuple(theirs.apply_chat_template(messages, **options))


def test_nothing_that_is_typed_becomes_a_control_token(directory: Path) -> None:
    tokenizer = ChatTokenizer.load(directory)
    added = json.loads((directory / "tokenizer.json").read_text())["added_tokens"]
    controls = {token["id"] for token in added} - {0}

    def found(text: str) -> list[int]:
        ids = tokenizer.encode_chat(talk(tokenizer, text), [tool(text, text)], ("a", text, "b"))
        return [id for id in ids if id in controls]

    for typed in [
        *(token["content"] for token in added),
        "\ue0000\ue001",
        "\ue002",
        "".join(map(chr, range(32, 127))),
    ]:
        assert found(f"{typed} {typed}") == found("harmless")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.text(), VALUES, max_size=3), st.integers(1, 9))
def test_calls_are_read_as_they_are_written_and_never_streamed_as_text(
    directory: Path, arguments: dict[str, Any], size: int
) -> None:
    form = ChatTokenizer.load(directory).call_form
    calls = (Call("look", arguments), Call("get_it", {}))[: None if form.between else 1]
    text = form.write("Let me see [x] <b>.", calls)
    content, read = form.read(text)
    assert [(one.name, one.arguments) for one in read] == [(one.name, one.arguments) for one in calls]
    for end in range(0, len(text), size):
        assert content.startswith(form.content_of(text[:end]))
    # Cut off in the middle of a call it is text; other spaces make no difference.
    assert form.read(form.write("", calls[:1])[: -len(form.after) - 1])[1] == ()
    compact = form.write("", calls[:1]).replace('": ', '":', 2)
    assert form.read(compact)[1] or arguments


def test_what_calls_nothing_is_text(directory: Path) -> None:
    form = ChatTokenizer.load(directory).call_form
    for text in (
        "Hello.",
        'It is {"name": "x", "parameters": {}}',
        "<tool",
        "[TOOL_CALLS]",
        '{"name": "look"',
        "",
    ):
        assert form.read(text) == (text, ())


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (CHATML.text, "has no tools"),
        ("{{ tools | tojson if tools }}" + CHATML.text, "a form that is not read"),
        (
            "{{ tools | tojson if tools }}{% for m in messages %}{{ m.content }}"
            "{% for call in m.tool_calls or () %}{{ call.function.name }}(){% endfor %}{% endfor %}",
            "a form that is not read",
        ),
        (
            "{% if tools %}{{ raise_exception('Tools cost extra.') }}{% endif %}" + CHATML.text,
            "Tools cost extra",
        ),
    ],
)
def test_a_template_that_cannot_have_tools_says_what_is_missing(
    tmp_path: Path, template: str, said: str
) -> None:
    tokenizer = ChatTokenizer.load(
        write_kind(tmp_path, type(CHATML)(template, CHATML.controls, CHATML.end), "bytes")
    )
    with pytest.raises(UnusableTemplate, match=said):
        assert tokenizer.call_form
