"""The contract of every channel: one suite, each implementation a parameter."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from stream_reco.redis.connection import RedisLink
from stream_reco.sync import Channel, InProcessChannel, Publication
from stream_reco.sync.folder_channel import FolderChannel
from stream_reco.sync.redis.channel import Bounds, RedisChannel
from tests.sync.same_publication import same

if TYPE_CHECKING:
    from tests.redis_server import RedisServer
    from tests.sync.conftest import Toy

CAPACITY = 5
CHANNELS = ["in-process", "folder", pytest.param("redis", marks=pytest.mark.redis)]


@pytest.fixture(params=CHANNELS)
def channel(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Channel]:
    if request.param == "in-process":
        yield InProcessChannel(CAPACITY)
        return
    if request.param == "folder":
        yield FolderChannel.cleared(tmp_path / "channel", publications=CAPACITY)
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    with RedisLink(server.url) as link:
        # So small that every publication is in several chunks.
        yield RedisChannel(link, bounds=Bounds(publications=CAPACITY, chunk=200))


def versions(channel: Channel, after: str = "", limit: int = 100) -> list[int]:
    entries = [entry.publication for entry in channel.read(after, limit)]
    return [entry.version for entry in entries if isinstance(entry, Publication)]


def test_an_empty_channel_gives_nothing_and_nobody_asked(channel: Channel) -> None:
    assert channel.read("", 10) == []
    assert not channel.snapshot_wanted()


def test_what_was_sent_is_read_as_it_was(channel: Channel, toy: Toy) -> None:
    sent = toy.publication(1, 0)
    channel.send(sent)
    (entry,) = channel.read("", 10)
    assert isinstance(entry.publication, Publication)
    assert same(entry.publication, sent)


def test_readers_go_on_from_their_own_cursor_in_the_order_sent(channel: Channel, toy: Toy) -> None:
    for version in (1, 2, 3, 4):
        channel.send(toy.publication(version, version - 1))
    first = channel.read("", 2)
    assert versions(channel, first[0].cursor) == [2, 3, 4]
    assert versions(channel, first[1].cursor, 1) == [3]
    assert versions(channel, channel.read("", 10)[-1].cursor) == []
    assert versions(channel) == [1, 2, 3, 4]


def test_a_cursor_holds_across_later_sends(channel: Channel, toy: Toy) -> None:
    channel.send(toy.publication(1, 0))
    cursor = channel.read("", 10)[-1].cursor
    channel.send(toy.publication(2, 1))
    channel.send(toy.publication(3, 0))
    assert versions(channel, cursor)[-1] == 3


def test_it_is_bounded_and_loses_the_oldest(channel: Channel, toy: Toy) -> None:
    channel.send(toy.publication(1, 0))
    for version in range(2, 40):
        channel.send(toy.publication(version, version - 1))
    kept = versions(channel)
    assert kept == list(range(40 - len(kept), 40))
    assert 1 <= len(kept) <= CAPACITY


def test_a_new_reader_needs_nothing_older_than_the_newest_snapshot(channel: Channel, toy: Toy) -> None:
    for version, base in ((1, 0), (2, 1), (3, 0), (4, 3)):
        channel.send(toy.publication(version, base))
    assert versions(channel)[-2:] == [3, 4]


def test_asking_holds_until_a_snapshot_is_taken(channel: Channel, toy: Toy) -> None:
    channel.ask_for_snapshot()
    channel.ask_for_snapshot()
    channel.send(toy.publication(2, 1))
    assert channel.snapshot_wanted()
    channel.send(toy.publication(3, 0))
    assert not channel.snapshot_wanted()


def test_what_the_sender_does_to_a_view_later_is_not_seen(channel: Channel, toy: Toy) -> None:
    weights = np.arange(6.0)
    channel.send(toy.publication(1, 0, dense={"w": weights[:3], "whole": weights.reshape(2, 3)}))
    weights[:] = -1
    entry = channel.read("", 1)[0].publication
    assert isinstance(entry, Publication)
    assert entry.dense["w"].tolist() == [0, 1, 2]
    assert entry.dense["whole"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_two_readers_beside_a_sender_see_order_without_doubles(channel: Channel, toy: Toy) -> None:
    last = 300
    seen: list[list[int]] = [[], []]

    def follow(mine: list[int]) -> None:
        cursor = ""
        while not mine or mine[-1] < last:
            for entry in channel.read(cursor, 3):
                assert isinstance(entry.publication, Publication)
                cursor = entry.cursor
                mine.append(entry.publication.version)

    readers = [threading.Thread(target=follow, args=(mine,), daemon=True) for mine in seen]
    for reader in readers:
        reader.start()
    for version in range(1, last + 1):
        channel.send(toy.publication(version, version - 1))
    for reader in readers:
        reader.join(20)
    assert all(mine == sorted(set(mine)) and mine[-1] == last for mine in seen)


def test_the_in_process_channel_shares_the_arrays_it_may(toy: Toy) -> None:
    channel = InProcessChannel()
    sent = toy.publication(1, 0)
    channel.send(sent)
    entry = channel.read("", 1)[0].publication
    assert isinstance(entry, Publication)
    assert entry.tables[0].vectors is sent.tables[0].vectors


def test_a_channel_for_one_reader_lets_go_of_what_was_read(toy: Toy) -> None:
    channel = InProcessChannel(for_one_reader=True)
    for version in (1, 2):
        channel.send(toy.publication(version, version - 1))
    first = channel.read("", 1)[0]
    kept, cursor = weakref.ref(first.publication), first.cursor
    del first
    assert kept() is not None
    assert versions(channel, cursor) == [2]
    assert kept() is None
    channel.send(toy.publication(3, 2))
    assert versions(channel, cursor) == [2, 3]


def test_a_capacity_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity is 0"):
        InProcessChannel(0)
