"""The sign-in page: a name, a password, and what went wrong the last time.

In: the name that was typed and a message. Out: HTML that needs no script and fetches nothing. Pure.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from assistant.web import theme

_CSS = Path(__file__).with_name("sign_in.css")


def sign_in_page(name: str = "", wrong: str = "") -> str:
    """`wrong` says why the last try failed; the name stays in its box, the password never does."""
    said = f'<p class="wrong" role="alert" id="sign-in-wrong">{escape(wrong)}</p>' if wrong else ""
    focus_name, focus_password = ("", " autofocus") if name else (" autofocus", "")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Sign in · Shorthand</title>{theme.HEAD}'
        f"<style>{_CSS.read_text(encoding='utf-8')}</style></head><body><main>"
        f'<p class="brand">{theme.MARK}<strong>Shorthand</strong></p>'
        '<p class="says">the assistant that learns its own prompt</p>'
        f'<form method="post" action="sign-in" id="sign-in"><h1>Sign in</h1>{said}'
        f'<label>Name<input name="name" value="{escape(name)}" autocomplete="username" autocapitalize="none" '
        f'spellcheck="false" maxlength="64" required{focus_name}></label>'
        '<label>Password<input name="password" type="password" autocomplete="current-password" maxlength="256" '
        f'required{focus_password}></label><button type="submit">Sign in</button></form></main></body></html>'
    )
