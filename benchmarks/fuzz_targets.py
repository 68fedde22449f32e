"""What reads other people's bytes: each reader as a function of bytes that may raise nothing, and what must hold of it.

A refusal with a message is fine; any other exception, and a property that does not hold, is a finding.
"""

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path

import httpx

from assistant.adapter_files import MANIFEST, BadAdapter, make_manifest, verify
from assistant.prompt_text import PromptTextError, parse, to_text
from assistant.vllm_client import Completion, VllmClient, VllmError
from assistant.web.markup import markdown
from benchmarks.random_adapters import make_small
from benchmarks.tasks.task import TaskError, load
from store import Store, StoreError
from store.io.importing import import_planned, plan_import
from store.io.records import ImportOptions
from trainer.evaluation.scorers import bleu, chrf, exact, json_match
from trainer.examples.wording import near, wording
from trainer.redaction.redactor import Redactor
from trainer.settings import BadSetting, TrainerSettings, override

Reader = Callable[[bytes], object]
_BASE = "b" * 64
_MOST_IMPORTS = 2000  # into one store; then a new one, or every import would be slower than the one before it
_SAFE_TAGS = re.compile(
    r"p|br|hr|em|strong|s|code|pre|ul|ol|li|blockquote|h[1-6]|a|table|thead|tbody|tr|t[hd]|span"
)
_SAFE_LINK = re.compile(r"https?:|mailto:", re.I)


def _text(data: bytes) -> str:
    """Any text at all, with half surrogates among it as a browser's JSON can bring them."""
    return data.decode("utf-8", "surrogateescape")


class _Importing:
    """Files of one kind into a store, which stays sound."""

    def __init__(self, folder: Path, suffix: str):
        self._folder, self._path = folder, folder / f"chats.{suffix}"
        self._done = 0
        self._open()

    def _open(self) -> None:
        self._store = Store(self._folder / f"{time.monotonic_ns()}.sqlite")
        self._store.assistants.create("desk", "Desk", "exact")

    def __call__(self, data: bytes) -> None:
        self._done += 1
        if self._done % _MOST_IMPORTS == 0:
            assert self._store.maintenance.check() == []
            self._store.close()
            self._open()
        self._path.write_bytes(data)
        try:
            options = ImportOptions("desk", "fuzz", approve=False, at=2e9)
            result = import_planned(self._store, plan_import(self._path, options))
        except StoreError:
            return
        assert min(result.refused, *result.counts.values(), 0) >= 0


class _Adapter:
    """An adapter's directory with one file exchanged, under a manifest that fits it where the file is another."""

    def __init__(self, folder: Path, file: str):
        [name] = make_small(folder, 1, _BASE)
        self._directory, self._file = folder / name, file
        self._published = (self._directory / file).read_bytes()

    def __call__(self, data: bytes) -> None:
        (self._directory / self._file).write_bytes(data)
        try:
            if self._file != MANIFEST:
                manifest = make_manifest(self._directory, self._directory.name, _BASE)
                (self._directory / MANIFEST).write_text(manifest.to_json())
            found = verify(self._directory, _BASE, 16)
        except BadAdapter:
            return
        assert found.rank <= 16 and found.base == _BASE


class _Tags(HTMLParser):
    """Fails at a tag, an attribute or a link that could run or fetch something."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert _SAFE_TAGS.fullmatch(tag), tag
        for name, value in attrs:
            assert name in ("href", "title", "class", "start", "style", "rel", "target"), (tag, name)
            assert name != "href" or _SAFE_LINK.match(value or "") or not re.match(r"\s*\w+:", value or ""), (
                value
            )
            assert name != "style" or re.fullmatch(r"text-align:\s*\w+", value or ""), value


def _markdown(data: bytes) -> None:
    html = markdown(_text(data))
    _Tags(convert_charrefs=True).feed(html)


def _prompt(data: bytes) -> None:
    try:
        segments = parse(_text(data))
    except PromptTextError:
        return
    again = parse(to_text(segments), segments)
    assert again == segments, (segments, again)


def _settings(data: bytes) -> None:
    with suppress(BadSetting):
        override(TrainerSettings(), [_text(part) for part in data.split(b"\xff")])


def _privacy(data: bytes) -> None:
    (detected,) = Redactor().detect([_text(data)])
    end = 0
    for entity in detected.entities:
        assert end <= entity.start < entity.end <= len(detected.source.text)
        end = entity.end


def _wording(data: bytes) -> None:
    one, _, other = _text(data).partition("\n")
    first, second = wording(one), wording(other)
    assert near(first, second) is near(second, first)
    assert near(first, first)


def _scorers(data: bytes) -> None:
    answer, _, approved = _text(data).partition("\n")
    for score in (exact, chrf, bleu, json_match):
        assert 0.0 <= score(answer, approved) <= 1.0 + 1e-9, score
    assert exact(approved, approved) == 1.0 or not approved.strip()


def _search(folder: Path) -> Reader:
    store = Store(folder / "search.sqlite")
    store.assistants.create("desk", "Desk", "exact")

    def find(data: bytes) -> None:
        text = _text(data)
        assert store.search.find("desk", text) == []
        assert store.conversations.all("desk", search=text) == []

    return find


def _task(folder: Path) -> Reader:
    path = folder / "task.json"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        with suppress(TaskError):
            load(path)

    return read


def _events(data: bytes) -> None:
    """What a server streams, byte for byte."""

    async def answer() -> None:
        reply = httpx.MockTransport(lambda request: httpx.Response(200, content=data))
        client = VllmClient("http://127.0.0.1:9", transport=reply)
        try:
            async for item in client.stream("base", [1], max_tokens=4, end_ids=[2]):
                assert not isinstance(item, Completion) or item.prompt_tokens >= 0
        except VllmError:
            pass
        finally:
            await client.close()

    asyncio.run(answer())


TARGETS: Mapping[str, Callable[[Path], Reader]] = {
    "import-jsonl": lambda folder: _Importing(folder, "jsonl"),
    "import-json": lambda folder: _Importing(folder, "json"),
    "import-csv": lambda folder: _Importing(folder, "csv"),
    "adapter-manifest": lambda folder: _Adapter(folder, MANIFEST),
    "adapter-config": lambda folder: _Adapter(folder, "adapter_config.json"),
    "adapter-weights": lambda folder: _Adapter(folder, "adapter_model.safetensors"),
    "task-file": _task,
    "search": _search,
    "server-events": lambda folder: _events,
    "markdown": lambda folder: _markdown,
    "prompt-text": lambda folder: _prompt,
    "settings": lambda folder: _settings,
    "privacy": lambda folder: _privacy,
    "wording": lambda folder: _wording,
    "scorers": lambda folder: _scorers,
}

_TURNS = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]
_EVENT = {"choices": [{"text": "a", "finish_reason": None, "logprobs": {"token_logprobs": [-0.1]}}]}
_END = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": None}}
_MARKDOWN = b'# A\n\n- *b* `c` <script>\n\n| a | b |\n|---|:-:|\n| 1 | [x](https://y.z "t") |\n'
_PROMPT = b"Be short.\n\nUser: hi\nAssistant: yes\n\n[keep] Never lie.\n\n```\na\n\nb\n```"


def seeds(name: str, folder: Path) -> Sequence[bytes]:
    """Inputs that the reader takes, for the search to begin at."""
    reader = TARGETS[name](folder)
    if isinstance(reader, _Adapter):
        return [reader._published]
    row = json.dumps({"messages": _TURNS}).encode()
    shared = json.dumps(
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}
    ).encode()
    preference = json.dumps({"prompt": _TURNS[:1], "chosen": _TURNS[1:], "rejected": _TURNS[1:]}).encode()
    task = {
        "id": "a", "name": "A", "scorer": "exact",
        "prompt": [{"id": "s", "kind": "instruction", "text": "Be short."}],
        "train": [{"id": "1", "user": "q", "references": ["a"]}],
        "test": [{"id": "2", "user": "r", "references": ["b"]}],
    }  # fmt: skip
    known: dict[str, Sequence[bytes]] = {
        "import-jsonl": [row + b"\n" + row, shared, preference, b'{"prompt": "a", "completion": "b"}'],
        "import-json": [b"[" + row + b"," + row + b"]", b"[" + shared + b"]"],
        "import-csv": [b'question,answer,rating\nhi,yes,up\n"a\nb",c,down\n', b"question;answer\nhi;yes\n"],
        "task-file": [json.dumps(task).encode()],
        "server-events": [b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in (_EVENT, _END))],
        "markdown": [_MARKDOWN, b"<b onclick=x>"],
        "prompt-text": [_PROMPT, b"User: a\nAssistant: b"],
        "settings": [b"epochs=3\xffrank=8", b"learning_rate=0.001", b"privacy=false"],
        "privacy": [
            b"ann@example.com +49 30 1234567 4111 1111 1111 1111 10.0.0.1",
            b"DE89370400440532013000",
        ],
        "wording": [b"How do I open an account?\nHow can I open accounts, please?", b"a=1;b=2\nb=2;a=1"],
        "scorers": [b'{"a": [1, 2.5, null]}\n{"a": [1, 2.5, null]}', b"yes\nno"],
        "search": [b'kayak "hire" -x AND (a OR b*)'],
    }
    return known[name]
