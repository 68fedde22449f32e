"""Secrets that are nobody's, planted in sentences: what must be found, with the place where it stands.

Nothing is stored: `invented` makes them anew each time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.made_up import invented

SENTENCES = (
    "My details are {} as of last week.",
    "Please change it to {}",
    "{} is what you have on file, isn't it?",
    "I tried twice ({}) and nothing happened.",
    "It was “{}” before, and I want it removed.",
    "Old: {}\nNew: I will send it later.",
    '{{"value": "{}", "note": "as he wrote it"}}',
    "Can you look into this for me? {}. Thanks a lot!",
    "The screen says {}, what does that mean?",
    "hi, quick question about {} - is it still in use?",
    "- first item\n- {}\n- third item",
    "Bonjour, voici mes données : {}. Merci",
)

Make = Callable[[random.Random], str]


@dataclass(frozen=True)
class Planted:
    """`text` holds `secret` once; `kind` is what its placeholder should be called."""

    form: str
    kind: str
    secret: str
    text: str

    @property
    def expected(self) -> str:
        return self.text.replace(self.secret, f"<{self.kind}_1>")


@dataclass(frozen=True)
class Form:
    """One way to write one kind. `lead` and `rest` stand around it where it says nothing without."""

    name: str
    kind: str
    make: Make
    lead: str = ""
    rest: str = ""


def plant(seed: int, each: int) -> Iterator[Planted]:
    """`each` secrets of every form, in sentences by turns."""
    chance = random.Random(seed)
    for form in FORMS:
        for number in range(each):
            secret = form.make(chance)
            sentence = SENTENCES[(number + len(form.name)) % len(SENTENCES)]
            yield Planted(form.name, form.kind, secret, sentence.format(f"{form.lead}{secret}{form.rest}"))


def _wide(make: Make) -> Make:
    """As an input method for Chinese or Japanese writes it."""
    return lambda chance: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in make(chance))


def _sprinkled(make: Make) -> Make:
    """With characters that nobody sees, as copying from a page brings them along."""

    def sprinkle(chance: random.Random) -> str:
        invisible = "\u200b\u200d\u2060\ufeff\u00ad"
        secret = make(chance)
        return secret[0] + "".join(
            (chance.choice(invisible) if chance.random() < 0.2 else "") + c for c in secret[1:]
        )

    return sprinkle


def _typeset(make: Make) -> Make:
    """With spaces and hyphens at which no line breaks."""
    return lambda chance: make(chance).replace(" ", "\u00a0").replace("-", "\u2011")


FORMS = (
    Form("e-mail address", "EMAIL", invented.email),
    Form("e-mail address, full width", "EMAIL", _wide(invented.email)),
    Form("e-mail address, invisible characters", "EMAIL", _sprinkled(invented.email)),
    Form("phone, with country code", "PHONE", invented.phone_abroad),
    Form("phone, American", "PHONE", invented.phone_american),
    Form("phone, leading zero", "PHONE", invented.phone_at_home),
    Form("phone, named", "PHONE", invented.phone_said, "call me at "),
    Form("phone, non-breaking", "PHONE", _typeset(invented.phone_abroad)),
    Form("payment card", "CARD", invented.card),
    Form("payment card, full width", "CARD", _wide(invented.card)),
    Form("payment card, non-breaking", "CARD", _typeset(invented.card)),
    Form("IBAN", "IBAN", invented.iban),
    Form("IBAN, invisible characters", "IBAN", _sprinkled(invented.iban)),
    Form("IP version 4", "IP", invented.ip4),
    Form("IP version 6", "IP", invented.ip6),
    Form("MAC address", "MAC", invented.mac),
    Form("national id, United States", "NATIONAL_ID", invented.ssn),
    Form("national id, Spain", "NATIONAL_ID", invented.dni),
    Form("national id, France", "NATIONAL_ID", invented.nir),
    Form("national id, Brazil", "NATIONAL_ID", invented.cpf),
    Form("national id, China", "NATIONAL_ID", invented.china),
    Form("national id, Switzerland", "NATIONAL_ID", invented.ahv),
    Form("national id, Sweden", "NATIONAL_ID", invented.personnummer),
    Form("national id, England, named", "NATIONAL_ID", invented.nhs, "NHS number "),
    Form("national id, Poland, named", "NATIONAL_ID", invented.pesel, "PESEL: "),
    Form("API key", "KEY", invented.key),
    Form("JSON web token", "KEY", invented.jwt),
    Form("private key", "PRIVATE_KEY", invented.private_key),
    Form("credentials in a URL", "CREDENTIALS", invented.in_url, "postgres://", "@db.example.com/shop"),
    Form("password after a sign", "SECRET", invented.password, "password: "),
)
