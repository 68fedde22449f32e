"""Settings: `--set name=value` with types and bounds, and the record of a run."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.serving import MAX_RANK
from trainer.settings import BadSetting, TrainerSettings, defaults_in_words, override

DEFAULT = TrainerSettings()


def test_values_take_the_type_of_their_field_and_the_last_one_wins() -> None:
    texts = (
        "epochs=3",
        "margin=0.1",
        "learning_rate=5e-4",
        "trusted-raters=ann, bo",
        "min-train=7",
        "epochs = 4",
    )
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
        ("epochs=3.5", "epochs cannot be '3.5': expected int."),
        ("epochs=0", "epochs cannot be '0': expected int >= 1."),
        ("margin=nan", "cannot be 'nan': expected float >= 0.001"),
        ("learning_rate=fast", "learning_rate cannot be 'fast': expected float."),
        ("learning_rate=-1", "cannot be '-1': expected float >= 0.0"),
        (f"rank={MAX_RANK + 1}", f"expected int <= {MAX_RANK}"),
        ("privacy=fals\udcb3", "privacy cannot be 'fals"),
        ("privacy=perhaps", "privacy cannot be 'perhaps': expected bool."),
    ],
)
def test_a_bad_setting_is_an_error_that_says_what_can_be_set(text: str, words: str) -> None:
    with pytest.raises(BadSetting) as error:
        override(DEFAULT, [text])
    assert words in str(error.value)


def test_the_defaults_are_within_their_bounds_and_can_be_set() -> None:
    assert override(TrainerSettings(epochs=9), defaults_in_words().split(", ")) == DEFAULT
    assert len(defaults_in_words().split(", ")) == len(fields(TrainerSettings))
    assert not [each.name for each in fields(TrainerSettings) if each.type in ("int", "float")], (
        "without bounds"
    )


@given(st.lists(st.text(), max_size=4), st.integers(1, 9))
def test_a_record_gives_the_settings_back(raters: list[str], epochs: int) -> None:
    settings = TrainerSettings(trusted_raters=tuple(raters), epochs=epochs)
    assert TrainerSettings.from_record(settings.as_record()) == settings


def test_a_record_with_other_settings_is_an_error_that_names_them() -> None:
    record = DEFAULT.as_record()
    del record["epochs"]
    with pytest.raises(BadSetting, match="unknown: warp; missing: epochs"):
        TrainerSettings.from_record(record | {"warp": 9})
