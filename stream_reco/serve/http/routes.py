"""The handlers of the routes: they have a request decoded and checked, call the service, and encode its answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec
import orjson

from stream_reco.clock import Clock
from stream_reco.events import BadEvent, Event, Id, check_time, decode_many
from stream_reco.events.field_names import FieldWarnings
from stream_reco.metrics import EVENTS_REJECTED
from stream_reco.serve.http.messages import HttpError, HttpRequest, HttpResponse, path_id, query_int
from stream_reco.serve.request_validation import RecommendRequest, ScoreRequest, check_k, decode_request
from stream_reco.serve.service import Accepted, Rejection, Service
from stream_reco.serve.settings import ServeSettings
from stream_reco.serve.slate.slate import Interest, Neighbour

Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]
RETRY_AFTER = ((b"retry-after", b"1"),)
DEFAULT_SIMILAR = 10


class Scores(msgspec.Struct, frozen=True):
    """One calibrated probability for each of the request's `item_ids`, in their order."""

    scores: list[float]


class SimilarItems(msgspec.Struct, frozen=True):
    """The items nearest to one item, nearest first."""

    item_id: Id
    items: list[Neighbour]


class UserInterests(msgspec.Struct, frozen=True):
    """A user's interests, most important first."""

    user_id: Id
    interests: list[Interest]


class Deleted(msgspec.Struct, frozen=True):
    """The user whose data is gone."""

    user_id: Id
    deleted: bool


_ENCODER = msgspec.json.Encoder()


class Routes:
    """The handlers of `/v1`, over one service."""

    def __init__(self, service: Service, clock: Clock, settings: ServeSettings) -> None:
        self._service = service
        self._clock = clock
        self._settings = settings
        self._future_ms = int(settings.future_seconds * 1000)

    async def post_events(self, request: HttpRequest) -> HttpResponse:
        """`POST /v1/events`: good events are durable when this answers; bad ones are reported by index."""
        self._check_backlog()
        now = self._clock.now_ms()
        events, places, rejected = self._validate(self._decode_events(request.body, now), now)
        taken = await self._service.accept(events) if events else Accepted(0, 0)
        rejected += [Rejection(places[r.index], r.reason, r.message) for r in taken.rejected]
        rejected.sort(key=lambda rejection: rejection.index)
        unknown = FieldWarnings()
        unknown.read(request.body)
        answer = Accepted(taken.accepted, taken.duplicates, rejected, tuple(unknown.described), unknown.more)
        return HttpResponse(_ENCODER.encode(answer))

    async def recommend(self, request: HttpRequest) -> HttpResponse:
        """`POST /v1/recommend`."""
        wanted = decode_request(request.body, RecommendRequest, self._settings)
        slate = self._service.recommend(wanted.user_id, wanted.k, wanted.context, wanted.exclude, wanted.filters)
        return HttpResponse(_ENCODER.encode(slate))

    async def score(self, request: HttpRequest) -> HttpResponse:
        """`POST /v1/score`."""
        wanted = decode_request(request.body, ScoreRequest, self._settings)
        scores = self._service.score(wanted.user_id, wanted.item_ids, wanted.context)
        return HttpResponse(orjson.dumps({"scores": scores}, option=orjson.OPT_SERIALIZE_NUMPY))

    async def similar(self, request: HttpRequest) -> HttpResponse:
        """`GET /v1/items/{id}/similar?k=`."""
        item_id = path_id(request.args[0])
        k = query_int(request.scope, "k", DEFAULT_SIMILAR)
        check_k(k, self._settings)
        found = self._service.similar(item_id, k)
        if found is None:
            raise HttpError(404, "item", f"unknown item {item_id!r}: no event has mentioned it")
        return HttpResponse(_ENCODER.encode(SimilarItems(item_id, list(found))))

    async def interests(self, request: HttpRequest) -> HttpResponse:
        """`GET /v1/users/{id}/interests`."""
        user_id = path_id(request.args[0])
        return HttpResponse(_ENCODER.encode(UserInterests(user_id, list(self._service.interests(user_id)))))

    async def forget(self, request: HttpRequest) -> HttpResponse:
        """`DELETE /v1/users/{id}`: deleting an unknown user is no error, so that it can be repeated."""
        user_id = path_id(request.args[0])
        await self._service.forget(user_id)
        return HttpResponse(_ENCODER.encode(Deleted(user_id, True)))

    async def status(self, _: HttpRequest) -> HttpResponse:
        """`GET /v1/status`."""
        return HttpResponse(_ENCODER.encode(self._service.status()))

    def _check_backlog(self) -> None:
        backlog = self._service.backlog
        if backlog >= self._settings.max_backlog:
            message = f"{backlog} events wait to be learned from: send again after the seconds in Retry-After"
            raise HttpError(429, "backlog", message, RETRY_AFTER)

    def _decode_events(self, body: bytes, now: int) -> Sequence[Event | BadEvent]:
        try:
            decoded = decode_many(body, arrived_at=now)
        except BadEvent as bad:
            raise HttpError(400, bad.reason, str(bad)) from None
        if len(decoded) > self._settings.max_events:
            raise HttpError(
                400, "batch", f"the batch has {len(decoded)} events: send at most {self._settings.max_events} at a time"
            )
        return decoded

    def _validate(
        self, decoded: Sequence[Event | BadEvent], now: int
    ) -> tuple[list[Event], list[int], list[Rejection]]:
        events: list[Event] = []
        places: list[int] = []
        rejected: list[Rejection] = []
        for index, event in enumerate(decoded):
            try:
                if isinstance(event, BadEvent):
                    raise event
                check_time(event, now, self._future_ms)
            except BadEvent as bad:
                EVENTS_REJECTED.labels(bad.reason).inc()
                rejected.append(Rejection(index, bad.reason, str(bad)))
            else:
                events.append(event)
                places.append(index)
        return events, places, rejected
