"""Why examples could not be screened: nothing is trained then."""


class NotScreened(Exception):
    """What was to be replaced could not be looked for; the message says what to do.

    NotScreened
    ├── BadPattern       a rule that is no pattern, or could take for ever
    ├── PatternTooSlow   a pattern did not finish
    └── NoNameModel      the model of names cannot be used
    """


class BadPattern(NotScreened):
    """The rule is refused; the message says why."""


class PatternTooSlow(NotScreened):
    """The pattern did not finish: nothing is trained on what it might have missed."""


class NoNameModel(NotScreened):
    """The message says which model and why."""
