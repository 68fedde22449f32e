"""Finds e-mail, IP and MAC addresses and phone numbers, in linear time: patterns start where a run of characters does.

Phone numbers are known by the numbering plans of `phonenumbers`, the words before them or an American form. Its own
search in texts gives up after 65,535 candidates, so it is asked about single candidates only.
"""

import ipaddress
import re
from collections.abc import Iterator

import phonenumbers

from trainer.redaction.entities import Entity, Kind, digits

# An address has letters of scripts with spaces. Scripts without spaces (Chinese, Japanese, Thai) stay out, or the
# sentence around an address would count as a part of it.
_NOT = (
    r"\x00-\x20\x7f-\xbf\u0e00-\u0e7f\u2000-\u2bff\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff\ufe00-\uffff"
    r"\U0001f000-\U0001faff"
)
_LOCAL = rf"[^{_NOT}()<>\[\]:;,\\\"@=/`|{{}}?]"
_LABEL = rf"[^{_NOT}!-,./:-@\[-^`{{-~]"
_EMAIL = re.compile(rf"(?<!{_LOCAL})({_LOCAL}++)@({_LABEL}++(?:\.{_LABEL}++)++)")
_TOP_LEVEL = re.compile(r"[^\W\d_]{2,63}|xn--[a-z0-9-]{2,}", re.IGNORECASE)
_V4 = re.compile(r"(?<![0-9A-Za-z_.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9A-Za-z_]|\.[0-9])")
_V6 = re.compile(r"(?<![0-9A-Za-z_:.])(?=[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:.]++(?![0-9A-Za-z_])")
_MAC = re.compile(
    r"(?<![0-9A-Za-z:.-])(?:[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}"
    r"|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4})(?![0-9A-Za-z:-]|\.[0-9A-Fa-f])"
)

# Nobody says where the team lives: a national number is tried with these countries' plans.
_COUNTRIES = "GB DE FR IT NL BE AT CH IE AU NZ ZA JP IN SE FI PL"
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


def emails(text: str) -> Iterator[Entity]:
    """Addresses with a top-level domain; `git@host` is no person's."""
    if "@" not in text:
        return
    for found in _EMAIL.finditer(text):
        local = found[1].lstrip("'*_~#!$%&^.-+")
        labels = found[2].split(".")
        while labels and not _TOP_LEVEL.fullmatch(labels[-1].rstrip("-_")):
            labels.pop()
        domain = ".".join(labels).rstrip("-_")
        if len(labels) > 1 and local and local != "git":
            start, end = found.end(1) - len(local), found.start(2) + len(domain)
            yield Entity(start, end, Kind.EMAIL, f"{local}@{domain}".casefold())


def ips(text: str) -> Iterator[Entity]:
    """Addresses of version 4 and 6, without those that mean no machine in particular (loopback, masks)."""
    for found in _V4.finditer(text):
        numbers = [int(number) for number in found[0].split(".")]
        if max(numbers) < 256 and numbers[0] not in (0, 127, 255):
            yield Entity(found.start(), found.end(), Kind.IP, ".".join(map(str, numbers)))
    if text.count(":") < 2:
        return
    for found in _V6.finditer(text):
        run = found[0].rstrip(".")
        for written in (run, run.rstrip(":")):
            address = _version_6(written)
            if address is not None:
                yield Entity(found.start(), found.start() + len(written), Kind.IP, str(address))
                break


def _version_6(written: str) -> ipaddress.IPv6Address | None:
    # Without a digit it is more likely a name in a program, such as abc::def.
    if not 3 <= len(written) <= 45 or not re.search("[0-9]", written):
        return None
    try:
        address = ipaddress.IPv6Address(written)
    except ValueError:
        return None
    return None if address.is_loopback or address.is_unspecified else address


def macs(text: str) -> Iterator[Entity]:
    for found in _MAC.finditer(text):
        yield Entity(found.start(), found.end(), Kind.MAC, re.sub("[^0-9a-f]", "", found[0].lower()))


def phones(text: str) -> Iterator[Entity]:
    """Of a number that no plan has, also without the groups at its end, which may belong to what follows."""
    plans: dict[str, str | None] = {}
    for form, certain in _FORMS:
        for found in form.finditer(text):
            start, written = found.start(1), found[1]
            if written[0] == "(" and ")" not in written:  # it belongs to the sentence
                start, written = start + 1, written[1:]
            while len(digits(written)) >= 7:
                if written not in plans:
                    plans[written] = _e164(written) if len(plans) < _MOST_LOOKUPS else digits(written)
                value = plans[written] or (digits(written) if certain else None)
                if value is not None and not _OTHER_NUMBER.fullmatch(written.lstrip("(")):
                    end = start + len(written)
                    extension = _EXTENSION.match(text, end)
                    yield Entity(start, extension.end() if extension else end, Kind.PHONE, value)
                    break
                written = _LAST_GROUP.sub("", written)


def _e164(written: str) -> str | None:
    """The number by the first plan that has it."""
    number = re.sub(r"^00[ .\-]?", "+", written)
    international = number.startswith("+")
    national = _COUNTRIES.split() if written.lstrip("(").startswith("0") else ["US"]
    for country in [None] if international else national:
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
