"""The OpenAPI 3.1 description of the API, built from the structs that the routes read and write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from stream_reco.events import Action, Impression, ItemEvent, Retraction, UserEvent
from stream_reco.events.schema import INT64_MAX, INT64_MIN, MAX_ID_BYTES
from stream_reco.serve.feature_report import FeatureReport
from stream_reco.serve.http.filter_schema import CONDITION, FILTERS
from stream_reco.serve.http.routes import (
    DEFAULT_SIMILAR,
    Deleted,
    Scores,
    SimilarItems,
    UserInterests,
)
from stream_reco.serve.request_validation import RecommendRequest, ScoreRequest
from stream_reco.serve.service import Accepted
from stream_reco.serve.settings import MOST_WEIGHT, ServeSettings
from stream_reco.serve.slate.slate import Slate
from stream_reco.serve.status import Status

Json = dict[str, Any]
TITLE = "stream_reco"
VERSION = "1"
STAMPED = "Milliseconds since the epoch, UTC; the time of arrival where it is missing."
NO_EVENT = "Anything else is rejected: its index and the reason stand in the answer. The others are taken."
ID_IN_PATH = "A canonical 64-bit integer is an integer id, a JSON-quoted one is text, anything else is text as it is."


ID_SCHEMA: Json = {
    "anyOf": [
        {"type": "integer", "minimum": INT64_MIN, "maximum": INT64_MAX},
        {"type": "string", "minLength": 1, "maxLength": MAX_ID_BYTES, "pattern": '^[^"]'},
        {"type": "string", "minLength": 3, "pattern": r'^"([^"\\\u0000-\u001f]|\\["\\/bfnrt])+"$'},
    ]
}


class Problem(msgspec.Struct, frozen=True):
    """A short code and a sentence for people."""

    reason: str
    message: str


class Error(msgspec.Struct, frozen=True):
    """The body of every error response."""

    error: Problem


class Live(msgspec.Struct, frozen=True):
    """The process runs."""

    live: bool


class Ready(msgspec.Struct, frozen=True):
    """It can answer."""

    ready: bool


EVENTS: tuple[type[Any], ...] = (Impression, Action, Retraction, ItemEvent, UserEvent)
STRUCTS: tuple[type[Any], ...] = (
    *EVENTS,
    RecommendRequest,
    ScoreRequest,
    Accepted,
    Slate,
    Scores,
    SimilarItems,
    UserInterests,
    FeatureReport,
    Deleted,
    Status,
    Live,
    Ready,
    Error,
)
ERRORS = {
    400: "The request is malformed or out of bounds",
    401: "A token is missing or unknown",
    403: "A page of another site made the request",
    404: "Unknown path or item",
    405: "The path does not allow this method; Allow names those that it does",
    408: "The body did not arrive in time",
    413: "The body is too large",
    414: "The request target is longer than 16 KiB",
    421: "The Host header names another server",
    429: "Too much waits to be done; Retry-After says when to try again",
    431: "The head of the request is longer than 64 KiB, or has more than 200 fields",
    500: "The server failed",
    501: "The server cannot store events; the message names the setting",
    503: "The server is not ready, cannot do it now, or too many requests wait; Retry-After says when to try again",
}
ALWAYS = (400, 403, 405, 414, 421, 431, 500)
BODY_ERRORS = (408, 413)
BUSY = (429, 503)
HEADERS = {
    307: ("Location", "Where to go", {"type": "string"}),
    401: ("WWW-Authenticate", "Bearer", {"type": "string"}),
    405: ("Allow", "The methods of this path", {"type": "string"}),
    429: ("Retry-After", "Seconds", {"type": "integer", "minimum": 1}),
    503: ("Retry-After", "Seconds", {"type": "integer", "minimum": 1}),
}
"""The header that an answer of this status always carries: name, meaning, schema."""


def openapi(settings: ServeSettings, objectives: Sequence[str] = ()) -> bytes:
    """The description as JSON, with this server's limits and the `objectives` that requests may name in it."""
    _, components = msgspec.json.schema_components(STRUCTS, ref_template="#/components/schemas/{name}")
    _set_limits(components, settings)
    for request in ("RecommendRequest", "ScoreRequest"):
        components[request]["properties"]["objectives"] = _objectives(objectives)
    secured = settings.token is not None or bool(settings.token_hashes)
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": TITLE,
            "version": VERSION,
            "summary": "A recommender that learns while people click.",
            "description": "Post what people see and do, ask for what they should see next. Times are milliseconds "
            'since the epoch, UTC. Ids are signed 64-bit integers or texts of 1 to 512 bytes of UTF-8; 5 and "5" '
            "are different ids. JavaScript should send ids as text.",
        },
        "paths": _paths(settings),
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    if secured:
        document["security"] = [{"token": []}]
    return msgspec.json.encode(document)


def _objectives(names: Sequence[str]) -> Json:
    weights: Json = {
        "type": "object",
        "description": "Weights of kinds of actions, or of what they bring (kind.value): the score is the sum of weight"
        " × probability. The names are those known when this description was asked for.",
        "additionalProperties": {"type": "number", "minimum": 0, "maximum": MOST_WEIGHT},
        **({"propertyNames": {"enum": list(names)}} if names else {"maxProperties": 0}),
    }
    return {"anyOf": [weights, {"type": "null"}], "default": None}


def _set_limits(components: Json, settings: ServeSettings) -> None:
    recommend = components["RecommendRequest"]["properties"]
    recommend["k"] |= {"minimum": 1, "maximum": settings.max_k}
    recommend["exclude"]["maxItems"] = settings.max_items
    components["Condition"] = CONDITION
    recommend["filters"] = {"anyOf": [FILTERS, {"type": "null"}], "default": None}
    components["ScoreRequest"]["properties"]["item_ids"]["maxItems"] = settings.max_items
    for struct in EVENTS:
        components[struct.__name__]["required"].remove("timestamp")
        components[struct.__name__]["properties"]["timestamp"]["description"] = STAMPED


def _paths(settings: ServeSettings) -> Json:
    events = {"anyOf": [*(_ref(s) for s in EVENTS), {"description": NO_EVENT}], "discriminator": _discriminator()}
    batch = {"type": "array", "items": events, "maxItems": settings.max_events}
    events_summary = "Take events; answers once they are durable"
    interests = _operation("interests", "What a user is interested in", UserInterests, (401, *BUSY), [_id()])
    features = _operation("features", "What features there are, and what they are worth", FeatureReport, (401, *BUSY))
    forget = _operation("deleteUser", "Forget a user", Deleted, (401, 501, *BUSY), [_id()])
    return {
        "/v1/events": {"post": _post("postEvents", events_summary, batch, Accepted, 501)},
        "/v1/recommend": {"post": _post("recommend", "A slate for a user", _ref(RecommendRequest), Slate)},
        "/v1/score": {"post": _post("score", "Probabilities for given items", _ref(ScoreRequest), Scores)},
        "/v1/items/{id}/similar": {"get": _similar(settings)},
        "/v1/users/{id}/interests": {"get": interests},
        "/v1/users/{id}": {"delete": forget},
        "/v1/features": {"get": features},
        "/v1/status": {"get": _operation("status", "The loop in figures", Status, (401, *BUSY))},
        "/health/live": {"get": _open(_operation("live", "Whether the process runs", Live, (503,)))},
        "/health/ready": {"get": _open(_operation("ready", "Whether it can answer", Ready, (503,)))},
        "/metrics": {"get": _metrics(settings)},
        "/dashboard": {"get": _open(_plain("dashboard", "A live page", ("text/html",)))},
        "/schema": {"get": _open(_plain("schema", "This description", ("application/json",)))},
        "/": {"get": _open(_home())},
    }


def _ref(struct: type[Any]) -> Json:
    return {"$ref": f"#/components/schemas/{struct.__name__}"}


def _discriminator() -> Json:
    mapping = {str(s.__struct_config__.tag): f"#/components/schemas/{s.__name__}" for s in EVENTS}
    return {"propertyName": "type", "mapping": mapping}


def _id() -> Json:
    return {"name": "id", "in": "path", "required": True, "description": ID_IN_PATH, "schema": ID_SCHEMA}


def _operation(
    name: str, summary: str, answer: type[Any], errors: tuple[int, ...], parameters: list[Json] | None = None
) -> Json:
    operation: Json = {"operationId": name, "summary": summary}
    if parameters:
        operation["parameters"] = parameters
    operation["responses"] = {"200": _content("Done", ("application/json",), _ref(answer))} | _errors(*errors)
    return operation


def _post(name: str, summary: str, body: Json, answer: type[Any], *errors: int) -> Json:
    operation = _operation(name, summary, answer, (*BODY_ERRORS, 401, *BUSY, *errors))
    operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return operation


def _similar(settings: ServeSettings) -> Json:
    schema = {"type": "integer", "minimum": 1, "maximum": settings.max_k, "default": DEFAULT_SIMILAR}
    k = {"name": "k", "in": "query", "description": "How many", "schema": schema}
    return _operation("similar", "Items like this one", SimilarItems, (401, 404, *BUSY), [_id(), k])


def _metrics(settings: ServeSettings) -> Json:
    media = ("text/plain", "application/openmetrics-text")
    if settings.open_metrics:
        return _open(_plain("metrics", "Prometheus metrics of every stage", media))
    return _plain("metrics", "Prometheus metrics of every stage", media, 401)


def _plain(name: str, summary: str, media: tuple[str, ...], *errors: int) -> Json:
    responses = {"200": _content("Done", media, {})} | _errors(*errors)
    return {"operationId": name, "summary": summary, "responses": responses}


def _home() -> Json:
    moved = {"description": "To the live page", "headers": _headers(307)}
    return {"operationId": "home", "summary": "Leads to the live page", "responses": {"307": moved} | _errors()}


def _open(operation: Json) -> Json:
    return operation | {"security": []}


def _errors(*statuses: int) -> Json:
    return {str(status): _error(status) for status in sorted({*statuses, *ALWAYS})}


def _error(status: int) -> Json:
    content = _content(ERRORS[status], ("application/json",), _ref(Error))
    return content | {"headers": _headers(status)} if status in HEADERS else content


def _headers(status: int) -> Json:
    name, meaning, schema = HEADERS[status]
    return {name: {"description": meaning, "required": True, "schema": schema}}


def _content(description: str, media: tuple[str, ...], schema: Json) -> Json:
    return {"description": description, "content": {kind: {"schema": schema} for kind in media}}
