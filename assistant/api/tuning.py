"""The routes of files and fine-tuning jobs."""

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from assistant.api.admission import Admission, Caller
from assistant.api.chat_request import read
from assistant.api.endpoint import BODY_BYTES, Act, Endpoint, listed
from assistant.api.errors import ApiError
from assistant.api.jobs import JobBody, Jobs, shown_file
from assistant.chat import Chat
from assistant.incoming import replayed
from store import Store
from store.api_clients import Scope
from store.audit import acting

_FILE_BYTES = 64 << 20
_LIMIT = 100  # of a list


class Tuning:
    """Answers programs that were written for a hosted fine-tuning service."""

    def __init__(self, store: Store, chat: Chat, jobs: Jobs):
        self._files, self._kept, self._chat, self._jobs = store.api_files, store.api_jobs, chat, jobs

    def routes(self, admission: Admission) -> list[Route]:
        def route(path: str, act: Act, method: str = "GET", most: int = BODY_BYTES) -> Route:
            return Route(path, Endpoint(admission, Scope.TRAIN, act, most), methods=[method])

        job = "/v1/fine_tuning/jobs/{id}"
        return [
            route("/v1/files", self.upload, "POST", _FILE_BYTES),
            route("/v1/files", self.files),
            route("/v1/files/{id}", self.file),
            route("/v1/files/{id}", self.remove, "DELETE"),
            route("/v1/files/{id}/content", self.content),
            route("/v1/fine_tuning/jobs", self.start, "POST"),
            route("/v1/fine_tuning/jobs", self.jobs),
            route(job, self.job),
            route(f"{job}/cancel", self.cancel, "POST"),
            route(f"{job}/events", self.events),
            route(f"{job}/checkpoints", self.checkpoints),
        ]

    async def upload(self, caller: Caller, body: bytes, request: Request) -> Response:
        form_request = Request(request.scope, replayed(body, request.receive))
        async with form_request.form(max_files=1, max_fields=20) as form:
            file, purpose = form.get("file"), form.get("purpose")
            if not isinstance(file, UploadFile):
                raise ApiError(400, "Send the file as a form, in the field file.", param="file")
            if purpose != "fine-tune":
                raise ApiError(400, "Files are taken for the purpose fine-tune alone.", param="purpose")
            name, content = file.filename or "file.jsonl", await file.read()
        made = await asyncio.to_thread(self._files.add, caller.name, name, content)
        return JSONResponse(shown_file(made))

    async def files(self, caller: Caller, body: bytes, request: Request) -> Response:
        found = await asyncio.to_thread(self._files.all, caller.name)
        return listed([shown_file(one) for one in found])

    async def file(self, caller: Caller, body: bytes, request: Request) -> Response:
        found = await asyncio.to_thread(self._files.get, caller.name, request.path_params["id"])
        return JSONResponse(shown_file(found))

    async def content(self, caller: Caller, body: bytes, request: Request) -> Response:
        found = await asyncio.to_thread(self._files.content, caller.name, request.path_params["id"])
        return Response(found, media_type="application/jsonl")

    async def remove(self, caller: Caller, body: bytes, request: Request) -> Response:
        id = request.path_params["id"]
        await asyncio.to_thread(self._files.remove, caller.name, id)
        return JSONResponse({"id": id, "object": "file", "deleted": True})

    async def start(self, caller: Caller, body: bytes, request: Request) -> Response:
        asked = read(body, JobBody)
        with acting(caller.name):
            return JSONResponse(
                await asyncio.to_thread(self._jobs.start, caller.name, asked, self._chat.limits)
            )

    async def jobs(self, caller: Caller, body: bytes, request: Request) -> Response:
        def shown() -> tuple[list[dict[str, Any]], bool]:
            found = self._kept.all(caller.name)
            return [self._jobs.shown(one) for one in found[:_LIMIT]], len(found) > _LIMIT

        return listed(*await asyncio.to_thread(shown))

    async def job(self, caller: Caller, body: bytes, request: Request) -> Response:
        return JSONResponse(await asyncio.to_thread(self._of_job, caller, request, self._jobs.shown))

    async def cancel(self, caller: Caller, body: bytes, request: Request) -> Response:
        id = request.path_params["id"]
        cancelled = await asyncio.to_thread(lambda: self._jobs.shown(self._kept.cancel(caller.name, id)))
        return JSONResponse(cancelled)

    async def events(self, caller: Caller, body: bytes, request: Request) -> Response:
        events = await asyncio.to_thread(self._of_job, caller, request, lambda job: [*self._jobs.events(job)])
        return listed(events)

    async def checkpoints(self, caller: Caller, body: bytes, request: Request) -> Response:
        return listed(await asyncio.to_thread(self._of_job, caller, request, self._jobs.checkpoints))

    def _of_job(self, caller: Caller, request: Request, show: Callable[..., Any]) -> Any:
        return show(self._kept.get(caller.name, request.path_params["id"]))
