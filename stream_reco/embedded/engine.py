"""The whole loop in one process."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import date
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_reco.clock import Clock, SystemClock
from stream_reco.config import Settings
from stream_reco.embedded.evaluation import EvaluationHooks, ImpressionSink
from stream_reco.embedded.journal import records
from stream_reco.embedded.journal.clock_repair import as_days, as_text, is_ahead
from stream_reco.embedded.journal.journaled_learner import JournaledLearner
from stream_reco.embedded.journal.recovery import Storage
from stream_reco.embedded.learner import Learner
from stream_reco.embedded.outlet import ChannelWithOutlet
from stream_reco.embedded.publish import Publishing
from stream_reco.embedded.python_events import Events, PythonEvents
from stream_reco.embedded.user_context import user_contexts
from stream_reco.events import Id
from stream_reco.events.python_values import AnyId
from stream_reco.labels import LabelJoiner
from stream_reco.learner.progressive_evaluation import EvaluationSink
from stream_reco.serve.feature_report import FeatureReport, feature_report
from stream_reco.serve.python_requests import checked_request, recommend_request, score_request
from stream_reco.serve.service import Accepted
from stream_reco.serve.slate.interests import user_interests
from stream_reco.serve.slate.pending_slates import PendingSlates
from stream_reco.serve.slate.request import Request
from stream_reco.serve.slate.scorer import Scorer
from stream_reco.serve.slate.similar import similar_items
from stream_reco.serve.slate.slate import Interest, Neighbour, ScoredItems, Slate
from stream_reco.serve.status import Status, replica_status, rows_by_table
from stream_reco.sync import Channel, ChannelRefused, ChannelUnreachable
from stream_reco.train.threads import bind_threads

_LOGGER = logging.getLogger(__name__)
Ingested = Accepted


class Engine:
    """Learns from events and answers requests; durable in `data_dir`, in memory without one.

    It learns on the thread that calls it; only slates of many requests are ranked by two threads of its own. One thread
    at a time may write (`ingest`, `sync`, `tick`, `checkpoint`, …), any number may read meanwhile (`recommend`,
    `score`, …). Opening a data folder replays what its last checkpoint does not hold.
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
        accept_loss: bool = False,
        outlet: Channel | None = None,
    ) -> None:
        """`observer` and `viewer` measure predictions; `joiner` makes other labels than the settings ask for.

        Publications go to `outlet` too, for scorers of other processes.

        `accept_loss`: open a damaged folder with what can be read of it; what is lost is counted and logged.

        Raises ValueError where `joiner` is given with a data folder; CheckpointError, LogError, StoreError or
        ValueError where the folder cannot be opened.
        """
        if joiner is not None and data_dir is not None:
            raise ValueError("a data folder cannot keep the labels of another joiner: give `joiner` without `data_dir`")
        self.settings = settings or Settings()
        self._clock = clock or SystemClock()
        self._folder = data_dir
        self._channel = None if outlet is None else ChannelWithOutlet(outlet)
        self._is_refused = False
        bind_threads(self.settings.training.threads)
        self._open = ExitStack()
        storage = None if data_dir is None else self._open.enter_context(closing(Storage(Path(data_dir), accept_loss)))
        try:
            self._begin(JournaledLearner(storage, self.settings, joiner), observer, viewer)
        except BaseException:
            self.close()
            raise

    def _begin(
        self, journaled: JournaledLearner, observer: EvaluationSink | None, viewer: ImpressionSink | None
    ) -> None:
        self.journaled = journaled
        """Owns the learner, its journal and the position; the threads of `EngineService` use it too."""
        learner, seed = journaled.learner, self.settings.training.seed
        self.publishing = Publishing(learner, self.settings, journaled.epoch, self._channel)
        self._scorer = Scorer(
            self.publishing.served,
            user_contexts(learner, seed),
            self.settings.retrieve,
            self.settings.slate,
            seed,
        )
        self._open.callback(self._scorer.close)
        self._hooks = EvaluationHooks(learner, self.publishing.served, observer, viewer)
        if learner.state.events:
            self.sync()

    @property
    def scorer(self) -> Scorer:
        """What answers requests that are known to be valid, as of `stream_time`."""
        return self._scorer

    @property
    def learner(self) -> Learner:
        """What was learned, to look into; only the thread that writes may change it."""
        return self.journaled.learner

    def ingest(self, events: Events, *, strict: bool = False) -> Ingested:
        """Take events; returns when they are durable and learned from.

        Takes event objects and dictionaries with an event's fields, mixed as they come, or a table of pandas or Arrow
        with a row an event. Values may be NumPy's, times may be datetimes (UTC where they have no time zone); a
        dictionary without a time is stamped with the present.

        A bad event is rejected with its reason and a repeated one counted; neither stops the others. With `strict` the
        first bad one is raised as BadEvent with its `index`, before anything is taken. Raises TypeError for a single
        event, LogFull where the disk has no room: none of the events is taken then.
        """
        now = self._clock.now_ms()
        batch = PythonEvents(events, now)
        if strict:
            batch.raise_first(now, int(self.settings.serve.future_seconds * 1000))
        answer = batch.answer(self.journaled.ingest(batch.events, now))
        self._hooks.flush()
        self.journaled.checkpoint_if_due(time.monotonic())
        return answer

    def recommend(
        self,
        user_id: AnyId,
        k: int | np.integer[Any] = 10,
        *,
        now: int | date | None = None,
        context: Mapping[str, object] | None = None,
        exclude: Iterable[AnyId] = (),
        filters: Mapping[str, object] | None = None,
        objectives: Mapping[str, float] | None = None,
    ) -> Slate:
        """At most `k` items for a user, best first; `now` (ms or a datetime) defaults to stream time.

        `filters` are conditions on item features, as over HTTP: {"kind": ["tea", "mug"], "price": {"lt": 20}}.
        `objectives` are weights of kinds of actions in place of those of the settings: {"click": 1, "buy": 20}.
        Raises RefusedError, a ValueError, for what HTTP would refuse with 400.
        """
        request = recommend_request(self.settings.serve, user_id, k, now, context, exclude, filters, objectives)
        return self._scorer.recommend_many([request], self.stream_time)[0]

    def recommend_many(self, requests: Sequence[Request]) -> list[Slate]:
        """A slate for each request, all of one version. Raises RefusedError for the first that HTTP would refuse."""
        limits = self.settings.serve
        return self._scorer.recommend_many([checked_request(one, limits) for one in requests], self.stream_time)

    def recommend_async(self, requests: Sequence[Request]) -> PendingSlates:
        """A slate for each request, as of now, made on other threads while the caller goes on.

        Only for the thread that writes. Raises RefusedError for the first that HTTP would refuse.
        """
        limits = self.settings.serve
        return self._scorer.recommend_async([checked_request(one, limits) for one in requests], self.stream_time)

    def score(
        self,
        user_id: AnyId,
        item_ids: Iterable[AnyId],
        *,
        now: int | date | None = None,
        context: Mapping[str, object] | None = None,
        objectives: Mapping[str, float] | None = None,
    ) -> NDArray[np.float32]:
        """float32[n]: the probability that the user acts on each item; 0 before the first version.

        With `objectives`, or where the settings have some, it is the sum of weight × probability.
        Raises RefusedError, a ValueError, for what HTTP would refuse with 400.
        """
        return self.predict(user_id, item_ids, now=now, context=context, objectives=objectives).scores

    def predict(
        self,
        user_id: AnyId,
        item_ids: Iterable[AnyId],
        *,
        now: int | date | None = None,
        context: Mapping[str, object] | None = None,
        objectives: Mapping[str, float] | None = None,
    ) -> ScoredItems:
        """What `score` says, with the probability of each kind of action and the values that are expected of it."""
        request, items = score_request(self.settings.serve, user_id, item_ids, now, context, objectives)
        return self._scorer.predict(request, items, self.stream_time)

    def similar(self, item_id: Id, k: int = 10) -> list[Neighbour] | None:
        """The items nearest to an item by the towers' vectors; None if it is not served."""
        return similar_items(self.publishing.served, item_id, k)

    def features(self) -> FeatureReport:
        """What is known of the features of items and users, in the version served."""
        return feature_report(self.publishing.served, self.scorer.newest)

    def interests(self, user_id: Id) -> list[Interest]:
        """The user's interests, most important first."""
        learner = self.journaled.learner
        with learner.state.lock:
            medoids = learner.interests.medoids(user_id, self.stream_time)
        return user_interests(self.publishing.served, medoids)

    def forget(self, user_id: Id) -> None:
        """Delete what is known of a user, durably; the next checkpoint erases it from the disk."""
        self.journaled.record(records.FORGET, msgspec.json.encode(user_id))
        self.journaled.checkpoint_if_due(time.monotonic())

    def sync(self) -> int:
        """Publish what was learned and serve it; returns the version.

        Nothing of what is learned depends on it: examples that are fewer than a batch go on waiting for their step.
        Where an outlet refuses, the version served stays, and what changed goes out with the next publication.
        """
        self._scorer.finish_pending()
        self._hooks.flush()
        try:
            version = self.publishing.sync(self._clock.now_ms())
        except (ChannelRefused, ChannelUnreachable) as error:
            version = self.publishing.served.replica.version
            if not self._is_refused:
                _LOGGER.error("nothing is published, version %d stays served: %s", version, error)
            self._is_refused = True
        else:
            self._is_refused = False
        return version

    def tick(self, now: int) -> None:
        """Let stream time reach `now` (ms) with no event: deadlines pass, counters age."""
        if now > self.stream_time:
            self.journaled.record(records.TICK, b"%d" % now)
            self._hooks.flush()

    def finish(self) -> None:
        """Let every deadline pass, as at the end of a log that is replayed."""
        self.journaled.record(records.FINISH)
        self._hooks.flush()

    def checkpoint(self) -> None:
        """Write the whole state at the present log position, in one atomic step; nothing in memory.

        Raises CheckpointError where it cannot be written; what was acknowledged stays safe in the log.
        """
        self.journaled.checkpoint()

    @property
    def stream_time(self) -> int:
        """The highest event time seen, ms; 0 before the first event."""
        return self.journaled.learner.state.stream_time

    @property
    def clock_problem(self) -> str | None:
        """That stream time is further ahead of the clock than an event may be, where it is, and what to do."""
        now, folder = self._clock.now_ms(), self._folder
        if not is_ahead(self.stream_time, now, self.settings):
            return None
        remedy = "start with a new engine" if folder is None else f"stop it and run: stream-reco repair clock {folder}"
        ahead = as_days(self.stream_time - now)
        return (
            f"stream time is {as_text(self.stream_time)}, {ahead} ahead of this machine's clock:"
            f" new events are late and impressions become negatives at once; where the clock is right, {remedy}"
        )

    @property
    def candidates_ranked(self) -> int:
        """Candidates ranked so far, over all requests."""
        return self._scorer.candidates

    def status(self) -> Status:
        """Facts about the loop, ready for JSON."""
        journaled, learner = self.journaled, self.journaled.learner
        tables = rows_by_table(learner.queue.trainer.tables)
        return {
            **replica_status(self.publishing.served.replica, self._clock.now_ms()),
            "events": learner.state.events,
            "examples": learner.queue.examples,
            "rows": sum(tables.values()),
            "tables": tables,
            "items": len(learner.state.signals.catalogue),
            "users": len(learner.state.histories),
            "pending": learner.joiner.pending,
            "stream_time": learner.state.stream_time,
            "log_position": journaled.position,
            "state": "ready",
            "checkpoint_problem": journaled.checkpoint_problem,
            "clock_problem": self.clock_problem,
        }

    def close(self) -> None:
        """Release the data folder; what was ingested is durable already."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
