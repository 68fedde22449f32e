"""Reduces a question to what it asks, so that questions in nearly the same words are found to be one.

A question becomes the bag of its words: without courtesies and words that say little, in one form and spelling. Two
bags are one question where they hold the same words, up to one typing error (restricted Damerau-Levenshtein distance 1;
Damerau 1964). Never where a number, a negation, a weekday, what is asked for (why, how much), or who does what to whom
differs. It knows English words; in other languages only case, punctuation, word order and typing errors do not matter.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import lru_cache

from rapidfuzz import process
from rapidfuzz.distance import OSA


def words_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that change nothing about what is asked.
LIGHT = words_of(
    """a an the of in on at for with by and or to from as about into onto is are am was were be been being do does did
    done have has had having will would shall should can could may might must i me my mine we us our ours you your yours
    he him his she her hers they them their theirs it its one this that these those there here what which so but just
    u ur also too really very quite rather actually basically currently now still yet already simply even ever right im
    ive please kindly thanks thank hi hello well ok okay new able possible some any if whether then else going gonna way
    let would need via per toward towards upon along while though because myself yourself itself exactly such own seem
    seems anyway again possibly maybe perhaps finally somehow certain particular specific located situated"""
)
# They decide an answer: on both sides or on neither.
DECIDING = words_of(
    """not no never none nothing nobody without yes true false up down out off over under above below before after
    against between more less most least fewer all every each another other different same first second third last next
    previous both within since until except neither nor always sometimes monday tuesday wednesday thursday friday
    saturday sunday today tomorrow yesterday january february march april june july august september october november
    december morning afternoon evening night weekend male female man woman north south east west left right"""
)


def _synonyms(text: str) -> dict[str, str]:
    """Each word of a group to the first one."""
    return {word: words.split()[0] for words in text.split(",") for word in words.split()[1:]}


_SYNONYMS = _synonyms(
    """buy purchase, begin start commence, big large huge, biggest largest greatest, small little, smallest littlest,
    fast quick rapid, fix repair mend, help assist, delete remove erase, choose select pick, change modify alter,
    wrong incorrect, mistake error, allow permit, require needed, picture photo photograph image, phone telephone
    cellphone smartphone, price cost pricing, obtain acquire, answer reply respond, display show, finish complete,
    close shut, car automobile, maximum max, minimum min, information info, account acct, address addr, transaction
    txn, immediately instantly straightaway, abroad overseas, child kid, film movie, holiday vacation, cancel cancell,
    color colour, favorite favourite, center centre, neighbor neighbour, behavior behaviour, check cheque, traveler
    traveller, catalog catalogue, problem issue trouble, use utilise utilize, live reside, find locate, decline reject,
    lose misplace, not never without unable nor no, 0 zero, 2 two, 3 three, 4 four, 5 five, 6 six, 7 seven, 8 eight,
    9 nine, 10 ten"""
)
# Courtesies before and after a question.
_GREETINGS = words_of(
    """hi hello hey dear greetings good morning afternoon evening day team support everyone all sir madam sorry bother
    excuse pardon please kindly so ok okay well um uh oh and but also quick question help tell know explain
    understand clarify confirm say show give wondering curious asking ask mind telling explaining showing letting idea
    clue sure thing checking find wish appreciate grateful list name"""
)
_THANKS = words_of(
    """please kindly thanks thank cheers regards thx ty tia asap advance help time support answer reply know advise
    explain tell idea clue wondering wonder curious appreciate appreciated grateful much many best kind warm lot
    again bit lost"""
)
_WITHIN_GREETINGS = LIGHT - words_of("what which") | words_of("want like need wish")
# What is asked for and the ways to say it, the longer ones first.
_ASKED = tuple(
    (re.compile(rf"(?:^|(?<= ))(?:{ways})(?= |$)"), asked)
    for ways, asked in (
        (r"how come|(?:what(?: is)? the|for what|what) reason(?: that| why| for)?", "why"),
        (r"how (?:much time|long)", "howlong"),
        (r"how many|number of", "howmany"),
        (r"how much (?:is|are|was|were|does|do|did|will|would|should)(?=.* (?:cost|price)s?\b)", ""),
        (r"how much", "price"),
        (r"what (?:time|date|day)|how soon", "when"),
        (r"what place", "where"),
        (
            r"(?:what|which)(?: is| are)? the (?:(?:best|easiest|right|correct|proper) )?"
            r"(?:way|steps?|process|procedure|method)(?: to| for| of)?"
            r"|what do i (?:(?:need|have) to )?do (?:to|if i want to)|i (?:want|(?:would )?like|need|wish) to",
            "how",
        ),
    )
)
_ASKED_WORDS = words_of("why howlong howmany price when where how who whom whose")
_SAYING_LITTLE = sorted(
    LIGHT | DECIDING | _GREETINGS | _THANKS | _ASKED_WORDS | words_of("many much want long")
)
# Words that look like a misspelling of those.
_NO_MISSPELLINGS = (
    frozenset(_SAYING_LITTLE)
    | words_of("form quiet three tough thee through sill fined maine manny neat seam")
    | {word for pair in _SYNONYMS.items() for word in pair}
)
_DIRECTIONS = words_of("to into from than before after over against between")
_PLACEHOLDER = re.compile(r"<([A-Z][A-Z0-9_]{1,40})_\d{1,9}>")  # as trainer.redaction.redactor writes them
_SHORTENED = (
    (re.compile("[’‘`´]"), "'"),
    (re.compile(r"\bcan(?:'t|t|not)\b"), "can not"),
    (re.compile(r"\bwon'?t\b"), "will not"),
    (re.compile(r"\b(do|does|did|is|are|was|were|have|has|had|could|should|would)n'?t\b"), r"\1 not"),
    (re.compile(r"'(?:m|re|ve|ll|d|s)\b|(?<=\bwhat|\bthat)s\b|(?<=\bhow|\bwho)s\b|(?<=where|there)s\b"), ""),
)
# A field (`type=tv`) is one word. A number keeps its sign, point and currency; Chinese, Japanese and Thai are written
# without spaces, so a character is a word; signs that mean something (+, %) are words.
_WORD = re.compile(
    r"\w+=[^\s;|(){}\[\]=]+|[$€£¥]|[-+]?\d[\d.,:/]*\d|[-+]?\d"
    r"|[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_]+(?:'[^\W_]+)?|[+%=<>#@&^*/\\|~°]"
)
_SUPERLATIVE = re.compile(r"[a-z]{3,}est|most|least")


@dataclass(frozen=True, order=True)
class Wording:
    """`words` are sorted. `directed` are (direction, word): “to” or “largest” and the word that follows it."""

    words: tuple[str, ...]
    directed: tuple[tuple[str, str], ...]


@lru_cache(maxsize=1 << 17)
def wording(text: str) -> Wording:
    """What a question asks. A text of which nothing is left is taken as it stands."""
    every = [_spelled(word) for word in tokens(text)]
    line = " ".join(_without_courtesies(every))
    for pattern, asked in _ASKED:
        line = pattern.sub(asked, line)
    words = list[str]()
    directed: set[tuple[str, str]] = set()
    directions: list[str] = []
    for token in line.split():
        if token in _DIRECTIONS:
            directions.append(token)
        if token in LIGHT:
            continue
        word = stem(token)
        words.append(word)
        if token not in _DIRECTIONS:
            directed |= {(direction, word) for direction in directions}
            directions = [word] if _SUPERLATIVE.fullmatch(word) else []
    return Wording(tuple(sorted(words or every or [text.strip()])), tuple(sorted(directed)))


def tokens(text: str) -> list[str]:
    """The words, numbers and signs of a text, in lower case and without contractions."""
    plain = unicodedata.normalize("NFKC", text)
    plain = _PLACEHOLDER.sub(lambda found: f" personal{found[1].casefold()} ", plain).casefold()
    for pattern, whole in _SHORTENED:
        plain = pattern.sub(whole, plain)
    return _WORD.findall(plain)


def _without_courtesies(words: list[str]) -> list[str]:
    start, end = 0, len(words)
    for place, word in enumerate(words):
        if word in _GREETINGS:
            start = place + 1
        elif word not in _WITHIN_GREETINGS:
            break
    for place, word in reversed(list(enumerate(words))):
        if word in _THANKS:
            end = place
        elif word not in LIGHT:
            break
    return words[start:end] or words


@lru_cache(maxsize=1 << 16)
def _spelled(word: str) -> str:
    """A word that says little, of which this is a misspelling; other words stay."""
    if len(word) < 4 or word in _NO_MISSPELLINGS:
        return word
    alike = process.extract_iter(word, _SAYING_LITTLE, scorer=OSA.distance, score_cutoff=1)
    return next((known for known, _, _ in alike if _one_error(word, known)), word)


@lru_cache(maxsize=1 << 16)
def is_fixed(word: str) -> bool:
    """Whether another word in its place makes another question, however like it is written."""
    return word in DECIDING or word in _ASKED_WORDS or not word.isalpha() or word.startswith("personal")


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """One form for singular and plural, present and past, by regular English endings."""
    word = _SYNONYMS.get(word, word)
    if len(word) < 4 or is_fixed(word) or not word.isascii():
        return word
    word = re.sub(r"ies$", "y", word)
    word = re.sub(r"(?<=ss|sh|ch)es$|(?<=[xz])es$|(?<![sui])s$", "", word)
    root = re.sub(r"(?<!e)ed$|ing$", "", word)
    if root != word and len(root) > 2 and re.search("[aeiouy]", root):
        word = root[:-1] if root[-1] == root[-2] and root[-1] not in "aeiouslz" else root
    word = _SYNONYMS.get(word, word)
    return re.sub(r"(?<=...)e$", "", re.sub(r"(?<=...)y$", "i", word))


@lru_cache(maxsize=1 << 16)
def misspelled(one: str, other: str) -> bool:
    """Whether one may be the other with one typing error, and hardly a word of its own. Symmetric."""
    return not is_fixed(one) and not is_fixed(other) and _one_error(one, other)


def _one_error(one: str, other: str) -> bool:
    """Two letters that changed places, or one doubled or not, from 4 letters on; one missing, from 5, the first from 6;
    another one, from 7: change and charge differ in one of 6. Never at the end (receive, receiver).
    """
    one, other = sorted((one, other), key=len)
    shorter = len(one)
    if shorter < 4 or OSA.distance(one, other, score_cutoff=1) != 1:
        return False
    at = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), shorter)
    if shorter < len(other):
        doubled = other[at] in other[at - 1 : at] + other[at + 1 : at + 2]
        return doubled or (at < shorter and shorter >= (4 if at else 5))
    return sorted(one) == sorted(other) or (0 < at < shorter - 1 and shorter >= 7)


def near(one: Wording, other: Wording) -> bool:
    """Whether they are one question: the same words in any order, at most one of them misspelled. Symmetric."""
    left = list((Counter(one.words) - Counter(other.words)).elements())
    right = list((Counter(other.words) - Counter(one.words)).elements())
    alike = not left and not right or len(left) == len(right) == 1 and misspelled(left[0], right[0])
    return one == other or (alike and not _opposed(one, other))


def _opposed(one: Wording, other: Wording) -> bool:
    """The same words in other roles: from pounds to euros, from euros to pounds."""
    mine, theirs = _by_direction(one), _by_direction(other)
    for direction in mine.keys() & theirs.keys():
        if not any(a == b or misspelled(a, b) for a in mine[direction] for b in theirs[direction]):
            return True
    return bool(mine["to"] & theirs["from"] or mine["from"] & theirs["to"])


def _by_direction(item: Wording) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for direction, word in item.directed:
        found["to" if direction == "into" else direction].add(word)
    return found
