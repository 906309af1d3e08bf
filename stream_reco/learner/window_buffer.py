"""Labels that came before their window was over, held until it is.

A model trained on clicks of today together with negatives of a fortnight ago learns to separate the two days:
whatever grows or ages gives it away. So what is shown is learned from when its window is over, whatever its label.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from msgspec.structs import replace

from stream_reco.events import Id
from stream_reco.labels import Example
from stream_reco.labels.label.example import ShownKey

_BEFORE_THE_END = ("action", "negative_action", "responded_later")
"""First labels that come before the window is over."""


class WindowBuffer:
    """Holds the label of an impression as it changes, from its first one to the end of the window.

    `closed`: nothing more is taken, but what is held, of a time when it was open, goes to the end of its window.
    """

    def __init__(self, window_ms: int, *, closed: bool = False) -> None:
        self._window_ms, self._closed = window_ms, closed
        self._released = -(2**62)
        self._held: dict[ShownKey, Example] = {}
        self._due: list[tuple[int, int, ShownKey]] = []
        self._order = 0

    def holds(self, example: Example) -> bool:
        """Take an example if its window is not over; else it is to be learned from at once."""
        if example.is_unprompted:
            return False  # it has no window
        key = example.shown
        before = self._held.get(key)
        if before is not None:
            weight = example.weight if example.undoes is not None else before.weight + example.weight
            self._held[key] = _plain(example, weight)
            return True
        deadline = example.event_time + self._window_ms
        if self._closed or example.reason not in _BEFORE_THE_END or deadline < self._released:
            return False
        self._held[key] = _plain(example, example.weight)
        heappush(self._due, (deadline, self._order, key))
        self._order += 1
        return True

    def due(self, watermark: int) -> list[Example]:
        """The labels of impressions whose window ends before `watermark`, ms, by its end."""
        self._released = max(self._released, watermark)
        due = []
        while self._due and self._due[0][0] < watermark:
            example = self._held.pop(heappop(self._due)[2], None)
            if example is not None:
                due.append(example)
        return due

    def turn_back(self, time: int, watermark: int) -> None:
        """Take what is held and later than `time` (ms) as of that time, which has come as far as `watermark`."""
        _, held = self.state()
        self.recall(min(self._released, watermark), [_not_after(one, time) for one in held])

    def forget_user(self, user_id: Id) -> None:
        """Drop what is held of a user."""
        for key in [key for key in self._held if key[0] == user_id]:
            del self._held[key]

    def state(self) -> tuple[int, list[Example]]:
        """All that is held, for a checkpoint."""
        order = [key for _, _, key in sorted(self._due) if key in self._held]
        return self._released, [self._held[key] for key in order]

    def recall(self, released: int, examples: list[Example]) -> None:
        """The inverse of `state`."""
        self._released, self._order = released, len(examples)
        keys = [one.shown for one in examples]
        self._held = dict(zip(keys, examples, strict=True))
        self._due = [(key[3] + self._window_ms, at, key) for at, key in enumerate(keys)]
        heapify(self._due)

    def __len__(self) -> int:
        return len(self._held)


def _not_after(example: Example, time: int) -> Example:
    return replace(example, event_time=min(example.event_time, time), label_time=min(example.label_time, time))


def _plain(example: Example, weight: float) -> Example:
    """Nothing was learned of the labels that this one undoes."""
    return replace(example, weight=weight, reason="action" if example.label else "window", undoes=None)
