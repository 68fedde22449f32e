"""Conversations in and out of the store: files in the shapes of other tools.

`importing` and `exporting` are what commands call; `formats` has the table of formats.
"""
