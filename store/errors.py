"""Errors of the store: each says what happened, the value, and what to do next."""


class StoreError(Exception):
    """The store refused or could not do something; the message is written for a person."""


class NotSaved(StoreError):
    """The write did not reach the disk; nothing was changed and it is safe to try again."""


class NotFound(StoreError):
    """No record has that id."""


class Conflict(StoreError):
    """The record exists, but what it says now does not allow this change."""


class Unstorable(StoreError):
    """A text holds a character that would not come back as it was."""


class BadRow(StoreError):
    """A row of a file cannot be taken in; the message goes on from “line 17: ”."""
