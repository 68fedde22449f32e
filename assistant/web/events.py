"""What every page's events have in common: how they are registered, and what they give back."""

from __future__ import annotations

from typing import Any

Update = dict[Any, Any]  # component → its new value
# Without a name in Gradio's API; one event at a time for a tab is the page's own business.
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
