"""Downloads of a person's own conversations: one of them, or all, as Markdown, which any editor opens."""

import re
from collections.abc import Iterator
from datetime import datetime
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from assistant.web.user_conversations import UserConversations
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
        texts = (f"{part}\n\n" for one in wanted for part in _markdown(own, one))
        return StreamingResponse(texts, media_type="text/markdown; charset=utf-8", headers=headers)

    return [Route(DOWNLOAD, download)]


def _markdown(own: UserConversations, conversation: Conversation) -> Iterator[str]:
    """The branch that is shown; nothing where it was deleted meanwhile."""
    try:
        turns = own.turns(conversation.id)
    except NotFound:
        return
    yield f"# {conversation.title or 'Untitled'}"
    yield _moment(conversation.created_at)
    for turn in turns:
        message, rating = turn.message, turn.rating
        yield f"## {'You' if message.role is Role.USER else 'Answer'}, {_moment(message.created_at)}"
        yield message.text or "(no text)"
        if rating and rating.verdict:
            rated = ", ".join(filter(None, (f"Rated {rating.verdict}", rating.reason, rating.comment)))
            yield f"*{rated}*"
        if rating and rating.correction is not None:
            yield f"### Corrected to\n\n{rating.correction}"


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M")
