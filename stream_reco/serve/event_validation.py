"""The checks that every event passes before anything else is done with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from stream_reco import metrics
from stream_reco.events import BadEvent, Event, check_time, validate
from stream_reco.serve.service import Rejection


def valid_events(events: Sequence[Event], now: int, future_ms: int) -> tuple[list[Event], list[Rejection]]:
    """The valid events in their order, and rejections of the others, which are counted; `now` is the wall clock in ms.

    Events further ahead of it than `future_ms` are rejected.
    """
    good: list[Event] = []
    rejected: list[Rejection] = []
    for index, event in enumerate(events):
        try:
            validate(event)
            check_time(event, now, future_ms)
        except BadEvent as bad:
            metrics.EVENTS_REJECTED.labels(bad.reason).inc()
            rejected.append(Rejection(index, bad.reason, str(bad)))
        else:
            good.append(event)
    return good, rejected


def count_accepted(events: Sequence[Event]) -> None:
    """Count, by type, what is durable now."""
    for tag, count in Counter(type(event).__struct_config__.tag for event in events).items():
        metrics.EVENTS_ACCEPTED.labels(tag).inc(count)
