"""Numbers that a state gives to a person: by their form and check digits, the weaker ones only where they are named.

In: a folded text. Out: passages. Pure. A number of nine to eleven digits with one check digit is right by chance one
time in ten, so such a number counts only within 48 characters after its name (“SSN”, “PESEL”).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from trainer.privacy.check_digits import luhn, mod11_10, verhoeff, weighted
from trainer.privacy.passages import Kind, Passage

_NAMED_WITHIN = 48
_HETU = "0123456789ABCDEFHJKLMNPRSTUVWXY"
_DNI = "TRWAGMYFPDXBNJZSQVHLCKE"
_FISCAL_ODD = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)


@dataclass(frozen=True)
class Scheme:
    """`pattern` is the form and `valid` the check, of letters and digits alone; `named`: only after such a word."""

    pattern: re.Pattern[str]
    valid: Callable[[str], bool]
    named: re.Pattern[str] | None = None


def _date(month: str, day: str) -> bool:
    return 1 <= int(month) <= 12 and 1 <= int(day) <= 31


def _social_security(v: str) -> bool:  # the United States; numbers from 900 are those of ITIN
    if v[3:5] == "00" or v[5:] == "0000" or v[:3] in ("000", "666"):
        return False
    return v[0] != "9" or 50 <= int(v[3:5]) <= 99


def _dni(v: str) -> bool:  # Spain; foreigners' numbers start with X, Y or Z
    return _DNI[int(v[:-1].translate(str.maketrans("XYZ", "012"))) % 23] == v[-1]


def _codice_fiscale(v: str) -> bool:  # Italy
    def place(c: str) -> int:
        return int(c) if c.isdigit() else ord(c) - ord("A")

    total = sum(_FISCAL_ODD[place(c)] for c in v[:15:2]) + sum(place(c) for c in v[1:15:2])
    return chr(ord("A") + total % 26) == v[15]


def _nir(v: str) -> bool:  # France; Corsica's 2A and 2B count as 19 and 18
    return int(v[:13].replace("2A", "19").replace("2B", "18")) % 97 == 97 - int(v[13:])


def _china(v: str) -> bool:
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return _date(v[10:12], v[12:14]) and "10X98765432"[weighted(v[:17], weights, 11)] == v[17]


def _ahv(v: str) -> bool:  # Switzerland: the check of EAN-13
    return weighted(v, (1, 3) * 6 + (1,), 10) == 0


def _personnummer(v: str) -> bool:  # Sweden; a coordination number's day is 60 more
    return _date(v[-8:-6], str(int(v[-6:-4]) % 60)) and luhn(v[-10:])


def _hetu(v: str) -> bool:  # Finland, without the sign of the century
    number = v[:6] + v[-4:-1]
    return number.isdigit() and _date(v[2:4], v[:2]) and _HETU[int(number) % 31] == v[-1]


def _cpf(v: str) -> bool:  # Brazil
    first = weighted(v[:9], range(10, 1, -1), 11)
    second = weighted(v[:10], range(11, 1, -1), 11)
    return [int(v[9]), int(v[10])] == [0 if r < 2 else 11 - r for r in (first, second)] and len(set(v)) > 1


def _belgium(v: str) -> bool:
    return int(v[9:]) in (97 - int(v[:9]) % 97, 97 - int(f"2{v[:9]}") % 97)


def _korea(v: str) -> bool:  # since 2020 without a check digit
    return _date(v[2:4], v[4:6])


def _bsn(v: str) -> bool:  # the Netherlands
    return weighted(v, (9, 8, 7, 6, 5, 4, 3, 2, -1), 11) == 0


def _nhs(v: str) -> bool:  # England
    return weighted(v, (10, 9, 8, 7, 6, 5, 4, 3, 2, 1), 11) == 0


def _pesel(v: str) -> bool:  # Poland
    return weighted(v, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1), 10) == 0


def _form(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![0-9A-Za-z])(?:{pattern})(?![0-9A-Za-z])", re.IGNORECASE)


def _any(_: str) -> bool:
    return True


def _name(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z])(?:{words})", re.IGNORECASE)


_SCHEMES = (
    Scheme(_form(r"[0-9]{3}([- ])[0-9]{2}\1[0-9]{4}"), _social_security),
    Scheme(_form("[0-9]{9}"), _social_security, _name("ssn|social security|itin|tax ?payer")),
    Scheme(_form("[0-9]{8}-?[A-Z]|[XYZ]-?[0-9]{7}-?[A-Z]"), _dni),
    Scheme(_form("[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]"), _codice_fiscale),
    Scheme(_form(r"[12](?:[ .]?[0-9]{2}){2}[ .]?(?:[0-9]{2}|2[AB])(?:[ .]?[0-9]{3}){2}[ .-]?[0-9]{2}"), _nir),
    Scheme(_form("[1-8][0-9]{5}(?:19|20)[0-9]{9}[0-9X]"), _china),
    Scheme(_form(r"756([. ]?)[0-9]{4}\1[0-9]{4}\1[0-9]{2}"), _ahv),
    Scheme(_form("(?:[0-9]{2})?[0-9]{6}[-+][0-9]{4}"), _personnummer),
    Scheme(_form("[0-9]{6}[-+A-FU-Y][0-9]{3}[0-9A-Y]"), _hetu),
    Scheme(_form(r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}"), _cpf),
    Scheme(_form(r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}"), _belgium),
    Scheme(_form("[0-9]{6}-[1-8][0-9]{6}"), _korea),
    Scheme(_form(r"(?<![0-9][ -])[2-9][0-9]{3}([ -])[0-9]{4}\1[0-9]{4}(?![ -]?[0-9])"), verhoeff),
    # The United Kingdom's national insurance number has no check digit, but a form that little else has.
    Scheme(
        _form(r"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z](?: ?[0-9]{2}){3} ?[A-D]"), _any
    ),
    Scheme(_form("[0-9]{11}"), _cpf, _name("cpf")),
    Scheme(_form("[2-9][0-9]{11}"), verhoeff, _name("aadhaar|aadhar|uidai")),
    Scheme(_form("[0-9]{3}([ -]?)[0-9]{3}\\1[0-9]{4}"), _nhs, _name("nhs")),
    Scheme(
        _form("[0-9]{3}([ -]?)[0-9]{3}\\1[0-9]{3}"), luhn, _name("sin(?![a-z])|social insurance|nas(?![a-z])")
    ),
    Scheme(_form(r"[0-9]{4}([. ]?)[0-9]{2}\1[0-9]{3}"), _bsn, _name("bsn|burgerservice|sofi")),
    Scheme(
        _form("[0-9]{2} ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}"), mod11_10, _name("steuer|tax id|idnr|tin(?![a-z])")
    ),
    Scheme(_form("[0-9]{11}"), _pesel, _name("pesel")),
)


def national_ids(text: str) -> Iterator[Passage]:
    """Of 20 forms in 16 countries."""
    for scheme in _SCHEMES:
        if scheme.named is not None and not scheme.named.search(text):
            continue
        for found in scheme.pattern.finditer(text):
            value = re.sub("[^0-9A-Z]", "", found[0].upper())
            before = text[max(0, found.start() - _NAMED_WITHIN) : found.start()]
            if scheme.valid(value) and (scheme.named is None or scheme.named.search(before)):
                yield Passage(found.start(), found.end(), Kind.NATIONAL_ID, value)
