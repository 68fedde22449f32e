"""Finds e-mail, IP and MAC addresses. Every pattern starts only where a run of its characters does: time is linear."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from trainer.redaction.entities import Entity, Kind

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
