"""The kinds of records in the log, and how each is applied to a learner."""

from __future__ import annotations

import msgspec

from stream_reco.embedded.learner import Learner
from stream_reco.events import Event, Id, ItemEvent, decode_batch
from stream_reco.storage.event_log import LOST

EVENTS = "events"
"""Events in their order."""
TICK = "tick"
"""Stream time passes without an event; the payload is the time in ms."""
FORGET = "forget"
"""A user is deleted; the payload is the id."""
FINISH = "finish"
"""The stream has ended: all deadlines pass."""
CLOCK = "clock"
"""Stream time goes back to that of the payload, in ms: the clock was wrong."""
START = "start"
"""An engine began to write here; its position is the epoch of that engine's publications. The payload is `MERGING`,
or nothing where the engine was of a release in which an item event replaced the one before.
"""
MERGING = b"merging"


def apply(learner: Learner, kind: str, payload: bytes) -> None:
    """Apply a record. Raises ValueError for a kind that this release does not know."""
    if kind == EVENTS:
        events = decode_batch(payload)
        learner.learn(events if learner.merges_items else [_replacing(event) for event in events])
    elif kind == TICK:
        learner.tick(int(payload))
    elif kind == FORGET:
        learner.forget(msgspec.json.decode(payload, type=Id))
    elif kind == FINISH:
        learner.finish()
    elif kind == CLOCK:
        learner.turn_back(int(payload))
    elif kind == START:
        learner.merges_items = payload == MERGING
    elif kind != LOST:
        raise ValueError(
            f"the log holds a record of kind {kind!r}, which this release does not know: it was written"
            " by a later one; run that release, or start with a new data folder"
        )


def _replacing(event: Event) -> Event:
    """An event as it was meant before item events were merged: available, and with nothing that it does not name."""
    return msgspec.structs.replace(event, replace=True) if isinstance(event, ItemEvent) else event
