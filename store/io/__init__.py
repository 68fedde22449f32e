"""Conversations in and out of the store as files in the shapes of other tools; `formats` has the table of these."""
