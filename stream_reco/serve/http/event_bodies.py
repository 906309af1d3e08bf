"""The events of a request body: counted, decoded and checked once; large or bad bodies off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from msgspec import structs

from stream_reco.events import BadEvent, Event, check_time, decode_many
from stream_reco.events.decode import MAX_EVENT_BYTES, check_times, decode_good
from stream_reco.events.field_names import FieldWarnings
from stream_reco.events.packed import EventBatch
from stream_reco.serve.event_validation import Rejections
from stream_reco.serve.http.json_array import ArrayElements, NotAnArrayError, elements_of
from stream_reco.serve.http.messages import HttpError
from stream_reco.serve.service import Accepted, Rejection

INLINE_BYTES = 64 * 1024
"""Bodies decoded on the event loop: at most half a millisecond; a thread takes a tenth of one to be woken."""
SLICE_EVENTS = 128
SLICE_BYTES = 256 * 1024
"""Elements decoded in one go, which holds up all other threads: about a millisecond, and ten where they are wild."""


@dataclass
class DecodedEvents:
    """The good events of a body, the index of each in it, and what was rejected."""

    events: EventBatch = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    rejections: Rejections = field(default_factory=Rejections)
    unknown: FieldWarnings = field(default_factory=FieldWarnings)
    """Fields that no event of that type has."""

    def take(self, events: Sequence[Event], array: bytes | bytearray, index: int = 0) -> None:
        """Add the events of an array, all of them good, that are numbered from `index`."""
        self.unknown.read(array, first=index)
        self.events.extend(events)
        self.places += range(index, index + len(events))

    def answer(self, taken: Accepted) -> Accepted:
        """What became of the body, given what became of its good events."""
        if not (self.rejections.any or taken.rejected or self.unknown.described):
            return Accepted(taken.accepted, taken.duplicates, [])
        later = [Rejection(self.places[one.index], one.reason, one.message) for one in taken.rejected]
        answer = self.rejections.answer(taken.accepted, taken.duplicates, later)
        return structs.replace(answer, warnings=tuple(self.unknown.described), warnings_more=self.unknown.more)


class EventBodies:
    """Decodes bodies: small ones that are good at once, the others in slices on one thread."""

    def __init__(self, most_events: int, future_ms: int, new_batch: Callable[[], EventBatch] = list) -> None:
        """`new_batch` makes what takes the events of a body, on the thread that decodes it."""
        self._most_events = most_events
        self._new_batch = new_batch
        self._future_ms = future_ms
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bodies")
        self._thread.submit(elements_of, b"[]", 1)  # compiles or loads the kernel before a body needs it

    async def decode(self, body: bytes | bytearray, now: int) -> DecodedEvents:
        """The events of a body that came at `now` (ms, wall clock). Raises `HttpError` 400 where it is no batch."""
        # There are at most as many elements as commas, and one.
        if len(body) <= INLINE_BYTES and body.count(b",") < self._most_events:
            events = self._good(body, len(body), now)
            if events is not None:
                decoded = DecodedEvents(self._new_batch())
                decoded.take(events, body)
                return decoded
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._decode, body, now)

    def _good(self, array: bytes | bytearray, longest: int, now: int) -> list[Event] | None:
        """The events of an array, of at most `longest` bytes each.

        None where anything is bad: what is wrong takes longer to find.
        """
        try:
            events = decode_good(array, longest)
            check_times(events, now, self._future_ms)
        except (ValueError, RecursionError):
            return None
        return events

    def _decode(self, body: bytes | bytearray, now: int) -> DecodedEvents:
        try:
            found = elements_of(body, self._most_events)
        except NotAnArrayError as problem:
            raise HttpError(400, "json", str(problem)) from None
        if found.count > self._most_events:
            message = f"the batch has {found.count} events: send at most {self._most_events} at a time"
            raise HttpError(400, "batch", message)
        decoded = DecodedEvents(self._new_batch())
        index, longest = 0, found.longest
        for start, end, count in _slices(found):
            try:
                self._decode_slice(body[start:end], count, longest, now, index, decoded)
            except BadEvent as bad:
                raise HttpError(400, bad.reason, str(bad)) from None
            index += count
        return decoded

    def _decode_slice(
        self, part: bytes | bytearray, count: int, longest: int, now: int, index: int, decoded: DecodedEvents
    ) -> None:
        """Raises BadEvent where it is no JSON."""
        if len(part) > MAX_EVENT_BYTES:
            message = f"an event of {len(part)} bytes: the limit is {MAX_EVENT_BYTES}; send less"
            decoded.rejections.add(index, BadEvent("too_large", message))
            return
        array = b"[" + part + b"]"
        good = self._good(array, longest, now)
        found = decode_many(array, arrived_at=now) if good is None else good
        if len(found) != count:
            raise BadEvent("json", "not JSON: a comma of the array has no event behind it")
        if good is not None:
            decoded.take(good, array, index)
            return
        decoded.unknown.read(array, first=index)
        events: list[Event] = []
        for place, event in enumerate(found, index):
            try:
                if isinstance(event, BadEvent):
                    raise event
                check_time(event, now, self._future_ms)
            except BadEvent as bad:
                decoded.rejections.add(place, bad)
            else:
                events.append(event)
                decoded.places.append(place)
        decoded.events.extend(events)


def _slices(found: ArrayElements) -> Iterator[tuple[int, int, int]]:
    """Start, end and number of elements of slices that are short in both; one longer element is a slice of its own."""
    start, first = found.first, 0
    while first < len(found.ends):
        short = int(np.searchsorted(found.ends, start + SLICE_BYTES, side="right")) - first
        count = min(max(short, 1), SLICE_EVENTS)
        end = int(found.ends[first + count - 1])
        yield start, end, count
        start, first = end + 1, first + count
