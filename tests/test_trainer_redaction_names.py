"""Names by a model: a tiny one, trained here on a few sentences, through the real pipeline."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from retrain_scene import SETTINGS, Scene
from tiny_model import write_tokenizer
from transformers import AutoTokenizer, LlamaConfig, LlamaForTokenClassification

from store.records import ImportedTurn, RunStatus, Verdict
from trainer.examples.snapshot import draft_for_model
from trainer.redaction.entities import RedactionError
from trainer.redaction.names import NameFinder
from trainer.redaction.redactor import Redactor

LABELS = ["O", "PER", "LOC"]
PEOPLE, PLACES = ("Ann", "Bob", "Carla"), ("Paris", "Ulm", "Oslo")
SENTENCES = ("I am {} from {}.", "{} lives in {} now", "hello {}, how is {}?", "{} and then {}")


@pytest.fixture(scope="module")
def name_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Learns the names above by heart, in about two seconds."""
    directory = write_tokenizer(tmp_path_factory.mktemp("names") / "tiny")
    tokenizer = AutoTokenizer.from_pretrained(directory)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=512,
        pad_token_id=2,
        id2label=dict(enumerate(LABELS)),
        label2id={label: number for number, label in enumerate(LABELS)},
    )
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForTokenClassification(config)
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        lessons = [_lesson(tokenizer, s, p, q) for s in SENTENCES for p in PEOPLE for q in PLACES]
        for _ in range(25):
            for ids, labels in lessons:
                optimizer.zero_grad()
                model(input_ids=ids, labels=labels).loss.backward()
                optimizer.step()
    model.save_pretrained(directory)
    return directory


def _lesson(tokenizer, sentence: str, person: str, place: str) -> tuple[torch.Tensor, torch.Tensor]:
    text = sentence.format(person, place)
    encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    spans = {1: _span(text, person), 2: _span(text, place)}
    labels = [
        next((label for label, (a, b) in spans.items() if start < b and end > a), 0)
        for start, end in encoded["offset_mapping"]
    ]
    return torch.tensor([encoded["input_ids"]]), torch.tensor([labels])


def _span(text: str, word: str) -> tuple[int, int]:
    return text.index(word) - (text.index(word) > 0), text.index(word) + len(word)


def test_people_and_places_are_replaced_beside_everything_else(name_model: Path) -> None:
    redactor = Redactor(names=NameFinder(str(name_model)).names)
    done = redactor.redact(["I am Ann from Oslo.", "Bob and then Oslo", "ann@example.com"])
    assert done.texts == ("I am <PERSON_1> from <PLACE_1>.", "<PERSON_2> and then <PLACE_1>", "<EMAIL_1>")
    assert redactor.redact(["I am Ann from Oslo."]) == redactor.redact(["I am Ann from Oslo."])


def test_a_name_that_stands_in_the_prompt_is_kept(name_model: Path) -> None:
    redactor = Redactor(prompt_texts=["You are Carla, who helps."], names=NameFinder(str(name_model)).names)
    assert redactor.redact(["I am Carla from Ulm."]).texts == ("I am Carla from <PLACE_1>.",)


def test_a_text_longer_than_the_models_window_is_read_to_its_end(name_model: Path) -> None:
    redactor = Redactor(names=NameFinder(str(name_model)).names)
    text = "I am Ann from Oslo. " * 200
    assert "Ann" not in redactor.redact([text]).texts[0]
    assert redactor.redact(["", " \n"]).texts == ("", " \n")


def test_a_run_uses_the_model_that_the_setting_names(scene: Scene, name_model: Path) -> None:
    scene.store.transfer.load("bank", [ImportedTurn("c1", "I am Bob from Paris.", "red", Verdict.UP)])
    w = replace(scene.context, settings=replace(SETTINGS, privacy_model=str(name_model)))
    assert draft_for_model(w, "bank").examples[0].context[0][1] == "I am <PERSON_1> from Paris.", (
        "the prompt has Paris"
    )
    assert draft_for_model(scene.context, "bank").examples[0].context[0][1] == "I am Bob from Paris."


def test_a_model_that_knows_no_names_is_refused(tiny_model: Path, tmp_path: Path, scene: Scene) -> None:
    with pytest.raises(RedactionError, match="none of them means a person or a place"):
        NameFinder(str(tiny_model))
    with pytest.raises(RedactionError, match="cannot be loaded"):
        NameFinder(str(tmp_path))
    scene.rate(60)
    run = scene.run(privacy_model=str(tmp_path))
    assert run.status is RunStatus.FAILED and "privacy_model=" in run.message
