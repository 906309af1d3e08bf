"""Lists and redrives the dead letters that a user selects by reason or offset."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from stream_reco.config import Settings
from topologies.dead_letters.letter import DeadLetter, StoredLetter, stored_letters
from topologies.dead_letters.redrive import RedriveResult, redrive
from topologies.topics.declaration import events_key
from topologies.topics.offset_ranges import Ranges
from topologies.topics.validation import required


@dataclass(frozen=True)
class Choice:
    """A selection of letters: of one `reason`, at some `offsets` of the dead letters topic; None: all."""

    reason: str | None = None
    offsets: Ranges | None = None

    def __call__(self, stored: StoredLetter, letter: DeadLetter) -> bool:
        fits = self.reason is None or letter.reason == self.reason
        return fits and (self.offsets is None or stored.offset in self.offsets)


async def list_letters(
    settings: Settings, timeout: float, choice: Choice, limit: int
) -> tuple[list[StoredLetter], int]:
    """The newest `limit` letters of the choice in their order, and how many there are; unreadable ones fit no reason.

    Raises `KafkaUnavailableError` after `timeout` seconds without a broker, `TopicsError` if there is no such topic.
    """
    key = events_key(settings.labels)
    topics = await required(settings.kafka, key, timeout, "dead_letters")
    newest: deque[StoredLetter] = deque(maxlen=limit)
    count = 0
    async for stored in stored_letters(settings.kafka, topics.dead_letters.name):
        if choice(stored, stored.letter) if stored.letter is not None else choice == Choice():
            newest.append(stored)
            count += 1
    return list(newest), count


async def redrive_letters(settings: Settings, timeout: float, choice: Choice) -> RedriveResult:
    """Send the letters of the choice again; see `redrive`."""
    return await redrive(settings.kafka, events_key(settings.labels), timeout, choice)
