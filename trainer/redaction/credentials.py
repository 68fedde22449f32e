"""Finds private keys, passwords in URLs, API keys, and what a text calls a password.

Every pattern runs to the end of the token, in time proportional to the text. Those of detect-secrets 1.5 stop at a
fixed length, so that the rest of a longer token would stay, and some of them take quadratic time.
"""

import re
from collections.abc import Iterator

from trainer.redaction.entities import Entity, Kind

_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
# Of a key whose end is missing: long words, and a short last one with its padding.
_BODY = re.compile(r"(?:(?:\s|\\n)*+[A-Za-z0-9+/=]{16,}+)*+(?:(?:\s|\\n)*+[A-Za-z0-9+/]{1,15}+=++)?")
_IN_URL = re.compile(r"://([^\s/?#@\x00:]{0,256}+:[^\s/?#@\x00]{1,512}+)@")

_RUN = re.compile(r"[A-Za-z0-9_\-.:=/+]{16,}+")  # only in such a run can a token stand
_WORD = "[A-Za-z0-9_-]"
_TOKENS = (
    r"(?:AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|AROA)[0-9A-Z]{16,}",  # AWS
    rf"AIza{_WORD}{{30,}}",  # Google
    rf"ya29\.{_WORD}{{20,}}",
    rf"GOCSPX-{_WORD}{{20,}}",
    r"gh[pousr]_[A-Za-z0-9]{30,}",  # GitHub
    r"github_pat_[A-Za-z0-9_]{22,}",
    r"gl(?:pat|ptt|rt|dt|soat|cbt|ft|imt|agent|oas)-[A-Za-z0-9_-]{16,}(?:\.[A-Za-z0-9_]+)*",  # GitLab
    rf"sk-(?=[A-Za-z_-]{{0,48}}[0-9]){_WORD}{{16,}}",  # OpenAI, Anthropic, OpenRouter
    rf"(?:sk|rk|pk)_(?:live|test)_{_WORD}{{10,}}",  # Stripe
    r"whsec_[A-Za-z0-9+/=]{20,}",
    rf"xox[abceoprs]-{_WORD}{{10,}}",  # Slack
    rf"xapp-{_WORD}{{20,}}",
    rf"hooks\.slack\.com/services/{_WORD}+/{_WORD}+/{_WORD}+",
    r"hf_[A-Za-z0-9]{20,}",  # Hugging Face
    r"npm_[A-Za-z0-9]{30,}",
    rf"pypi-{_WORD}{{40,}}",
    rf"dckr_(?:pat|oat)_{_WORD}{{20,}}",  # Docker
    r"do[opr]_v1_[a-f0-9]{40,}",  # DigitalOcean
    rf"(?<![_-])SG\.{_WORD}{{16,}}\.{_WORD}{{16,}}",  # SendGrid
    r"key-[0-9a-f]{32,}",  # Mailgun
    r"[0-9a-f]{32}-us[0-9]{1,2}",  # Mailchimp
    r"(?:SK|AC)[0-9a-f]{32}",  # Twilio
    rf"[0-9]{{8,10}}:AA{_WORD}{{30,}}",  # Telegram
    rf"[MNO]{_WORD}{{23,27}}\.{_WORD}{{6}}\.{_WORD}{{27,}}",  # Discord
    r"shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32,}",  # Shopify
    rf"sq0(?:csp|atp)-{_WORD}{{20,}}",  # Square
    rf"(?:gsk_|r8_|xai-|nvapi-|pplx-|lin_api_|glsa_|tskey-|dapi|PMAK-|secret_|ntn_|sntrys_|hvs\.){_WORD}{{24,}}",
    # JSON Web Token, signed or encrypted. Not after a hyphen: every start would run to the end of the word again.
    rf"(?<![_-])eyJ{_WORD}{{5,}}\.{_WORD}{{5,}}(?:\.{_WORD}+)*",
    r"AGE-SECRET-KEY-1[A-Z0-9]{40,}",
)
_TOKEN = re.compile(r"(?<![A-Za-z0-9])(?:" + "|".join(_TOKENS) + ")")
_AZURE = re.compile(r"(?<=AccountKey=)[A-Za-z0-9+/=]{40,}+")

_NAMED = re.compile(
    r"(?:pass(?:word|wd|phrase|code)|pwd|secret|credential|api[_ -]?key|access[_ -]?key|private[_ -]?key"
    r"|token|authorization|bearer)"
    r"[\"']?(?:\s{0,3}(?::=|=>|[:=])\s{0,3}|\s{1,3}is\s{1,3}|\s{1,3})(?:(?:Bearer|Basic)\s{1,3})?[\"'`]?"
    r"([^\s\"'`\u2018-\u201f\u00ab\u00bb,;<>(){}\x00]{6,}+)",
    re.IGNORECASE,
)
_CERTAIN = re.compile(r"[:=]|\sis\s")  # then a letter and a digit are enough


def private_keys(text: str) -> Iterator[Entity]:
    """From BEGIN to END; without an END as far as it looks like a key."""
    at, ends = 0, True
    while (begin := text.find("-----BEGIN ", at)) >= 0:
        header = _BEGIN.match(text, begin)
        if header is None:
            at = begin + 11
            continue
        end = _END.search(text, header.end()) if ends else None
        ends = end is not None  # a missing one is not looked for again: that would take quadratic time
        body = end or _BODY.match(text, header.end())
        at = body.end() if body else header.end()
        yield Entity(begin, at, Kind.PRIVATE_KEY, text[begin:at])


def url_credentials(text: str) -> Iterator[Entity]:
    if "://" in text:
        for found in _IN_URL.finditer(text):
            yield Entity(found.start(1), found.end(1), Kind.CREDENTIALS, found[1])


def keys(text: str) -> Iterator[Entity]:
    """Tokens that their makers gave a form to be known by."""
    for run in _RUN.finditer(text):
        for found in (*_TOKEN.finditer(text, *run.span()), *_AZURE.finditer(text, *run.span())):
            yield Entity(found.start(), found.end(), Kind.KEY, found[0])


def named_secrets(text: str) -> Iterator[Entity]:
    """What follows “password:” and the like, if it looks like one: a letter and a digit at least."""
    for found in _NAMED.finditer(text):
        value = found[1].rstrip(".!?:")
        signed = _CERTAIN.search(found[0][: found.start(1) - found.start()]) is not None
        if len(value) < 6 or not re.search("[0-9]", value) or not re.search("[A-Za-z]", value):
            continue
        if signed or (len(value) >= 8 and not value.isalnum()) or len(value) >= 16:
            yield Entity(found.start(1), found.start(1) + len(value), Kind.SECRET, value)
