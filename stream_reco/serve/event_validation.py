"""Which events of a batch are taken: rejections, described or counted, and the checks of events built in Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from stream_reco import metrics
from stream_reco.events import BadEvent, Event, check_time, validate
from stream_reco.serve.service import Accepted, Rejection

MOST_DESCRIBED = 100
"""Rejections of a batch that are described; more of them tell nobody anything, and cost memory and time."""


class Rejections:
    """The rejections of one batch, added in the order of its events: the first are described, the others counted."""

    def __init__(self) -> None:
        self._described: list[Rejection] = []
        self._more: Counter[str] = Counter()

    def add(self, index: int, bad: BadEvent) -> None:
        """Take the rejection of one event, and count it in the metrics."""
        metrics.EVENTS_REJECTED.labels(bad.reason).inc()
        if len(self._described) < MOST_DESCRIBED:
            self._described.append(Rejection(index, bad.reason, str(bad)))
        else:
            self._more[bad.reason] += 1

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return bool(self._described)

    def answer(self, accepted: int, duplicates: int, later: Sequence[Rejection] = ()) -> Accepted:
        """The result of the batch; `later` are rejections of events that these checks let through, in their order."""
        rejected = sorted([*self._described, *later], key=lambda one: one.index)
        more = self._more + Counter(one.reason for one in rejected[MOST_DESCRIBED:])
        return Accepted(accepted, duplicates, rejected[:MOST_DESCRIBED], dict(more))


def valid_events(events: Sequence[Event], now: int, future_ms: int) -> tuple[list[Event], Rejections]:
    """The valid ones of events that were built in Python, in their order, and rejections of the others.

    What was decoded is valid already. Events further ahead of the wall clock `now` than `future_ms`, both in ms, are
    rejected.
    """
    good: list[Event] = []
    rejections = Rejections()
    for index, event in enumerate(events):
        try:
            validate(event)
            check_time(event, now, future_ms)
        except BadEvent as bad:
            rejections.add(index, bad)
        else:
            good.append(event)
    return good, rejections


def count_accepted(kinds: Mapping[type[Event], int]) -> None:
    """Count what is durable now: so many events of each type."""
    for kind, count in kinds.items():
        metrics.EVENTS_ACCEPTED.labels(kind.__struct_config__.tag).inc(count)
