"""The words of the fake model, as a program that knows nothing of Shorthand asks for them."""

import json
import sys
from collections.abc import AsyncIterator

import httpx
from httpx_aiohttp import AiohttpTransport

_LIMITS = httpx.Limits(max_connections=None)
_clients: list[httpx.AsyncClient] = []


async def words(url: str) -> AsyncIterator[str]:
    """One answer of the model server at `url`, streamed."""
    if not _clients:  # within the event loop that it is used in
        _clients.append(httpx.AsyncClient(transport=AiohttpTransport(limits=_LIMITS), timeout=300.0))
    body = {"model": "base", "prompt": [1], "max_tokens": 1000, "stream": True}
    async with _clients[0].stream("POST", f"{url}/v1/completions", json=body) as reply:
        async for line in reply.aiter_lines():
            if line.startswith("data: {"):
                yield json.loads(line[6:])["choices"][0]["text"]


def gradio(port: int, url: str) -> None:
    """Gradio's ChatInterface as its guide writes it, for any number of answers at once."""
    import gradio as gr

    async def answer(message: str, history: list[object]) -> AsyncIterator[str]:
        text = ""
        async for word in words(url):
            text += word
            yield text

    gr.ChatInterface(answer, concurrency_limit=None).launch(server_port=port, server_name="127.0.0.1")


def raw(port: int, url: str) -> None:
    """The least that a chat server does: it passes the words on as server-sent events, in OpenAI's form."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response, StreamingResponse
    from starlette.routing import Route

    async def events() -> AsyncIterator[str]:
        async for word in words(url):
            choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
            yield f"data: {json.dumps({'id': 'x', 'object': 'chat.completion.chunk', 'choices': [choice]})}\n\n"
        yield "data: [DONE]\n\n"

    async def chat(request: Request) -> Response:
        return StreamingResponse(events(), media_type="text/event-stream")

    async def models(request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": "fake", "object": "model", "owned_by": "us"}]})

    routes = [Route("/v1/chat/completions", chat, methods=["POST"]), Route("/v1/models", models)]
    uvicorn.run(Starlette(routes=routes), port=port, log_level="critical")


if __name__ == "__main__":
    {"gradio": gradio, "raw": raw}[sys.argv[1]](int(sys.argv[2]), sys.argv[3])
