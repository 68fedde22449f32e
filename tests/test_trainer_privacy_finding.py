"""What is found in a text, what only looks like it, and how long the worst texts take."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.made_up.planted import FORMS, plant
from trainer.privacy.check_digits import luhn, mod11_10, mod97, verhoeff
from trainer.privacy.finding import find
from trainer.privacy.folding import fold
from trainer.privacy.replacing import Screen

SCREEN = Screen()


def replaced(text: str) -> str:
    return SCREEN.replace([text]).texts[0]


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


@pytest.mark.parametrize(
    ("check", "right"),
    [
        (luhn, "79927398713"),
        (mod97, "GB82WEST12345698765432"),
        (mod11_10, "86095742719"),
        (verhoeff, "2363"),
    ],
)
def test_check_digits_find_every_wrong_digit(check: object, right: str) -> None:
    assert callable(check) and check(right)
    for place, digit in enumerate(right):
        if digit.isdigit():
            wrong = right[:place] + str((int(digit) + 1) % 10) + right[place + 1 :]
            assert not check(wrong), wrong


@given(st.text())
def test_a_folded_text_knows_where_everything_stands(text: str) -> None:
    folded = fold(text)
    assert "\x00" not in folded.text
    for place in range(len(folded.text)):
        start, end = folded.span(place, place + 1)
        assert end == start + 1 and fold(text[start:end]).text.find(folded.text[place]) >= 0


@given(st.text(alphabet=st.sampled_from("a1@.:-+ /\x00\u200b４＠<E_>0(5"), max_size=200))
def test_whatever_is_typed_passages_are_in_order_and_the_rest_stays(text: str) -> None:
    found = find(text, (), None)
    ends = [0]
    for passage in found.passages:
        assert ends[-1] <= passage.start < passage.end <= len(found.folded.text)
        ends.append(passage.end)
    done = SCREEN.replace([text])
    left = done.texts[0]
    for swap in done.swaps:  # putting everything back gives the text
        left = left.replace(swap.placeholder, swap.text, 1) if swap.placeholder not in text else left
    if all(swap.placeholder not in text for swap in done.swaps):
        assert left == text


RUNS = [
    "a",
    "1",
    "1 ",
    "a@",
    "a.",
    "@",
    ":",
    "1:",
    "://",
    "eyJ",
    "-eyJ",
    "eyJaaaaaa.",
    "sk-",
    "-sk-",
    "call ",
    "+1 ",
]
RUNS += [
    "llam",
    "password ",
    "-----BEGIN PRIVATE" + " KEY-----",
    "4111 ",
    "DE89 ",
    "<EMAIL_",
    "(",
    "aa:",
    "0/",
]
RUNS += ["１ａ＠", "a\x00\u200b\ud800"]


@pytest.mark.parametrize("run", RUNS)
def test_time_is_proportional_to_the_text_whatever_is_in_it(run: str) -> None:
    """What took quadratic time would take 64 times as long at eight times the length, not about eight."""

    def seconds(characters: int) -> float:
        text = run * (characters // len(run))
        started = time.process_time()
        SCREEN.replace([text])
        return time.process_time() - started

    short = min(seconds(20_000) for _ in range(2))
    assert seconds(160_000) < max(0.2, 24 * short), run


def test_a_message_of_ten_megabytes_with_a_hundred_secrets_is_done() -> None:
    chance = random.Random(0)
    words = ["the", "account", "of", "my", "neighbour", "and", "so", "on", "in", "March"]
    secrets = [
        secret for secret in plant(seed=3, each=4) if secret.form == secret.kind or secret.kind == "EMAIL"
    ]
    parts = [" ".join(chance.choices(words, k=200_000)) for _ in range(len(secrets) + 1)]
    text = parts[0] + "".join(
        f" {secret.secret} {part}" for secret, part in zip(secrets, parts[1:], strict=True)
    )
    assert len(text) > 10_000_000
    started = time.process_time()
    done = SCREEN.replace([text])
    assert time.process_time() - started < 60
    assert len(done.swaps) == len(secrets)
