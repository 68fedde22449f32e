"""Payment card numbers and IBANs.

In: a folded text. Out: passages. Pure. Card numbers fulfil Luhn's check and start as a brand's do; IBANs have their
country's length and fulfil the check modulo 97.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from trainer.privacy.check_digits import luhn, mod97
from trainer.privacy.passages import Kind, Passage

_GROUPS = re.compile(r"(?<![0-9])[0-9]++(?:[ \t.\-]{1,2}[0-9]++)*+")
_BRANDS = (  # how a number starts, and how long it may be
    (re.compile("4"), (13, 16, 19)),  # Visa
    (re.compile("5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),  # Mastercard
    (re.compile("3[47]"), (15,)),  # American Express
    (re.compile("30[0-5]|309|3[689]"), (14, 16, 19)),  # Diners Club
    (re.compile("35(?:2[89]|[3-8])"), (16, 17, 18, 19)),  # JCB
    (re.compile("6011|64[4-9]|65|60|81|82|62"), (16, 17, 18, 19)),  # Discover, RuPay, UnionPay
    (re.compile("220[0-4]"), (16, 17, 18, 19)),  # Mir
    (re.compile("50|5[6-8]|6[1379]"), (12, 13, 14, 15, 16, 17, 18, 19)),  # Maestro
)
_FEWEST, _MOST = 12, 19
_FIRST = frozenset("234568")

_IBAN_START = re.compile(r"(?<![0-9A-Za-z])[A-Za-z]{2}[0-9]{2}(?=[ .\-\n]{0,2}[0-9A-Za-z])")
# The registry of ISO 13616: country and how many characters its IBANs have.
_REGISTRY = """
AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18
FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20
LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24
SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30
"""
_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _REGISTRY.split()}
_REST = {
    length: re.compile(rf"(?:[ .\-\n]{{0,2}}[0-9A-Za-z]){{{length - 4}}}(?![0-9A-Za-z])")
    for length in set(_LENGTHS.values())
}


def cards(text: str) -> Iterator[Passage]:
    """Within a row of digit groups, so that a date before a number does not hide it."""
    for row in _GROUPS.finditer(text):
        if row.end() - row.start() < _FEWEST:
            continue
        groups = [(m.start() + row.start(), m[0]) for m in re.finditer("[0-9]+", row[0])]
        first = 0
        while first < len(groups):
            last = _card_ends(groups, first)
            if last is None:
                first += 1
                continue
            (start, _), (at, digits) = groups[first], groups[last]
            value = "".join(group for _, group in groups[first : last + 1])
            yield Passage(start, at + len(digits), Kind.CARD, value)
            first = last + 1


def _card_ends(groups: list[tuple[int, str]], first: int) -> int | None:
    """The group that ends a card number which starts with group `first`."""
    digits = ""
    if groups[first][1][0] not in _FIRST:
        return None
    for last in range(first, min(len(groups), first + _MOST)):
        digits += groups[last][1]
        if len(digits) > _MOST:
            return None
        if len(digits) >= _FEWEST and _is_card(digits) and _is_grouped(groups[first : last + 1]):
            return last
    return None


def _is_grouped(groups: list[tuple[int, str]]) -> bool:
    """As cards are: by three or more, or digit by digit. A list of numbers that count up is no card."""
    lengths = [len(group) for _, group in groups]
    return min(lengths[:-1], default=3) >= 3 or max(lengths) == 1


def _is_card(digits: str) -> bool:
    fits = any(len(digits) in lengths and start.match(digits) for start, lengths in _BRANDS)
    return fits and len(set(digits)) > 1 and luhn(digits)


def ibans(text: str) -> Iterator[Passage]:
    at = 0
    while (found := _IBAN_START.search(text, at)) is not None:
        at = found.end()
        length = _LENGTHS.get(found[0][:2].upper())
        rest = _REST[length].match(text, found.end()) if length else None
        if rest is not None:
            value = re.sub("[^0-9A-Z]", "", text[found.start() : rest.end()].upper())
            if mod97(value):
                at = rest.end()
                yield Passage(found.start(), at, Kind.IBAN, value)
