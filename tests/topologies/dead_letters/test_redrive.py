"""Dead letters on a real Kafka: kept to the byte, listed, and sent again exactly once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from stream_reco.config import Settings
from stream_reco.config.servers import KafkaSettings
from topologies.client.configuration import producer_arguments
from topologies.client.connection import administration, close, connect
from topologies.client.read_to_end import read_to_end
from topologies.dead_letters.letter import DeadLetter, dead_letter, decode_letter, encode_letter
from topologies.dead_letters.redrive import GROUP, RedriveResult
from topologies.dead_letters.report import Choice, list_letters, redrive_letters
from topologies.topics.offset_ranges import Ranges
from topologies.topics.registry import redriven_offsets
from topologies.topics.validation import TopicsError, create_absent

kafka_test = pytest.mark.kafka
RAW = [b"not json", b'{"type":"unheard"}', b"\xff\x00\xfe", b"", b"late"]


@given(st.binary(), st.none() | st.binary(), st.text(), st.integers(0, 2**53))
def test_every_byte_survives(value: bytes, key: bytes | None, message: str, time: int) -> None:
    record = SimpleNamespace(topic="t", partition=3, offset=7, key=key, value=value)
    letter = dead_letter(record, "json", message.encode(errors="replace").decode(), time)
    assert decode_letter(encode_letter(letter)) == letter
    assert (letter.key, letter.value, letter.partition, letter.offset, letter.time) == (key, value, 3, 7, time)


def test_bytes_are_base64_on_the_wire() -> None:
    letter = DeadLetter(
        topic="t", partition=0, offset=1, reason="json", message="m", key=None, value=b"\xff\xfe", time=5
    )
    assert msgspec.json.decode(encode_letter(letter)) == {
        "topic": "t",
        "partition": 0,
        "offset": 1,
        "reason": "json",
        "message": "m",
        "key": None,
        "value": "//4=",
        "time": 5,
    }


class Post:
    """A Kafka with topics, and letters in it."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self.kafka = kafka
        self.settings = Settings(kafka=kafka)
        self.events, self.letters = f"{kafka.prefix}.events", f"{kafka.prefix}.dead-letters"

    def make_topics(self) -> None:
        async def make() -> None:
            async with administration(self.kafka, 20) as admin:
                await create_absent(admin, self.kafka, "user_id")

        asyncio.run(make())

    def file(self, letters: Sequence[DeadLetter | bytes], *, transactions: bool = False) -> None:
        """Put letters, or junk, into the topic; each in a transaction of its own if `transactions`."""

        async def send() -> None:
            arguments = producer_arguments(self.kafka, "filing" if transactions else None)
            producer = await connect(self.kafka, lambda: AIOKafkaProducer(**arguments))
            for letter in letters:
                data = letter if isinstance(letter, bytes) else encode_letter(letter)
                if transactions:
                    async with producer.transaction():
                        await producer.send_and_wait(self.letters, data)
                else:
                    await producer.send_and_wait(self.letters, data)
            await close(producer)

        asyncio.run(send())

    def letter(
        self, value: bytes | None, reason: str = "json", key: bytes | None = b"u1", topic: str = ""
    ) -> DeadLetter:
        return DeadLetter(
            topic=topic or self.events, partition=0, offset=0, reason=reason, message="m", key=key, value=value, time=0
        )

    def read(self, topic: str, least: int = 0) -> list[Any]:
        """All of a topic; a transaction that was committed is seen a moment later, so wait for as many as `least`."""

        async def read() -> list[Any]:
            return [record async for records in read_to_end(self.kafka, topic) for record in records]

        deadline = time.monotonic() + 10
        while len(records := asyncio.run(read())) < least and time.monotonic() < deadline:
            time.sleep(0.1)
        return records

    def redrive(self, choice: Choice | None = None) -> RedriveResult:
        return asyncio.run(redrive_letters(self.settings, 20, choice or Choice()))

    def committed(self) -> dict[TopicPartition, int]:
        async def ask() -> dict[TopicPartition, int]:
            async with administration(self.kafka, 20) as admin:
                offsets = await admin.list_consumer_group_offsets(f"{self.kafka.prefix}.{GROUP}")
                return {partition: each.offset for partition, each in offsets.items()}

        return asyncio.run(ask())


@pytest.fixture
def post(kafka_settings: KafkaSettings) -> Post:
    made = Post(kafka_settings)
    made.make_topics()
    return made


@kafka_test
def test_letters_are_sent_again_to_the_byte_and_once(post: Post) -> None:
    post.file([post.letter(value, key=b"k%d" % number) for number, value in enumerate(RAW)])
    assert post.redrive().sent == {post.events: 5}
    assert sorted((record.key, record.value) for record in post.read(post.events, 5)) == [
        (b"k%d" % number, value) for number, value in enumerate(RAW)
    ]
    again = post.redrive()
    assert (again.sent, again.before) == ({}, 5)
    assert len(post.read(post.events)) == 5
    assert len(post.read(post.letters)) == 5
    assert post.committed() == {TopicPartition(post.letters, 0): 5}
    post.file([post.letter(b"new")])
    assert post.redrive().sent == {post.events: 1}
    assert len(post.read(post.events, 6)) == 6


@kafka_test
def test_some_are_chosen_and_the_others_can_be_later(post: Post) -> None:
    post.file([post.letter(b"%d" % number, reason="id" if number % 3 else "type") for number in range(10)])
    post.file([b"junk", post.letter(None, key=None), post.letter(None)])
    first = post.redrive(Choice(reason="type", offsets=Ranges.parse("2-")))
    assert (first.sent, first.not_chosen, first.unreadable) == ({post.events: 3}, 8, 2)
    assert sorted(record.value for record in post.read(post.events, 3)) == [b"3", b"6", b"9"]
    assert post.committed() == {TopicPartition(post.letters, 0): 0}
    assert str(asyncio.run(redriven_offsets(post.kafka, f"{post.kafka.prefix}.registry"))[0]) == "3,6,9"
    rest = post.redrive()
    assert (rest.sent, rest.before, rest.unreadable) == ({post.events: 8}, 3, 2)
    assert len(post.read(post.events, 11)) == 11
    assert post.committed() == {TopicPartition(post.letters, 0): 10}


@kafka_test
def test_the_same_user_comes_to_the_same_partition(post: Post) -> None:
    post.file([post.letter(b"%d" % number, key=b"user-%d" % (number % 4)) for number in range(20)])
    post.redrive()
    homes = {(record.key, record.partition) for record in post.read(post.events, 20)}
    assert len(homes) == 4


@kafka_test
def test_marks_of_transactions_between_letters_do_not_swell_the_note(post: Post) -> None:
    post.file([post.letter(b"%d" % number) for number in range(30)], transactions=True)
    assert post.redrive().sent == {post.events: 30}
    note = asyncio.run(redriven_offsets(post.kafka, f"{post.kafka.prefix}.registry"))[0]
    assert len(note.runs) == 1
    assert post.redrive().sent == {}


@kafka_test
def test_a_topic_that_is_gone_is_named_before_anything_is_sent(post: Post) -> None:
    post.file([post.letter(b"a"), post.letter(b"b", topic=f"{post.kafka.prefix}.gone")])
    with pytest.raises(TopicsError, match=r"1 of the letters came from topic .*\.gone, which does not exist"):
        post.redrive()
    assert post.read(post.events) == []
    assert post.redrive(Choice(offsets=Ranges.parse("0"))).sent == {post.events: 1}


@kafka_test
def test_the_newest_are_listed(post: Post) -> None:
    post.file([post.letter(b"%d" % number, reason="id" if number % 2 else "type") for number in range(8)])
    post.file([b"junk"])
    found, count = asyncio.run(list_letters(post.settings, 20, Choice(), 3))
    assert (count, [stored.offset for stored in found]) == (9, [6, 7, 8])
    assert found[-1].letter is None
    found, count = asyncio.run(list_letters(post.settings, 20, Choice(reason="id"), 50))
    assert [stored.letter.value for stored in found if stored.letter] == [b"1", b"3", b"5", b"7"]


@kafka_test
def test_a_redrive_that_is_killed_sends_nothing_twice(post: Post, tmp_path: Path) -> None:
    """Killed at growing delays until one run comes to its end; whatever it had committed is not sent again."""
    total = 1500
    post.file([post.letter(b"%d" % number) for number in range(total)])
    script = tmp_path / "redrive.py"
    script.write_text(_REDRIVE.format(kafka=post.kafka))
    delay = 1.0
    for _ in range(9):
        process = subprocess.Popen([sys.executable, str(script)], env=os.environ | {"PYTHONPATH": str(Path.cwd())})
        try:
            assert process.wait(delay) == 0
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        delay += 0.2
    post.redrive()
    assert sorted(int(record.value) for record in post.read(post.events, total)) == list(range(total))


_REDRIVE = """
import asyncio
from stream_reco.config import Settings
from stream_reco.config.servers import KafkaSettings
from topologies.dead_letters import redrive
from topologies.dead_letters.report import Choice, redrive_letters

redrive._LETTERS_OF_A_TRANSACTION = 20
asyncio.run(redrive_letters(Settings(kafka={kafka!r}), 20, Choice()))
"""
