"""A person's own conversations as files; nobody else's."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from starlette.responses import StreamingResponse

from assistant.web.downloads import routes
from store import Store
from store.records import Role, Verdict


def downloaded(store: Store, name: str, **query: str) -> tuple[int, str, str]:
    """Status, disposition and text."""
    request = SimpleNamespace(user=SimpleNamespace(display_name=name), query_params=query)
    response = cast(Any, routes(store)[0].endpoint)(request)

    async def text() -> str:
        return "".join([part async for part in response.body_iterator])

    if not isinstance(response, StreamingResponse):
        return response.status_code, "", bytes(response.body).decode()
    return response.status_code, response.headers["content-disposition"], asyncio.run(text())


def test_one_conversation_or_all_of_ones_own(bank: Store) -> None:
    for owner, title in (("ann", 'Äpfel / "x"\n'), ("ann", ""), ("bo", "secret")):
        talk = bank.conversations.create("bank", title, owner)
        asked = bank.messages.add(talk.id, None, Role.USER, f"asked by {owner}: **{title}**")
        given = bank.messages.add(talk.id, asked.id, Role.ASSISTANT, "given")
        bank.ratings.add(given.id, owner, Verdict.DOWN, "wrong fact", "no", "put right")
    bank.conversations.create("bank", "imported", "ann", "import")
    second, first = bank.conversations.all("bank", "ann", "chat")
    status, name, text = downloaded(bank, "ann", conversation=first.id)
    assert (status, name) == (200, "attachment; filename*=UTF-8''%C3%84pfel%20x.md")
    assert (
        "## You, " in text
        and "*Rated down, wrong fact, no*" in text
        and "### Corrected to\n\nput right" in text
    )
    _, name, everything = downloaded(bank, "ann")
    assert name.endswith("''conversations.md") and text in everything and "# Untitled" in everything
    assert "secret" not in everything and "imported" not in everything
    other = bank.conversations.all("bank", "bo")[0]
    for made_up in (other.id, "x", "../x"):
        assert downloaded(bank, "ann", conversation=made_up)[0] == 404
    assert downloaded(bank, "nobody") == (200, "attachment; filename*=UTF-8''conversations.md", "")
