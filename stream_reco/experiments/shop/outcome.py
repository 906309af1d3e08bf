"""What a run came to, by the world's own probabilities rather than by the clicks that were drawn from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from stream_reco.events import Action, Event, Id
from stream_reco.experiments.shop.arm import ArmSlate
from stream_reco.simulate.closed_loop import ClosedLoopWorld

PARTS = 10
"""Equal numbers of requests."""
FIRST_IMPRESSIONS = 20
PUBLISHED_MS = 1_000
"""What is served may be so old, so an item that went less than this ago may still be shown."""


class Outcome:
    """Counts over the `total` requests of a run, each for k items."""

    def __init__(self, world: ClosedLoopWorld, k: int, total: int) -> None:
        self.requests = 0
        self._world, self._k, self._total = world, k, total
        # By tenth of the requests: true expected clicks, the oracle's, places asked for, Σ of scores, of the same
        # places the true expected clicks.
        self._sums = np.zeros((PARTS, 5))
        self._shown: Counter[Id] = Counter()
        self._disliked: dict[Id, dict[Id, int]] = {}
        """User → item → when the dislike comes in, ms."""
        self._actions: Counter[str] = Counter()
        self._again = self._unavailable = self._missing = 0
        self._last = world.start_ms

    def judge(self, user: int, slate: ArmSlate, now: int) -> None:
        """Count a slate before anybody responds to it."""
        world, items = self._world, list(slate.items)
        expected = world.expected_clicks(user, items, now)
        best = world.expected_clicks(user, world.oracle_slate(user, self._k, now), now)
        part = min(PARTS - 1, self.requests * PARTS // self._total)
        scored = (0.0, 0.0) if slate.scores is None else (float(sum(slate.scores)), expected)
        self._sums[part] += (expected, best, self._k, *scored)
        self._shown.update(items)
        disliked = self._disliked.get(user, {})
        self._again += sum(disliked.get(item, now + 1) <= now for item in items)
        self._unavailable += sum(self._is_gone(item, now) for item in items)
        self._missing += self._k - len(items)
        self.requests += 1
        self._last = now

    def _is_gone(self, item: Id, now: int) -> bool:
        """Whether an item could not be recommended, and everybody who serves knew."""
        known = max(self._world.start_ms, now - PUBLISHED_MS)
        return not any(self._world.is_available(item, time) for time in (now, known))

    def respond(self, events: Iterable[Event]) -> None:
        """Take what people do with what they were shown, as it is decided."""
        for event in events:
            if isinstance(event, Action):
                self._actions[event.action] += 1
                if event.action == "dislike":
                    self._disliked.setdefault(event.user_id, {})[event.item_id] = event.timestamp

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON has them."""
        sums, last = self._sums, self._sums[-2:].sum(axis=0)
        whole = sums.sum(axis=0)
        new = self._new_items()
        return {
            "evaluated": self.requests,
            "click_through": _ratio(whole[0], whole[2]),
            "click_through_last_fifth": _ratio(last[0], last[2]),
            "share_of_oracle": _ratio(whole[0], whole[1]),
            "regret": _ratio(whole[1] - whole[0], self.requests),
            "coverage": _ratio(len(self._shown), len(self._world.births(self._last))),
            "new_items": len(new),
            "new_items_shown": _ratio(sum(self._shown[item] >= FIRST_IMPRESSIONS for item in new), len(new)),
            "shown_after_dislike": self._again,
            "shown_unavailable": self._unavailable,
            "places_missing": self._missing,
            "actions": dict(self._actions),
            "tenths": {
                "click_through": [_ratio(row[0], row[2]) for row in sums],
                "calibration": [_ratio(row[3], row[4]) for row in sums],
            },
            "calibration": _ratio(whole[3], whole[4]),
            "calibration_last_fifth": _ratio(last[3], last[4]),
        }

    def _new_items(self) -> list[int]:
        """Items that were born in the run, early enough for the arm to have had a tenth of it to show them."""
        start = self._world.start_ms
        latest = self._last - (self._last - start) // PARTS
        return [item for item, born in self._world.births(latest).items() if born > start]


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
