"""What one browser tab watches in the chat; it lives as long as the tab."""

from __future__ import annotations


class View:
    """The latest action owns the pane, earlier ones stop writing to it."""

    def __init__(self) -> None:
        self.owner: object = None
        self.search = ""
        self.samples = False  # list sample and imported conversations too

    def take(self) -> object:
        self.owner = object()
        return self.owner
