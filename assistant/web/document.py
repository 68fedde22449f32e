"""The one HTML document, as Gradio makes it, made fit for any address and for a strict policy of what may run in it."""

import secrets

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

from assistant.web import theme
from assistant.web.markup import script

# What Gradio takes for its own address. In a document it becomes “.”: wherever the browser found the page, under
# whatever host, port, scheme and sub-path, the rest is beside it.
ROOT = "http://shorthand.invalid"
_HEAD = f"{theme.HEAD}<script>{script('drafts.js')}</script></head>"
_MANIFEST = '<link rel="manifest" href="/manifest.json" />'
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
        text = body.decode().replace(f'"{ROOT}"', '"."').replace(_MANIFEST, "")
        html = text.replace("</head>", _HEAD, 1).replace("<script", f'<script nonce="{nonce}"').encode()
        headers = MutableHeaders(scope=start)
        if headers.get("content-type", "").startswith("text/html"):
            headers["content-security-policy"] = _POLICY.format(nonce=nonce)
        if "content-length" in headers:
            headers["content-length"] = str(len(html))
        await send(start)
        await send({"type": "http.response.body", "body": html})

    return sending
