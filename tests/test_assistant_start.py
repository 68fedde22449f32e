"""What is checked before anything starts, where the model is, and who may read the server's key."""

import errno
import json
import os
import re
import socket
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from tiny_model import write_tokenizer
from typer.testing import CliRunner

import app
from assistant import startup
from assistant.assistants import SAMPLE_ID, create_assistant, load_sample, save_prompt
from assistant.embedding import default_model
from assistant.serving import NoServer, ServerAddress
from assistant.startup import EMBEDDED, ModelNotFound, complaints, context_length, resolve, unguarded
from assistant.tokenizer import ChatTokenizer
from benchmarks.processes import free_port
from store import Store, StoreError
from store.deployments import Deployments
from store.errors import NotSaved
from store.records import DeploymentStatus, Segment, SegmentKind, Verdict
from trainer.examples.dataset import draft, sizes
from trainer.examples.selection import DropReason
from trainer.settings import TrainerSettings


@pytest.fixture(autouse=True)
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine that runs the tests may be small; it is not what is tested."""
    monkeypatch.setattr(startup, "_MEMORY_GIB", 0.0)
    monkeypatch.setattr(startup, "_DISK_GIB", 0.0)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.5", "::1"])
def test_a_loopback_address_with_a_free_port_is_fine(tmp_path: Path, host: str) -> None:
    assert complaints(tmp_path, host, free_port(), own_server=False) == []
    assert unguarded(host, False, tmp_path) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org", ""])
def test_an_address_that_others_reach_is_refused_until_somebody_can_sign_in(
    tmp_path: Path, host: str
) -> None:
    complaint = unguarded(host, False, tmp_path)
    assert complaint is not None
    assert f"--host {host}" in complaint and f"user add NAME --role admin --data-dir {tmp_path}" in complaint
    assert unguarded(host, True, tmp_path) is None


def test_a_taken_port_is_named_with_another_to_take(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        (complaint,) = complaints(tmp_path, "127.0.0.1", port, own_server=False)
    assert f"Port {port}" in complaint and f"--port {port + 1}" in complaint


@pytest.mark.parametrize("host", ["nowhere.invalid", "a b", "x" * 300, "", "::g", "256.1.1.1"])
def test_a_host_that_is_no_address_is_named(tmp_path: Path, host: str) -> None:
    (complaint,) = complaints(tmp_path, host, free_port(), own_server=False)
    assert complaint.startswith(f"This machine has no address {host[:100]}.") and len(complaint) < 250


@pytest.mark.parametrize(
    ("host", "number", "said"),
    [
        ("203.0.113.9", None, "This machine has no address 203.0.113.9"),
        ("127.0.0.1", errno.EACCES, "is for the machine's administrator alone"),
        ("127.0.0.1", errno.EADDRINUSE, "is taken"),
    ],
)
def test_each_reason_why_nothing_can_listen_has_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, number: int | None, said: str
) -> None:
    if number is not None:

        def refuse(self: socket.socket, address: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(socket.socket, "bind", refuse)
    (complaint,) = complaints(tmp_path, host, 80, own_server=False)
    assert said in complaint


def start(*words: str) -> tuple[int, str]:
    """Of what is refused before anything is started."""
    command = typer.Typer()
    command.command()(app.main)
    done = CliRunner().invoke(command, words)
    return done.exit_code, " ".join(done.output.replace("│", " ").split())


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT])
def test_a_data_directory_that_cannot_be_written_is_said_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(self: Path, *_: object) -> None:
        raise OSError(number, os.strerror(number), str(self))

    monkeypatch.setattr(Path, "open", refuse)
    code, said = start("--data-dir", str(tmp_path), "--vllm-url", "http://127.0.0.1:9")
    assert code == 2 and f"{tmp_path} cannot be used: {os.strerror(number)}. Choose another" in said


def test_a_file_is_no_data_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        code, said = start("--data-dir", str(place))
        assert code == 2 and f"{place} cannot be used" in said


@pytest.mark.parametrize(
    "url", ["nonsense", "127.0.0.1:8000", "ftp://a", "http://", "http://[::1", "http://a:99999"]
)
def test_a_server_without_an_address_is_refused(url: str) -> None:
    code, said = start("--vllm-url", url)
    assert code == 2 and "is no address of a server" in said and "http://127.0.0.1:8000" in said


@pytest.mark.parametrize("config", ["{", "[]", '{"max_position_embeddings": "many"}', "\udcff", None])
def test_a_configuration_that_is_none_is_said_in_a_sentence(tmp_path: Path, config: str | None) -> None:
    if config is None:
        (tmp_path / "config.json").mkdir()
    else:
        (tmp_path / "config.json").write_bytes(config.encode(errors="surrogateescape"))
    with pytest.raises(ModelNotFound, match=r"config\.json (is no configuration|cannot be read)"):
        context_length(tmp_path)


def test_too_little_memory_disk_or_compiler_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(startup, "_MEMORY_GIB", 1e6)
    monkeypatch.setattr(startup, "_DISK_GIB", 1e6)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(startup, "_SHARED_MIB", 10**9)
    monkeypatch.setattr(startup, "_has_library", lambda name: False)
    found = complaints(tmp_path, "127.0.0.1", free_port(), own_server=True)
    wanted = ["GiB of disk", "libnuma", "--shm-size", "compiler", "GiB of memory"]
    assert [word in one for word, one in zip(wanted, found, strict=True)] == [True] * 5
    with_another_server = complaints(tmp_path, "127.0.0.1", free_port(), own_server=False)
    assert len(with_another_server) == 1 and "disk" in with_another_server[0]


@pytest.mark.parametrize(("limit", "free"), [("max\n", None), (str(5 << 30), 4 << 30), (str(1 << 60), None)])
def test_a_containers_own_limit_counts_and_what_it_can_drop_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, free: int | None
) -> None:
    (tmp_path / "memory.current").write_text(str(3 << 30))
    (tmp_path / "memory.max").write_text(limit)
    (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {2 << 30}\n")
    monkeypatch.setattr(startup, "_CGROUP", tmp_path)
    assert startup._free_memory() == free or free is None


def test_a_local_model_directory_is_taken_as_it_is_and_what_was_converted_is_not_converted_again(
    tiny_model: Path, tmp_path: Path
) -> None:
    assert resolve(str(tiny_model), tmp_path) == tiny_model
    assert context_length(tiny_model) == 2048
    there = tmp_path / "models" / EMBEDDED
    there.mkdir(parents=True)
    assert resolve(None, tmp_path) == there


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"max_position_embeddings": 512}, 512),
        ({"max_position_embeddings": 131072}, 131072),
        ({"n_positions": 1024}, 1024),
        ({"text_config": {"max_position_embeddings": 1024}}, 1024),
        ({}, 4096),
    ],
)
def test_the_context_is_the_models_own(tmp_path: Path, config: dict[str, object], expected: int) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert context_length(tmp_path) == expected


def test_a_directory_that_is_no_model_is_refused(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "half")
    with pytest.raises(ModelNotFound, match=r"half holds no config\.json"):
        resolve(str(tmp_path / "half"), tmp_path)


@pytest.mark.parametrize("model", ["./missing", "/missing/model", "missing", "a/b/c"])
def test_what_is_neither_directory_nor_hub_id_is_refused_without_asking_anyone(
    tmp_path: Path, model: str
) -> None:
    with pytest.raises(ModelNotFound, match="neither a directory nor a hub id"):
        resolve(model, tmp_path)


def test_the_servers_key_is_for_its_owner_alone_also_where_an_older_file_was_open_to_all(
    tmp_path: Path,
) -> None:
    aside, path = tmp_path / ".server.json", tmp_path / "server.json"
    aside.write_text("{}")
    aside.chmod(0o644)
    address = ServerAddress(("http://127.0.0.1:1",), "secret", "/model", 4096, str(default_model()), 256)
    for _ in range(2):
        address.write(tmp_path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ServerAddress.read(tmp_path) == address and [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("content", [None, "", "{}", "[]", '{"urls": ["x"]}'])
def test_without_a_server_file_it_says_how_to_start_one(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "server.json").write_text(content)
    with pytest.raises(NoServer, match=r"python app\.py --data-dir"):
        ServerAddress.read(tmp_path)


def test_a_new_prompt_is_served_in_full_at_once(store: Store, tokenizer: ChatTokenizer) -> None:
    segments = [
        Segment("a", SegmentKind.INSTRUCTION, text="Be brief."),
        Segment("b", SegmentKind.INSTRUCTION, text="x"),
    ]
    assistant = create_assistant(store, tokenizer, "Help desk, 2nd", "chrf", segments)
    assert assistant.id == "help-desk-2nd"
    first = store.deployments.active(assistant.id)
    second = save_prompt(store, tokenizer, assistant.id, segments[:1])
    assert first is not None and first.segment_ids == ("a", "b") and first.adapter is None
    assert second.segment_ids == ("a",) and second.prompt_tokens < first.prompt_tokens
    assert store.deployments.get(first.id).status is DeploymentStatus.RETIRED


def test_a_prompt_is_saved_and_served_in_one_step_or_not_at_all(
    store: Store, tokenizer: ChatTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    segments = [Segment("a", SegmentKind.INSTRUCTION, text="Be brief.")]
    desk = create_assistant(store, tokenizer, "Desk", "chrf", segments).id
    served, saved = store.deployments.active(desk), store.prompts.latest(desk)

    def fail(*_: object) -> None:
        raise NotSaved("The disk is full.")

    monkeypatch.setattr(Deployments, "activate", fail)
    with pytest.raises(NotSaved):
        save_prompt(store, tokenizer, desk, [replace(segments[0], text="Be kind.")])
    assert (store.deployments.active(desk), store.prompts.latest(desk)) == (served, saved)


def test_the_old_text_brings_back_what_was_proven_for_it(store: Store, tokenizer: ChatTokenizer) -> None:
    segments = [
        Segment("a", SegmentKind.INSTRUCTION, text="Be brief."),
        Segment("b", SegmentKind.INSTRUCTION, text="x"),
    ]
    desk = create_assistant(store, tokenizer, "Desk", "chrf", segments).id
    first = store.prompts.latest(desk)
    store.datasets.add(desk, first.id, "hash", (), {})
    run = store.runs.start(desk, {}, "test")
    store.adapters.add("desk-v1", desk, run.id, "adapters/desk-v1", "hash")
    proven = store.deployments.add(desk, first.id, "desk-v1", ["b"], 2, 7, run.id, demonstrations=5)
    store.deployments.activate(proven.id)
    changed = save_prompt(store, tokenizer, desk, [segments[0], replace(segments[1], id="c", text="y")])
    assert (changed.adapter, changed.segment_ids) == (None, ("a", "c"))
    renamed = [segments[0], replace(segments[1], id="b2")]  # what was gone may come back under another id
    again = save_prompt(store, tokenizer, desk, renamed)
    assert again.prompt_id == store.prompts.latest(desk).id != first.id and again.segment_ids == ("b2",)
    for name in ("adapter", "variant", "prompt_tokens", "run_id", "demonstrations"):
        assert getattr(again, name) == getattr(proven, name)
    assert store.deployments.active(desk) == again
    with store._file.writing() as transaction:  # as the erasure of a person does
        transaction.execute("UPDATE deployments SET status = 'rejected' WHERE adapter = 'desk-v1'", [])
    assert save_prompt(store, tokenizer, desk, segments).adapter is None, "what was rejected stays away"


def test_a_name_without_letters_is_refused(store: Store, tokenizer: ChatTokenizer) -> None:
    with pytest.raises(StoreError, match="no letter or digit"):
        create_assistant(store, tokenizer, "!!!", "chrf", [])


def test_the_sample_loads_once_and_completes_what_is_missing(store: Store, tokenizer: ChatTokenizer) -> None:
    assistant, loaded = load_sample(store, tokenizer)
    assert assistant.id == SAMPLE_ID and loaded > 0
    active = store.deployments.active(SAMPLE_ID)
    assert active is not None and active.prompt_tokens > 300
    again, more = load_sample(store, tokenizer)
    assert again == assistant and more == 0
    assert store.deployments.active(SAMPLE_ID) == active


def test_hardly_anything_of_the_sample_is_dropped_and_it_has_what_people_ask(
    store: Store, tokenizer: ChatTokenizer
) -> None:
    assistant, _ = load_sample(store, tokenizer)
    found = draft(store, assistant.id, TrainerSettings())
    assert found.dropped.keys() and set(found.dropped.values()) == {DropReason.RATED_DOWN}
    assert not found.contradictions() and not found.collection.outlier_raters and not found.replaced()
    counted = sizes(found.examples)
    assert counted["train"] >= 150 and counted["gate"] >= 60 and counted["dev"] >= 20
    follow_ups = [one for one in found.examples if len(one.context) > 1]
    assert len(follow_ups) >= 50 and max(len(one.context) for one in follow_ups) >= 7
    rated = [rating for answer in store.answers.rated(assistant.id) for rating in answer.ratings]
    down = sum(rating.verdict is Verdict.DOWN for rating in rated) / len(rated)
    assert 0.1 < down < 0.3 and len({rating.rater for rating in rated}) == 4
    # What every answer says stands in the prompt: nobody has to know what the prompt does not tell.
    segments = store.prompts.latest(assistant.id).segments
    prompt = " ".join(f"{one.text} {one.user} {one.assistant}" for one in segments)
    numbers = {number for one in found.examples for number in re.findall(r"\d+", one.completion)}
    assert numbers <= set(re.findall(r"\d+", prompt))
