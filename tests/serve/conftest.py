"""A service without a model, and the API over it on a real socket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import numpy as np
import pytest

from stream_reco.clock import ManualClock
from stream_reco.events import Event, Id
from stream_reco.events.packed import EventBatch
from stream_reco.serve.http.app import Api
from stream_reco.serve.http.server import HttpServer
from stream_reco.serve.feature_report import Feature, FeatureReport
from stream_reco.serve.service import Accepted, Rejection, UnavailableError
from stream_reco.serve.settings import ServeSettings
from stream_reco.serve.slate.request import Request
from stream_reco.serve.slate.slate import Interest, Neighbour, ScoredItems, Slate, SlateItem
from stream_reco.serve.status import Status, starting_status

NOW = 1_507_000_000_000
TURN_SECONDS = 5.0


@dataclass
class ToyService:
    """Recommends the items of the events it took, newest first; keeps what it was asked."""

    events: list[Event] = field(default_factory=list)
    asked: list[tuple[object, ...]] = field(default_factory=list)
    backlog: int = 0
    by_kind: dict[str, float] = field(default_factory=dict)
    by_value: dict[str, float] = field(default_factory=dict)
    is_ready: bool = True
    refuses: str | None = None
    fails: Exception | None = None
    turns: threading.Semaphore | None = None
    """Where there is one, slates wait for it, however many are made at once."""
    batches: list[int] = field(default_factory=list)
    """How many events there were before and after each batch."""
    begun: int = 0
    """How often slates were begun to be made."""

    def ready(self) -> bool:
        return self.is_ready

    @contextmanager
    def taking_batch(self) -> Iterator[None]:
        self.batches.append(len(self.events))
        yield
        self.batches.append(len(self.events))

    def new_batch(self) -> EventBatch:
        return []

    async def accept(self, events: Sequence[Event]) -> Accepted:
        await asyncio.sleep(0)
        if self.fails:
            raise self.fails
        known = {event.event_id for event in self.events}
        fresh: list[Event] = []
        rejected: list[Rejection] = []
        for index, event in enumerate(events):
            if event.event_id is not None and event.event_id == self.refuses:
                rejected.append(Rejection(index, "value", "refused by the loop"))
            elif event.event_id is None or event.event_id not in known:
                known |= {event.event_id}
                fresh.append(event)
        self.events += fresh
        return Accepted(len(fresh), len(events) - len(fresh) - len(rejected), rejected)

    def _items(self) -> list[Id]:
        return list(dict.fromkeys(event.item_id for event in reversed(self.events) if hasattr(event, "item_id")))

    def slates(self, requests: Sequence[Request]) -> Sequence[Slate]:
        self.begun += 1
        if self.turns is not None:
            self.turns.acquire(timeout=TURN_SECONDS)
        return [self._slate(one) for one in requests]

    def _slate(self, request: Request) -> Slate:
        self.asked.append((request.user_id, request.k, request.context, request.exclude, request.filters))
        if self.fails:
            raise self.fails
        items = [item for item in self._items() if item not in request.exclude][: request.k]
        slots = [
            SlateItem(item, 0.5, "fresh", 0.25 if i == len(items) - 1 else 1.0, self.by_kind, self.by_value)
            for i, item in enumerate(items)
        ]
        return Slate("r-1", 7, slots)

    @property
    def objectives(self) -> Sequence[str]:
        return list(self.by_kind)

    def scores(self, request: Request, item_ids: Sequence[Id]) -> ScoredItems:
        self.asked.append((request.user_id, item_ids, request.context))
        scores = np.array([1 / (2 + index) for index in range(len(item_ids))], dtype=np.float32)
        return ScoredItems(scores, dict.fromkeys(self.by_kind, scores), dict.fromkeys(self.by_value, 2 * scores))

    def similar(self, item_id: Id, k: int) -> Sequence[Neighbour] | None:
        self.asked.append((item_id, k))
        return [Neighbour("near", 0.9)][:k] if item_id in self._items() else None

    def interests(self, user_id: Id) -> Sequence[Interest]:
        self.asked.append((user_id,))
        return [Interest("medoid", 1.5)]

    def features(self) -> FeatureReport:
        return FeatureReport([Feature("item", "category", "category", 1.0, 2, 0.5, 0, [])], 3)

    async def forget(self, user_id: Id) -> None:
        self.asked.append((user_id,))
        if self.fails:
            raise UnavailableError("disk", "no room", retry_after=9)

    def status(self) -> Status:
        return {
            **starting_status(),
            "events": len(self.events),
            "version": 7,
            "staleness_seconds": 0.5,
            "rows": 2,
            "tables": {"item": 2},
        }


Serving = Callable[..., httpx.Client]


@pytest.fixture(scope="session")
def shared() -> Iterator[tuple[ToyService, httpx.Client]]:
    """One server with the settings that come by themselves: a start and a stop take longer than most tests."""
    service = ToyService()
    with HttpServer("127.0.0.1", 0) as server, httpx.Client(base_url=server.url, timeout=10) as client:
        server.start(Api(service, ManualClock(NOW), ServeSettings()))
        yield service, client


@pytest.fixture
def service(shared: tuple[ToyService, httpx.Client]) -> ToyService:
    """The service behind every server of a test, as new."""
    vars(shared[0]).update(vars(ToyService()))
    return shared[0]


@pytest.fixture
def client(shared: tuple[ToyService, httpx.Client], service: ToyService) -> httpx.Client:
    """A client of the shared server, whose service is as new."""
    assert shared[0] is service
    return shared[1]


@pytest.fixture
def serving(service: ToyService) -> Iterator[Serving]:
    """Starts a server with these settings and gives a client of it."""
    opened: list[tuple[HttpServer, httpx.Client]] = []

    def start(**settings: object) -> httpx.Client:
        server = HttpServer("127.0.0.1", 0)
        api = Api(service, ManualClock(NOW), ServeSettings(**settings))  # type: ignore[arg-type] # any setting
        opened.append((server.start(api), httpx.Client(base_url=server.url, timeout=10)))
        return opened[-1][1]

    yield start
    for server, client in opened:
        client.close()
        server.stop()
