"""Dead letters: messages that could not be processed, stored whole with the reason."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec

from stream_reco.config.servers import KafkaSettings
from topologies.client.read_to_end import read_to_end


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """The value of a message of the topic `dead-letters`.

    Where the bad message was (`topic`, `partition`, `offset`), the short code of the `reason` (that of `BadEvent`, or
    `internal`) and a `message` for people, its own `key` and `value` to the byte (base64 on the wire), and the `time`
    (ms) when it was given up.
    """

    topic: str
    partition: int
    offset: int
    reason: str
    message: str
    key: bytes | None
    value: bytes | None
    time: int


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(DeadLetter)


def dead_letter(record: Any, reason: str, message: str, now: int) -> DeadLetter:
    """Make a dead letter of a message (`aiokafka.ConsumerRecord`); `now` is the wall clock in ms."""
    return DeadLetter(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        reason=reason,
        message=message,
        key=record.key,
        value=record.value,
        time=now,
    )


def encode_letter(letter: DeadLetter) -> bytes:
    """One JSON object. The message that carries it has the bad message's key."""
    return _encoder.encode(letter)


def decode_letter(data: bytes) -> DeadLetter:
    """The inverse. Raises `msgspec.DecodeError` where the bytes are no dead letter."""
    return _decoder.decode(data)


@dataclass(frozen=True)
class StoredLetter:
    """A message of the dead letters topic; `letter` is None where it is not a dead letter."""

    partition: int
    offset: int
    letter: DeadLetter | None


async def stored_letters(kafka: KafkaSettings, topic: str) -> AsyncIterator[StoredLetter]:
    """All that the topic holds now, oldest first in each partition."""
    async for records in read_to_end(kafka, topic):
        for record in records:
            try:
                letter = decode_letter(record.value or b"")
            except (msgspec.DecodeError, UnicodeError):
                letter = None
            yield StoredLetter(record.partition, record.offset, letter)
