"""A scorer whose learner is another process of the same server."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

from stream_reco import metrics
from stream_reco.events import Event
from stream_reco.events.packed import EventBatch, PackedEvents
from stream_reco.serve.pulse import Pulse
from stream_reco.serve.replica.service import ReplicaService
from stream_reco.serve.service import Accepted
from stream_reco.serve.status import Status

SILENT_SECONDS = 30.0
"""After this long without a beat a learner counts as hanging: a checkpoint of a million items takes some seconds."""


class ScorerBesideLearner(ReplicaService):
    """A replica that knows of its learner what `pulse` shows: it serves on when the learner ends, hangs or returns."""

    def __init__(self, *arguments: Any, pulse: Pulse, **named: Any) -> None:
        """`pulse` besides what a ReplicaService takes."""
        super().__init__(*arguments, **named)
        self._pulse = pulse

    def _poll(self) -> bool:
        metrics.LEARNER_SILENT_SECONDS.set(self._pulse.silent_seconds)
        return super()._poll()

    @property
    def backlog(self) -> int:
        """Events that are durable but not yet learned from."""
        return self._pulse.backlog

    @property
    def stream_time(self) -> int:
        """The highest event time that was learned from, ms."""
        return max(super().stream_time, self._pulse.stream_time)

    def new_batch(self) -> EventBatch:
        """Packed for the learner's log by the thread that decodes them."""
        return PackedEvents()

    def accept(self, events: Sequence[Event]) -> Awaitable[Accepted]:
        """Have the learner take events; resolves once they are durable."""
        return self._event_sink().accept(events)

    def status(self) -> Status:
        """The learner's facts, and what is served here."""
        own, learner = super().status(), self._pulse.status()
        problem = own["problem"] or learner["problem"]
        return {
            **learner,
            "epoch": own["epoch"],
            "version": own["version"],
            "staleness_seconds": own["staleness_seconds"],
            "stream_time": own["stream_time"],
            "state": own["state"] if learner["state"] != "failed" else "failed",
            "problem": problem or (learner_problem(self._pulse) if self.ready() else None),
            "channel_away": own["channel_away"],
            "waits_for_snapshot": own["waits_for_snapshot"],
            "users_away": own["users_away"],
        }


def learner_problem(pulse: Pulse) -> str | None:
    """Why nothing is learned now, where nothing is."""
    if not pulse.is_open:
        return "the learner is not there: it is being started; what was learned is served meanwhile"
    silent = pulse.silent_seconds
    if silent > SILENT_SECONDS:
        return f"the learner has given no sign of life for {silent:.0f} s; what was learned is served meanwhile"
    return None
