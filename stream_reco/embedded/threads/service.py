"""The engine behind the HTTP API: events are taken and learned on threads, requests are served on the caller's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from stream_reco.clock import Clock
from stream_reco.embedded.engine import Engine
from stream_reco.embedded.threads.learner_service import LearnerService
from stream_reco.embedded.threads.learner_thread import LearnerThread
from stream_reco.embedded.threads.log_writer import LogWriterThread
from stream_reco.events import Id
from stream_reco.events.schema import Scalar
from stream_reco.retrieve.index_upkeep import IndexUpkeep
from stream_reco.serve.feature_report import FeatureReport
from stream_reco.serve.python_requests import checked_request, score_request
from stream_reco.serve.slate.request import Request
from stream_reco.serve.slate.slate import Interest, Neighbour, ScoredItems, Slate


class EngineService(LearnerService[Engine]):
    """The embedded loop as a `serve.service.Service`; takes what a `LearnerService` takes."""

    def __init__(
        self, open_engine: Callable[[], Engine], *, sync_seconds: float = 1.0, clock: Clock | None = None
    ) -> None:
        super().__init__(open_engine, sync_seconds=sync_seconds, clock=clock)
        self._upkeep: IndexUpkeep | None = None

    def _begin(self, engine: Engine) -> tuple[LogWriterThread, LearnerThread]:
        served = engine.publishing.served
        self._upkeep = IndexUpkeep(lambda: served.index, engine.settings.retrieve)
        self._upkeep.start()
        return super()._begin(engine)

    def close(self) -> None:
        """As a `LearnerService` closes."""
        try:
            super().close()
        finally:
            if self._upkeep is not None:
                self._upkeep.close()

    def slates(self, requests: Sequence[Request]) -> Sequence[Slate]:
        """A slate for each request, all of one version; the requests are valid."""
        engine, _, _ = self._running()
        with self._priority.serving():
            return engine.scorer.recommend_many(requests, engine.stream_time)

    @property
    def objectives(self) -> Sequence[str]:
        """What requests may give weights to; nothing before the engine is open."""
        return () if self._engine is None else self._engine.scorer.objectives

    def scores(self, request: Request, item_ids: Sequence[Id]) -> ScoredItems:
        """Scores and probabilities by kind of `item_ids`; the request is valid but for unknown objectives."""
        engine, _, _ = self._running()
        with self._priority.serving():
            return engine.scorer.predict(request, item_ids, engine.stream_time)

    def recommend_many(self, requests: Sequence[Request]) -> Sequence[Slate]:
        """A slate for each request that was built in Python. Raises RefusedError for the first that HTTP refuses."""
        limits = self._running()[0].settings.serve
        return self.slates([checked_request(one, limits) for one in requests])

    def score(
        self,
        user_id: Id,
        item_ids: Sequence[Id],
        context: Mapping[str, Scalar] | None = None,
        objectives: Mapping[str, float] | None = None,
    ) -> Sequence[float]:
        """Scores, one for each of `item_ids`. Raises RefusedError for what HTTP refuses."""
        limits = self._running()[0].settings.serve
        request, items = score_request(limits, user_id, item_ids, None, context, objectives)
        scores: list[float] = self.scores(request, items).scores.tolist()
        return scores

    def similar(self, item_id: Id, k: int) -> Sequence[Neighbour] | None:
        """The `k` items nearest to this one; None if the item is unknown."""
        engine, _, _ = self._running()
        with self._priority.serving():
            return engine.similar(item_id, k)

    def interests(self, user_id: Id) -> Sequence[Interest]:
        """The user's interests, most important first."""
        engine, _, _ = self._running()
        with self._priority.serving():
            return engine.interests(user_id)

    def features(self) -> FeatureReport:
        """What is known of the features of items and users."""
        engine, _, _ = self._running()
        with self._priority.serving():
            return engine.features()
