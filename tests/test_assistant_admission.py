"""Background requests wait for people's answers, and go on all the same."""

import asyncio

import pytest

from assistant import admission
from assistant.admission import AdmissionControl


class Scene:
    """A clock that the test moves, so many answers that people wait for, and background requests that never end."""

    def __init__(self) -> None:
        self.now, self.answering, self.admitted = 0.0, 0, 0
        self.end = asyncio.Event()

    async def request(self, control: AdmissionControl) -> None:
        async with control:
            self.admitted += 1
            await self.end.wait()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "_POLL_S", 0)


@pytest.mark.parametrize(
    ("quiet_s", "servers", "expected"), [(0.0, 1, 4), (29.0, 1, 4), (31.0, 1, 32), (0.0, 2, 8), (31.0, 2, 64)]
)
def test_few_are_admitted_beside_people_and_many_when_nobody_has_chatted_for_a_while(
    quiet_s: float, servers: int, expected: int
) -> None:
    async def act() -> int:
        scene = Scene()
        control = AdmissionControl(lambda: scene.answering, servers, clock=lambda: scene.now)
        scene.now = quiet_s
        requests = [asyncio.create_task(scene.request(control)) for _ in range(80)]
        for _ in range(1000):
            await asyncio.sleep(0)
        admitted = scene.admitted
        scene.end.set()
        await asyncio.gather(*requests)
        assert scene.admitted == 80
        return admitted

    assert asyncio.run(act()) == expected


def test_none_begins_while_an_answer_is_in_flight_until_it_has_waited_long() -> None:
    async def act() -> list[int]:
        scene = Scene()
        control = AdmissionControl(lambda: scene.answering, clock=lambda: scene.now)
        scene.answering = 1
        requests = [asyncio.create_task(scene.request(control)) for _ in range(3)]
        admitted = []
        for now in (0.0, 4.9, 5.1, 20.0):
            scene.now = now
            for _ in range(10):
                await asyncio.sleep(0)
            admitted.append(scene.admitted)
        scene.answering = 0
        for _ in range(10):
            await asyncio.sleep(0)
        scene.end.set()
        await asyncio.gather(*requests)
        return [*admitted, scene.admitted]

    assert asyncio.run(act()) == [0, 0, 1, 1, 3], "one at a time, where people ask without a pause"
