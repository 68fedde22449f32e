"""The API's description in OpenAPI's form, made from the types that requests are read into."""

from typing import Any

import msgspec

from assistant.api.chat_request import ChatBody, CompletionBody
from assistant.api.feedback import FeedbackBody, ScoreBody


class EmbeddingBody(msgspec.Struct):
    """`POST /v1/embeddings`."""

    input: str | list[str]
    model: str = ""
    encoding_format: str = "float"


_BODIES: dict[str, type[msgspec.Struct]] = {
    "/v1/chat/completions": ChatBody,
    "/v1/completions": CompletionBody,
    "/v1/embeddings": EmbeddingBody,
    "/v1/feedback": FeedbackBody,
    "/api/public/scores": ScoreBody,
}
_REFUSALS = {
    "400": "The request cannot be answered; the message says why.",
    "401": "A key is needed.",
    "403": "The key may not do this.",
    "404": "There is no such model or answer.",
    "413": "The request is too large.",
    "429": "Too many requests; Retry-After says when to try again.",
    "503": "The model is not ready; Retry-After says when to try again.",
}


def description() -> dict[str, Any]:
    """Return it as plain values."""
    schemas, components = msgspec.json.schema_components(
        _BODIES.values(), ref_template="#/components/schemas/{name}"
    )
    refusals = {
        status: {"description": text, "content": {"application/json": {"schema": _ref("Error")}}}
        for status, text in _REFUSALS.items()
    }
    answers = {"200": {"description": "Answered.", "content": {"application/json": {}}}, **refusals}
    paths: dict[str, Any] = {
        path: {"post": {"requestBody": _json(schema), "responses": answers}}
        for path, schema in zip(_BODIES, schemas, strict=True)
    }
    paths["/v1/models"] = {"get": {"responses": answers}}
    named = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    paths["/v1/models/{id}"] = {"get": {"parameters": [named], "responses": answers}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Shorthand", "version": "1"},
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": _ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


_TEXT_OR_NONE = {"type": ["string", "null"]}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": _TEXT_OR_NONE,
                "code": _TEXT_OR_NONE,
            },
        }
    },
}
