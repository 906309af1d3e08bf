"""The whole loop in one process."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Self

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from stream_reco.clock import Clock, SystemClock
from stream_reco.config import Settings
from stream_reco.embedded.evaluation import EvaluationHooks, ImpressionSink
from stream_reco.embedded.journal import records
from stream_reco.embedded.journal.deduplicate import Entrance
from stream_reco.embedded.journal.journal import Journal
from stream_reco.embedded.journal.recovery import Storage, recover
from stream_reco.embedded.publish import Publishing
from stream_reco.embedded.user_context import user_contexts
from stream_reco.events import Event, Id, encode_batch
from stream_reco.labels import LabelJoiner
from stream_reco.learner.progressive_evaluation import EvaluationSink
from stream_reco.serve.service import Accepted
from stream_reco.serve.slate.pending_slates import PendingSlates
from stream_reco.serve.slate.request import Request
from stream_reco.serve.slate.scorer import Scorer
from stream_reco.serve.slate.similar import similar_items, user_interests
from stream_reco.serve.slate.slate import Interest, Neighbour, Slate
from stream_reco.signals.context import ContextValue
from stream_reco.storage.checkpoint import CheckpointError

_LOGGER = logging.getLogger(__name__)
Ingested = Accepted


class Engine:
    """Learns from events and answers requests; durable in `data_dir`, in memory without one.

    It learns on the thread that calls it; only slates of many requests are ranked by two threads of its own. One thread
    at a time may write (`ingest`, `sync`, `tick`, `checkpoint`, …), any number may ask beside it. Opening a data folder
    replays what its last checkpoint does not hold.
    """

    def __init__(
        self,
        data_dir: str | Path | None = None,
        settings: Settings | None = None,
        *,
        observer: EvaluationSink | None = None,
        viewer: ImpressionSink | None = None,
        joiner: LabelJoiner | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`joiner` gives other labels than the settings ask for, to measure with; only in memory, else ValueError."""
        if joiner is not None and data_dir is not None:
            raise ValueError("labels from elsewhere cannot be kept in a data folder: leave the folder out")
        self.settings = settings or Settings()
        self._clock = clock or SystemClock()
        self._observer, self._viewer, self._joiner = observer, viewer, joiner
        torch.set_num_threads(self.settings.training.threads)
        self._open = ExitStack()
        self._storage = None if data_dir is None else self._open.enter_context(closing(Storage(Path(data_dir))))
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        self.learner, self.applied = recover(self._storage, self.settings)
        """What was learned, and the position in the journal up to which; for the threads of `service` too."""
        if self._joiner is not None:
            self.learner.label_by(self._joiner)
        self.journal = Journal(None if self._storage is None else self._storage.log, self.applied)
        epoch = 1 if self._storage is None else self._append(records.START, b"")
        self._checkpointed = (self.learner.events, self.applied)
        self._checkpoint_problem: str | None = None
        self.entrance = Entrance(self.learner.joiner.seen, int(self.settings.serve.future_seconds * 1000))
        self.publishing = Publishing(self.learner, self.settings, epoch)
        seed = self.settings.training.seed
        self._scorer = Scorer(
            self.publishing.served,
            user_contexts(lambda: self.learner, seed),
            self.settings.retrieve,
            self.settings.slate,
            seed,
        )
        self._open.callback(self._scorer.close)
        self._watching = EvaluationHooks(self.learner, self.publishing.served, self._observer, self._viewer)
        if self.learner.events:
            self.sync()

    def ingest(self, events: Sequence[Event]) -> Ingested:
        """Take events; returns when they are durable and learned from.

        A bad event is refused with its reason and a repeated one counted; neither stops the others. Raises LogFull
        where the disk has no room: none of the events is taken then.
        """
        new, duplicates, rejected = self.entrance.admit(events, self._clock.now_ms())
        try:
            if new:
                self._append(records.EVENTS, encode_batch(new))
                self.entrance.took(new, duplicates)
                self.learner.learn(new)
                self._watching.settle()
        finally:
            self.entrance.learned_all(new)
        self.checkpoint_if_due()
        return Ingested(len(new), duplicates, rejected)

    def _append(self, kind: str, payload: bytes) -> int:
        self.applied = self.journal.append_many([(kind, payload)]).start
        return self.applied

    def _record(self, kind: str, payload: bytes = b"") -> None:
        self._append(kind, payload)
        records.apply(self.learner, kind, payload)

    def recommend(
        self,
        user_id: Id,
        k: int = 10,
        *,
        now: int | None = None,
        context: Mapping[str, ContextValue] | None = None,
        exclude: Sequence[Id] = (),
        filters: Mapping[str, object] | None = None,
    ) -> Slate:
        """At most `k` items for a user, best first; `now` (ms) defaults to stream time."""
        return self.recommend_many([Request(user_id, k, now, context, exclude, filters)])[0]

    def recommend_many(self, requests: Sequence[Request]) -> list[Slate]:
        """A slate for each request, all of one version."""
        return self._scorer.recommend_many(requests, self.learner.stream_time)

    def recommend_async(self, requests: Sequence[Request]) -> PendingSlates:
        """A slate for each request, as of now, made by threads beside the caller's: go on, and ask for them later.

        Only for the thread that writes.
        """
        return self._scorer.recommend_async(requests, self.learner.stream_time)

    def score(
        self,
        user_id: Id,
        item_ids: Sequence[Id],
        *,
        now: int | None = None,
        context: Mapping[str, ContextValue] | None = None,
    ) -> NDArray[np.float32]:
        """float32[n]: the probability that the user acts on each item; 0 for items that are not served yet."""
        return self._scorer.score(Request(user_id, now=now, context=context), item_ids, self.learner.stream_time)

    def similar(self, item_id: Id, k: int = 10) -> list[Neighbour] | None:
        """The items nearest to an item by the towers' vectors; None if it is not served."""
        return similar_items(self.publishing.served, item_id, k)

    def interests(self, user_id: Id) -> list[Interest]:
        """The user's interests, most important first."""
        with self.learner.user_lock:
            medoids = self.learner.interests.medoids(user_id, self.learner.stream_time)
        return user_interests(self.publishing.served, medoids)

    def forget(self, user_id: Id) -> None:
        """Delete what is known of a user, durably."""
        self._record(records.FORGET, msgspec.json.encode(user_id))

    def sync(self) -> int:
        """Publish what was learned and serve it; returns the version.

        Nothing of what is learned depends on it: a few examples may go on waiting for a training step.
        """
        self._scorer.settle()
        self._watching.settle()
        return self.publishing.sync(self._clock.now_ms())

    def tick(self, now: int) -> None:
        """Let stream time reach `now` (ms) with no event: deadlines pass, counters age."""
        if now > self.learner.stream_time:
            self._record(records.TICK, b"%d" % now)

    def finish(self) -> None:
        """Let every deadline pass, as at the end of a log that is replayed."""
        self._record(records.FINISH)

    def checkpoint(self) -> None:
        """Write the whole state at the present log position, in one atomic step; nothing in memory.

        Raises CheckpointError where it cannot be written; what was acknowledged stays safe in the log.
        """
        if self._storage is not None:
            self._storage.checkpoint(self.learner, self.applied)
        self._checkpointed = (self.learner.events, self.applied)
        self._checkpoint_problem = None

    def checkpoint_if_due(self) -> None:
        """Write a checkpoint where the last one is far behind; a failure is told by `status`, and the loop goes on."""
        most = self.settings.training.checkpoint_events
        events, records_ = self._checkpointed
        if self.learner.events - events < most and self.applied - records_ < most:
            return
        try:
            self.checkpoint()
        except CheckpointError as error:
            # The log still holds everything: the next try is as far away as this one was.
            self._checkpointed = (self.learner.events, self.applied)
            self._checkpoint_problem = str(error)
            _LOGGER.error("%s", error)

    @property
    def stream_time(self) -> int:
        """The highest event time seen, ms; 0 before the first event."""
        return self.learner.stream_time

    @property
    def candidates_ranked(self) -> int:
        """Candidates ranked so far, over all requests."""
        return self._scorer.candidates

    def status(self) -> dict[str, object]:
        """Facts about the loop, ready for JSON."""
        learner, replica = self.learner, self.publishing.served.replica
        rows = {name: len(table) for name, table in learner.trainer.tables.items()}
        staleness = replica.staleness(self._clock.now_ms())
        return {
            "events": learner.events,
            "examples": learner.examples,
            "epoch": replica.epoch,
            "version": replica.version,
            "staleness_seconds": staleness if np.isfinite(staleness) else None,
            "rows": rows,
            "items": len(learner.signals.catalogue),
            "users": len(learner.histories),
            "pending": learner.joiner.pending,
            "stream_time": learner.stream_time,
            "log_position": self.applied,
            "checkpoint_problem": self._checkpoint_problem,
        }

    def close(self) -> None:
        """Give the data folder back; what was ingested is durable without it."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
