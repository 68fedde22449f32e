"""Safe HTML: templates that escape every value, Markdown in which nothing can run, and the differences of two texts.

The templates' buttons fire events through `clicks.js`, which `forward` adds to a `gr.HTML`.
"""

import re
import time
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup, escape

from assistant.web import words

_HERE = Path(__file__).parent
_PIECES = re.compile(r"\s+|\w+|[^\w\s]")
# Comparing takes time with the square of the length: 1,500 pieces, which is 700 words, take 50 ms at worst.
_MOST_PIECES = 1500


class _Markdown(MarkdownIt):
    def validateLink(self, url: str) -> bool:  # the name that MarkdownIt calls
        """To pages and addresses alone: a link without a scheme would lead to a route of this app."""
        return re.match(r"(https?://|mailto:)", url, re.IGNORECASE) is not None


_MARKDOWN = (
    _Markdown("commonmark", {"html": False, "breaks": True})
    .enable(["table", "strikethrough"])
    .disable("image")
)


def markdown(text: str) -> Markup:
    """What a model wrote as HTML; raw HTML, images and unsafe links stay text."""
    return Markup(_MARKDOWN.render(text))


def plain(text: str) -> Markup:
    """What a person typed, shown as typed."""
    return Markup(str(escape(text)).replace("\n", "<br>"))


def moment(at: float | None, form: str = "moment") -> Markup:
    """Date and time of day (or “day”, “clock” alone) in the server's zone; `local_times.js` makes them the reader's."""
    if at is None:
        return Markup(words.NOTHING)
    text = time.strftime({"day": "%d %b", "clock": "%H:%M"}.get(form, "%d %b, %H:%M"), time.localtime(at))
    return Markup(f'<time data-at="{at:.0f}" data-form="{form}">{text}</time>')


def diff(before: str, after: str) -> Markup:
    """<del> and <ins>; texts that are too long, or have less than a third in common, stand one after the other."""
    old, new = _PIECES.findall(before), _PIECES.findall(after)
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    if len(old) + len(new) > 2 * _MOST_PIECES or matcher.ratio() < 1 / 3:
        return _marked("del", before) + Markup("<br>") + _marked("ins", after)
    return Markup("").join(
        plain("".join(old[a:b]))
        if kind == "equal"
        else _marked("del", "".join(old[a:b])) + _marked("ins", "".join(new[c:d]))
        for kind, a, b, c, d in matcher.get_opcodes()
    )


def _marked(tag: str, text: str) -> Markup:
    return Markup(f"<{tag}>{plain(text)}</{tag}>") if text else Markup("")


_TEMPLATES = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,  # a name that nobody gives is an error, not an empty place
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters.update(markdown=markdown, plain=plain, moment=moment)
_TEMPLATES.globals.update(words=words, diff=diff)


def render(template: str, **values: Any) -> str:
    """A file of `templates/`; values are escaped unless they are Markup."""
    return _TEMPLATES.get_template(template).render(**values)


def forward(*events: str) -> str:
    """The script for a `gr.HTML` whose buttons fire these events."""
    return script("clicks.js").replace("NAMES", ", ".join(f"'{event}'" for event in events))


def script(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
