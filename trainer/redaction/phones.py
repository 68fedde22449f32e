"""Finds phone numbers by the numbering plans of `phonenumbers`, the words before them or an American form.

The library's own search in texts gives up after 65,535 candidates, so it is asked about single candidates only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import phonenumbers

from trainer.redaction.entities import Entity, Kind

# Nobody says where the team lives: a national number is tried with these countries' plans.
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
# A plan costs 0.02 ms, all of them 0.5 ms: after so many different candidates in a text, the form of one is enough.
_MOST_LOOKUPS = 2_000


# Group 1 is the number.
_INTERNATIONAL = re.compile(
    r"(?<![0-9A-Za-z+])((?:\+|00[ .\-]?)\(?[1-9](?:[ .\-/()]{0,3}[0-9]){6,14})(?![0-9])"
)
_LEADING_ZERO = re.compile(  # with a separator after the first digits
    r"(?<![0-9A-Za-z+.,:/\-])(?=\(?[0-9]{2,9}[ .\-/()])(\(?0[1-9](?:[ .\-/()]{0,2}[0-9]){6,11})(?![0-9A-Za-z])"
)
# Also those that no plan has, such as 555-123-4567: little else is written in groups of 3, 3 and 4.
_AMERICAN = re.compile(
    r"(?<![0-9A-Za-z+,:/])(?<![0-9][.\-])((?:1[ .\-])?(?:\([1-9][0-9]{2}\) ?|[1-9][0-9]{2}[ .\-])[0-9]{3}[ .\-]"
    r"[0-9]{4})(?![0-9A-Za-z]|[.\-][0-9])"
)
_NAMED = re.compile(
    r"(?:phone|mobile|cell|call|tele?|fax|whatsapp|signal|sms|dial|ring|reach|contact|hotline|handy|mobil|nummer|rufnummer"
    r"|téléphone|portable|teléfono|móvil|llam\w{0,6}|telefono|cellulare|telefone|telefoon)[^0-9+\n\x00]{0,24}"
    r"(?<![0-9A-Za-z])(\(?[0-9](?:[ .\-/()]{0,2}[0-9]){6,13})(?![0-9A-Za-z])",
    re.IGNORECASE,
)
_FORMS = ((_INTERNATIONAL, False), (_LEADING_ZERO, False), (_AMERICAN, True), (_NAMED, True))
_EXTENSION = re.compile(r",? ?(?:ext(?:ension)?\.?|x|#) ?[0-9]{1,6}(?![0-9A-Za-z])", re.IGNORECASE)
_OTHER_NUMBER = re.compile(
    r"[0-9]{1,2}([./\- ])[0-9]{1,2}\1(?:19|20)?[0-9]{2}|(?:19|20)[0-9]{2}([./\- ])[0-9]{1,2}\2[0-9]{1,2}"
    r"|(?:19|20)[0-9]{2} ?[-/] ?(?:19|20)[0-9]{2}|(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])[0-3][0-9]|0[0-9]*\.[0-9]+"
)
_LAST_GROUP = re.compile(r"(?:[ .\-/()]+|^)[0-9]*$")


def phones(text: str) -> Iterator[Entity]:
    """Of a number that no plan has, also without the groups at its end, which may belong to what follows."""
    plans = NumberingPlans()
    for form, certain in _FORMS:
        for found in form.finditer(text):
            start, written = found.start(1), found[1]
            if written[0] == "(" and ")" not in written:  # it belongs to the sentence
                start, written = start + 1, written[1:]
            while len(_digits(written)) >= 7:
                value = plans[written] or (_digits(written) if certain else None)
                if value is not None and not _OTHER_NUMBER.fullmatch(written.lstrip("(")):
                    end = start + len(written)
                    extension = _EXTENSION.match(text, end)
                    yield Entity(start, extension.end() if extension else end, Kind.PHONE, value)
                    break
                written = _LAST_GROUP.sub("", written)


class NumberingPlans(dict[str, str | None]):
    """Numbers as they are written to their E.164 form, None when no plan has it."""

    def __missing__(self, written: str) -> str | None:
        if len(self) >= _MOST_LOOKUPS:
            return _digits(written)
        self[written] = _e164(written)
        return self[written]


def _e164(written: str) -> str | None:
    number = re.sub(r"^00[ .\-]?", "+", written)
    international = number.startswith("+")
    national = _COUNTRIES if written.lstrip("(").startswith("0") else ("US",)
    for country in (None,) if international else national:
        try:
            parsed = phonenumbers.parse(number, country)
        except phonenumbers.NumberParseException:
            continue
        # After a plus sign the right number of digits is enough.
        if phonenumbers.is_valid_number(parsed) or (
            international and phonenumbers.is_possible_number(parsed)
        ):
            return str(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164))
    return None


def _digits(written: str) -> str:
    return re.sub("[^0-9]", "", written)
