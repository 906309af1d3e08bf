"""The scorer that follows a trainer elsewhere: a replica behind the HTTP API."""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Protocol

from stream_reco import metrics
from stream_reco.events import Event, Id
from stream_reco.events.packed import EventBatch
from stream_reco.events.schema import Scalar
from stream_reco.measure.stages import observe_stage
from stream_reco.retrieve.index_upkeep import IndexUpkeep
from stream_reco.retrieve.settings import RetrieveSettings
from stream_reco.serve.feature_report import FeatureReport, feature_report
from stream_reco.serve.python_requests import checked_request, score_request
from stream_reco.serve.replica.user_context import RemoteUserContexts
from stream_reco.serve.service import Accepted, NotSetUpError, UnavailableError
from stream_reco.serve.settings import ServeSettings
from stream_reco.serve.slate.interests import user_interests
from stream_reco.serve.slate.request import Request
from stream_reco.serve.slate.scorer import Scorer
from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.serve.slate.similar import similar_items
from stream_reco.serve.slate.slate import Interest, Neighbour, ScoredItems, Slate
from stream_reco.serve.status import Status, replica_status, rows_by_table
from stream_reco.sync import Channel

_LOGGER = logging.getLogger(__name__)
POLL_SECONDS = 0.05
"""Between two reads of the channel; half of the shortest sync interval."""
_AFTER_FAILURE_SECONDS = 1.0
_STOP_SECONDS = 10.0
"""How long `close` waits for a publication that is being applied."""


class EventSink(Protocol):
    """Takes events to where they are durable and learned from."""

    def accept(self, events: Sequence[Event]) -> Awaitable[Accepted]:
        """Resolves once they are durable; fails with UnavailableError where they cannot be."""

    def forget(self, user_id: Id) -> Awaitable[None]:
        """Resolves once it is durable that the user is to be forgotten."""


class ReplicaService:
    """A replica as a `serve.service.Service`; a thread reads the channel every `poll_seconds`.

    It is ready once it serves a version, and stays so: while the channel is unavailable it serves what it has.
    """

    def __init__(
        self,
        served: ServingState,
        scorer: Scorer,
        users: RemoteUserContexts,
        channel: Channel,
        *,
        lateness_ms: int,
        now_ms: Callable[[], int],
        prepare: Callable[[], None] = lambda: None,
        sink: EventSink | None = None,
        poll_seconds: float = POLL_SECONDS,
        limits: ServeSettings | None = None,
        retrieve: RetrieveSettings | None = None,
    ) -> None:
        """`prepare` is called on the thread before anything else; `now_ms` gives the wall clock, ms.

        `limits` say how much one request may ask for, `retrieve` from when on vectors are searched by an index.
        """
        self._served = served
        self._scorer = scorer
        self._users = users
        self._channel = channel
        self._lateness_ms = lateness_ms
        self._now_ms = now_ms
        self._prepare = prepare
        self._sink = sink
        self._poll_seconds = poll_seconds
        self._limits = limits or ServeSettings()
        self._accepted = 0
        self._problem: str | None = None
        self._upkeep = IndexUpkeep(lambda: served.index, retrieve or RetrieveSettings())
        self._opened: Future[None] = Future()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="replica", daemon=True)

    def start(self) -> None:
        """Begin to follow; `opened` is done when the first version is served."""
        self._thread.start()

    @property
    def opened(self) -> Future[None]:
        """Done once it can answer; fails with what `prepare` failed with."""
        return self._opened

    def close(self) -> None:
        """Stop following."""
        self._stop.set()
        self._upkeep.close()
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        try:
            self._prepare()
        except BaseException as error:
            self._opened.set_exception(error)
            return
        self._upkeep.start()
        wait = 0.0
        while not self._stop.wait(wait):
            wait = self._poll_seconds if self._poll() else _AFTER_FAILURE_SECONDS

    def _poll(self) -> bool:
        """Apply what is new; False where that failed."""
        replica = self._served.replica
        try:
            applied = replica.poll(self._channel)
        except Exception as error:  # what cannot be applied must not end the serving of the present version
            _LOGGER.exception("a publication could not be applied; version %d stays served", replica.version)
            self._problem = f"{type(error).__name__}: {error}"
            return False
        staleness = replica.staleness(self._now_ms())
        if applied:
            self._problem = None
            metrics.REPLICA_SYNC_SECONDS.observe(staleness)
            observe_stage("served", self.stream_time, self._now_ms())
            metrics.STREAM_TIME.set(self.stream_time / 1000)
            for name, table in replica.tables.items():
                metrics.TABLE_ROWS.labels(name).set(len(table))
                metrics.TABLE_BYTES.labels(name).set(table.nbytes)
        if replica.version and not self._opened.done():
            self._opened.set_result(None)
        return True

    @property
    def stream_time(self) -> int:
        """The highest event time known here, ms: the trainer's as of the version served, or a user's newest action."""
        replica = self._served.replica
        return max(replica.watermark + self._lateness_ms if replica.version else 0, self._users.newest)

    @property
    def backlog(self) -> int:
        """None: events go on to the sink."""
        return 0

    def ready(self) -> bool:
        """Whether it can answer."""
        return self._opened.done() and self._opened.exception() is None

    def _check_ready(self) -> None:
        if not self.ready():
            raise UnavailableError("not_ready", "no version has come from the trainer yet: try again soon")

    def _event_sink(self) -> EventSink:
        if self._sink is None:
            raise NotSetUpError(
                "kafka",
                "this scorer follows a trainer and cannot store events: set kafka.bootstrap to the brokers that"
                " take them, or send them to a server that runs the whole loop (serve --data)",
            )
        return self._sink

    def taking_batch(self) -> AbstractContextManager[None]:
        """None has to make way: what is learned here comes from a trainer."""
        return nullcontext()

    def new_batch(self) -> EventBatch:
        """As they are: the sink writes JSON of them."""
        return []

    def accept(self, events: Sequence[Event]) -> Awaitable[Accepted]:
        """Give events to the sink. Raises NotSetUpError where there is none."""
        taken = self._event_sink().accept(events)

        async def count() -> Accepted:
            answer = await taken
            self._accepted += answer.accepted
            return answer

        return count()

    def forget(self, user_id: Id) -> Awaitable[None]:
        """Have a user forgotten by the sink, and here. Raises NotSetUpError where there is none."""
        done = self._event_sink().forget(user_id)

        async def wait() -> None:
            await done
            self._users.forget(user_id)

        return wait()

    def slates(self, requests: Sequence[Request]) -> Sequence[Slate]:
        """A slate for each request, all of one version; the requests are valid."""
        self._check_ready()
        return self._scorer.recommend_many(requests, self.stream_time)

    @property
    def objectives(self) -> Sequence[str]:
        """What requests may give weights to."""
        return self._scorer.objectives

    def scores(self, request: Request, item_ids: Sequence[Id]) -> ScoredItems:
        """Scores and probabilities by kind of `item_ids`; the request is valid but for unknown objectives."""
        self._check_ready()
        return self._scorer.predict(request, item_ids, self.stream_time)

    def recommend_many(self, requests: Sequence[Request]) -> Sequence[Slate]:
        """A slate for each request that was built in Python. Raises RefusedError for the first that HTTP refuses."""
        return self.slates([checked_request(one, self._limits) for one in requests])

    def score(
        self,
        user_id: Id,
        item_ids: Sequence[Id],
        context: Mapping[str, Scalar] | None = None,
        objectives: Mapping[str, float] | None = None,
    ) -> Sequence[float]:
        """Scores, one for each of `item_ids`. Raises RefusedError for what HTTP refuses."""
        request, items = score_request(self._limits, user_id, item_ids, None, context, objectives)
        scores: list[float] = self.scores(request, items).scores.tolist()
        return scores

    def similar(self, item_id: Id, k: int) -> Sequence[Neighbour] | None:
        """The `k` items nearest to this one; None if the item is unknown."""
        self._check_ready()
        return similar_items(self._served, item_id, k)

    def features(self) -> FeatureReport:
        """What is known of the features of items and users."""
        self._check_ready()
        return feature_report(self._served, self._scorer.newest)

    def interests(self, user_id: Id) -> Sequence[Interest]:
        """The user's interests, most important first."""
        self._check_ready()
        return user_interests(self._served, self._users.interests(user_id, self.stream_time))

    def status(self) -> Status:
        """What is served, how old it is, and what cannot be reached; `events` are those that this process accepted."""
        replica = self._served.replica
        tables: dict[str, int] = {}
        with suppress(RuntimeError):  # the first snapshot may be adding the tables on another thread
            tables = rows_by_table(replica.tables)
        failed = self._opened.done() and self._opened.exception() is not None
        return {
            **replica_status(replica, self._now_ms()),
            "events": self._accepted,
            "examples": replica.examples,
            "rows": sum(tables.values()),
            "tables": tables,
            "items": len(self._served.signals.catalogue),
            "stream_time": self.stream_time,
            "state": "failed" if failed else "ready" if self.ready() else "starting",
            "problem": self._problem or replica.problem,
            "channel_away": replica.away,
            "waits_for_snapshot": replica.waiting,
            "users_away": self._users.away,
        }
