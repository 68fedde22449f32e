"""`--set name=value`: every setting, its type, its bounds."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.serving import MAX_RANK
from trainer.overrides import _BOUNDS, BadSetting, listed, override
from trainer.settings import OtherSettings, TrainerSettings

DEFAULT = TrainerSettings()


def test_values_take_the_type_of_their_field_and_the_last_one_wins() -> None:
    texts = [
        "epochs=3",
        "margin=0.1",
        "learning_rate=5e-4",
        "trusted-raters=ann, bo",
        "min-train=7",
        "epochs = 4",
    ]
    found = override(DEFAULT, texts)
    assert (found.epochs, found.margin, found.min_train) == (4, 0.1, 7)
    assert found.learning_rate == 5e-4 and found.trusted_raters == ("ann", "bo")
    assert override(DEFAULT, []) == DEFAULT


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epoch=3", "no setting 'epoch'. There are: seed, epochs, learning_rate"),
        ("epochs", "sets nothing: write name=value"),
        ("epochs=", "sets nothing"),
        ("epochs=3.5", "epochs is a whole number, not '3.5'"),
        ("epochs=0", "between 1 and 1000, not at 0"),
        ("rater_share=nan", "between 0.01 and 1, not at nan"),
        ("learning_rate=fast", "learning_rate is a number, not 'fast'"),
        ("learning_rate=-1", "not at -1"),
        ("rank=64", "between 1 and 16"),
    ],
)
def test_what_sets_nothing_is_told_with_what_can_be_set(text: str, words: str) -> None:
    with pytest.raises(BadSetting) as error:
        override(DEFAULT, [text])
    assert words in str(error.value)


def test_bounds_are_of_settings_and_hold_the_defaults() -> None:
    for name, (low, high) in _BOUNDS.items():
        value = getattr(DEFAULT, name)
        assert all(low <= one <= high for one in (value if isinstance(value, tuple) else (value,))), name
    assert _BOUNDS["rank"][1] == MAX_RANK


def test_what_help_lists_can_be_set() -> None:
    assert override(TrainerSettings(epochs=9), listed().split(", ")) == DEFAULT
    assert len(listed().split(", ")) == len(fields(TrainerSettings))


@given(st.lists(st.text(), max_size=4), st.integers(1, 9))
def test_a_record_gives_the_settings_back(raters: list[str], epochs: int) -> None:
    settings = TrainerSettings(trusted_raters=tuple(raters), epochs=epochs)
    assert TrainerSettings.from_record(settings.as_record()) == settings


def test_a_record_of_another_version_is_told_field_by_field() -> None:
    record = DEFAULT.as_record()
    del record["epochs"]
    with pytest.raises(OtherSettings, match="it has warp; it lacks epochs"):
        TrainerSettings.from_record(record | {"warp": 9})
