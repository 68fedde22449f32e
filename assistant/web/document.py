"""The one HTML document, as Gradio makes it, made fit for any address and for a strict policy of what may run in it."""

import secrets
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

from assistant.web import theme

# What Gradio takes for its own address. In a document it becomes “.”: wherever the browser found the page, under
# whatever host, port, scheme and sub-path, the rest is beside it.
ROOT = "http://shorthand.invalid"
_DRAFTS = Path(__file__).with_name("drafts.js")
# Gradio makes functions from text, hence 'unsafe-eval'; what is injected as markup does not run.
_POLICY = (
    "default-src 'self'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'self'"
)


def rewriting(send: Send) -> Send:
    """For a response that is not compressed."""
    start: Message = {}
    body = bytearray()

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
            return
        body.extend(message.get("body", b""))
        if message.get("more_body"):
            return
        nonce = secrets.token_urlsafe(16)
        html = _rewritten(body.decode(), nonce).encode()
        headers = MutableHeaders(scope=start)
        if headers.get("content-type", "").startswith("text/html"):
            headers["content-security-policy"] = _POLICY.format(nonce=nonce)
        if "content-length" in headers:
            headers["content-length"] = str(len(html))
        await send(start)
        await send({"type": "http.response.body", "body": html})

    return sending


def _rewritten(text: str, nonce: str) -> str:
    head = f"{theme.HEAD}<script>{_DRAFTS.read_text(encoding='utf-8')}</script></head>"
    text = text.replace(f'"{ROOT}"', '"."').replace('<link rel="manifest" href="/manifest.json" />', "")
    return text.replace("</head>", head, 1).replace("<script", f'<script nonce="{nonce}"')
