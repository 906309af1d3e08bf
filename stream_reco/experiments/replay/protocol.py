"""The protocol of a replay: request a slate before each event, then learn from the event.

Between two syncs everything but the requesting user's own state is frozen, so slates of different users can be computed
in one batch without a change of their contents. A batch ends where a user who already has events in it comes again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stream_reco.datasets import Log
from stream_reco.events import Action, Event, Id, Retraction
from stream_reco.experiments.replay.tally import K, ReplayTally
from stream_reco.measure import rank_of
from stream_reco.serve.service import Accepted
from stream_reco.serve.slate.pending_slates import PendingSlates
from stream_reco.serve.slate.request import Request

MOST_EVENTS = 256
MOST_PENDING = 16
"""Batches of slates that are computed in parallel with the learning, before the oldest is waited for."""
_CHUNK = 8192


class Loop(Protocol):
    """The part of an engine that a replay uses."""

    def ingest(self, events: Sequence[Event]) -> Accepted: ...

    def recommend_async(self, requests: Sequence[Request]) -> PendingSlates: ...

    def sync(self) -> int: ...

    def finish(self) -> None: ...


@dataclass(frozen=True)
class Plan:
    """`warm_up` events are learned from but not evaluated; then a sync every `interval_ms` of event time, None: never.

    `weigh` gives the weight of an action, 0 for one that is not positive. `repeats`: the log may repeat event ids.
    """

    warm_up: int
    interval_ms: int | None
    weigh: Callable[[Action], float]
    repeats: bool = False


class Replay:
    """One pass of a log through a loop; `watch` is called after every batch."""

    def __init__(self, loop: Loop, plan: Plan, tally: ReplayTally, watch: Callable[[], None] = lambda: None) -> None:
        self._loop, self._plan, self._tally, self._watch = loop, plan, tally, watch
        self._taken = 0
        self._evaluating = False
        self._boundary: int | None = None
        self._batch: list[Event] = []
        self._users: set[Id] = set()
        self._has_retraction = False
        self._targets: list[Action] = []
        self._pending: deque[tuple[list[Action], PendingSlates]] = deque()
        self._unsynced: list[int] = []
        self._seen_ids: set[Id] = set()

    def run(self, log: Log) -> None:
        """Replay all of it; at the end all deadlines pass, which only affects metrics of labels."""
        for events in log.batches(_CHUNK):
            for event in events:
                self._pass_time(event.timestamp)
                self._take(event)
        self._flush()
        with self._tally.stage("ingest"):
            self._loop.finish()
        self._sync()
        self._watch()

    def _pass_time(self, now: int) -> None:
        if self._taken == self._plan.warm_up:
            self._flush()
            self._sync()
            self._evaluating = True
            self._boundary = None if self._plan.interval_ms is None else now + self._plan.interval_ms
        elif self._boundary is not None and self._plan.interval_ms is not None and now >= self._boundary:
            self._flush()
            self._sync()
            self._tally.freshness.add((self._boundary - np.array(self._unsynced, dtype=np.int64)) / 1000)
            self._unsynced.clear()
            # One sync for several intervals without events: the others would publish nothing.
            passed = (now - self._boundary) // self._plan.interval_ms
            self._boundary += (passed + 1) * self._plan.interval_ms

    def _take(self, event: Event) -> None:
        self._taken += 1
        if self._evaluating and isinstance(event, Action):
            self._unsynced.append(event.timestamp)
            if self._plan.weigh(event) > 0 and self._is_new(event):
                self._add_target(event)
        elif self._plan.repeats:
            self._is_new(event)
        self._batch.append(event)
        user = getattr(event, "user_id", None)
        if user is not None:
            self._users.add(user)
        elif isinstance(event, Retraction):
            self._has_retraction = True
        if len(self._batch) >= MOST_EVENTS:
            self._flush()

    def _is_new(self, event: Event) -> bool:
        """Whether this event id is new; a repeated event changes nothing and is not evaluated."""
        if not self._plan.repeats or event.event_id is None:
            return True
        new = event.event_id not in self._seen_ids
        self._seen_ids.add(event.event_id)
        return new

    def _add_target(self, action: Action) -> None:
        if self._has_retraction or action.user_id in self._users:
            self._flush()
        self._targets.append(action)

    def _flush(self) -> None:
        """Request the slates of the batch, then learn from its events."""
        tally = self._tally
        if self._targets:
            requests = [Request(one.user_id, K, one.timestamp, one.context) for one in self._targets]
            self._pending.append((self._targets, self._loop.recommend_async(requests)))
            self._evaluate(MOST_PENDING)
        if self._batch:
            with tally.stage("ingest"):
                done = self._loop.ingest(self._batch)
            tally.events += len(self._batch)
            tally.duplicates += done.duplicates
            tally.dead_letters.update(done.rejections)
        self._batch, self._users, self._has_retraction, self._targets = [], set(), False, []
        self._watch()

    def _evaluate(self, left: int = 0) -> None:
        """Evaluate pending slates, oldest first, until `left` batches of them remain."""
        while len(self._pending) > left:
            targets, slates = self._pending.popleft()
            for action, slate in zip(targets, slates.slates(), strict=True):
                self._tally.ranked(rank_of(action.item_id, (item.item_id for item in slate.items)))
            self._tally.seconds["recommend"] += slates.seconds  # type: ignore[assignment] # a Counter of seconds

    def _sync(self) -> None:
        self._evaluate()
        with self._tally.stage("sync"):
            self._loop.sync()
        self._tally.syncs += 1
