"""A transport that lets one request go wrong: what the client sees, and what is done to the server, in which order."""

import asyncio

import httpx
import pytest

from benchmarks.faults.misbehaving import Misbehaving
from benchmarks.faults.swap_steps import ASK, MODELS, Fault, How


class Server:
    """RunProgress what is done to it and what it is asked."""

    def __init__(self) -> None:
        self.happened: list[str] = []

    def kill(self) -> None:
        self.happened.append("killed")

    def suspend(self) -> None:
        self.happened.append("stopped")

    def restart_by_hand(self) -> None:
        self.happened.append("started again")

    def answer(self, request: httpx.Request) -> httpx.Response:
        if self.happened[-1:] == ["killed"]:
            raise httpx.ConnectError("refused", request=request)
        self.happened.append(request.url.path)
        return httpx.Response(200, json={"done": len(self.happened)})


def ask(server: Server, fault: Fault, *paths: str) -> list[int | str]:
    """The status of each answer, or the kind of the failure."""

    async def act() -> list[int | str]:
        road = Misbehaving(server, server.restart_by_hand, httpx.MockTransport(server.answer))
        road.fault = fault
        seen: list[int | str] = []
        async with httpx.AsyncClient(transport=road, base_url="http://vllm") as http:
            for path in paths:
                try:
                    seen.append((await http.post(path)).status_code)
                except httpx.HTTPError as error:
                    seen.append(type(error).__name__)
        assert road.fault is None
        return seen

    return asyncio.run(act())


@pytest.mark.parametrize(
    ("how", "seen", "happened"),
    [
        (How.DIES_BEFORE, "ConnectError", ["killed"]),
        (How.DIES_AFTER, "ReadError", [ASK, "killed"]),
        (How.HANGS, 200, ["stopped", ASK]),
        (How.FAILS_AFTER, 500, [ASK]),
        (How.RESTARTED, 200, [ASK, "started again"]),
    ],
)
def test_the_request_goes_wrong_as_it_should(how: How, seen: int | str, happened: list[str]) -> None:
    server = Server()
    assert ask(server, Fault(ASK, 1, how), ASK) == [seen]
    assert server.happened == happened


def test_only_the_nth_request_to_the_route_goes_wrong() -> None:
    server = Server()
    assert ask(server, Fault(ASK, 2, How.FAILS_AFTER), ASK, MODELS, MODELS, ASK, ASK) == [
        200,
        200,
        200,
        500,
        200,
    ]
    assert server.happened == [ASK, MODELS, MODELS, ASK, ASK]
