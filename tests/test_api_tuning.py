"""A script that was written for a hosted fine-tuning service runs with another base URL."""

import json
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from api_scene import Scene, api
from fake_vllm import FakeVllm
from openai import OpenAI
from page_client import GRADIO_WARNINGS

from assistant.tokenizer import ChatTokenizer
from store import Store
from store.records import WITHOUT_TRAINING, RunStatus, Split
from trainer.examples.dataset import draft
from trainer.settings import TrainerSettings

pytestmark = GRADIO_WARNINGS  # the fake server goes with its connections open
SYSTEM = "Sort the question.\n\nAnswer with one word."


@pytest.fixture
def scene(store: Store, tokenizer: ChatTokenizer, vllm: FakeVllm, tmp_path: Path) -> Iterator[Scene]:
    with api(store, tokenizer, vllm, tmp_path) as running:
        yield running


def lines(count: int = 12, system: str = SYSTEM) -> bytes:
    rows = [
        {
            "messages": [
                {"role": "system", "content": system},
                {"role": "user", "content": f"Question {n} about {'boats' if n % 2 else 'money'}?"},
                {"role": "assistant", "content": "boats" if n % 2 else "money"},
            ]
        }
        for n in range(count)
    ]
    return "\n".join(map(json.dumps, rows)).encode()


def upload(client: OpenAI, content: bytes) -> str:
    return client.files.create(file=("train.jsonl", content), purpose="fine-tune").id


def test_a_file_becomes_an_assistant_and_a_run_its_model(scene: Scene) -> None:
    client, store = scene.client(), scene.desk.store
    file = upload(client, lines())
    job = client.fine_tuning.jobs.create(training_file=file, model="gpt-4o-mini-2024-07-18", suffix="Sorter")
    assert (
        job.status == "queued" and job.fine_tuned_model is None and "ratings 12" in job.shorthand["imported"]
    )
    assistant = store.assistants.get(job.shorthand["assistant"])
    assert (assistant.name, assistant.scorer) == ("Sorter", "exact")
    assert [one.text for one in store.prompts.latest(assistant.id).segments] == SYSTEM.split("\n\n")
    # What is tried before anything is trained ends no job.
    first = store.runs.start(assistant.id, {}, f"fine-tuning job {job.id}, {WITHOUT_TRAINING}")
    store.runs.finish(first.id, RunStatus.REFUSED, "Without training: it failed.", {})
    assert client.fine_tuning.jobs.retrieve(job.id).status == "running"
    # The trainer takes the request, as it does one from the page.
    taken = store.runs.take_request()
    assert taken and taken[0] == assistant.id
    run = store.runs.start(*taken[:1], {}, taken[1])
    assert client.fine_tuning.jobs.retrieve(job.id).status == "running"
    store.runs.add_event(run.id, "train", {"step": 3, "loss": 0.5})
    store.runs.update(run.id, adapter=None)
    store.runs.finish(run.id, RunStatus.PROMOTED, "served", {})
    done = client.fine_tuning.jobs.retrieve(job.id)
    assert done.status == "succeeded" and done.fine_tuned_model == assistant.id and done.finished_at
    events = client.fine_tuning.jobs.list_events(job.id).data
    assert events[0].message == "train: loss 0.5, step 3" and "12" in events[-1].message
    assert client.fine_tuning.jobs.checkpoints.list(job.id).data == []
    assert [one.id for one in client.fine_tuning.jobs.list()] == [job.id]
    reply = client.chat.completions.create(
        model=done.fine_tuned_model or "", messages=[{"role": "user", "content": "About boats?"}]
    )
    assert reply.model == assistant.id


def test_what_the_gate_refuses_is_a_failed_job_that_says_why(scene: Scene) -> None:
    client, store = scene.client(), scene.desk.store
    job = client.fine_tuning.jobs.create(training_file=upload(client, lines()), model="bank")
    assert job.shorthand["assistant"] == "bank"  # a model that is an assistant is trained further
    run = store.runs.start("bank", {}, f"asked for on the page, fine-tuning job {job.id}")
    store.runs.finish(run.id, RunStatus.NOT_ENOUGH, "12 approved answers are too few.", {})
    for _ in range(60):  # a job is found however many runs came after its own
        store.runs.finish(store.runs.start("bank", {}, "examples").id, RunStatus.REFUSED, "", {})
    failed = client.fine_tuning.jobs.retrieve(job.id)
    assert failed.status == "failed" and failed.error and "too few" in (failed.error.message or "")


def test_nothing_is_trained_on_a_validation_file_also_what_is_in_both(scene: Scene) -> None:
    client, store = scene.client(), scene.desk.store
    validation = upload(client, b"\n".join(lines(40).splitlines()[30:]))
    job = client.fine_tuning.jobs.create(
        training_file=upload(client, lines(35)), validation_file=validation, model="x", suffix="Sorter"
    )
    assert job.validation_file == client.fine_tuning.jobs.retrieve(job.id).validation_file == validation
    examples = draft(store, job.shorthand["assistant"], TrainerSettings()).examples
    numbers = {e.context[-1][1].split()[1]: e.split for e in examples}
    assert len(numbers) == 40 and {numbers[str(n)] for n in range(30, 40)} == {Split.GATE}
    assert Split.TRAIN in numbers.values()
    with pytest.raises(openai.NotFoundError):
        client.fine_tuning.jobs.create(
            training_file=upload(client, lines()), validation_file="file-0", model="x"
        )
    with pytest.raises(openai.BadRequestError, match="are the same"):
        client.fine_tuning.jobs.create(training_file=validation, validation_file=validation, model="x")
    broken = upload(client, b'{"a": 1}')
    before = len(store.assistants.all())
    with pytest.raises(openai.BadRequestError, match="none of the formats"):
        client.fine_tuning.jobs.create(
            training_file=upload(client, lines(9, "New.")), validation_file=broken, model="y"
        )
    assert len(store.assistants.all()) == before, "nothing was made of the training file either"


def test_a_prompt_that_is_known_keeps_its_assistant(scene: Scene) -> None:
    client = scene.client()
    first = client.fine_tuning.jobs.create(training_file=upload(client, lines()), model="x", suffix="One")
    again = client.fine_tuning.jobs.create(training_file=upload(client, lines(14)), model="x", suffix="Two")
    assert first.shorthand["assistant"] == again.shorthand["assistant"] == "one"


def test_a_job_can_be_cancelled_until_it_runs(scene: Scene) -> None:
    client, store = scene.client(), scene.desk.store
    jobs = [client.fine_tuning.jobs.create(training_file=upload(client, lines()), model="bank") for _ in "ab"]
    assert client.fine_tuning.jobs.cancel(jobs[0].id).status == "cancelled"
    assert client.fine_tuning.jobs.retrieve(jobs[1].id).status == "queued"
    store.runs.take_request()
    with pytest.raises(openai.BadRequestError, match="has begun"):
        client.fine_tuning.jobs.cancel(jobs[1].id)


def test_files_are_kept_listed_and_removed(scene: Scene) -> None:
    client = scene.client()
    file = upload(client, b'{"a": 1}')
    assert (
        client.files.retrieve(file).filename == "train.jsonl"
        and client.files.content(file).read() == b'{"a": 1}'
    )
    assert [one.id for one in client.files.list()] == [file]
    with pytest.raises(openai.BadRequestError, match="The file is in none of the formats"):
        client.fine_tuning.jobs.create(training_file=file, model="x")
    broken = upload(client, json.dumps({"messages": [{"role": "user", "content": "Hi"}]}).encode())
    with pytest.raises(openai.BadRequestError, match="no example to learn from"):
        client.fine_tuning.jobs.create(training_file=broken, model="x")
    assert [one.id for one in scene.desk.store.assistants.all()] == ["bank"]  # nothing was made of either
    client.files.delete(broken)
    assert client.files.delete(file).deleted
    for act in (client.files.retrieve, client.files.delete):
        with pytest.raises(openai.NotFoundError):
            act(file)
    with pytest.raises(openai.NotFoundError):
        client.fine_tuning.jobs.create(training_file=file, model="x")
    with pytest.raises(openai.BadRequestError, match="purpose fine-tune"):
        client.files.create(file=("a.png", b"x"), purpose="vision")
    assert scene.post("/v1/files", {"file": "x"}).status_code == 400
