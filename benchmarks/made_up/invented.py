"""A random generator to one invented address, number or token, as real ones are written.

Check digits are computed by formulas of this module's own, so that they prove those of the detectors.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable

_ALNUM = string.ascii_letters + string.digits
_HEX = "0123456789abcdef"


def _digits(chance: random.Random, count: int) -> str:
    return "".join(chance.choices(string.digits, k=count))


def _text(chance: random.Random, count: int, letters: str = _ALNUM) -> str:
    return "".join(chance.choices(letters, k=count))


def _date(chance: random.Random) -> tuple[str, str, str]:
    return f"{chance.randint(40, 99)}", f"{chance.randint(1, 12):02}", f"{chance.randint(1, 28):02}"


def _right(body: str, check: Callable[[str], int], wanted: int = 0) -> str:
    """The body with the digit that makes the check come out."""
    return next(body + digit for digit in string.digits if check(body + digit) == wanted)


def _double_add_double(digits: str) -> int:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        total += sum(map(int, str(int(digit) * (1 + place % 2))))
    return total % 10


def email(chance: random.Random) -> str:
    first, last = (
        chance.choice(("ann", "bo", "carla", "dmitri", "élodie")),
        chance.choice(("lee", "o'hara", "roe")),
    )
    local = chance.choice(
        (f"{first}.{last}", f"{first}{_digits(chance, 2)}", f"{first}_{last}+shop", first.upper())
    )
    host = chance.choice(
        ("example.com", "mail.example.org", "example.co.uk", "my-firm.example.net", "müller.example.de")
    )
    return f"{local}@{host}"


def phone_abroad(chance: random.Random) -> str:
    d = _digits(chance, 8)
    return chance.choice(
        (
            f"+44 20 7{d[:3]} {d[3:7]}",
            f"+49 (0)30 9{d[:7]}",
            f"+33 6 {d[:2]} {d[2:4]} {d[4:6]} {d[6:]}",
            f"+1-212-{2 + int(d[0]) % 8}{d[1:3]}-{d[3:7]}",
            f"0044 7911 1{d[:5]}",
            f"+919876{d[:6]}",
            f"+81 3-5{d[:3]}-{d[3:7]}",
        )
    )


def phone_american(chance: random.Random) -> str:
    area, exchange = f"{chance.randint(201, 989)}", f"{chance.randint(200, 999)}"
    line = _digits(chance, 4)
    return chance.choice(
        (
            f"({area}) {exchange}-{line}",
            f"{area}-{exchange}-{line}",
            f"{area}.{exchange}.{line}",
            f"1-{area}-{exchange}-{line}",
        )
    )


def phone_at_home(chance: random.Random) -> str:
    d = _digits(chance, 8)
    return chance.choice(
        (
            f"020 7{d[:3]} {d[3:7]}",
            f"07911 1{d[:5]}",
            f"06 {d[:2]} {d[2:4]} {d[4:6]} {d[6:]}",
            f"030/9{d[:7]}",
            f"(02) 9{d[:3]} {d[3:7]}",
        )
    )


def phone_said(chance: random.Random) -> str:
    return f"{chance.randint(2, 9)}{_digits(chance, chance.randint(6, 9))}"


def card(chance: random.Random) -> str:
    start, length = chance.choice(
        (("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("37", 15), ("6011", 16), ("36", 14), ("3530", 16))
    )
    number = _right(start + _digits(chance, length - len(start) - 1), _double_add_double)
    separator = chance.choice(("", " ", "-"))
    return separator.join(number[at : at + 4] for at in range(0, length, 4))


def iban(chance: random.Random) -> str:
    country, body = chance.choice(
        (
            ("DE", _digits(chance, 18)),
            ("GB", _text(chance, 4, string.ascii_uppercase) + _digits(chance, 14)),
            (
                "FR",
                _digits(chance, 10)
                + _text(chance, 11, string.ascii_uppercase + string.digits)
                + _digits(chance, 2),
            ),
            ("NL", _text(chance, 4, string.ascii_uppercase) + _digits(chance, 10)),
            ("NO", _digits(chance, 11)),
            ("MT", _text(chance, 4, string.ascii_uppercase) + _digits(chance, 23)),
        )
    )
    letters = "".join(str(ord(c) - 55) if c.isalpha() else c for c in f"{body}{country}00")
    number = f"{country}{98 - int(letters) % 97:02}{body}"
    return (
        number if chance.random() < 0.5 else " ".join(number[at : at + 4] for at in range(0, len(number), 4))
    )


def ip4(chance: random.Random) -> str:
    return ".".join(str(chance.randint(*span)) for span in ((1, 126), (0, 255), (0, 255), (1, 254)))


def ip6(chance: random.Random) -> str:
    groups = [f"{chance.randint(0x1000, 0xFFFF):x}" for _ in range(5)]
    return chance.choice(
        (
            f"2001:db8:{':'.join(groups)}:1",
            f"2001:DB8::{groups[0].upper()}",
            f"fe80::{groups[1]}:{groups[2]}:7",
        )
    )


def mac(chance: random.Random) -> str:
    pairs = [_text(chance, 2, _HEX) for _ in range(6)]
    joined = chance.choice((":", "-")).join(pairs)
    return chance.choice((joined, joined.upper()))


def ssn(chance: random.Random) -> str:
    return f"{chance.randint(100, 665)}-{chance.randint(1, 99):02}-{chance.randint(1, 9999):04}"


def dni(chance: random.Random) -> str:
    number = _digits(chance, 8)
    return number + "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23]


def nir(chance: random.Random) -> str:
    year, month, _ = _date(chance)
    body = f"{chance.choice('12')}{year}{month}{chance.randint(1, 95):02}{_digits(chance, 6)}"
    number = f"{body}{97 - int(body) % 97:02}"
    cut = (0, 1, 3, 5, 7, 10, 13, 15)
    return chance.choice((number, " ".join(number[a:b] for a, b in zip(cut, cut[1:], strict=False))))


def cpf(chance: random.Random) -> str:
    digits = [int(digit) for digit in _digits(chance, 9)]
    for length in (9, 10):
        rest = sum(digit * (length + 1 - at) for at, digit in enumerate(digits)) * 10 % 11
        digits.append(rest % 10)
    d = "".join(map(str, digits))
    return f"{d[:3]}.{d[3:6]}.{d[6:9]}-{d[9:]}"


def china(chance: random.Random) -> str:
    year, month, day = _date(chance)
    body = f"{chance.choice(('110105', '310101', '440305'))}19{year}{month}{day}{_digits(chance, 3)}"
    # ISO 7064 MOD 11-2, by its recursion.
    rest = 0
    for digit in body:
        rest = (rest + int(digit)) * 2 % 11
    return body + "0123456789X"[(12 - rest) % 11]


def ahv(chance: random.Random) -> str:
    number = _right(
        f"756{_digits(chance, 9)}", lambda d: sum(int(c) * (1, 3)[n % 2] for n, c in enumerate(d)) % 10
    )
    return f"{number[:3]}.{number[3:7]}.{number[7:11]}.{number[11:]}"


def personnummer(chance: random.Random) -> str:
    number = _right("".join(_date(chance)) + _digits(chance, 3), _double_add_double)
    return f"{number[:6]}-{number[6:]}"


def nhs(chance: random.Random) -> str:
    while True:
        body = _digits(chance, 9)
        check = 11 - sum(int(c) * (10 - at) for at, c in enumerate(body)) % 11
        if check != 10:
            return f"{body[:3]} {body[3:6]} {body[6:]}{check % 11}"


def pesel(chance: random.Random) -> str:
    body = "".join(_date(chance)) + _digits(chance, 4)
    return body + str(-sum(int(c) * (1, 3, 7, 9)[at % 4] for at, c in enumerate(body)) % 10)


def key(chance: random.Random) -> str:
    upper = string.ascii_uppercase + string.digits
    return chance.choice(
        (
            "AKIA" + _text(chance, 16, upper),
            "ghp_" + _text(chance, 36),
            "github_pat_" + _text(chance, 22) + "_" + _text(chance, 59),
            "glpat-" + _text(chance, 20),
            "sk-proj-" + _text(chance, 20) + "-" + _text(chance, 28) + "7",
            "sk-ant-api03-" + _text(chance, 80) + "-AA",
            "sk_live_" + _text(chance, 99),
            "xoxb-" + _digits(chance, 12) + "-" + _text(chance, 24),
            "AIza" + _text(chance, 35),
            "hf_" + _text(chance, 34),
            "npm_" + _text(chance, 36),
            "SG." + _text(chance, 22) + "." + _text(chance, 43),
            "dop_v1_" + _text(chance, 64, _HEX),
            "AC" + _text(chance, 32, _HEX),
            _digits(chance, 10) + ":AA" + _text(chance, 33),
        )
    )


def jwt(chance: random.Random) -> str:
    return f"eyJ{_text(chance, 33)}.eyJ{_text(chance, 60)}.{_text(chance, 42)}-"


def private_key(chance: random.Random) -> str:
    name = chance.choice(("", "RSA ", "EC ", "OPENSSH "))
    lines = "\n".join(_text(chance, 64, _ALNUM + "+/") for _ in range(5))
    # Put together here, so that no file holds one that looks whole.
    return "\n".join(
        (
            f"-----BEGIN {name}PRIVATE" + " KEY-----",
            f"{lines}\n{_text(chance, 30)}==",
            f"-----END {name}PRIVATE" + " KEY-----",
        )
    )


def password(chance: random.Random) -> str:
    return _text(chance, chance.randint(8, 14), _ALNUM + "-_#") + "a7"


def in_url(chance: random.Random) -> str:
    return f"{chance.choice(('admin', 'root', 'svc-web'))}:{_text(chance, 14)}"
