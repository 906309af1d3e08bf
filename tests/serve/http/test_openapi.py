"""The description tells the truth: every route is in it, every reference leads somewhere, real answers fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import jsonschema_rs
import msgspec
import pytest

from stream_reco.serve.service import Accepted
from stream_reco.serve.slate.slate import Slate

if TYPE_CHECKING:
    from tests.serve.conftest import Serving, ToyService

METHODS = {"get", "post", "delete"}
Json = dict[str, Any]


@pytest.fixture
def schema(client: httpx.Client) -> Json:
    answer: Json = client.get("/schema").json()
    return answer


def walk(node: object) -> Iterator[Json]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from walk(value)


def test_every_described_operation_is_served_and_every_other_is_not(schema: Json, client: httpx.Client) -> None:
    for template, item in schema["paths"].items():
        for method in ("get", "post", "delete", "put"):
            answer = client.request(method, template.replace("{id}", "1"))
            assert str(answer.status_code) in next(iter(item.values()))["responses"], (method, template)
            if method in item:
                assert answer.status_code not in (404, 405) or "404" in item[method]["responses"], (method, template)
            else:
                assert answer.status_code == 405, (method, template)
    assert set(schema["paths"]) == {
        "/v1/events",
        "/v1/recommend",
        "/v1/score",
        "/v1/items/{id}/similar",
        "/v1/users/{id}/interests",
        "/v1/features",
        "/v1/users/{id}",
        "/v1/status",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/dashboard",
        "/schema",
        "/",
    }


def test_it_is_whole(schema: Json) -> None:
    assert schema["openapi"].startswith("3.1.")
    assert {"title", "version"} <= set(schema["info"])
    components = schema["components"]["schemas"]
    for node in walk(schema):
        if "$ref" in node:
            place, name = node["$ref"].rsplit("/", 1)
            assert place == "#/components/schemas"
            assert name in components
    names = [op["operationId"] for item in schema["paths"].values() for op in item.values()]
    assert len(set(names)) == len(names)
    for template, item in schema["paths"].items():
        assert set(item) <= METHODS
        for operation in item.values():
            assert ("307" if template == "/" else "200") in operation["responses"]
            assert operation["responses"]["405"]["headers"]["Allow"]["required"]
            assert all(r["description"] for r in operation["responses"].values())
            in_path = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert in_path == ({"id"} if "{id}" in template else set())


def test_the_five_events_are_told_apart_by_their_type(schema: Json) -> None:
    items = schema["paths"]["/v1/events"]["post"]["requestBody"]["content"]["application/json"]["schema"]["items"]
    mapping = items["discriminator"]["mapping"]
    assert set(mapping) == {"impression", "action", "retraction", "item", "user"}
    for tag, ref in mapping.items():
        event = schema["components"]["schemas"][ref.rsplit("/", 1)[1]]
        assert event["properties"]["type"]["enum"] == [tag]
        assert {"type"} <= set(event["required"])


def test_optional_fields_are_optional(schema: Json) -> None:
    components = schema["components"]["schemas"]
    assert set(components["RecommendRequest"]["required"]) == {"user_id", "k"}
    assert set(components["ScoreRequest"]["required"]) == {"user_id", "item_ids"}
    assert set(components["SlateItem"]["required"]) == {"item_id", "score", "source", "propensity"}
    for name in ("Impression", "Action", "Retraction", "ItemEvent", "UserEvent"):
        assert "timestamp" not in components[name]["required"], "it is stamped on arrival"
        assert "timestamp" in components[name]["properties"]
    assert components["RecommendRequest"]["additionalProperties"] is False


def test_filters_are_described_as_they_are_read(schema: Json, client: httpx.Client) -> None:
    """Each example and its fate; what the schema cannot say, such as what a time looks like, is not among them."""
    components = {"components": schema["components"], "$ref": "#/components/schemas/RecommendRequest"}
    allows = jsonschema_rs.Draft202012Validator(components)
    condition: Any
    for condition, good in [
        ("tea", True),
        (["tea", 5, None], True),
        ({"gte": 5, "lt": 9.5, "not": [7, 8]}, True),
        ({"gt": "2026-05-01T12:00:00Z"}, True),
        ({"not": {"not": {"exists": True}}}, True),
        ({}, False),
        ({"gtt": 5}, False),
        ({"gt": 5, "lt": "2026-05-01T12:00:00Z"}, False),
        ({"gt": True}, False),
        ({"exists": 1}, False),
        ([[1]], False),
        ([{"gt": 5}], False),
    ]:
        request = {"user_id": 1, "k": 1, "filters": {"kind": condition}}
        answer = client.post("/v1/recommend", json=request)
        assert allows.is_valid(request) is good, condition
        assert answer.status_code == (200 if good else 400), condition
        assert good or answer.json()["error"]["reason"] == "filters"


def test_real_answers_have_exactly_the_described_fields(
    schema: Json, client: httpx.Client, service: ToyService
) -> None:
    components = schema["components"]["schemas"]
    service.by_kind, service.by_value = {"play": 0.5}, {"play": 12.5}
    event = {"type": "item", "item_id": "a", "timestamp": 1_507_000_000_000}
    taken = client.post("/v1/events", json=[event, *[{}] * 101, *[event | {"availabel": True}] * 101])
    slate = client.post("/v1/recommend", json={"user_id": 1, "k": 1})
    msgspec.json.decode(taken.content, type=Accepted)
    msgspec.json.decode(slate.content, type=Slate)
    for name, answer in [
        ("Accepted", taken.json()),
        ("Rejection", taken.json()["rejected"][0]),
        ("FieldWarning", taken.json()["warnings"][0]),
        ("Slate", slate.json()),
        ("SlateItem", slate.json()["items"][0]),
        ("Scores", client.post("/v1/score", json={"user_id": 1, "item_ids": ["a"]}).json()),
        ("SimilarItems", client.get("/v1/items/a/similar").json()),
        ("UserInterests", client.get("/v1/users/1/interests").json()),
        ("FeatureReport", client.get("/v1/features").json()),
        ("Deleted", client.delete("/v1/users/1").json()),
        ("Status", client.get("/v1/status").json()),
        ("Error", client.get("/nowhere").json()),
    ]:
        assert set(answer) == set(components[name]["properties"]), name


def test_answers_carry_the_described_headers(schema: Json, serving: Serving, service: ToyService) -> None:
    client = serving(token="a token for this test")  # noqa: S106 - of this test alone
    service.is_ready = False
    for path, status, name in [
        ("/metrics", 401, "WWW-Authenticate"),
        ("/v1/status", 401, "WWW-Authenticate"),
        ("/health/ready", 503, "Retry-After"),
        ("/", 307, "Location"),
    ]:
        answer = client.get(path)
        assert answer.status_code == status
        assert answer.headers[name]
        assert name in schema["paths"][path]["get"]["responses"][str(status)]["headers"]


def test_limits_and_tokens_are_those_of_the_server(schema: Json, serving: Serving) -> None:
    token = "a token for this test"  # noqa: S105 - of this test alone
    other = serving(max_k=7, max_events=8, max_items=9, token=token).get("/schema").json()
    recommend = other["components"]["schemas"]["RecommendRequest"]["properties"]
    assert (recommend["k"]["maximum"], recommend["exclude"]["maxItems"]) == (7, 9)
    batch = other["paths"]["/v1/events"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert batch["maxItems"] == 8
    assert other["security"] == [{"token": []}]
    assert "security" not in schema
    assert other["paths"]["/health/live"]["get"]["security"] == []
    assert token not in str(other)
