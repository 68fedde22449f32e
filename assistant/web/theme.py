"""The look: a steno pad. Green-tinted paper, ink, and the pad's red margin line for what must not be crossed.

`look.css` says what Gradio's themes cannot. System fonts only: nothing is fetched from the network.
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
from gradio.themes.utils import colors, sizes

CSS = Path(__file__).with_name("look.css")

# Eleven shades each, from the lightest.
_PINE = "#edf7f1 #d3ebde #a9d8c1 #78bf9f #48a27d #2b8462 #1f6d50 #1a5741 #174635 #12372a #0a211a"
_PAPER = "#fafbf7 #f1f4ec #e2e7db #cbd2c4 #9aa597 #5d695e #4f5b52 #3a453e #232c28 #18201d #101614"
_SANS = "ui-sans-serif, system-ui, -apple-system, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif"
_MONO = "ui-monospace, SF Mono, Cascadia Mono, Menlo, Consolas, monospace"

ICON = Path(__file__).with_name("icon.svg")
HEAD = (
    '<meta name="viewport" content="width=device-width, initial-scale=1, interactive-widget=resizes-content">'
    f'<link rel="icon" href="data:image/svg+xml,{quote(ICON.read_text("utf-8"))}">'
)
# The same stroke as the icon's, in the text's colour.
MARK = (
    '<svg class="mark" viewBox="0 0 32 32" aria-hidden="true"><path d="M5 22c5-14 10-16 11.5-11s-5 11-1 11 '
    '6-5 11-12" fill="none" stroke="currentColor" stroke-width="2.8" stroke-linecap="round"/></svg>'
)

_COLOURS = {  # in light, in dark
    "body_background_fill": ("*neutral_100", "*neutral_950"),
    "body_text_color": ("#1c2723", "#e5ebe4"),
    "body_text_color_subdued": ("*neutral_500", "*neutral_400"),
    "background_fill_primary": ("*neutral_50", "*neutral_900"),
    "background_fill_secondary": ("*neutral_100", "*neutral_800"),
    "block_background_fill": ("*neutral_50", "*neutral_900"),
    "block_label_background_fill": ("transparent", "transparent"),
    "block_label_text_color": ("*neutral_600", "*neutral_400"),
    "block_title_text_color": ("*neutral_700", "*neutral_300"),
    "border_color_primary": ("*neutral_200", "*neutral_800"),
    "input_background_fill": ("#ffffff", "*neutral_950"),
    "input_border_color": ("*neutral_300", "*neutral_700"),
    "input_border_color_focus": ("*primary_600", "*primary_400"),
    "button_primary_background_fill": ("*primary_600", "*primary_500"),
    "button_primary_background_fill_hover": ("*primary_700", "*primary_400"),
    "button_secondary_background_fill": ("#ffffff", "*neutral_800"),
    "button_secondary_background_fill_hover": ("*neutral_100", "*neutral_700"),
    "button_secondary_border_color": ("*neutral_300", "*neutral_700"),
    "button_secondary_text_color": ("#1c2723", "#e5ebe4"),
    "button_cancel_text_color": ("#b23a22", "#f0896c"),
    "link_text_color": ("*primary_700", "*primary_300"),
}


def theme() -> gr.themes.Base:
    """Light and dark from one palette."""
    pine, paper = colors.Color(*_PINE.split()), colors.Color(*_PAPER.split())
    return gr.themes.Base(
        primary_hue=pine,
        secondary_hue=pine,
        neutral_hue=paper,
        radius_size=sizes.radius_md,
        spacing_size=sizes.spacing_md,
        text_size=sizes.text_md,
        font=_SANS.split(", "),
        font_mono=_MONO.split(", "),
    ).set(
        **{name: light for name, (light, _) in _COLOURS.items()},
        **{f"{name}_dark": dark for name, (_, dark) in _COLOURS.items()},
        block_border_width="1px",
        block_title_text_weight="600",
        button_border_width="1px",
        button_small_text_weight="500",
    )


def panel(id: str, html: str = "", **options: Any) -> gr.HTML:
    """A place for HTML on a page, without Gradio's own frame."""
    return gr.HTML(html, elem_id=id, elem_classes="panel-html", **options)


def bare(kind: type[gr.components.Component], label: str, id: str, **options: Any) -> Any:
    """A field without Gradio's own frame, whose label is for those who hear it read."""
    return kind(label=label, show_label=False, container=False, elem_id=id, **options)
