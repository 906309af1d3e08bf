"""Scorers hand events to a learner's process, over a socket of their server: both ends, over a real socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_reco.events import Action, Event, Impression, ItemEvent
from stream_reco.events.packed import PackedEvents
from stream_reco.serve.http.learner_api import LearnerApi
from stream_reco.serve.http.learner_link import LearnerLink
from stream_reco.serve.http.server import SocketServer
from stream_reco.serve.service import Accepted, UnavailableError
from tests.serve.conftest import ToyService

EVENTS: list[Event] = [
    Action(user_id=-5, item_id="i", action="click", timestamp=1, event_id="one"),
    Impression(user_id="5", item_id=2**63 - 1, timestamp=2),
    ItemEvent(item_id="i", timestamp=3, features={"tags": ["a", "b"]}),
]


class Ends:
    """A learner behind a socket, and its path."""

    def __init__(self, path: Path) -> None:
        self.service = ToyService()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.path = str(path)
        self.server = SocketServer(self.listener).start(LearnerApi(self.service))

    async def link(self, *, is_open: bool = True) -> LearnerLink:
        return LearnerLink(self.path, lambda: is_open)


@pytest.fixture
def ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ends]:
    found = Ends(tmp_path_factory.mktemp("s") / "l")
    yield found
    found.server.stop()


def test_events_arrive_as_they_were_sent_and_the_answer_comes_back(ends: Ends) -> None:
    async def talk() -> Accepted:
        link = await ends.link()
        batch = PackedEvents()
        batch.extend(EVENTS)
        answer = await link.accept(batch)
        await link.forget(-5)
        await link.forget("a/ü")
        await link.close()
        return answer

    answer = asyncio.run(talk())
    assert (answer.accepted, answer.duplicates, list(answer.rejected)) == (3, 0, [])
    assert ends.service.events == EVENTS
    assert ends.service.asked == [(-5,), ("a/ü",)]


@pytest.mark.parametrize(
    ("refusal", "reason", "retry_after"),
    [
        (UnavailableError("disk_full", "free some space", 5), "disk_full", 5),
        (RuntimeError("a mistake"), "internal", 1),
    ],
)
def test_a_refusal_is_raised_again_with_its_reason(
    ends: Ends, refusal: Exception, reason: str, retry_after: int
) -> None:
    ends.service.fails = refusal

    async def talk() -> None:
        link = await ends.link()
        try:
            await link.accept(EVENTS)
        finally:
            await link.close()

    with pytest.raises(UnavailableError) as raised:
        asyncio.run(talk())
    assert (raised.value.reason, raised.value.retry_after) == (reason, retry_after)
    assert str(refusal) in str(raised.value)


def test_nobody_waits_for_a_learner_that_is_being_started(ends: Ends) -> None:
    async def talk() -> None:
        await (await ends.link(is_open=False)).accept(EVENTS)

    with pytest.raises(UnavailableError, match="being started"):
        asyncio.run(talk())
    assert ends.service.events == []


def test_a_learner_that_is_gone_is_named(tmp_path: Path) -> None:
    async def talk() -> None:
        link = LearnerLink(str(tmp_path / "nobody"), lambda: True)
        try:
            await link.accept(EVENTS)
        finally:
            await link.close()

    with pytest.raises(UnavailableError, match="send it again"):
        asyncio.run(talk())
