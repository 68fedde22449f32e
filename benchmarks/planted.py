"""Secrets that are nobody's, planted in sentences: what must be found, with the place where it stands."""

import random
import re
import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from stdnum import ean, luhn
from stdnum import iban as iban_rules
from stdnum.br import cpf
from stdnum.es import dni
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.iso7064 import mod_11_2
from stdnum.pl import pesel

Make = Callable[[random.Random], str]

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
# What the signs of a pattern stand for; one may be repeated, as in *{36}.
_SIGNS = {
    "#": string.digits,
    "!": "23456789",
    "^": string.ascii_uppercase,
    "%": string.ascii_uppercase + string.digits,
    "*": string.ascii_letters + string.digits,
    "~": "0123456789abcdef",
}


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


def _filled(chance: random.Random, pattern: str) -> str:
    def fill(sign: re.Match[str]) -> str:
        return "".join(chance.choices(_SIGNS[sign[1]], k=int(sign[2] or 1)))

    date = f"{chance.randint(40, 99)}{chance.randint(1, 12):02}{chance.randint(1, 28):02}"
    dated = pattern.replace("<yymmdd>", date).replace("<yymm>", date[:4])
    return re.sub(r"([#!^%*~])(?:\{(\d+)\})?", fill, dated)


def _one_of(*patterns: str) -> Make:
    return lambda chance: _filled(chance, chance.choice(patterns))


def _checked(
    is_valid: Callable[[str], bool],
    *patterns: str,
    ends: Sequence[str] = string.digits,
    forms: Sequence[str] = (),
) -> Make:
    """A number of these patterns, with the end that makes it valid; `forms` are patterns of where its signs go."""

    def make(chance: random.Random) -> str:
        while True:
            body = _filled(chance, chance.choice(patterns))
            for end in ends:
                if is_valid(body + end):
                    form = chance.choice(forms) if forms else "x" * len(body + end)
                    return form.replace("x", "{}").format(*body, *end)

    return make


def _grouped(make: Make, *separators: str) -> Make:
    """In fours, as it is printed."""

    def group(chance: random.Random) -> str:
        number = make(chance)
        return chance.choice(separators).join(number[at : at + 4] for at in range(0, len(number), 4))

    return group


def _iban(chance: random.Random) -> str:
    bodies = ("DE#{18}", "GB^^^^#{14}", "FR#{10}%{11}##", "NL^^^^#{10}", "MT^^^^#{23}")
    drawn = chance.choice(bodies)
    country, body = drawn[:2], drawn[2:]
    number = f"{country}00{_filled(chance, body)}"
    return f"{country}{iban_rules.calc_check_digits(number)}{number[4:]}"


def _ip4(chance: random.Random) -> str:
    return ".".join(str(chance.randint(*span)) for span in ((1, 126), (0, 255), (0, 255), (1, 254)))


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


_TWO_DIGITS = [f"{number:02}" for number in range(100)]
_NAMES = ("ann.lee", "bo##", "carla_o'hara+shop", "DMITRI", "élodie.roe")
_HOSTS = ("example.com", "mail.example.org", "example.co.uk", "my-firm.example.net", "müller.example.de")
EMAIL = _one_of(*(f"{name}@{host}" for name in _NAMES for host in _HOSTS))
PHONE = _one_of(
    *("+44 20 7### ####", "+49 (0)30 9#######", "+33 6 ## ## ## ##", "+1-212-!##-####", "0044 7911 1#####"),
    *("+919876######", "+81 3-5###-####"),
)
CARD = _grouped(
    _checked(
        luhn.is_valid,
        *("4#{14}", "51#{13}", "55#{13}", "2221#{11}", "37#{12}", "6011#{11}", "36#{11}", "3530#{11}"),
    ),
    *("", " ", "-"),
)
IBAN = _grouped(_iban, "", " ")
GITHUB_KEY = _one_of("ghp_*{36}")
KEY = _one_of(
    *("AKIA%{16}", "ghp_*{36}", "github_pat_*{22}_*{59}", "glpat-*{20}", "sk-proj-*{20}-*{28}7"),
    *("sk-ant-api03-*{80}-AA", "sk_live_*{99}", "xoxb-#{12}-*{24}", "AIza*{35}", "hf_*{34}", "npm_*{36}"),
    *("SG.*{22}.*{43}", "dop_v1_~{64}", "AC~{32}", "#{10}:AA*{33}"),
)
_MAC = _one_of("~~:~~:~~:~~:~~:~~", "~~-~~-~~-~~-~~-~~")
# Put together here, so that no file holds one that looks whole.
_PRIVATE_KEY = _one_of(
    *(
        f"-----BEGIN {name}PRIVATE" + " KEY-----\n*{64}/+\n*{30}==\n-----END " + f"{name}PRIVATE KEY-----"
        for name in ("", "RSA ", "EC ", "OPENSSH ")
    )
)
_NIR = _checked(
    nir.is_valid,
    "1<yymm>75######",
    "2<yymm>33######",
    ends=_TWO_DIGITS,
    forms=("x" * 15, "x xx xx xx xxx xxx xx"),
)
_CHINA = _checked(
    mod_11_2.is_valid, *(f"{place}19<yymmdd>###" for place in (110105, 310101, 440305)), ends="0123456789X"
)

FORMS = (
    Form("e-mail address", "EMAIL", EMAIL),
    Form("e-mail address, full width", "EMAIL", _wide(EMAIL)),
    Form("e-mail address, invisible characters", "EMAIL", _sprinkled(EMAIL)),
    Form("phone, with country code", "PHONE", PHONE),
    Form(
        "phone, American",
        "PHONE",
        _one_of("(!##) !##-####", "!##-!##-####", "!##.!##.####", "1-!##-!##-####"),
    ),
    Form(
        "phone, leading zero",
        "PHONE",
        _one_of("020 7### ####", "07911 1#####", "06 ## ## ## ##", "030/9#######", "(02) 9### ####"),
    ),
    Form("phone, named", "PHONE", _one_of(*(f"!#{{{n}}}" for n in range(6, 10))), "call me at "),
    Form("phone, non-breaking", "PHONE", _typeset(PHONE)),
    Form("payment card", "CARD", CARD),
    Form("payment card, full width", "CARD", _wide(CARD)),
    Form("payment card, non-breaking", "CARD", _typeset(CARD)),
    Form("IBAN", "IBAN", IBAN),
    Form("IBAN, invisible characters", "IBAN", _sprinkled(IBAN)),
    Form("IP version 4", "IP", _ip4),
    Form(
        "IP version 6",
        "IP",
        _one_of("2001:db8:a~~~:b~~~:c~~~:d~~~:e~~~:1", "2001:DB8::####", "fe80::1~~~:2~~~:7"),
    ),
    Form("MAC address", "MAC", lambda chance: chance.choice((str.lower, str.upper))(_MAC(chance))),
    *(
        Form(f"national id, {country}", "NATIONAL_ID", make, lead)
        for country, make, lead in (
            ("United States", _one_of("4##-!#-!###"), ""),
            ("Spain", _checked(dni.is_valid, "#{8}", ends=string.ascii_uppercase), ""),
            ("France", _NIR, ""),
            ("Brazil", _checked(cpf.is_valid, "#{9}", ends=_TWO_DIGITS, forms=("xxx.xxx.xxx-xx",)), ""),
            ("China", _CHINA, ""),
            ("Switzerland", _checked(ean.is_valid, "756#{9}", forms=("xxx.xxxx.xxxx.xx",)), ""),
            ("Sweden", _checked(luhn.is_valid, "<yymmdd>###", forms=("xxxxxx-xxxx",)), ""),
            ("England, named", _checked(nhs.is_valid, "#{9}", forms=("xxx xxx xxxx",)), "NHS number "),
            ("Poland, named", _checked(pesel.is_valid, "<yymmdd>####"), "PESEL: "),
        )
    ),
    Form("API key", "KEY", KEY),
    Form("JSON web token", "KEY", _one_of("eyJ*{33}.eyJ*{60}.*{42}-")),
    Form("private key", "PRIVATE_KEY", _PRIVATE_KEY),
    Form(
        "credentials in a URL",
        "CREDENTIALS",
        _one_of("admin:*{14}", "svc-web:*{14}"),
        "postgres://",
        "@db.example.com/shop",
    ),
    Form("password after a sign", "SECRET", _one_of("*{8}a7", "*{6}-*{4}_a7", "*{14}a7"), "password: "),
)
