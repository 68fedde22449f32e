"""Downloads of a person's own conversations: one of them, or all, as Markdown, which any editor opens."""

import re
from collections.abc import Iterator
from datetime import datetime
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from assistant.web.user_conversations import Turn, UserConversations
from store import Store
from store.errors import NotFound
from store.records import Conversation, Role

DOWNLOAD = "/download"


def routes(store: Store) -> list[Route]:
    """The allow-list has found out who asks."""

    def download(request: Request) -> Response:
        own = UserConversations(store, request.user.display_name)
        id = request.query_params.get("conversation")
        try:
            wanted = [own.conversation(id)] if id else own.all()
        except NotFound as error:
            return PlainTextResponse(str(error), 404)
        name = (wanted[0].title if id else "") or "conversations"
        name = re.sub(r"[^\w-]+", " ", name).strip()[:60] or "conversation"
        headers = {
            "content-disposition": f"attachment; filename*=UTF-8''{quote(name)}.md",
            "cache-control": "no-store",
        }
        texts = (text for one in wanted for text in _markdown(own, one))
        return StreamingResponse(texts, media_type="text/markdown; charset=utf-8", headers=headers)

    return [Route(DOWNLOAD, download)]


def _markdown(own: UserConversations, conversation: Conversation) -> Iterator[str]:
    """The branch that is shown; nothing where it was deleted meanwhile."""
    try:
        turns = own.turns(conversation.id)
    except NotFound:
        return
    yield f"# {conversation.title or 'Untitled'}\n\n{_moment(conversation.created_at)}\n\n"
    for turn in turns:
        yield "".join(f"{part}\n\n" for part in _parts(turn))


def _parts(turn: Turn) -> Iterator[str]:
    asked, rating = turn.message.role is Role.USER, turn.rating
    yield f"## {'You' if asked else 'Answer'}, {_moment(turn.message.created_at)}"
    yield turn.message.text or "(no text)"
    if rating and rating.verdict:
        said = ", ".join(filter(None, (f"Rated {rating.verdict}", rating.reason, rating.comment)))
        yield f"*{said}*"
    if rating and rating.correction is not None:
        yield f"### Corrected to\n\n{rating.correction}"


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M")
