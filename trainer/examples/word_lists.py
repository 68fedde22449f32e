"""English words that say little, words that say the same, and words that may never be confused: for `wording`.

In: nothing. Out: constants. Written by hand, of general English: nothing here is of one task. Text in other languages
meets them hardly ever, so that there only case, punctuation, word order and typing errors do not matter.
"""

from __future__ import annotations


def _pairs(text: str) -> dict[str, str]:
    return {
        word: line.split(":")[0].strip()
        for line in text.strip().splitlines()
        for word in line.split(":")[1].split()
    }


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Spellings without an apostrophe, of chats, and of one word in two parts; replaced before anything else.
SPELLINGS = {
    "can't": "can not", "cant": "can not", "cannot": "can not", "won't": "will not", "wont": "will not",
    "shan't": "shall not", "ain't": "is not", "dont": "do not", "doesnt": "does not", "didnt": "did not",
    "isnt": "is not", "arent": "are not", "wasnt": "was not", "werent": "were not", "havent": "have not",
    "hasnt": "has not", "hadnt": "had not", "couldnt": "could not", "shouldnt": "should not",
    "wouldnt": "would not", "im": "i am", "ive": "i have", "whats": "what is", "wheres": "where is",
    "hows": "how is", "whos": "who is", "thats": "that is", "theres": "there is", "let's": "let us",
    "u": "you", "ur": "your", "pls": "please", "plz": "please", "thx": "thanks", "wanna": "want to",
    "gonna": "going to", "gotta": "have to", "gimme": "give me", "lemme": "let me", "dunno": "do not know",
    "topup": "top up",
    "topups": "top up", "setup": "set up", "signup": "sign up", "checkin": "check in", "checkout": "check out",
    "backup": "back up", "e-mail": "email", "log": "log", "login": "log in", "logon": "log in",
    "wi-fi": "wifi", "teh": "the", "hte": "the", "adn": "and", "hwo": "how", "wat": "what", "waht": "what",
}  # fmt: skip

# Said before a question or after it, to whoever answers. Applied to lower-case words with single spaces, again and
# again until nothing goes any more.
GREETINGS = (
    r"(?:hi|hello|hey|dear|greetings|good (?:morning|afternoon|evening|day))"
    r"(?: (?:there|all|team|everyone|folks|support|guys|sir|madam|sir or madam))?",
    r"(?:i am )?sorry(?: (?:to bother(?: you)?|for the trouble|for asking))?(?: but)?",
    r"excuse me|pardon me|please|kindly|so|ok|okay|well|um|uh|oh|and|but|also|quick question|question|"
    r"(?:i have|just) (?:a|one) (?:quick |small |simple )?question(?: for you)?|i hope (?:you|this)(?: are)?"
    r" (?:doing )?well|"
    r"help|hoping you can help(?: me)?|maybe (?:you|someone) can help(?: me)?|i need (?:your |some )?"
    r"help(?: please)?",
)
ASKING = (
    r"(?:can|could|would|will|might) (?:you|anyone|anybody|someone|somebody|u)(?: (?:please|kindly|perhaps|"
    r"maybe|possibly))*"
    r" (?:help me (?:understand|find out)|help(?: me)?(?: out)?(?: with)?|tell(?: me)?|explain(?: to me)?|"
    r"let me know|advise(?: me)?(?: on)?|"
    r"clarify|confirm|say|show me|give me|inform me|remind me|point out|describe)(?: to me)?(?: please)?"
    r"(?: about)?",
    r"(?:do|would|does) (?:you|anyone|anybody|someone|somebody)(?: (?:happen to|by any chance|perhaps))?"
    r" know(?: about)?",
    r"(?:do you have )?any (?:idea|clue)(?: about)?",
    r"i(?: (?:really|just|only|do))* (?:want|would like|need|wish|would love|like)(?: to)? (?:to )?"
    r"(?:know|ask(?: you)?|find out|understand|learn|inquire|enquire|be told)(?: about)?",
    r"i (?:am|was) (?:just )?(?:wondering|curious|asking|looking to (?:know|find out|understand))(?: about)?",
    r"(?:just )?(?:wondering|curious|asking)(?: about)?",
    r"(?:may|can|could|might) i(?: just)? ask(?: you)?(?: about)?",
    r"(?:would|do) you mind (?:telling me|explaining(?: to me)?|letting me know|saying|showing me|"
    r"helping me(?: with)?)",
    r"i (?:do not|am not sure|can not) (?:know|understand|figure out|work out)(?: about)?|i am not sure|"
    r"i have no (?:idea|clue)(?: about)?|not sure",
    r"(?:i am )?just (?:checking|asking)|i (?:really |just )?need to know(?: this)?|tell(?: me)?(?: about)?|"
    r"let me know|explain(?: to me)?|show(?: me)?|give(?: me)?|list|name (?=(?:all|the|every) )|"
    r"i would (?:appreciate|be grateful)(?: it)? if you(?: could)?(?: tell me)?|it would be (?:great|"
    r"nice) (?:to know|if you could "
    r"tell me)|find(?: me)? (?=(?:all|the) )",
)
ENDINGS = (
    r"please|kindly|thanks|thank you|many thanks|cheers|regards|(?:best|kind|warm) regards|thx|ty|tia|asap",
    r"(?:many )?(?:thanks|thank you)(?: (?:so|very) much| a lot| a (?:bunch|million)| again)?"
    r"(?: in advance)?(?: for (?:your|the|any) (?:help|time|support|answer|reply)| for (?:helping|answering))?"
    r"(?: in advance)?",
    r"(?:can|could|would) you(?: please)? (?:help(?: me)?(?: with (?:this|that|it))?|tell me|let me know|advise|"
    r"explain)(?: please)?",
    r"(?:do|would) you(?: happen to)? know|any (?:idea|clue|ideas)|i am wondering|i was wondering|i wonder|"
    r"i would like to know|(?:and )?let me know|tell me|i appreciate (?:it|your help)|help(?: me)?|just curious|"
    r"(?:any|your) help (?:would be|is) (?:much |greatly )?appreciated|(?:any |some )?help (?:is |would be )?"
    r"(?:much |greatly )?appreciated|much appreciated|please advise|advise please|if (?:you do not mind|possible)|"
    r"i would be (?:very |so |really |most )?grateful|by (?:the way|any chance)|right now|at the moment|exactly|"
    r"again|anyway|though|or what|or something",
)  # fmt: skip

# What the first and the last word of these are: a look at it saves trying all of them.
OPENERS = _words(
    """hi hello hey dear greetings good i sorry excuse pardon please kindly so ok okay well um uh oh and but also
    quick question just help hoping maybe can could would will might do does any wondering curious asking may tell let
    explain show give list name not find it"""
)
CLOSERS = _words(
    """please kindly thanks you cheers regards thx ty tia asap lot bunch million again advance help time support answer
    reply answering helping this that it with me know advise explain idea clue ideas wondering wonder curious
    appreciated grateful mind possible way chance now moment exactly anyway though what something"""
)

# What is asked for: a word of its own, which has to be the same on both sides, and how it is said.
ASKED = (
    ("yesno",
     r"(?:is|would) it(?: be)? possible(?: for me)? to|is there (?:a|any) (?:way|possibility|chance)(?: for me)?"
     r"(?: (?:to|that i can))?|am i (?:able|allowed|permitted) to|are (?:you|we) able to|"
     r"is it (?:ok|okay|allowed|permitted|fine)(?: for me)? (?:to|if i)|(?:may|might|can|could|shall) i|"
     r"(?:would|will) i be able to|do i get to"),
    ("how",
     r"how (?:do|can|could|would|should|might|may|must|shall|did) (?:i|we|you|one|someone|people)"
     r"(?: (?:go about|proceed to|manage to|get to))?|how to(?: go about)?|how does one|how is it possible to|"
     r"how (?:am i|are you) (?:able|supposed) to|"
     r"(?:what|which) is the (?:best |easiest |right |correct |proper )?(?:way|method|process|"
     r"procedure)(?: (?:to|for|of))?|"
     r"what are the steps(?: (?:i need )?(?:to|for))?|what do i(?: (?:need|have))?(?: to)? do (?:to|if i want to)|"
     r"what (?:should|must|can|could) i do to|in (?:what|which) way (?:do|can) i|"
     r"i (?:want|need|would like|wish|am looking) to|help me(?: to)?|what steps do i(?: need to)? take to"),
    ("price", r"how much (?:is|are|was|were|does|do|did|will|would|should)|what (?:does|do|did|will|"
     r"would)(?=.* cost)"),
    ("howmany", r"how many|what is the (?:total )?number of|(?:the )?number of"),
    ("howlong", r"how (?:much time|long)"),
    ("when", r"(?:at |on |by )?(?:what|which) (?:time|date|day)|how soon|when"),
    ("why", r"how come|what is the reason(?: (?:that|why|for))?|(?:for )?what reason|what is causing|"
     r"what caused|why"),
    ("where", r"(?:in |at )?(?:what|which) place|whereabouts|where"),
    ("who", r"who|whom|whose"),
    ("how2", r"how"),
)  # fmt: skip
FIXED_ASKED = frozenset({"price", "howmany", "howlong", "when", "why", "where", "who", "how", "yesno"})
# A question that begins with one of them is answered with yes or no.
AUXILIARIES = _words(
    "can could is are am was were do does did has have had will would shall should may might must if whether"
)

# Words that change nothing about what is asked.
LIGHT = _words(
    """a an the of in on at for with by and or to from as about into onto is are am was were be been being do does did
    done have has had having will would shall should can could may might must i me my mine we us our ours you your yours
    he him his she her hers they them their theirs it its one this that these those there here what which that so just
    also too really very quite rather actually basically currently now still yet already simply only even ever right
    please kindly thanks thank hi hello well ok okay new able possible some any if whether then else going us
    let like want need would via per toward towards upon within along while though since because when's etc am's able
    myself yourself itself exactly both such own seem seems anyway else again possibly maybe perhaps finally somehow
    certain particular specific located situated found"""
) - {"only", "want", "like", "since", "both", "within", "found"}

# They decide an answer: on both sides or on neither.
DECIDING = _words(
    """not no never none nothing nobody without yes true false up down out off over under above below before after
    against between more less most least fewer all every each other another different same first second third last next
    previous both within since until except neither nor always sometimes monday tuesday wednesday thursday friday
    saturday sunday today tomorrow yesterday january february march april june july august september october november
    december morning afternoon evening night weekend male female man woman north south east west left right"""
)
# Of these, words that stand in any answer and decide nothing there.
IN_ANY_ANSWER = _words(
    """up down out off over under above below before after against between more less most least all every each another
    other same first second last next both within since until except"""
)
NEGATIONS = {"never": "not", "without": "not", "unable": "not", "nor": "not", "no": "not"}
NUMBERS = {
    word: str(number)
    for number, words in enumerate(
        ("zero", "", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
         "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty")
    )
    for word in words.split()  # “which one?” asks for no number
} | {"thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "hundred": "100", "thousand": "1000", "once": "1x",
     "twice": "2x"}  # fmt: skip

# Directions: of two questions with the same words, these say who does what to whom.
DIRECTIONS = frozenset({"to", "into", "from", "than", "before", "after", "over", "against", "between"})

IRREGULAR = _pairs(
    """
    send: sent
    pay: paid
    take: took taken
    make: made
    buy: bought
    lose: lost
    steal: stole stolen
    break: broke broken
    say: said
    keep: kept
    spend: spent
    give: gave given
    see: saw seen
    come: came
    choose: chose chosen
    forget: forgot forgotten
    write: wrote written
    withdraw: withdrew withdrawn
    begin: began begun
    run: ran
    eat: ate eaten
    drive: drove driven
    hold: held
    sell: sold
    tell: told
    think: thought
    build: built
    bring: brought
    catch: caught
    become: became
    speak: spoke spoken
    man: men
    woman: women
    child: children
    person: people persons
    foot: feet
    """
)

# Only what says the same nearly everywhere; “fee” and “charge”, “get” and “receive” do not.
SYNONYMS = _pairs(
    """
    buy: purchase
    begin: start commence
    big: large huge
    biggest: largest greatest
    small: little
    smallest: littlest
    fast: quick rapid
    fix: repair mend
    help: assist
    delete: remove erase
    choose: select pick
    change: modify alter
    wrong: incorrect
    mistake: error
    allow: permit
    require: needed
    picture: photo photograph image
    phone: telephone cellphone smartphone
    price: cost pricing
    obtain: acquire
    answer: reply respond
    display: show
    finish: complete
    close: shut
    car: automobile
    maximum: max
    minimum: min
    information: info
    account: acct
    address: addr
    transaction: txn
    immediately: instantly straightaway
    abroad: overseas
    child: kid
    film: movie
    holiday: vacation
    cancel: cancell
    color: colour
    favorite: favourite
    center: centre
    neighbor: neighbour
    behavior: behaviour
    check: cheque
    traveler: traveller
    catalog: catalogue
    problem: issue trouble
    use: utilise utilize
    live: reside
    find: locate
    decline: reject
    lose: misplace
    """
)


# Words that a typing error makes of each other.
REAL = _words(
    """form from trail trial sign sing diary dairy angel angle calm clam slit silt quit quite quiet lost lots untied
    united unite untie sacred scared loose lose desert dessert later latter diner dinner county country"""
)


def _misspelt() -> dict[str, str]:
    """Typing errors in words that say little: two letters changed places, one doubled, or one left out within."""
    lists = (LIGHT, DECIDING, NEGATIONS, AUXILIARIES, OPENERS, CLOSERS, IRREGULAR, SPELLINGS, NUMBERS)
    known = {word for words in lists for word in words} - {"us"}
    asked = {"what", "which", "when", "where", "why", "who", "how", "long", "many", "much", "want"}
    real = REAL | _words(
        """form dose aws amy tow pre net nay
        cold tanks fist blow bout abut three bot won now own saw moth diary clam sung trail trial quiet
        unite lats salt eats wets nets tires vale felt nigh tale sill sine sooth ben doe wit width witch hell heave
        moist tank aver ever sever neve ante thin tine thee wold tough though thorough though tide"""
    )
    found: dict[str, str] = {}
    for word in sorted(known | asked):
        if len(word) < 3:
            continue
        errors = {word[:at] + word[at + 1] + word[at] + word[at + 2 :] for at in range(len(word) - 1)}
        errors |= {word[:at] + word[at] + word[at:] for at in range(len(word))}
        if len(word) > 4 or word in asked:
            errors |= {word[:at] + word[at + 1 :] for at in range(1, len(word) - 1) if len(word) > 3}
        for error in errors - known - asked - real - SYNONYMS.keys() - set(SYNONYMS.values()):
            if error.isalpha() and len(error) > 2:
                found.setdefault(error, word)
    return found


MISSPELT = _misspelt()
