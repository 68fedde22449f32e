"""Data whose truth is known because it was made up: what must be found, merged, refused or kept out. Pure."""
