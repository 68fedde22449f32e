"""A prompt's segments → HTML cards: what each costs, and whether the active deployment still sends it.

In: segments, tokens per segment, the kept ids. Out: HTML, texts escaped. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from html import escape

from assistant.web import words
from store.records import Deployment, Prompt, Segment, SegmentKind


def segment_cards(
    segments: Sequence[Segment], tokens: Mapping[str, int], total: int, segment_ids: Collection[str] | None
) -> str:
    """`kept` is None when nothing of this text is served yet: no card says sent or left out."""
    if not segments:
        return '<p class="none">The segments appear here while you write.</p>'
    sent = sum(segment.id in segment_ids for segment in segments) if segment_ids is not None else 0
    summary = f"<strong>{words.tokens(total)}</strong> in {words.count(len(segments), 'segment')}"
    if segment_ids is not None:
        summary += f", {sent} of {len(segments)} sent now" if sent < len(segments) else ", all sent now"
    longest = max(tokens.values(), default=1) or 1
    cards = "".join(_card(segment, tokens.get(segment.id, 0), longest, segment_ids) for segment in segments)
    return f'<p class="cards-total" id="segments-total">{summary}</p><ol class="cards">{cards}</ol>'


def version_rows(prompts: Sequence[Prompt], deployments: Sequence[Deployment]) -> str:
    """The versions, newest first, each with what was served of it."""
    active = next((item.prompt_id for item in deployments if item.status == "active"), None)
    badge = " <span class='badge active'>active</span>"
    rows = "".join(
        f"<tr><td>v{prompt.version}{badge if prompt.id == active else ''}</td>"
        f"<td>{words.moment(prompt.created_at)}</td><td class='num'>{len(prompt.segments)}</td>"
        f"<td class='num'>{_served(prompt, deployments)}</td></tr>"
        for prompt in reversed(prompts)
    )
    return (
        '<div class="table"><table><thead><tr><th>Version</th><th>Saved</th><th class="num">Segments</th>'
        f'<th class="num">Prompt tokens served</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _served(prompt: Prompt, deployments: Sequence[Deployment]) -> str:
    served = [item.prompt_tokens for item in deployments if item.prompt_id == prompt.id and item.activated_at]
    return " → ".join(f"{number:,}" for number in dict.fromkeys(served)) or words.NOTHING


def _card(segment: Segment, tokens: int, longest: int, segment_ids: Collection[str] | None) -> str:
    left_out = segment_ids is not None and segment.id not in segment_ids
    badges = [f'<span class="badge">{segment.kind}</span>']
    if segment.protected:
        badges.append('<span class="badge good" title="Never left out">protected</span>')
    if left_out:
        badges.append('<span class="badge bad">left out</span>')
    elif segment_ids is not None:
        badges.append('<span class="badge good">sent</span>')
    if segment.kind is SegmentKind.EXAMPLE:
        body = f"<b>User</b> {_text(segment.user)}<br><b>Assistant</b> {_text(segment.assistant)}"
    else:
        body = _text(segment.text)
    return (
        f'<li class="card{" left-out" if left_out else ""}" data-segment="{escape(segment.id)}">'
        f'<div class="card-head">{"".join(badges)}<span class="num">{words.tokens(tokens)}</span></div>'
        '<div class="bar"><i '
        f'style="width:{max(2, round(100 * tokens / longest))}%"></i></div><p>{body}</p></li>'
    )


def _text(text: str) -> str:
    return escape(text).replace("\n", "<br>")
