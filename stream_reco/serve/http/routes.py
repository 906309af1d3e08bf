"""The handlers of the routes: they have a request decoded and checked, call the service, and encode its answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from functools import partial

import msgspec
import orjson

from stream_reco.clock import Clock
from stream_reco.events import Id
from stream_reco.serve.http.body_memory import DecodingTurns
from stream_reco.serve.http.event_bodies import INLINE_BYTES, EventBodies
from stream_reco.serve.http.messages import RETRY_AFTER, HttpError, HttpRequest, HttpResponse, path_id, query_int
from stream_reco.serve.http.request_queue import RequestQueue
from stream_reco.serve.request_validation import RecommendRequest, ScoreRequest, check_k, decode_request
from stream_reco.serve.service import Accepted, Service
from stream_reco.serve.settings import ServeSettings
from stream_reco.serve.slate.request import Request
from stream_reco.serve.slate.slate import Interest, Neighbour

Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]
DEFAULT_SIMILAR = 10


class Scores(msgspec.Struct, frozen=True):
    """One calibrated probability for each of the request's `item_ids`, in their order.

    With objectives scores are the sum of weight × probability. `probabilities` has one for each item by kind of action,
    `values` what its actions are expected to bring, of kinds whose actions carry values; what is empty is left out.
    """

    scores: list[float]
    probabilities: dict[str, list[float]] = {}
    values: dict[str, list[float]] = {}


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

    def __init__(self, service: Service, clock: Clock, settings: ServeSettings, queue: RequestQueue) -> None:
        self._service = service
        self._clock = clock
        self._settings = settings
        self._bodies = EventBodies(settings.max_events, int(settings.future_seconds * 1000), service.new_batch)
        self._turns = DecodingTurns()
        self._queue = queue

    async def post_events(self, request: HttpRequest) -> HttpResponse:
        """`POST /v1/events`: good events are durable when this answers; bad ones are reported by index."""
        self._check_backlog()
        body = request.body
        async with self._turns.turn(len(body)):
            # What takes a millisecond on the event loop needs nobody to make way.
            with self._service.taking_batch() if len(body) > INLINE_BYTES else nullcontext():
                decoded = await self._bodies.decode(body, self._clock.now_ms())
                taken = await self._service.accept(decoded.events) if decoded.events else Accepted(0, 0)
                answer = _ENCODER.encode(decoded.answer(taken))
        return HttpResponse(answer)

    async def recommend(self, request: HttpRequest) -> HttpResponse:
        """`POST /v1/recommend`."""
        wanted = decode_request(request.body, RecommendRequest, self._settings)
        asked = Request(
            wanted.user_id, wanted.k, None, wanted.context, wanted.exclude, wanted.filters, wanted.objectives
        )
        slate = await self._queue.slate(request, asked)
        return HttpResponse(_ENCODER.encode(slate))

    async def score(self, request: HttpRequest) -> HttpResponse:
        """`POST /v1/score`."""
        wanted = decode_request(request.body, ScoreRequest, self._settings)
        asked = Request(wanted.user_id, context=wanted.context, objectives=wanted.objectives)
        scored = await self._queue.compute(request, partial(self._service.scores, asked, wanted.item_ids))
        answer = {name: found for name, found in scored._asdict().items() if name == "scores" or found}
        return HttpResponse(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY))

    async def similar(self, request: HttpRequest) -> HttpResponse:
        """`GET /v1/items/{id}/similar?k=`."""
        item_id = path_id(request.args[0])
        k = query_int(request.scope, "k", DEFAULT_SIMILAR)
        check_k(k, self._settings)
        found = await self._queue.compute(request, partial(self._service.similar, item_id, k))
        if found is None:
            raise HttpError(404, "item", f"unknown item {item_id!r}: no event has mentioned it")
        return HttpResponse(_ENCODER.encode(SimilarItems(item_id, list(found))))

    async def interests(self, request: HttpRequest) -> HttpResponse:
        """`GET /v1/users/{id}/interests`."""
        user_id = path_id(request.args[0])
        found = await self._queue.compute(request, partial(self._service.interests, user_id))
        return HttpResponse(_ENCODER.encode(UserInterests(user_id, list(found))))

    async def features(self, request: HttpRequest) -> HttpResponse:
        """`GET /v1/features`."""
        return HttpResponse(_ENCODER.encode(await self._queue.compute(request, self._service.features)))

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
