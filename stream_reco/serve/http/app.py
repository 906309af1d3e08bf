"""The HTTP API as a raw ASGI application: routing, access, metrics, and errors."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from functools import cache

import msgspec
from prometheus_client import Counter, Histogram
from prometheus_client.exposition import choose_encoder

from stream_reco.clock import Clock
from stream_reco.events import BadEvent
from stream_reco.metrics import REQUEST_SECONDS, REQUESTS
from stream_reco.metrics.exposition import exposed
from stream_reco.serve.http.auth import ForbiddenError, Guard
from stream_reco.serve.http.body_memory import BodyMemory
from stream_reco.serve.http.dashboard_page import Page
from stream_reco.serve.http.messages import (
    RETRY_AFTER,
    DisconnectedError,
    HttpError,
    HttpRequest,
    HttpResponse,
    Receive,
    Scope,
    Send,
    check_host,
    check_query,
    error_response,
    header,
)
from stream_reco.serve.http.openapi import openapi
from stream_reco.serve.http.request_body import read_body
from stream_reco.serve.http.request_queue import RequestQueue
from stream_reco.serve.http.routes import Handler, Routes
from stream_reco.serve.refused import RefusedError
from stream_reco.serve.service import STOPPING, NotSetUpError, Service, UnavailableError
from stream_reco.serve.settings import ServeSettings

logger = logging.getLogger(__name__)
VARIABLE = b"*"
NO_STORE = ((b"cache-control", b"no-store"),)
_SHED_EARLY = {b"/v1/recommend": "/v1/recommend", b"/v1/score": "/v1/score"}
"""Targets, with their routes, whose requests are refused by the connection where too many wait: most of an overload."""


@dataclass(frozen=True)
class Route:
    """One method on one path.

    An `open` route needs no token; one that `waits` answers 503 until the service is ready; one that is `queued` must
    be computed, and is answered 503 while too many others wait for that. `query` names the
    parameters that it takes; None: whatever is there is passed over.
    """

    method: str
    template: str
    handler: Handler
    open: bool = False
    waits: bool = True
    queued: bool = False
    query: tuple[str, ...] | None = ()


class _Ready(msgspec.Struct, frozen=True):
    ready: bool
    problem: str


class Api:
    """The ASGI application."""

    def __init__(self, service: Service, clock: Clock, settings: ServeSettings) -> None:
        self._service = service
        self._settings = settings
        self._guard = Guard(settings)
        self._memory = BodyMemory(settings.body_memory_megabytes * 1_000_000)
        self._page = Page.load()
        self._schema = openapi(settings)
        self._described: tuple[str, ...] = ()
        """The objectives that the description names."""
        self._queue = RequestQueue(service.slates, settings)
        self._paths: dict[tuple[bytes, ...], dict[str, Route]] = {}
        for route in self._routes(Routes(service, clock, settings, self._queue)):
            segments = tuple(VARIABLE if s.startswith("{") else s.encode() for s in route.template.split("/"))
            self._paths.setdefault(segments, {})[route.method] = route

    def shed(self, target: bytes) -> HttpResponse | None:
        """The refusal of a request of this target if too many wait; None: it may be answered."""
        if target not in _SHED_EARLY:
            return None
        self._queue.notice()
        refusal = self._queue.refusal()
        if refusal is not None:
            requests, seconds = _series(_SHED_EARLY[target], refusal.status)
            requests.inc()
            seconds.observe(0.0)
        return refusal

    def _routes(self, routes: Routes) -> list[Route]:
        return [
            Route("POST", "/v1/events", routes.post_events),
            Route("POST", "/v1/recommend", routes.recommend, queued=True),
            Route("POST", "/v1/score", routes.score, queued=True),
            Route("GET", "/v1/items/{id}/similar", routes.similar, queued=True, query=("k",)),
            Route("GET", "/v1/users/{id}/interests", routes.interests, queued=True),
            Route("GET", "/v1/features", routes.features, queued=True),
            Route("DELETE", "/v1/users/{id}", routes.forget),
            Route("GET", "/v1/status", routes.status, waits=False),
            Route("GET", "/health/live", self._live, open=True, waits=False, query=None),
            Route("GET", "/health/ready", self._ready, open=True, query=None),
            Route("GET", "/metrics", self._metrics, open=self._settings.open_metrics, waits=False, query=None),
            Route("GET", "/dashboard", self._dashboard, open=True, waits=False, query=None),
            Route("GET", "/schema", self._openapi, open=True, waits=False, query=None),
            Route("GET", "/", self._home, open=True, waits=False, query=None),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        if scope["type"] != "http":
            return
        self._queue.notice()
        template = "unknown"
        started = time.perf_counter()
        held = self._memory.hold()
        try:
            check_host(scope)
            route, args = self._match(scope)
            template = route.template
            self._check_access(scope, route)
            if scope["query_string"] and route.query is not None:
                check_query(scope, route.query)
            refusal = self._queue.refusal() if route.queued else None
            if refusal is None:
                body: bytes | bytearray = b""
                if route.method == "POST":
                    body = await read_body(scope, receive, self._settings, held)
                    started = time.perf_counter()
                refusal = await route.handler(HttpRequest(scope, args, body, receive, started))
            response = refusal
        except DisconnectedError:
            return
        except asyncio.CancelledError:
            # The server stops and has waited long enough, for the rest of a slow body say.
            response = error_response(HttpError(503, "stopping", STOPPING, RETRY_AFTER))
        except Exception as problem:  # any error becomes an answer, and the server goes on
            response = error_response(_as_http_error(problem))
        finally:
            held.release()
        await response.send(send)
        requests, seconds = _series(template, response.status)
        requests.inc()
        seconds.observe(time.perf_counter() - started)

    def _match(self, scope: Scope) -> tuple[Route, tuple[bytes, ...]]:
        segments = tuple(scope["raw_path"].split(b"/"))
        args: tuple[bytes, ...] = ()
        methods = self._paths.get(segments)
        if methods is None and len(segments) in (4, 5):
            args = (segments[3],)
            methods = self._paths.get((*segments[:3], VARIABLE, *segments[4:]))
        if methods is None:
            raise HttpError(404, "route", f"unknown path {scope['path']!r}: /schema lists the paths")
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        route = methods.get(method)
        if route is None:
            allowed = ", ".join([*methods, "HEAD"] if "GET" in methods else methods)
            message = f"{scope['path']!r} does not allow {scope['method']}: use {allowed}"
            raise HttpError(405, "method", message, ((b"allow", allowed.encode()),))
        return route, args

    def _check_access(self, scope: Scope, route: Route) -> None:
        self._guard.check_origin(header(scope, b"host"), header(scope, b"origin"))
        if not route.open:
            self._guard.check_token(header(scope, b"authorization"))
        if route.waits and not self._service.ready():
            raise HttpError(503, "not_ready", "the server is still starting: try again soon", RETRY_AFTER)

    async def _live(self, _: HttpRequest) -> HttpResponse:
        return HttpResponse(b'{"live":true}')

    async def _ready(self, _: HttpRequest) -> HttpResponse:
        # It goes on answering when nothing is learned any more, and says so to whoever looks after it.
        problem = self._service.status()["problem"]
        return HttpResponse(b'{"ready":true}' if problem is None else msgspec.json.encode(_Ready(True, problem)))

    async def _metrics(self, request: HttpRequest) -> HttpResponse:
        encode, content_type = choose_encoder(header(request.scope, b"accept") or "")
        return HttpResponse(encode(exposed()), content_type=content_type.encode(), headers=NO_STORE)

    async def _dashboard(self, _: HttpRequest) -> HttpResponse:
        return HttpResponse(self._page.body, content_type=b"text/html; charset=utf-8", headers=self._page.headers)

    async def _openapi(self, _: HttpRequest) -> HttpResponse:
        known = tuple(self._service.objectives)
        if known != self._described:
            self._schema, self._described = openapi(self._settings, known), known
        return HttpResponse(self._schema)

    async def _home(self, _: HttpRequest) -> HttpResponse:
        return HttpResponse(b"", status=307, headers=((b"location", b"/dashboard"),))


@cache
def _series(template: str, status: int) -> tuple[Counter, Histogram]:
    # To look series up by their labels takes longer than to count.
    return REQUESTS.labels(template, str(status)), REQUEST_SECONDS.labels(template)


def _as_http_error(problem: Exception) -> HttpError:
    if isinstance(problem, HttpError):
        return problem
    if isinstance(problem, RefusedError | BadEvent):
        return HttpError(400, problem.reason, str(problem))
    if isinstance(problem, UnavailableError):
        return HttpError(503, problem.reason, str(problem), ((b"retry-after", str(problem.retry_after).encode()),))
    if isinstance(problem, NotSetUpError):
        return HttpError(501, problem.reason, str(problem))
    if isinstance(problem, ForbiddenError):
        challenge = ((b"www-authenticate", b"Bearer"),) if problem.status == 401 else ()
        return HttpError(problem.status, problem.reason, str(problem), challenge)
    logger.error("a request failed", exc_info=problem)
    return HttpError(500, "internal", "the server failed to answer this request; its log says why")
