"""Inputs read side by side: what lay beside a record when it came is read before it, and a backlog comes in parts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from stream_reco.storage.rocksdb import RocksStore
from topologies.partitions.changelog import Position, contained, offsets_of
from topologies.partitions.input import InputReader, Source


@dataclass
class Message:
    topic: str
    offset: int
    timestamp: int


@dataclass
class Reader:
    """A consumer of one partition, which gives out a few messages at a time, and some only when it is asked again."""

    topic: str
    times: list[int]
    at_once: int = 2
    at: int = 0
    empty: bool = False

    async def getmany(
        self, part: TopicPartition, timeout_ms: int, max_records: int
    ) -> dict[TopicPartition, list[Message]]:
        assert timeout_ms >= 0
        self.empty = not self.empty
        if self.empty and self.topic != "main":
            return {}
        end = min(self.at + min(self.at_once, max_records), len(self.times))
        found = [Message(self.topic, at, self.times[at]) for at in range(self.at, end)]
        self.at = end
        return {part: found} if found else {}

    async def position(self, part: TopicPartition) -> int:
        assert part.topic == self.topic
        return self.at

    async def end_offsets(self, parts: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {part: len(self.times) for part in parts}

    def last_stable_offset(self, part: TopicPartition) -> int:
        assert part.topic == self.topic
        return len(self.times)


def source(reader: Reader) -> Source:
    return Source(reader, TopicPartition(reader.topic, 0), reader)


@pytest.mark.parametrize("at_once", [1, 2, 7])
def test_what_lies_beside_comes_before_what_came_later(at_once: int) -> None:
    main = Reader("main", [10, 10, 20, 40], at_once)
    beside = Reader("beside", [1, 9, 10, 20, 30, 50, 60], at_once)

    async def story() -> list[tuple[str, int]]:
        reader, found = InputReader(source(main), [source(beside)]), list[tuple[str, int]]()
        while await reader.lag():
            found += [(one.topic, one.timestamp) for one in await reader.next()]
        return found

    found = asyncio.run(asyncio.wait_for(story(), 10))
    assert [time for topic, time in found if topic == "main"] == main.times
    assert [time for topic, time in found if topic == "beside"] == beside.times
    for at, (topic, time) in enumerate(found):
        if topic == "main":
            assert [one for one in found[at:] if one[0] == "beside" and one[1] <= time] == []


def test_a_long_backlog_beside_comes_in_parts_while_the_input_waits() -> None:
    main, beside = Reader("main", [100]), Reader("beside", list(range(90)) * 100, 500)
    beside.times.sort()

    async def story() -> list[list[str]]:
        reader, found = InputReader(source(main), [source(beside)]), list[list[str]]()
        while await reader.lag():
            found.append([one.topic for one in await reader.next()])
        return found

    parts = asyncio.run(asyncio.wait_for(story(), 10))
    assert max(map(len, parts)) <= 2_501
    assert [topic for part in parts for topic in part] == ["beside"] * 9_000 + ["main"]


def test_one_number_is_the_offset_of_the_first_topic(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "store")
    topics = ["events", "served"]
    assert offsets_of(store, topics) == {"events": 0, "served": 0}
    store.commit(Position(7, 3, 1).to_bytes())
    assert offsets_of(store, topics) == {"events": 7, "served": 0}
    store.commit(Position(contained({"events": 8, "served": 5}), 3, 1).to_bytes())
    assert offsets_of(store, topics) == {"events": 8, "served": 5}
    assert offsets_of(store, ["events"]) == {"events": 8}
    assert contained({"events": 9}) == 9
    store.close()
