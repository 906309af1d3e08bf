"""The OpenAPI 3.1 description of the API, built from the structs that the routes read and write."""

from __future__ import annotations

from typing import Any

import msgspec

from stream_reco.events import Action, Impression, ItemEvent, Retraction, UserEvent
from stream_reco.serve.http.routes import (
    DEFAULT_SIMILAR,
    Deleted,
    Scores,
    SimilarItems,
    UserInterests,
)
from stream_reco.serve.request_validation import RecommendRequest, ScoreRequest
from stream_reco.serve.service import Accepted
from stream_reco.serve.settings import ServeSettings
from stream_reco.serve.slate.slate import Slate
from stream_reco.serve.status import Status

Json = dict[str, Any]
TITLE = "stream_reco"
VERSION = "1"
ID_IN_PATH = "A canonical 64-bit integer is an integer id, a JSON-quoted one is text, anything else is text as it is."


class Problem(msgspec.Struct, frozen=True):
    """A short code and a sentence for people."""

    reason: str
    message: str


class Error(msgspec.Struct, frozen=True):
    """The body of every error response."""

    error: Problem


STRUCTS: tuple[type[Any], ...] = (
    Impression,
    Action,
    Retraction,
    ItemEvent,
    UserEvent,
    RecommendRequest,
    ScoreRequest,
    Accepted,
    Slate,
    Scores,
    SimilarItems,
    UserInterests,
    Deleted,
    Status,
    Error,
)
ERRORS = {
    400: "The request is malformed or out of bounds",
    401: "A token is missing or unknown",
    403: "A page of another site made the request",
    404: "Unknown path or item",
    408: "The body did not arrive in time",
    413: "The body is too large",
    421: "The Host header names another server",
    429: "Too many events wait to be learned from; Retry-After says when to try again",
    500: "The server failed",
    501: "The server cannot store events; the message names the setting",
    503: "The server is not ready; Retry-After says when to try again",
}
ALWAYS = (403, 421, 500)
BODY_ERRORS = (400, 408, 413)


def openapi(settings: ServeSettings) -> bytes:
    """The description as JSON, with this server's limits in it."""
    _, components = msgspec.json.schema_components(STRUCTS, ref_template="#/components/schemas/{name}")
    _set_limits(components, settings)
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


def _set_limits(components: Json, settings: ServeSettings) -> None:
    recommend = components["RecommendRequest"]["properties"]
    recommend["k"] |= {"minimum": 1, "maximum": settings.max_k}
    recommend["exclude"]["maxItems"] = settings.max_items
    components["ScoreRequest"]["properties"]["item_ids"]["maxItems"] = settings.max_items


def _paths(settings: ServeSettings) -> Json:
    events = {"oneOf": [_ref(s) for s in STRUCTS[:5]], "discriminator": _discriminator()}
    batch = {"type": "array", "items": events, "maxItems": settings.max_events}
    events_summary = "Take events; answers once they are durable"
    return {
        "/v1/events": {"post": _post("postEvents", events_summary, batch, Accepted, 429, 501)},
        "/v1/recommend": {"post": _post("recommend", "A slate for a user", _ref(RecommendRequest), Slate)},
        "/v1/score": {"post": _post("score", "Probabilities for given items", _ref(ScoreRequest), Scores)},
        "/v1/items/{id}/similar": {"get": _similar(settings)},
        "/v1/users/{id}/interests": {
            "get": _operation("interests", "What a user is interested in", UserInterests, (400, 401, 503), [_id()])
        },
        "/v1/users/{id}": {
            "delete": _operation("deleteUser", "Forget a user", Deleted, (400, 401, 501, 503), [_id()]),
        },
        "/v1/status": {"get": _operation("status", "The loop in figures", Status, (401,))},
        "/health/live": {"get": _open(_plain("live", "Whether the process runs", "application/json"))},
        "/health/ready": {"get": _open(_plain("ready", "Whether it can answer", "application/json", 503))},
        "/metrics": {"get": _metrics(settings)},
        "/dashboard": {"get": _open(_plain("dashboard", "A live page", "text/html"))},
        "/schema": {"get": _open(_plain("schema", "This description", "application/json"))},
    }


def _ref(struct: type[Any]) -> Json:
    return {"$ref": f"#/components/schemas/{struct.__name__}"}


def _discriminator() -> Json:
    mapping = {str(s.__struct_config__.tag): f"#/components/schemas/{s.__name__}" for s in STRUCTS[:5]}
    return {"propertyName": "type", "mapping": mapping}


def _id() -> Json:
    return {"name": "id", "in": "path", "required": True, "description": ID_IN_PATH, "schema": {"type": "string"}}


def _operation(
    name: str, summary: str, answer: type[Any], errors: tuple[int, ...], parameters: list[Json] | None = None
) -> Json:
    operation: Json = {"operationId": name, "summary": summary}
    if parameters:
        operation["parameters"] = parameters
    operation["responses"] = {"200": _content("Done", "application/json", _ref(answer))} | _errors(*errors)
    return operation


def _post(name: str, summary: str, body: Json, answer: type[Any], *errors: int) -> Json:
    operation = _operation(name, summary, answer, (*BODY_ERRORS, 401, 503, *errors))
    operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return operation


def _similar(settings: ServeSettings) -> Json:
    schema = {"type": "integer", "minimum": 1, "maximum": settings.max_k, "default": DEFAULT_SIMILAR}
    k = {"name": "k", "in": "query", "description": "How many", "schema": schema}
    return _operation("similar", "Items like this one", SimilarItems, (400, 401, 404, 503), [_id(), k])


def _metrics(settings: ServeSettings) -> Json:
    operation = _plain("metrics", "Prometheus metrics of every stage", "text/plain")
    return _open(operation) if settings.open_metrics else operation


def _plain(name: str, summary: str, media: str, *errors: int) -> Json:
    responses = {"200": _content("Done", media, {})} | _errors(*errors)
    return {"operationId": name, "summary": summary, "responses": responses}


def _open(operation: Json) -> Json:
    return operation | {"security": []}


def _errors(*statuses: int) -> Json:
    return {
        str(status): _content(ERRORS[status], "application/json", _ref(Error))
        for status in sorted({*statuses, *ALWAYS})
    }


def _content(description: str, media: str, schema: Json) -> Json:
    return {"description": description, "content": {media: {"schema": schema}}}
