"""Finds payment cards, IBANs and national ids by their form and their check digits (python-stdnum)."""

import re
from collections.abc import Iterator
from functools import cache

from stdnum import iban, luhn, numdb, verhoeff
from stdnum.be import bis, nn
from stdnum.br import cpf
from stdnum.ca import sin
from stdnum.ch import ssn
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.iso7064 import mod_11_2
from stdnum.it import codicefiscale
from stdnum.nl import bsn
from stdnum.pl import pesel

from trainer.redaction.entities import Entity, Kind, digits

_SEPARATOR = r"[ \t.\-]{1,2}"
# From the start of a group of digits on: digit by digit, or in groups of three or more, of which the last may be short.
_CARD = re.compile(
    rf"(?<![0-9])(?=[2-68][0-9 \t.\-]{{11}})(?=([0-9](?:{_SEPARATOR}[0-9](?![0-9])){{11,18}}"
    rf"|(?:[0-9]{{3,16}}{_SEPARATOR}){{0,5}}[0-9]{{1,19}}(?![0-9])))"
)
_GROUP = re.compile("[0-9]+")
_BRANDS = (  # how a number starts, and how long it may be
    (re.compile("4"), (13, 16, 19)),  # Visa
    (re.compile("5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),  # Mastercard
    (re.compile("3[47]"), (15,)),  # American Express
    (re.compile("30[0-5]|309|3[689]"), (14, 16, 19)),  # Diners Club
    (re.compile("35(?:2[89]|[3-8])"), range(16, 20)),  # JCB
    (re.compile("6011|64[4-9]|65|60|81|82|62"), range(16, 20)),  # Discover, RuPay, UnionPay
    (re.compile("220[0-4]"), range(16, 20)),  # Mir
    (re.compile("50|5[6-8]|6[1379]"), range(12, 20)),  # Maestro
)
_IBAN_START = re.compile(r"(?<![0-9A-Za-z])[A-Za-z]{2}[0-9]{2}(?=[ .\-\n]{0,2}[0-9A-Za-z])")
_ID_START = re.compile(r"(?<![0-9A-Za-z])(?=[0-9]|[A-Za-z]{2}(?:[A-Za-z]{4})? ?[0-9]|[XYZxyz]-?[0-9])")
_NAMED_WITHIN = 48  # characters between the name of a national id and its number


def cards(text: str) -> Iterator[Entity]:
    """Numbers that start as a brand's do and fulfil Luhn's check."""
    for row in _CARD.finditer(text):
        for group in _GROUP.finditer(row[1]):
            number = digits(row[1][: group.end()])
            if len(number) > 19:
                break
            branded = any(len(number) in lengths and start.match(number) for start, lengths in _BRANDS)
            if branded and len(set(number)) > 1 and luhn.is_valid(number):
                yield Entity(row.start(), row.start() + group.end(), Kind.CARD, number)
                break


def ibans(text: str) -> Iterator[Entity]:
    """Account numbers of their country's length and structure that fulfil the check modulo 97."""
    for start in _IBAN_START.finditer(text):
        form = _iban_form(start[0][:2].upper())
        found = form.match(text, start.start()) if form else None
        if found is not None:
            value = _letters_and_digits(found[0])
            if iban.is_valid(value, check_country=False):
                yield Entity(found.start(), found.end(), Kind.IBAN, value)


@cache
def _iban_form(country: str) -> re.Pattern[str] | None:
    """As many letters and digits as the country's IBANs have; None for a country without any."""
    structure = numdb.get("iban").info(country)[0][1].get("bban")
    if structure is None:
        return None
    length = 4 + sum(map(int, re.findall("[0-9]+", structure)))
    return re.compile(rf"[A-Za-z](?:[ .\-\n]{{0,2}}[0-9A-Za-z]){{{length - 1}}}(?![0-9A-Za-z])")


def _hetu(number: str) -> bool:
    return hetu.is_valid(f"{number[:6]}{'A' if number[6].isdigit() else number[6]}{number[-4:]}", True)


# A number of nine to eleven digits with one check digit is right by chance one time in ten, so it counts only within
# a few words after its name (“SSN”, “PESEL”).
_MONTH, _DAY = "(?:0[1-9]|1[0-2])", "(?:0[1-9]|[12][0-9]|3[01])"
_SSN = r"(?!000|666|9[0-9]{2}[- ]?[0-4])[0-9]{3}([- ]%s)(?!00)[0-9]{2}\1(?!0000)[0-9]{4}"
# How states number people: a form, words of which one must stand before it, and checks of which one must hold.
_SCHEMES = tuple(
    (
        re.compile(rf"(?<![0-9A-Za-z])(?:{form})(?![0-9A-Za-z])", re.IGNORECASE),
        re.compile(rf"(?<![a-z])(?:{named})", re.IGNORECASE),
        checks,
    )
    for form, named, *checks in (
        (_SSN % "", ""),  # the United States; from 900 on those of the tax office (ITIN)
        (_SSN % "?", "ssn|social security|itin|tax ?payer"),
        ("[0-9]{8}-?[A-Z]|[XYZ]-?[0-9]{7}-?[A-Z]", "", dni.is_valid, nie.is_valid),
        ("[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]", "", codicefiscale.is_valid),
        (
            r"[12](?:[ .]?[0-9]{2}){2}[ .]?(?:[0-9]{2}|2[AB])(?:[ .]?[0-9]{3}){2}[ .-]?[0-9]{2}",
            "",
            nir.is_valid,
        ),
        (
            rf"[1-8][0-9]{{5}}(?:19|20)[0-9]{{2}}{_MONTH}{_DAY}[0-9]{{3}}[0-9X]",
            "",
            mod_11_2.is_valid,
        ),  # China
        (r"756([. ]?)[0-9]{4}\1[0-9]{4}\1[0-9]{2}", "", ssn.is_valid),
        # Sweden; a coordination number's day is 60 more.
        (
            rf"(?:[0-9]{{2}})?[0-9]{{2}}{_MONTH}(?:{_DAY}|[6-9][0-9])[-+][0-9]{{4}}",
            "",
            lambda number: luhn.is_valid(number[-10:]),
        ),
        ("[0-9]{6}[-+A-FU-Y][0-9]{3}[0-9A-Y]", "", _hetu),
        (r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", "", cpf.is_valid),
        (r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}", "", nn.is_valid, bis.is_valid),
        (rf"[0-9]{{2}}{_MONTH}{_DAY}-[1-8][0-9]{{6}}", ""),  # Korea, since 2020 without a check digit
        (
            r"(?<![0-9][ -])[2-9][0-9]{3}([ -])[0-9]{4}\1[0-9]{4}(?![ -]?[0-9])",
            "",
            verhoeff.is_valid,
        ),  # India
        # The United Kingdom's national insurance number has no check digit, but a form that little else has.
        (r"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z](?: ?[0-9]{2}){3} ?[A-D]", ""),
        ("[0-9]{11}", "cpf", cpf.is_valid),
        ("[2-9][0-9]{11}", "aadhaar|aadhar|uidai", verhoeff.is_valid),
        (r"[0-9]{3}([ -]?)[0-9]{3}\1[0-9]{4}", "nhs", nhs.is_valid),
        (r"[0-9]{3}([ -]?)[0-9]{3}\1[0-9]{3}", "sin(?![a-z])|social insurance|nas(?![a-z])", sin.is_valid),
        (r"[0-9]{4}([. ]?)[0-9]{2}\1[0-9]{3}", "bsn|burgerservice|sofi", bsn.is_valid),
        ("[0-9]{2} ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}", "steuer|tax id|idnr|tin(?![a-z])", idnr.is_valid),
        ("[0-9]{11}", "pesel", pesel.is_valid),
    )
)


def national_ids(text: str) -> Iterator[Entity]:
    for start in _ID_START.finditer(text):
        before = text[max(0, start.start() - _NAMED_WITHIN) : start.start()]
        for form, named, checks in _SCHEMES:
            found = form.match(text, start.start())
            if found is None or not named.search(before):
                continue
            value = _letters_and_digits(found[0])
            if not checks or any(check(value) for check in checks):
                yield Entity(found.start(), found.end(), Kind.NATIONAL_ID, value)


def _letters_and_digits(written: str) -> str:
    return re.sub("[^0-9A-Z]", "", written.upper())
