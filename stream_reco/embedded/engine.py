"""The whole loop in one process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_reco.clock import Clock
from stream_reco.config import Settings
from stream_reco.embedded.evaluation import ImpressionSink
from stream_reco.embedded.journal.journaled_learner import JournaledLearner
from stream_reco.embedded.learning_engine import LearningEngine
from stream_reco.embedded.publish import Publishing
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

Ingested = Accepted


class Engine(LearningEngine):
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
        most_measured: int | None = None,
    ) -> None:
        """`observer` and `viewer` measure predictions; `joiner` makes other labels than the settings ask for.

        `most_measured`: candidates of examples that the observer is told of between two publications or calls of
        `ingest`, at even distances; None: all.

        `accept_loss`: open a damaged folder with what can be read of it; what is lost is counted and logged.

        Raises ValueError where `joiner` is given with a data folder; CheckpointError, LogError, StoreError or
        ValueError where the folder cannot be opened.
        """
        super().__init__(
            data_dir,
            settings or Settings(),
            lambda journaled: self._serve(journaled, observer, viewer, most_measured),
            joiner=joiner,
            clock=clock,
            accept_loss=accept_loss,
        )

    def _serve(
        self,
        journaled: JournaledLearner,
        observer: EvaluationSink | None,
        viewer: ImpressionSink | None,
        most_measured: int | None,
    ) -> Publishing:
        settings, learner = self.settings, journaled.learner
        self.publishing = Publishing(
            learner, settings, journaled.epoch, observer=observer, viewer=viewer, most_measured=most_measured
        )
        self._scorer = Scorer(
            self.publishing.served,
            user_contexts(learner, settings.training.seed),
            settings.retrieve,
            settings.slate,
            settings.training.seed,
        )
        self._open.callback(self._scorer.close)
        return self.publishing

    @property
    def scorer(self) -> Scorer:
        """What answers requests that are known to be valid, as of `stream_time`."""
        return self._scorer

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

    def sync(self) -> int:
        """Publish what was learned and serve it; returns the version.

        Nothing of what is learned depends on it: examples that are fewer than a batch go on waiting for their step.
        """
        self._scorer.finish_pending()
        return super().sync()

    @property
    def candidates_ranked(self) -> int:
        """Candidates ranked so far, over all requests."""
        return self._scorer.candidates
