"""Questions said differently, and questions that look alike and ask something else: with the truth known.

The lists are of their own and not those of `trainer.examples.word_lists`, so that what is not known there is
planted as well.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from rapidfuzz.distance import OSA

Change = Callable[[random.Random, str], str | None]


def _words(text: str) -> Sequence[str]:
    return text.split()


def _put(text: str, place: re.Match[str], new: str, group: int = 0) -> str:
    return text[: place.start(group)] + new + text[place.end(group) :]


_BEFORE = (
    "Hi, could you please tell me: {}", "Hello! {}", "Hey there, quick question. {}", "Good morning, {}",
    "I was wondering, {}", "Please help: {}", "Sorry to bother you, but {}", "Can you tell me {}", "Hi team, {}",
    "Would you mind telling me {}", "I'd like to know {}", "Dear support, I have a question. {}", "Do you know {}",
    "Ok so {}", "I really need to know this: {}", "Any idea {}", "Just checking, {}",
    "Quick one for you: {}", "Not sure who to ask, {}", "One more thing: {}",
)  # fmt: skip
_AFTER = (
    "{} Thanks!", "{} Thank you very much in advance.", "{} please", "{} Cheers", "{} Any help appreciated.",
    "{} Can you help me with this?", "{} Thanks for your help!", "{} I would be very grateful.", "{} Please advise.",
    "{} Thank you, kind regards", "{} Let me know.", "{} thx",
    "{} I'm a bit lost here.", "{} Looking forward to your reply.",
)  # fmt: skip
_SHORT = {
    "what is": "what's", "i am": "I'm", "do not": "don't", "does not": "doesn't", "did not": "didn't",
    "can not": "can't",
    "cannot": "can't", "is not": "isn't", "have not": "haven't", "has not": "hasn't",
    "i have": "I've", "i would": "I'd",
    "was not": "wasn't", "will not": "won't", "where is": "where's", "it is": "it's", "that is": "that's",
    "would not": "wouldn't", "could not": "couldn't", "there is": "there's", "how is": "how's", "i will": "I'll",
}  # fmt: skip
_SYNONYMS = (
    ("buy", "purchase"), ("wrong", "incorrect"), ("need", "require"), ("receive", "get"), ("help", "assist"),
    ("cost", "price"), ("use", "utilise"), ("biggest", "largest"), ("big", "large"), ("delete", "remove"),
    ("change", "alter"), ("problem", "issue"), ("money", "funds"), ("start", "begin"), ("allowed", "permitted"),
    ("choose", "select"), ("abroad", "overseas"), ("phone", "mobile"), ("close", "terminate"), ("cancel", "revoke"),
    ("fee", "charge"), ("run through", "traverse"), ("border", "neighbour"), ("inhabitants", "residents"),
    ("live", "reside"), ("located", "situated"), ("declined", "rejected"), ("lost", "misplaced"), ("fast", "quickly"),
    ("find", "locate"), ("check", "cheque"), ("app", "application"), ("verify", "confirm"), ("stolen", "robbed"),
)  # fmt: skip
_ASKED = (
    (r"^how do i\b", ("How can I", "What is the way to", "How to", "How should I", "I want to")),
    (r"^how can i\b", ("How do I", "What do I do to", "How would I", "What are the steps to")),
    (r"^can i\b", ("Is it possible to", "Am I able to", "May I", "Is there a way to", "Could I")),
    (r"^why\b", ("What is the reason", "How come", "For what reason")),
    (r"^what is the\b", ("Tell me the", "Which is the", "What's the", "Give me the", "I want to know the", "The")),
    (r"^when\b", ("At what time", "On what date", "How soon")),
    (r"^how long\b", ("How much time",)),
    (r"^how many\b", ("What is the number of", "Tell me how many")),
    (r"^(what|which)\b", ("Which", "Tell me which", "What")),
    (r"^where\b", ("In what place", "Tell me where")),
)  # fmt: skip
_FILLERS = _words("just actually really now already currently also please even somehow then")
_TENSES = (
    ("do", "did"), ("does", "did"), ("is", "was"), ("are", "were"), ("has", "had"), ("will", "would"), ("can", "could"),
)  # fmt: skip


def _case(chance: random.Random, text: str) -> str:
    plain = re.sub(r"[^\w\s']", "", text)
    return chance.choice(
        [plain.lower(), text.upper(), plain.title(), text.rstrip("?.! ") + chance.choice("?! ") * 3]
    )


def _typo(chance: random.Random, text: str) -> str | None:
    """A letter left out, doubled, replaced or changed with the next, anywhere in a word of four letters or more."""
    words = [*re.finditer(r"[A-Za-z]{4,}", text)]
    if not words:
        return None
    word = chance.choice(words)
    old, at = word[0], chance.randrange(len(word[0]) - 1)
    new = chance.choice(
        [
            old[:at] + old[at + 1 :],
            old[:at] + old[at] + old[at:],
            old[:at] + old[at + 1] + old[at] + old[at + 2 :],
            old[:at] + chance.choice("abcdefghijklmnopqrstuvwxyz") + old[at + 1 :],
        ]
    )
    return _put(text, word, new) if new != old else None


def _two_typos(chance: random.Random, text: str) -> str | None:
    once = _typo(chance, text)
    return _typo(chance, once) if once else None


def _polite(chance: random.Random, text: str) -> str:
    return chance.choice(_BEFORE).format(text[:1].lower() + text[1:] if not text.startswith("I ") else text)


def _thankful(chance: random.Random, text: str) -> str:
    return chance.choice(_AFTER).format(text)


def _chosen(
    chance: random.Random, text: str, pairs: Collection[tuple[str, str]]
) -> tuple[re.Pattern[str], str] | None:
    """One of the words of the pairs that the text has, and the other of its pair."""
    both = [*pairs, *((b, a) for a, b in pairs)]
    found = [(word, b) for a, b in both if (word := re.compile(rf"\b{re.escape(a)}\b", re.I)).search(text)]
    return chance.choice(found) if found else None


def _contracted(chance: random.Random, text: str) -> str | None:
    if (chosen := _chosen(chance, text, _SHORT.items())) is None:
        return None
    old, new = chosen
    if "'" in new and chance.random() < 0.3 and new not in ("I'd", "I'll", "it's"):
        new = new.replace("'", "")
    return old.sub(new, text)


def _plural(chance: random.Random, text: str) -> str | None:
    """Another number of a noun: the word after an article or the like."""
    found = re.finditer(r"\b(?:the|my|a|your|any) ([a-z]{3,})(?= |[?.!]|$)", text)
    nouns = [noun for noun in found if noun[1] not in _TAKEN]
    if not nouns:
        return None
    noun = chance.choice(nouns)
    word = noun[1]
    if word.endswith("s"):
        return None if word.endswith("ss") else _put(text, noun, word[:-1], 1)
    regular = word + ("es" if word.endswith(("x", "ch", "sh")) else "s")
    return _put(text, noun, word[:-1] + "ies" if re.search("[^aeiou]y$", word) else regular, 1)


_TAKEN = _words("new same other most first last highest largest biggest smallest lowest")


def _tense(chance: random.Random, text: str) -> str | None:
    chosen = _chosen(chance, text, _TENSES)
    return chosen[0].sub(chosen[1], text, count=1) if chosen else None


def _asked(chance: random.Random, text: str) -> str | None:
    for pattern, ways in _ASKED:
        if re.search(pattern, text, re.I):
            return re.sub(pattern, chance.choice(ways), text, flags=re.I)
    return None


def _synonym(chance: random.Random, text: str) -> str | None:
    chosen = _chosen(chance, text, _SYNONYMS)
    return chosen[0].sub(chosen[1], text) if chosen else None


def _filler(chance: random.Random, text: str) -> str | None:
    words = text.split()
    if len(words) < 4:
        return None
    words.insert(chance.randrange(2, len(words)), chance.choice(_FILLERS))
    return " ".join(words)


def _order(chance: random.Random, text: str) -> str | None:
    """The last clause or phrase first."""
    bare = text.rstrip("?.! ")
    found = [*re.finditer(r" (?=(?:if|when|because|after|since|with|for|in|at|on|from|through) )|, ", bare)]
    found = [place for place in found if place.start() > 8 and place.end() < len(bare) - 4]
    if not found:
        return None
    place = chance.choice(found)
    return f"{bare[place.end() :]}, {bare[: place.start()]}?"


def _dropped(chance: random.Random, text: str) -> str | None:
    short = re.sub(r"\b(the|a|an|my|do|does|is|are|of) ", "", text, flags=re.I)
    return short if short != text and len(short.split()) > 2 else None


def _several(chance: random.Random, text: str) -> str | None:
    for change in chance.sample([_polite, _typo, _contracted, _asked, _filler, _case, _thankful], 3):
        text = change(chance, text) or text
    return text


REWORDINGS: Mapping[str, Change] = {
    "case and punctuation": _case,
    "one typing error": _typo,
    "two typing errors": _two_typos,
    "polite words before": _polite,
    "thanks after": _thankful,
    "contraction or its opposite": _contracted,
    "singular or plural": _plural,
    "tense": _tense,
    "another way to ask": _asked,
    "a synonym": _synonym,
    "a filling word": _filler,
    "another order": _order,
    "articles left out": _dropped,
    "three of these at once": _several,
}


def differences(corpus: Sequence[str]) -> Mapping[str, Change]:
    """Changes after which a question asks something else. The words that come in are those of the corpus."""
    counted = Counter(word for text in corpus for word in set(re.findall(r"[a-z]{4,}", text.lower())))
    words = sorted(word for word, count in counted.items() if count >= 3 and word not in _FUNCTION)
    alike = {
        word: [w for w in words if w[0] == word[0] and OSA.distance(w, word) <= 2 and not _one(w, word)]
        for word in words
    }

    def word_in(chance: random.Random, text: str) -> re.Match[str] | None:
        found = [m for m in re.finditer(r"[a-z]{4,}", text.lower()) if m[0] in alike]
        return chance.choice(found) if found else None

    def another(chance: random.Random, text: str) -> str | None:
        place = word_in(chance, text)
        new = chance.choice(words)
        return None if place is None or _one(new, place[0]) else _put(text, place, new)

    def look_alike(chance: random.Random, text: str) -> str | None:
        place = word_in(chance, text)
        if place is None or not alike[place[0]]:
            return None
        return _put(text, place, chance.choice(alike[place[0]]))

    def added(chance: random.Random, text: str) -> str | None:
        place = word_in(chance, text)
        return (
            _put(text, place, f"{chance.choice(words)} {text[place.start() : place.end()]}")
            if place
            else None
        )

    def number(chance: random.Random, text: str) -> str | None:
        found = [*re.finditer(r"\d+", text)]
        if not found:
            return None
        place = chance.choice(found)
        return _put(text, place, str(int(place[0]) + chance.choice([1, 2, 10])))

    return {
        "another word of the task": another,
        "another word that looks alike": look_alike,
        "a word more": added,
        "another number": number,
        "negated": _negated,
        "another direction": _turned,
        "another question word": _other_question,
    }


def _one(one: str, other: str) -> bool:
    """Forms of one word, as far as it can be told from their beginnings and from what the synonyms say."""
    start = min(len(one), len(other)) - 2
    return one[: max(4, start)] == other[: max(4, start)] or any(
        {one, other} <= set(pair) for pair in _SYNONYMS
    )


_FUNCTION = _words(
    """about actually after again also already been before being could currently does doing done even from getting
    going have having here into just keep know like made make many much need only please really should show some still
    take tell than thank thanks that their them then there these they thing this time told trying used using very want
    wanted went were what when where which while will with would your give name list each most more another other
    show states state exactly instead possible located find getting gets yours myself yourself hello"""
)


def _negated(chance: random.Random, text: str) -> str | None:
    """“not” taken out, or put in after the verb that can bear it."""
    if re.search(r"\bnot\b|n't\b", text):
        return re.sub(r" not\b|n't\b", "", text, count=1)
    verb = r"\b(do|does|did|is|are|was|can|will|has|have|should|could) (i|you|we|it|my \w+|the \w+)\b"
    found = re.search(verb, text, re.I)
    return text[: found.end()] + " not" + text[found.end() :] if found else None


def _turned(chance: random.Random, text: str) -> str | None:
    """From one to the other, the other way round; or from where it went to."""
    found = re.search(r"\bfrom ((?!my|the|a)\w+) (to|into) ((?!my|the|a)\w+)", text)
    if found and found[1].lower() != found[3].lower():
        return f"{text[: found.start()]}from {found[3]} {found[2]} {found[1]}{text[found.end() :]}"
    places = r"(my|your|another|the|a) (account|card|friend|bank)\b|europe\b|usd\b|gbp\b|eur\b"
    one = re.search(rf"\b(to|from) (?={places})", text, re.I)
    return text[: one.start()] + ("from " if one[1] == "to" else "to ") + text[one.end() :] if one else None


def _other_question(chance: random.Random, text: str) -> str | None:
    for old, new in (("why", ("when", "how do i know if")), ("when", ("why", "where")), ("where", ("when", "why")),
                     ("how many", ("where are the", "why are")), ("how do i", ("why do i", "when do i"))):  # fmt: skip
        if text.lower().startswith(f"{old} "):
            return chance.choice(new) + text[len(old) :]
    return None
