"""The kinds of records in the log, and what each makes the learner do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from stream_reco.embedded.learner import Learner
from stream_reco.events import Event, Id, decode_batch

BATCH = "batch"
"""Events that are learned from at once, to the last."""
EVENTS = "events"
"""Events that are learned from part by part; their last examples may wait for a full training step."""
FLUSH = "flush"
"""The training step waits no longer."""
TICK = "tick"
"""Stream time passes without an event; the payload is the time in ms."""
FORGET = "forget"
"""A user is deleted; the payload is the id."""
FINISH = "finish"
"""The stream is over: all deadlines pass."""
START = "start"
"""An engine began to write here; its position is the epoch of that engine's publications."""


PART = 1
"""Events of one part. A replay has to cut the same parts: another number needs another kind of record."""


def learn_in_parts(learner: Learner, events: Sequence[Event], between: Callable[[], None] = lambda: None) -> None:
    """Learn from the events of an EVENTS record, with a pause for others between the parts."""
    for first in range(0, len(events), PART):
        learner.learn(events[first : first + PART], flush=False)
        between()


def apply(learner: Learner, kind: str, payload: bytes) -> None:
    """Do what a record says. Raises ValueError for a kind that this release does not know."""
    if kind == EVENTS:
        learn_in_parts(learner, decode_batch(payload))
    elif kind == BATCH:
        learner.learn(decode_batch(payload), flush=True)
    elif kind == FLUSH:
        learner.flush()
    elif kind == TICK:
        learner.tick(int(payload))
    elif kind == FORGET:
        learner.forget(msgspec.json.decode(payload, type=Id))
    elif kind == FINISH:
        learner.finish()
    elif kind != START:
        raise ValueError(f"the log holds a record of kind {kind!r}, which this release does not know: it was written"
                         " by a later one; run that release, or start with a new data folder")
