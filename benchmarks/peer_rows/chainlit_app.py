"""The chainlit app of the rows `streams` and `pages`, as its guide writes one that streams."""

import os

import chainlit as cl

from benchmarks.peer_rows.words import words


@cl.on_message
async def answer(message: cl.Message) -> None:
    reply = cl.Message(content="")
    async for word in words(os.environ["FAKE_URL"]):
        await reply.stream_token(word)
    await reply.update()
