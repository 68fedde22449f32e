"""What one person wrote goes, all of it and nothing else, and no adapter that learned from it answers again."""

import asyncio
from pathlib import Path

import pytest
from store_scene import answered
from typer.testing import CliRunner

from store import Store, StoreError
from store.errors import Conflict, NotFound
from store.records import (
    Deployment,
    DeploymentStatus,
    Example,
    Message,
    Role,
    Ruling,
    RunStatus,
    Segment,
    SegmentKind,
    Split,
    Verdict,
)
from trainer import erasure
from trainer.__main__ import app

SECRET = "my cat is called Mog"


@pytest.fixture
def bank(bank: Store) -> Store:
    prompt = bank.prompts.add("bank", [Segment("a", SegmentKind.INSTRUCTION, text="Answer.")])
    bank.deployments.activate(bank.deployments.add("bank", prompt.id, None, ["a"], 0, 10).id)
    return bank


def test_a_reviewers_decisions_go_and_so_do_a_raters_words_that_were_approved(bank: Store) -> None:
    one, two = chat(bank, "bo", "hours", "ann").id, chat(bank, "bo", "prices", "cy").id
    bank.decisions.add(one, "rev", Ruling.APPROVE, "ann says hours ")
    bank.decisions.add(two, "rev", Ruling.REJECT)
    assert bank.erasure.preview("ann").decisions == 1
    bank.erasure.erase("ann")
    assert bank.decisions.all(one) == [] and len(bank.decisions.all(two)) == 1
    assert bank.erasure.erase("rev").decisions == 1 and bank.decisions.all(two) == []
    assert bank.maintenance.check() == []


def chat(store: Store, owner: str, question: str, rater: str) -> Message:
    """A rated answer."""
    answer = answered(store, question, f"about {question}", owner)
    store.ratings.add(answer.id, rater, Verdict.DOWN, correction=f"{rater} says {question}")
    return answer


def trained(store: Store, **of: Message) -> Deployment:
    """A promoted deployment of a run on examples, rater by rater."""
    run, given = store.runs.start("bank", {}, "test"), ((Role.USER, "q"),)
    examples = [
        Example(one.id, one.conversation_id, given, f"by {rater}", True, Split.TRAIN, rater)
        for rater, one in of.items()
    ]
    prompt = store.prompts.latest("bank")
    dataset = store.datasets.add("bank", prompt.id, "hash", examples, {})
    name = f"bank-v{run.id:04d}"
    store.runs.update(run.id, dataset_id=dataset.id, adapter=name)
    store.adapters.add(name, "bank", run.id, f"adapters/{name}", "hash")
    variants = [{"guards": [SECRET], "variant": 1}]
    gate = {"guards": [{"detail": SECRET}], "variants": variants, "margin": 0.05}
    store.runs.finish(run.id, RunStatus.PROMOTED, f"quotes {SECRET}", {"gate": gate})
    deployment = store.deployments.add("bank", prompt.id, name, [], 1, 0, run.id)
    return store.deployments.activate(deployment.id)


def test_all_that_a_person_wrote_goes_and_what_others_wrote_stays(bank: Store, tmp_path: Path) -> None:
    anns, bos = chat(bank, "ann", SECRET, "bo"), chat(bank, "bo", "opening hours", "ann")
    bank.ratings.add(bos.id, "bo", Verdict.UP, comment="fine")
    trained(bank, bo=anns, ann=bos, cy=Message("m", "other", None, Role.ASSISTANT, "", 0.0))

    would = bank.erasure.preview("ann")
    assert (would.conversations, would.ratings, would.examples) == (1, 1, 2)
    erased = bank.erasure.erase("ann")
    assert erased == would
    with pytest.raises(NotFound):
        bank.conversations.get(anns.conversation_id)
    assert [rating.rater for rating in bank.ratings.all(bos.id)] == ["bo"]
    assert [example.rater for example in bank.datasets.get(1).examples] == ["cy"]
    assert SECRET not in str(bank.runs.all("bank")[0])
    assert bank.runs.all("bank")[0].report["gate"] == {"variants": [{"variant": 1}], "margin": 0.05}
    assert bank.maintenance.check() == []
    bank.close()
    assert SECRET.encode() not in (tmp_path / "shorthand.sqlite").read_bytes()


def test_an_adapter_that_saw_it_never_answers_again(bank: Store) -> None:
    bos, anns = chat(bank, "bo", "opening hours", "bo"), chat(bank, "ann", SECRET, "ann")
    clean, tainted, latest = trained(bank, bo=bos), trained(bank, bo=bos, ann=anns), trained(bank, ann=anns)

    erased = bank.erasure.erase("ann")
    assert erased.adapters == (tainted.adapter, latest.adapter) and erased.assistants == ("bank",)
    active = bank.deployments.active("bank")
    assert active is not None and active.adapter is None and active.variant == 0
    for deployment in (tainted, latest):
        assert bank.deployments.get(deployment.id).status is DeploymentStatus.REJECTED
        with pytest.raises(Conflict, match="learned from what was erased"):
            bank.deployments.activate(deployment.id)
    assert bank.deployments.get(clean.id).status is DeploymentStatus.RETIRED
    assert bank.deployments.activate(clean.id).adapter == clean.adapter


def test_what_the_questions_of_a_person_said_goes_and_that_of_other_assistants_stays(bank: Store) -> None:
    """Sums of many questions' vectors, of which one cannot be taken out."""
    chat(bank, "bo", "opening hours", "ann")
    bank.assistants.create("shop", "Shop", "exact")
    bank.prompts.add("shop", [Segment("a", SegmentKind.INSTRUCTION, text="Answer.")])
    runs = {}
    for name in ("bank", "shop"):
        dataset = bank.datasets.add(name, bank.prompts.latest(name).id, "hash", [], {})
        bank.datasets.set_unrated_sums(dataset.id, "model", {"nine": b"1234"})
        runs[name] = bank.runs.start(name, {}, "test").id
        bank.runs.update(runs[name], dataset_id=dataset.id)
    bank.erasure.erase("bo")
    assert bank.datasets.unrated_sums(runs["bank"], "model") == {}
    assert bank.datasets.unrated_sums(runs["shop"], "model") == {"nine": b"1234"}


def test_a_rollback_passes_over_what_was_rejected(bank: Store) -> None:
    anns, bos = chat(bank, "ann", SECRET, "ann"), chat(bank, "bo", "opening hours", "bo")
    first, _, third = trained(bank, bo=bos), trained(bank, ann=anns), trained(bank, bo=bos)
    assert bank.erasure.erase("ann").assistants == ()
    active = bank.deployments.active("bank")
    assert active is not None and active.id == third.id
    assert bank.deployments.rollback("bank", "test").id == first.id


def test_nobody_and_a_run_that_is_training_on_it_are_refused(bank: Store) -> None:
    with pytest.raises(NotFound, match="Nobody called 'ann'"):
        bank.erasure.erase("ann")
    with pytest.raises(NotFound, match="Nobody is called"):
        bank.erasure.preview("")
    anns = chat(bank, "ann", SECRET, "ann")
    trained(bank, ann=anns)
    run = bank.runs.start("bank", {}, "again")
    bank.runs.update(run.id, dataset_id=1)
    with pytest.raises(Conflict, match="is training on it now"):
        bank.erasure.erase("ann")
    assert bank.conversations.get(anns.conversation_id).owner == "ann"


def test_runs_without_a_dataset_quote_nobody(bank: Store) -> None:
    chat(bank, "ann", SECRET, "ann")
    run = bank.runs.start("bank", {}, "test")
    bank.runs.finish(run.id, RunStatus.NOT_ENOUGH, f"all answers are the same text (“{SECRET}”)", {})
    assert bank.erasure.erase("ann").examples == 0
    assert SECRET not in bank.runs.get(run.id).message


def test_the_command_says_what_would_go_and_deletes_files_when_told(bank: Store, tmp_path: Path) -> None:
    anns = chat(bank, "ann", SECRET, "ann")
    adapter = trained(bank, ann=anns).adapter
    assert adapter is not None
    folder = tmp_path / "adapters" / adapter
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(b"weights")

    def run(*words: str) -> str:
        result = CliRunner().invoke(app, ["erase", *words, "--data-dir", str(tmp_path)])
        assert result.exit_code == 0, result.output
        return " ".join(result.output.split())

    said = run("ann")
    assert "Would erase: conversations: 1, ratings: 1, decisions of reviewers: 0, decided judgement " in said
    assert "requests: 0, examples in datasets: 1, uploaded files: 0." in said
    assert adapter in said and "--yes" in said
    assert folder.exists() and bank.conversations.get(anns.conversation_id)
    said = run("ann", "--yes")
    assert "Erased: conversations: 1" in said and "bank: the base model with the full prompt answers" in said
    assert not folder.exists()
    assert bank.runs.take_request() == ("bank", erasure.TRIGGER)


def test_files_that_the_person_uploaded_go_and_no_others(bank: Store) -> None:
    for owner in ("ann", "bo", "api:shop/ann"):
        bank.api_files.add(owner, "cats.jsonl", SECRET.encode())
    assert bank.erasure.preview("ann").files == bank.erasure.erase("ann").files == 1
    assert not bank.api_files.all("ann") and all(bank.api_files.all(one) for one in ("bo", "api:shop/ann"))
    assert SECRET.encode() in bank.api_files.content("bo", bank.api_files.all("bo")[0].id)


def test_files_that_cannot_be_deleted_are_named(
    bank: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anns = chat(bank, "ann", SECRET, "ann")
    adapter = trained(bank, ann=anns).adapter
    folder = tmp_path / "adapters" / str(adapter)
    folder.mkdir(parents=True)

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("shutil.rmtree", refuse)
    _, left = asyncio.run(erasure.erase_person(bank, tmp_path, "ann"))
    assert left == [f"{folder} could not be deleted (Permission denied): delete it by hand."]
    with pytest.raises(StoreError):
        bank.conversations.get(anns.conversation_id)
