"""Publishers and replicas over a real Redis to which anything happens: each serves some published version, always."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_reco.sync import Channel, ChannelRefused, ChannelUnreachable, PublicationDraft, Replica
from stream_reco.sync.redis.channel import Bounds, RedisChannel
from tests.sync.redis.failing_link import Failing, at_commit

if TYPE_CHECKING:
    from tests.redis_server import RedisServer
    from tests.sync.conftest import State, Toy

pytestmark = pytest.mark.redis
ACTIONS = (
    "learn",
    "publish",
    "publish",
    "poll 0",
    "poll 1",
    "flush",
    "lose",
    "tear",
    "trim",
    "break",
    "vanish",
    "restart",
    "zombie",
    "leave",
    "join",
)


@dataclass
class Story:
    """One Redis, a trainer and those before it, two replicas; remembers every state that was handed to the channel."""

    server: RedisServer
    toy: Toy
    rng: np.random.Generator
    epoch: int = 1
    trimmed: bool = False
    handed: dict[tuple[int, int], tuple[State, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.server.do("FLUSHALL")
        self.link = Failing(self.server.url)
        self.readers = [self._channel(f"replica-{number}") for number in range(2)]
        self._begin()
        self.zombie, self.zombie_channel = self.trainer, self.channel
        self.replicas: list[Any] = []
        for _ in range(2):
            self.join(len(self.replicas))

    def _channel(self, reader: str = "") -> RedisChannel:
        return RedisChannel(self.link, reader=reader, bounds=Bounds(publications=4, chunk=300))

    def _begin(self) -> None:
        self.trainer, self.channel = self.toy.trainer(epoch=self.epoch), self._channel()

    def join(self, number: int) -> None:
        """A scorer is started anew."""
        notes = self.toy.notes()
        self.replicas[number : number + 1] = [(Replica("m", {"dense": notes}), notes)]

    def do(self, action: str) -> None:
        name, _, number = action.partition(" ")
        getattr(self, f"_{name}")(*(int(one) for one in [number] if one))

    def _learn(self) -> None:
        self.trainer.learn(self.rng)

    def _publish(self) -> None:
        self.publish(self.trainer, self.channel)

    def publish(self, trainer: Any, channel: Channel) -> bool:
        def collect(snapshot: bool) -> PublicationDraft:
            contents: PublicationDraft = trainer.collect(snapshot)
            state = {table.name: _rows(table) for table in trainer.tables}
            self.handed[(trainer.publisher.epoch, trainer.publisher._tried + 1)] = (state, trainer.step)
            return contents

        try:
            trainer.publisher.publish(channel, collect)
        except (ChannelRefused, ChannelUnreachable):
            return False
        finally:
            self.link.at = lambda _: False
        return True

    def _poll(self, number: int) -> None:
        self.replicas[number][0].poll(self.readers[number])

    def _flush(self) -> None:
        self.server.do("FLUSHALL")

    def _chunks(self) -> list[bytes]:
        return sorted(self.server.do("KEYS", "*:chunk:*"))

    def _lose(self) -> None:
        for chunk in self._chunks()[:1]:
            self.server.do("DEL", chunk)

    def _tear(self) -> None:
        for chunk in self._chunks()[-1:]:
            self.server.do("SETRANGE", chunk, 20, "torn")

    def _trim(self) -> None:
        """Somebody else lets go of entries, and not of their chunks."""
        self.server.do("XTRIM", "{stream-reco}:publications", "MAXLEN", 1)
        self.trimmed = True

    def _break(self) -> None:
        self.link.at, self.link.after = (lambda command: command[0] == "SET" and command[1].endswith(":1")), False

    def _vanish(self) -> None:
        self.link.at, self.link.after = at_commit, True

    def _restart(self) -> None:
        """Another trainer takes over; the one before it does not know yet."""
        self.zombie, self.zombie_channel = self.trainer, self.channel
        self.epoch += 1
        self._begin()

    def _zombie(self) -> None:
        self.zombie.learn(self.rng)
        self.publish(self.zombie, self.zombie_channel)

    def _leave(self) -> None:
        self.readers[0].leave()

    def _join(self) -> None:
        self.join(1)

    def check(self) -> None:
        for replica, notes in self.replicas:
            if replica.version:
                assert self.toy.served(replica, notes) == self.handed[(replica.epoch, replica.version)]

    def end(self) -> None:
        """Nothing happens any more: within two publications everybody serves the newest."""
        self.link.at = lambda _: False
        for _ in range(3):
            assert self.publish(self.trainer, self.channel)
            for number in range(2):
                self._poll(number)
        newest = (self.epoch, self.trainer.publisher.version)
        assert [(replica.epoch, replica.version) for replica, _ in self.replicas] == [newest, newest]
        assert not any(replica.waiting for replica, _ in self.replicas)
        visible = {key.split(b":")[2] for key in self._chunks() if self.server.do("TTL", key) > 600}
        named = {fields[b"blob"] for _, fields in self.server.do("XRANGE", "{stream-reco}:publications", "-", "+")}
        assert self.trimmed or visible == named
        assert all(self.server.do("TTL", key) > 0 for key in self._chunks())


def _rows(table: Any) -> dict[int, tuple[float, ...]]:
    keys = table.keys()
    return {int(key): tuple(map(float, row)) for key, row in zip(keys, table.lookup(keys), strict=True)}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(st.sampled_from(ACTIONS), max_size=40), seed=st.integers(0, 9))
def test_whatever_happens_a_replica_serves_one_published_version(
    redis_server: RedisServer, toy: Toy, actions: list[str], seed: int
) -> None:
    story = Story(redis_server, toy, np.random.default_rng(seed))
    with story.link:
        for action in actions:
            story.do(action)
            story.check()
        story.end()
        story.check()
