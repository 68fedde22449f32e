"""Refusals in the shape that OpenAI's clients read."""

import logging
import math
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from assistant.embedding import EmbeddingError
from assistant.limits import ChatError
from assistant.tokenizer import UnusableTemplate
from assistant.vllm_client import VllmError, VllmRefused, VllmUnreachable
from store.errors import Conflict, NotFound, NotSaved, StoreError, Unstorable
from store.tracebacks import without_texts

_log = logging.getLogger(__name__)
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_AGAIN_S = 5  # what a client waits for while the server starts, or the store is locked


class ApiError(Exception):
    """A request that is refused; `param` is the field that is to blame, `retry_s` when it may be sent again."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_s: float | None = None,
    ):
        super().__init__(message)
        self.status, self.param, self.code, self.retry_s = status, param, code, retry_s

    @property
    def body(self) -> dict[str, Any]:
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        again = {} if self.retry_s is None else {"retry-after": str(max(1, math.ceil(self.retry_s)))}
        return JSONResponse(self.body, self.status, again)


def as_api_error(error: Exception) -> ApiError:
    """What went wrong while a request was answered; a fault of the program's own is logged, without what was sent."""
    cause = error.__cause__ if isinstance(error, ChatError) else None
    known = cause if isinstance(cause, VllmError) else error
    match known:
        case ApiError():
            return known
        case HTTPException():
            return ApiError(known.status_code, known.detail)
        case VllmUnreachable():
            return ApiError(503, str(known), code="server_unavailable", retry_s=_AGAIN_S)
        case NotFound():
            return ApiError(404, str(known))
        case NotSaved():
            return ApiError(503, str(known), retry_s=_AGAIN_S)
        case UnusableTemplate():
            return ApiError(400, f"The model's chat template {known}.")
        case VllmRefused() | ChatError() | Conflict() | Unstorable():
            return ApiError(400, str(known))
        case VllmError() | EmbeddingError() | StoreError():
            return ApiError(500, str(known))
    _log.error("A request failed.\n%s", without_texts(error))
    return ApiError(500, "The request failed; the app's log says where.")
