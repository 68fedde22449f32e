"""A question to what it asks: its words without what says nothing, in one spelling, with what must not be confused.

In: a text. Out: a Wording, and how like two of them are. Pure, and of the two texts alone: what else is in the store
changes nothing, so that what was near stays near. Place in the flow: under `similar`, which finds the pairs without
comparing all of them. Does not know contexts, splits or meanings: rewording with other words than in `word_lists` is
not seen, and in other languages than English only case, punctuation, word order and typing errors.

Two wordings are as alike as the share of their letters that stays, where each word is matched with itself or with a
misspelling of it (restricted Damerau-Levenshtein distance 1; Damerau 1964), and not at all (0) where they ask for
different things (why, how much), differ in a number, a negation, a weekday, or in who does what to whom.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from rapidfuzz.distance import OSA

from trainer.examples.word_lists import (
    ASKED,
    ASKING,
    AUXILIARIES,
    CLOSERS,
    DECIDING,
    DIRECTIONS,
    ENDINGS,
    FIXED_ASKED,
    GREETINGS,
    IRREGULAR,
    LIGHT,
    MISSPELT,
    NEGATIONS,
    NUMBERS,
    OPENERS,
    REAL,
    SPELLINGS,
    SYNONYMS,
)

_PLACEHOLDER = re.compile(r"<([A-Z][A-Z0-9_]{1,40})_\d{1,9}>")  # as trainer.redaction.redactor writes them
_SIGNS = str.maketrans({"’": "'", "‘": "'", "`": "'", "´": "'"})
# A number keeps its sign, point and currency; Chinese, Japanese and Thai are written without spaces, so a character is
# a word; signs that mean something (+, %, =) are words.
_WORD = re.compile(
    r"[$€£¥]|[-+]?\d[\d.,:/]*\d|[-+]?\d|[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_]+(?:'[^\W_]+)?"
    r"|[+%=<>#@&^*/\\|~°-]"
)
_LEAD = re.compile(r"(?:" + "|".join(f"(?:{p})" for p in (*GREETINGS, *ASKING)) + r")(?= |$) ?")
_TRAIL = re.compile(r"(?:^|(?<= ))(?:" + "|".join(f"(?:{p})" for p in ENDINGS) + r")$")
_ASKED = re.compile(r"(?:^|(?<= ))(?:" + "|".join(f"(?P<{name}>{p})" for name, p in ASKED) + r")(?= |$)")
_COUNTRY = re.compile(r"\b(?:the )?united states(?: of america)?\b|\bu s a\b|\bthe u ?s\b")
_ENDINGS = (("n't", "not"), ("'m", "am"), ("'re", "are"), ("'ve", "have"), ("'ll", "will"), ("'d", "would"))
_SUPERLATIVE = re.compile(r"[a-z]{3,}est|most|least")
_LONG = 7


@dataclass(frozen=True)
class Wording:
    """`words` in their order, `bag` sorted; `fixed` of them must be the same on both sides.

    `directed` are (direction, word): “to” or “largest” and the word that follows it.
    """

    words: tuple[str, ...]
    bag: tuple[str, ...]
    fixed: tuple[str, ...]
    directed: frozenset[tuple[str, str]]
    structured: bool  # no prose: key=value and the like, where each word is a value

    def __hash__(self) -> int:
        return self._hash  # asked for ten times per question: tuples and sets do not keep theirs

    @cached_property
    def _hash(self) -> int:
        return hash((self.words, self.directed, self.structured))

    @cached_property
    def letters(self) -> int:
        return sum(map(len, self.bag))


@lru_cache(maxsize=1 << 17)
def wording(text: str) -> Wording:
    """What a question asks. A text of which nothing is left is taken as it stands."""
    plain = _PLACEHOLDER.sub(
        lambda found: f" personal{found[1].casefold()} ", unicodedata.normalize("NFKC", text)
    )
    plain = plain.translate(_SIGNS).casefold()
    structured = len(re.findall(r"[=;{}|<>\[\]]", plain)) >= 3
    tokens = [part for word in _WORD.findall(plain) for part in _spelled(MISSPELT.get(word, word))]
    if structured:
        return _made(_fields(plain) or tokens, set(), True)
    line, asked = _asked(_bare(_COUNTRY.sub("usa", " ".join(tokens))))
    words = [asked] if asked else []
    directed: set[tuple[str, str]] = set()
    directions: list[str] = []
    parts = line.split(" ")
    for place, token in enumerate(parts):
        if token in DIRECTIONS:
            directions.append(token)
            words += [token] * (token not in LIGHT)
            continue
        if token in LIGHT or not token or (token in _GET and _passive(parts[place + 1 : place + 3])):
            continue
        word = stem(token)
        directed |= {(direction, word) for direction in directions}
        directions = [word] if _SUPERLATIVE.fullmatch(word) else []
        words.append(word)
    if asked in ("", "price") and {"price", _PRICE} & set(
        words
    ):  # what does it cost, what is the price of it
        words = ["price", *(word for word in words if word not in ("price", _PRICE))]
    return _made(words or tokens or [text.strip()], directed, False)


def _made(words: list[str], directed: set[tuple[str, str]], structured: bool) -> Wording:
    fixed = tuple(sorted(word for word in words if is_fixed(word)))
    return Wording(tuple(words), tuple(sorted(words)), fixed, frozenset(directed), structured)


def _fields(plain: str) -> list[str]:
    """The fields of a text that is all key=value, sorted, since their order says nothing; none of other texts."""
    parts = [part for part in (" ".join(found.split()) for found in re.split(r"[;|(){}\[\]]", plain)) if part]
    pairs = [part.partition("=") for part in parts if part.count("=") == 1]
    refers = {key.strip() for key, _, _ in pairs} & {value.strip() for _, _, value in pairs}
    return sorted(parts) if len(pairs) >= len(parts) - 1 and not refers else []


_GET = frozenset({"get", "gets", "got", "getting", "gotten"})


def _passive(following: list[str]) -> bool:
    """“got charged” is “was charged”; “got a card” is not."""
    return any(word.endswith("ed") for word in following[:1])


@lru_cache(maxsize=1 << 16)
def is_fixed(word: str) -> bool:
    """Whether another word in its place makes another question, however like it is written."""
    return word in DECIDING or word in FIXED_ASKED or not word.isalpha() or word.startswith("personal")


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """One form for singular and plural, present and past; regular English endings and the commonest irregular verbs."""
    word = NEGATIONS.get(word, NUMBERS.get(word, IRREGULAR.get(word, word)))
    word = SYNONYMS.get(word, word)
    if not word.isascii() or not word.isalpha() or word in DECIDING or len(word) < 4:
        return word
    if word.endswith("'s"):
        word = word[:-2]
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith(("sses", "shes", "ches", "xes", "zes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        root = word[: -len(ending)]
        if (
            word.endswith(ending)
            and not word.endswith("eed")
            and len(root) > 2
            and re.search("[aeiouy]", root)
        ):
            word = root[:-1] if root[-1] == root[-2] and root[-1] not in "aeiouslz" else root
            break
    word = SYNONYMS.get(word, word)
    word = IRREGULAR.get(word, word)
    if word.endswith("e") and len(word) > 3:
        word = word[:-1]
    if word.endswith("y") and len(word) > 3:
        word = word[:-1] + "i"
    # color and colour, organize and organise
    return re.sub(r"is$", "iz", word) if len(word) > 6 else word


_PRICE = stem("price")


@lru_cache(maxsize=1 << 16)
def misspelled(one: str, other: str) -> bool:
    """Whether one may be the other with one typing error, and hardly a word of its own. Symmetric.

    Never in a number, nor at the end (receive, receiver). Two letters that changed places, from 4 letters on (stems:
    what `stem` leaves of a word); one doubled or not, from 4; one missing, from 5, the first from 6; another one, from
    7: change and charge differ in one of 5.
    """
    if len(one) > len(other):
        one, other = other, one
    shorter = len(one)
    if one in REAL and other in REAL:
        return False
    if (
        one == other
        or shorter < 4
        or is_fixed(one)
        or is_fixed(other)
        or OSA.distance(one, other, score_cutoff=1) > 1
    ):
        return False
    at = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), shorter)
    if shorter < len(other):
        doubled = other[at] in other[at - 1 : at] + other[at + 1 : at + 2]
        return doubled or (at < shorter and shorter >= (4 if at else 5))
    if sorted(one) == sorted(other):
        return True
    return 0 < at < shorter - 1 and shorter >= _LONG


def likeness(one: Wording, other: Wording) -> float:
    """From 0 to 1; 1 for the same words in the same order. Symmetric."""
    if one == other:
        return 1.0
    if one.fixed != other.fixed or one.structured != other.structured:
        return 0.0
    if one.structured:
        return float(one.words == other.words)
    if _turned_round(one, other):
        return 0.0
    mine, theirs = Counter(one.bag), Counter(other.bag)
    left, right = sorted((mine - theirs).elements()), sorted((theirs - mine).elements())
    cost = 0.0
    for word in list(left):
        match = next((found for found in right if misspelled(word, found)), None)
        if match is not None:
            right.remove(match)
            left.remove(word)
            cost += 1
    if left and right:
        return 0.0  # one word instead of another: card arrival, card linking
    cost += 2 * sum(map(len, left + right))  # a word more is there to say something
    most = max(one.letters, other.letters, 1)
    order = 0.0 if one.words == other.words else 0.01
    return max(0.0, 1 - cost / most - order)


def _turned_round(one: Wording, other: Wording) -> bool:
    """The same words in other roles: from pounds to euros, from euros to pounds; Ann owes Bob, Bob owes Ann."""
    if one.words == other.words:
        return bool(one.directed) and _opposed(one.directed, other.directed)
    if _opposed(one.directed, other.directed):
        return True
    first, second = (
        set(zip(said, said[1:], strict=False))
        for said in ([w for w in each.words if w not in FIXED_ASKED] for each in (one, other))
    )
    backward = sum((b, a) in second for a, b in first)
    return backward >= 2 and backward > len(first & second)


def _opposed(one: Iterable[tuple[str, str]], other: Iterable[tuple[str, str]]) -> bool:
    mine, theirs = _by_direction(one), _by_direction(other)
    for direction in mine.keys() & theirs.keys():
        if not any(a == b or misspelled(a, b) for a in mine[direction] for b in theirs[direction]):
            return True
    return bool(
        mine.get("to", _NOBODY) & theirs.get("from", _NOBODY)
        or mine.get("from", _NOBODY) & theirs.get("to", _NOBODY)
    )


_NOBODY: frozenset[str] = frozenset()


def _by_direction(directed: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for direction, word in directed:
        found["to" if direction == "into" else direction].add(word)
    return found


@lru_cache(maxsize=1 << 16)
def _spelled(word: str) -> tuple[str, ...]:
    if word in SPELLINGS:
        return tuple(SPELLINGS[word].split())
    for ending, said in (
        ("n't", "not"),
        ("'m", "am"),
        ("'re", "are"),
        ("'ve", "have"),
        ("'ll", "will"),
        ("'d", "would"),
    ):
        if word.endswith(ending):
            return word[: -len(ending)], said
    if word.endswith("'s"):
        root = word[:-2]
        return (
            (root, "is")
            if root in ("what", "where", "how", "who", "when", "that", "it", "there")
            else (root,)
        )
    return (word.replace("'", ""),)


def _bare(line: str) -> str:
    """Without greeting, request and thanks."""
    while line:
        rest = line
        if line.partition(" ")[0] in OPENERS:
            rest = _LEAD.sub("", rest, count=1) if _LEAD.match(rest) else rest
        if rest.rpartition(" ")[2] in CLOSERS:
            rest = _TRAIL.sub("", rest, count=1).rstrip()
        if rest == line or not rest:
            return line
        line = rest
    return line


def _asked(line: str) -> tuple[str, str]:
    """The line without the words that say what is asked for, and a word for that."""
    found = _ASKED.search(line)
    if found:
        rest = f"{line[: found.start()]} {line[found.end() :]}"
        return " ".join(rest.split()), str(found.lastgroup).rstrip("2")
    return line, "yesno" if line.partition(" ")[0] in AUXILIARIES else ""
