"""Positives that came before their impression was presumed negative, held until it would have been.

Actions may take an hour, and so may the wait for them. A model that is trained on the clicks of the newest impressions
while the negatives among the same impressions come an hour later learns what gives the newest away (whatever grows or
ages), and that they are clicked. So both are learned from at the same age.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from msgspec import Struct
from msgspec.structs import replace

from stream_reco.events import Id
from stream_reco.labels import Example


class CohortState(Struct, frozen=True, array_like=True):
    """The wait of the newest presumption, ms, and what is held with the time at which it is due, ms."""

    wait_ms: int
    held: list[tuple[int, Example]]


class CohortBuffer:
    """Holds first positives until their impressions are as old as those that are presumed negative now."""

    def __init__(self) -> None:
        self._wait_ms = 0
        self._held: list[tuple[int, int, Example]] = []
        self._order = 0

    def holds(self, example: Example, now: int) -> bool:
        """Take an example if at stream time `now` (ms) its like are not presumed yet; else it is learned at once."""
        if example.reason == "immediate":
            self._wait_ms = max(0, example.label_time - example.event_time)
        if example.is_unprompted or example.reason != "action":
            return False
        due = example.event_time + self._wait_ms
        if due <= now:
            return False
        heappush(self._held, (due, self._order, example))
        self._order += 1
        return True

    def due(self, now: int) -> list[Example]:
        """What is as old as presumptions at `now`, ms."""
        found = []
        while self._held and self._held[0][0] <= now:
            found.append(heappop(self._held)[2])
        return found

    def forget_user(self, user_id: Id) -> None:
        """Drop what is held of a user."""
        self._held = [one for one in self._held if one[2].user_id != user_id]
        heapify(self._held)

    def turn_back(self, time: int) -> None:
        """Take what is held and later than `time` (ms) as of that time: the clock was wrong."""
        held = []
        for due, example in self.state().held:
            shown_at = min(example.event_time, time)
            earlier = replace(example, event_time=shown_at, label_time=min(example.label_time, time))
            held.append((due - example.event_time + shown_at, earlier))
        self.recall(CohortState(self._wait_ms, held))

    def state(self) -> CohortState:
        """All that is held, for a checkpoint; what is due first stands first."""
        return CohortState(self._wait_ms, [(due, one) for due, _, one in sorted(self._held, key=lambda one: one[:2])])

    def recall(self, state: CohortState) -> None:
        """The inverse of `state`."""
        self._wait_ms, self._order = state.wait_ms, len(state.held)
        self._held = [(due, at, one) for at, (due, one) in enumerate(state.held)]
        heapify(self._held)

    def __len__(self) -> int:
        return len(self._held)
