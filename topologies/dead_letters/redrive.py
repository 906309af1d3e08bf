"""Redrive: dead letters are sent again to the topics they came from, each at most once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer, TopicPartition

from stream_reco.config.servers import KafkaSettings
from topologies.client.configuration import producer_arguments
from topologies.client.connection import close, connect, with_admin
from topologies.dead_letters.letter import DeadLetter, StoredLetter, stored_letters
from topologies.topics.declaration import EventsKey, Topics
from topologies.topics.offset_ranges import Ranges
from topologies.topics.registry import redrive_note, redriven_offsets
from topologies.topics.validation import TopicsError, present_topics, required

GROUP = "dead-letters-driven"
_LETTERS_OF_A_TRANSACTION = 500


@dataclass
class RedriveResult:
    """The number of letters sent again, by topic, and of those skipped."""

    sent: Counter[str] = field(default_factory=Counter)
    before: int = 0
    """Letters sent again before."""
    not_chosen: int = 0
    unreadable: int = 0
    """Messages that are not dead letters, or have neither key nor value."""


async def redrive(
    kafka: KafkaSettings, events_key: EventsKey, timeout: float, chosen: Callable[[StoredLetter, DeadLetter], bool]
) -> RedriveResult:
    """Send the letters that are `chosen` to the topics they came from, key and value to the byte.

    One transaction holds the messages and the note that they were sent, so that a letter is sent once however this
    ends and however often it is repeated; of two at a time, the later one fences the other off (`ProducerFenced`).
    The letters stay. Raises `KafkaUnavailableError`, and `TopicsError` before anything is sent if a topic does not
    exist.
    """
    topics = await required(kafka, events_key, timeout, "dead_letters", "registry")
    producer = await connect(kafka, lambda: AIOKafkaProducer(**producer_arguments(kafka, GROUP)), timeout)
    try:
        # Only now: an earlier redrive is fenced, and can write no notes any more.
        notes = defaultdict(Ranges, await redriven_offsets(kafka, topics.registry.name))
        outcome, letters, undone = RedriveResult(), [], defaultdict[int, set[int]](set)
        async for stored in stored_letters(kafka, topics.dead_letters.name):
            if stored.offset not in notes[stored.partition]:
                undone[stored.partition].add(stored.offset)
            if _is_next(stored, notes[stored.partition], chosen, outcome):
                letters.append(stored)
        await _check_topics(kafka, timeout, letters)
        for part in _parts(letters):
            _note(part, undone, notes)
            await _send(producer, kafka, topics, part, notes)
            outcome.sent.update(stored.letter.topic for stored in part if stored.letter is not None)
    finally:
        await close(producer)
    return outcome


def _is_next(
    stored: StoredLetter, redriven: Ranges, chosen: Callable[[StoredLetter, DeadLetter], bool], outcome: RedriveResult
) -> bool:
    letter = stored.letter
    if letter is None or (letter.key is None and letter.value is None):
        outcome.unreadable += 1
    elif stored.offset in redriven:
        outcome.before += 1
    elif not chosen(stored, letter):
        outcome.not_chosen += 1
    else:
        return True
    return False


async def _check_topics(kafka: KafkaSettings, timeout: float, letters: Sequence[StoredLetter]) -> None:
    wanted = Counter(stored.letter.topic for stored in letters if stored.letter is not None)
    present = await with_admin(kafka, lambda admin: present_topics(admin, list(wanted)), timeout)
    absent = set(wanted) - set(present)
    if absent:
        raise TopicsError(
            *(
                f"{wanted[topic]} of the letters came from topic {topic}, which does not exist: create it, or choose"
                " others with --offset or --reason"
                for topic in sorted(absent)
            )
        )


def _parts(letters: list[StoredLetter]) -> Iterator[list[StoredLetter]]:
    return (
        letters[first : first + _LETTERS_OF_A_TRANSACTION]
        for first in range(0, len(letters), _LETTERS_OF_A_TRANSACTION)
    )


def _note(part: list[StoredLetter], undone: dict[int, set[int]], notes: dict[int, Ranges]) -> None:
    """Take the letters of `part` from `undone` to `notes`, with the offsets between that are no letters (any more)."""
    for stored in part:
        undone[stored.partition].remove(stored.offset)
    for partition in {stored.partition for stored in part}:
        last = max(stored.offset for stored in part if stored.partition == partition)
        notes[partition] = Ranges.all_but(undone[partition], max(last, notes[partition].last))


async def _send(
    producer: AIOKafkaProducer, kafka: KafkaSettings, topics: Topics, part: list[StoredLetter], notes: dict[int, Ranges]
) -> None:
    """The letters and the notes about them in one transaction."""
    async with producer.transaction():
        sending = [
            await producer.send(stored.letter.topic, stored.letter.value, stored.letter.key)
            for stored in part
            if stored.letter is not None
        ]
        for partition in {stored.partition for stored in part}:
            key, value = redrive_note(partition, notes[partition])
            sending.append(await producer.send(topics.registry.name, value, key, partition=0))
        # The client commits even where a message failed, so failures must be raised before.
        for each in sending:
            await each
        # So that monitoring of consumer lag shows the oldest letter that was not sent again.
        offsets = {
            TopicPartition(topics.dead_letters.name, partition): redriven.first_missing(0)
            for partition, redriven in notes.items()
        }
        await producer.send_offsets_to_transaction(offsets, f"{kafka.prefix}.{GROUP}")
