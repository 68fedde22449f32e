"""Phone numbers, by the numbering plans of `phonenumbers`: international ones, and national ones that look like it.

In: a folded text. Out: passages. Pure, and the boundary to `phonenumbers`. Its own search in texts is not used: it
gives up after 65,535 candidates, after which nothing more would be found. Does not know where the team lives: a
national number is tried with the plans of `_COUNTRIES`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import phonenumbers

from trainer.privacy.passages import Kind, Passage

_COUNTRIES = (
    "GB",
    "DE",
    "FR",
    "IT",
    "NL",
    "BE",
    "AT",
    "CH",
    "IE",
    "AU",
    "NZ",
    "ZA",
    "JP",
    "IN",
    "SE",
    "FI",
    "PL",
)
# After so many different candidates in one text the looks of one are enough: a plan costs 0.02 ms, all of them 0.5 ms.
_CHECKED = 2_000

_NUMBER = r"[1-9](?:[ .\-/()]{0,3}[0-9]){6,14}"
_INTERNATIONAL = re.compile(rf"(?<![0-9A-Za-z+])(?:\+|00[ .\-]?)\(?{_NUMBER}(?![0-9])")
_LEADING_ZERO = re.compile(r"(?<![0-9A-Za-z+.,:/\-])\(?0[1-9](?:[ .\-/()]{0,2}[0-9]){6,11}(?![0-9A-Za-z])")
# Also those that no plan has, such as 555-123-4567: little else is written in groups of 3, 3 and 4.
_AMERICAN = re.compile(
    r"(?<![0-9A-Za-z+,:/])(?<![0-9][.\-])(?:1[ .\-])?(?:\([1-9][0-9]{2}\) ?|[1-9][0-9]{2}[ .\-])[0-9]{3}[ .\-][0-9]{4}"
    r"(?![0-9A-Za-z]|[.\-][0-9])"
)
_NAMED = re.compile(
    r"(?:phone|mobile|cell|call|tele?|fax|whatsapp|signal|sms|dial|ring|reach|contact|hotline|handy|mobil|nummer|rufnummer"
    r"|téléphone|portable|teléfono|móvil|llam\w{0,6}|telefono|cellulare|telefone|telefoon)"
    r"[^0-9+\n\x00]{0,24}(?<![0-9A-Za-z])(\(?[0-9](?:[ .\-/()]{0,2}[0-9]){6,13})(?![0-9A-Za-z])",
    re.IGNORECASE,
)
_EXTENSION = re.compile(r",? ?(?:ext(?:ension)?\.?|x|#) ?[0-9]{1,6}(?![0-9A-Za-z])", re.IGNORECASE)
_DATE = re.compile(
    r"[0-9]{1,2}([./\- ])[0-9]{1,2}\1(?:19|20)?[0-9]{2}|(?:19|20)[0-9]{2}([./\- ])[0-9]{1,2}\2[0-9]{1,2}"
    r"|(?:19|20)[0-9]{2} ?[-/] ?(?:19|20)[0-9]{2}|(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])[0-3][0-9]"
)
_LAST_GROUP = re.compile(r"[ .\-/()]+[0-9]*$")
_SEPARATED = re.compile(r"[ .\-/()]")


def phones(text: str) -> Iterator[Passage]:
    """Numbers with a country's code, and what its separators, a leading zero or the words before it say to be one."""
    plans = _Plans()
    for found in _INTERNATIONAL.finditer(text):
        yield from _longest(text, found, plans, None)
    for found in _AMERICAN.finditer(text):
        value = plans.value(found[0], ("US",)) or _digits(found[0])
        yield Passage(found.start(), _with_extension(text, found.end()), Kind.PHONE, value)
    for found in _LEADING_ZERO.finditer(text):
        if _SEPARATED.search(found[0]) and not re.fullmatch(r"0[0-9]*\.[0-9]+", found[0]):
            yield from _longest(text, found, plans, _COUNTRIES)
    for found in _NAMED.finditer(text):
        written = found[1].rstrip(" .-/(")
        if not _DATE.fullmatch(written):
            countries = _COUNTRIES if written.lstrip("(").startswith("0") else ("US",)
            value = plans.value(written, countries) or _digits(written)
            yield Passage(
                found.start(1), _with_extension(text, found.start(1) + len(written)), Kind.PHONE, value
            )


def _longest(
    text: str, found: re.Match[str], plans: _Plans, countries: tuple[str, ...] | None
) -> Iterator[Passage]:
    """The number at its full length, or without the groups at its end that belong to what follows."""
    start, written = found.start(), found[0]
    if written[0] == "(" and ")" not in written:  # it belongs to the sentence
        start, written = start + 1, written[1:]
    while len(_digits(written)) >= 7:
        value = None if _DATE.fullmatch(written.lstrip("(")) else plans.value(written, countries)
        if value is not None:
            yield Passage(start, _with_extension(text, start + len(written)), Kind.PHONE, value)
            return
        shorter = _LAST_GROUP.sub("", written)
        if shorter == written:
            return
        written = shorter


class _Plans:
    """Numbers to their E.164 form, a bounded number of times a text."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, tuple[str, ...] | None], str | None] = {}

    def value(self, written: str, countries: tuple[str, ...] | None) -> str | None:
        """None when no plan has it. `countries` None: it names its country itself."""
        key = written, countries
        if key not in self._known:
            if len(self._known) >= _CHECKED:
                return _digits(written)
            self._known[key] = _planned(written, countries)
        return self._known[key]


def _planned(written: str, countries: tuple[str, ...] | None) -> str | None:
    international = countries is None
    digits = re.sub(r"^00[ .\-]?", "+", written) if international else written
    for country in countries or (None,):
        try:
            number = phonenumbers.parse(digits, country)
        except phonenumbers.NumberParseException:
            continue
        # After a plus sign the right number of digits is enough.
        if phonenumbers.is_valid_number(number) or (
            digits.startswith("+") and phonenumbers.is_possible_number(number)
        ):
            return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
    return None


def _digits(written: str) -> str:
    return re.sub("[^0-9]", "", written)


def _with_extension(text: str, end: int) -> int:
    extension = _EXTENSION.match(text, end)
    return extension.end() if extension else end
