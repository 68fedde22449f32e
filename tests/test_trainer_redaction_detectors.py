"""What is found in a text, what only looks like it, and how long the worst texts take."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.planted import FORMS, plant
from trainer.redaction.entities import normalise
from trainer.redaction.redactor import Redactor

REDACTOR = Redactor()


def replaced(text: str) -> str:
    return REDACTOR.redact([text]).texts[0]


def test_every_planted_secret_is_replaced_and_nothing_around_it() -> None:
    planted = list(plant(seed=7, each=20))
    assert len(planted) >= 200 and len({secret.kind for secret in planted}) >= 10
    missed = [
        (secret.form, secret.secret, replaced(secret.text))
        for secret in planted
        if replaced(secret.text) != secret.expected
    ]
    assert not missed, f"{len(missed)} of {len(planted)}: {missed[:5]}"


def test_every_planted_secret_is_found_between_letters_of_a_script_without_spaces() -> None:
    for secret in plant(seed=8, each=3):
        text = f"请看{secret.text}谢谢"
        assert secret.secret not in replaced(text), secret.form


def test_a_form_is_planted_as_often_as_every_other_and_alike_for_a_seed() -> None:
    planted = list(plant(seed=1, each=4))
    assert len(planted) == 4 * len(FORMS) and planted == list(plant(seed=1, each=4))
    assert planted != list(plant(seed=2, each=4))
    assert all(secret.text.count(secret.secret) == 1 for secret in planted)


@pytest.mark.parametrize(
    "text",
    [
        "The meeting is on 2023-10-12 or 01.02.2023, 12/11/2022, between 09:30:15 and 10:45.",
        "Version 1.2.3, release v10.0.0.1 and 2.31.0 are out; Python 3.11.7 too.",
        "SELECT name FROM city WHERE population > 150000 AND area < 1234567.89",
        "ISBN 978-3-16-148410-0, about 1.234.567 copies, 1990-1999, from page 0.123456789 on",
        "std::vector<int>, abc::def, a::b, C++ ::main, 12:30",
        "Listen on 127.0.0.1 or ::1, mask 255.255.255.0, any 0.0.0.0",
        "git@github.com:owner/repo, @mention, user@localhost, 5 @ 3 each, pkg@1.2.3",
        "order 1234567890123, 4111 1111 1111 1112, account 12345678",
        "DE88370400440532013000, 12345678A, 756.1234.5678.98, 123.456.789-00, XX82WEST12345698765432",
        "PESEL 44051401358, NHS number 9434765918, BSN 111222334, SIN 046454288, 44051401359 alone",
        "the password is required; token: BIO; api key for version2; secret santa",
        "It costs $1,299.00 or 1 299,00 EUR, call before 5 pm, phone support 24/7",
        "3.14159265358979 and -122.4194155, 37.7749295; 10^12; 0x1F; #123456",
        "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
        "eyJ is how it starts, sk- is a prefix, AKIA too, ghp_ and hf_hub_download",
        "https://example.com/a:b@c and http://example.com:8080/x?y=z#1",
        "",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert replaced(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a@b.com, A@B.COM and c@b.com", "<EMAIL_1>, <EMAIL_1> and <EMAIL_2>"),
        ("o'hara@example.com's", "<EMAIL_1>'s"),
        ("mailto:ann@example.com.", "mailto:<EMAIL_1>."),
        ("+1 (212) 555-0100, 1-212-555-0100 and 212.555.0100", "<PHONE_1>, <PHONE_1> and <PHONE_1>"),
        ("on 2024-01-05 4111 1111 1111 1111 12/27", "on 2024-01-05 <CARD_1> 12/27"),
        ("DE89 3704 0044 0532 0130 00 and de89370400440532013000", "<IBAN_1> and <IBAN_1>"),
        ("10.1.2.3:8080, 2001:db8:0:0::1 and 2001:DB8::1", "<IP_1>:8080, <IP_2> and <IP_2>"),
        ("00-1B-44-11-3A-B7 is 001b.4411.3ab7", "<MAC_1> is <MAC_1>"),
        ("postgres://joe:pa55@db.example.com/x", "postgres://<CREDENTIALS_1>@db.example.com/x"),
        ("Authorization: Bearer abcdef1234567890", "Authorization: Bearer <SECRET_1>"),
        ("Anruf unter 5551234 bitte", "Anruf unter 5551234 bitte"),
        ("GB82 WEST 1234 5698 7654 32, 12345678Z, X1234567L", "<IBAN_1>, <NATIONAL_ID_1>, <NATIONAL_ID_2>"),
        ("Aadhaar 2341 2341 2346, hetu 131052-308T", "Aadhaar <NATIONAL_ID_1>, hetu <NATIONAL_ID_2>"),
        ("Steuer-ID 36 574 261 809; BSN 111222333", "Steuer-ID <NATIONAL_ID_1>; BSN <NATIONAL_ID_2>"),
        (
            "AB 12 34 56 C, RSSMRA85T10A562S, 85.07.30-033.28",
            "<NATIONAL_ID_1>, <NATIONAL_ID_2>, <NATIONAL_ID_3>",
        ),
        ("ＳＳＮ １２３－４５－６７８９", "ＳＳＮ <NATIONAL_ID_1>"),
        ("an\u200bn@exam\u00adple.com\u200b!", "<EMAIL_1>\u200b!"),
        ("ann@exam\x00ple.com", "<EMAIL_1>"),
        ("\ud83d ann@example.com \udc00", "\ud83d <EMAIL_1> \udc00"),
    ],
)
def test_what_is_found_and_counted_as_the_same(text: str, expected: str) -> None:
    assert replaced(text) == expected


def test_a_private_key_whose_end_is_missing_goes_as_far_as_it_looks_like_one() -> None:
    begin = "-----BEGIN PRIVATE" + " KEY-----"
    text = f"here: {begin}\n{'Ab0/' * 16}\n{'Ab0/' * 3}==\nand what next?"
    assert replaced(text) == "here: <PRIVATE_KEY_1>\nand what next?"


@given(st.text())
def test_a_normalised_text_knows_where_everything_stands(text: str) -> None:
    normalised = normalise(text)
    assert "\x00" not in normalised.text
    for place in range(len(normalised.text)):
        start, end = normalised.original_span(place, place + 1)
        assert end == start + 1 and normalised.text[place] in normalise(text[start:end]).text


@given(st.text(alphabet=st.sampled_from("a1@.:-+ /\x00\u200b４＠<E_>0(5"), max_size=200))
def test_whatever_is_typed_entities_are_in_order_and_the_rest_stays(text: str) -> None:
    (detected,) = REDACTOR.detect([text])
    end = 0
    for entity in detected.entities:
        assert end <= entity.start < entity.end <= len(detected.source.text)
        end = entity.end
    redacted = REDACTOR.redact([text])
    if all(each.placeholder not in text for each in redacted.replacements):
        restored = redacted.texts[0]
        for each in redacted.replacements:
            restored = restored.replace(each.placeholder, each.text, 1)
        assert restored == text


RUNS = ["a", "1", "1 ", "a@", "a.", "@", ":", "1:", "://", "eyJ", "-eyJ", "eyJaaaaaa.", "sk-", "-sk-"]
RUNS += ["call ", "+1 ", "llam", "password ", "-----BEGIN PRIVATE" + " KEY-----", "4111 ", "DE89 ", "<EMAIL_"]
RUNS += ["(", "aa:", "0/", "１ａ＠", "a\x00\u200b\ud800"]


@pytest.mark.parametrize("run", RUNS)
def test_time_is_proportional_to_the_text_whatever_is_in_it(run: str) -> None:
    """What took quadratic time would take 64 times as long at eight times the length, not about eight."""

    def seconds(characters: int, salt: str) -> float:
        text = f"{salt} {run * (characters // len(run))}"  # what was redacted before is remembered
        started = time.process_time()
        REDACTOR.redact([text])
        return time.process_time() - started

    short = min(seconds(20_000, salt) for salt in "xy")
    assert any(seconds(160_000, salt) < max(0.2, 24 * short) for salt in "zw"), run


def test_secrets_in_a_message_of_a_megabyte_are_all_found() -> None:
    chance = random.Random(0)
    words = ["the", "account", "of", "my", "neighbour", "and", "so", "on", "in", "March"]
    secrets = [planted.secret for planted in plant(seed=3, each=4) if planted.kind == "EMAIL"]
    text = " ".join(f"{' '.join(chance.choices(words, k=20_000))} {secret}" for secret in secrets)
    assert len(text) > 1_000_000 and len(REDACTOR.redact([text]).replacements) == len(secrets)
