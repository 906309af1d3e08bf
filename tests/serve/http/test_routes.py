"""Each route over real HTTP: what goes in, what comes out, and every way to get it wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_reco.serve.refused import RefusedError
from stream_reco.serve.service import UnavailableError

if TYPE_CHECKING:
    from tests.serve.conftest import Serving, ToyService

NOW = 1_507_000_000_000
BIG = 2**53 + 1
HARD_IDS = [
    -(2**63),
    2**63 - 1,
    BIG,
    0,
    -1,
    "5",
    "-7",
    "a/b",
    "ü 🦆",
    "%41",
    '"',
    "a\\b",
    "x?y#z",
    " ",
    "9" * 30,
    "007",
    ".",
]


def click(item: object, **more: object) -> dict[str, object]:
    return {"type": "action", "user_id": "u", "item_id": item, "action": "click", "timestamp": NOW, **more}


def reason(response: httpx.Response, status: int) -> str:
    """The reason of an error answer, whose shape is checked on the way."""
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"reason", "message"}
    assert body["error"]["message"]
    assert response.headers["content-type"] == "application/json"
    return str(body["error"]["reason"])


def test_events_are_counted_and_come_back_as_items(client: httpx.Client, service: ToyService) -> None:
    batch = [click("a", event_id=1), click("a", event_id=1), click(BIG), {"type": "nonsense"}, click(True)]
    answer = client.post("/v1/events", json=batch).json()
    assert (answer["accepted"], answer["duplicates"]) == (2, 1)
    assert [(r["index"], r["reason"]) for r in answer["rejected"]] == [(3, "type"), (4, "id")]
    assert all(len(r["message"]) > 10 for r in answer["rejected"])
    slate = client.post("/v1/recommend", json={"user_id": "u", "k": 5}).json()
    assert slate["request_id"] == "r-1"
    assert slate["version"] == 7
    assert slate["items"] == [
        {"item_id": BIG, "score": 0.5, "source": "fresh", "propensity": 1.0},
        {"item_id": "a", "score": 0.5, "source": "fresh", "propensity": 0.25},
    ]
    assert client.get("/v1/status").json()["events"] == len(service.events) == 2


def test_what_the_loop_refuses_is_named_by_its_place_in_the_batch(client: httpx.Client, service: ToyService) -> None:
    service.refuses = "bad"
    answer = client.post("/v1/events", json=[{}, click("a"), click("b", event_id="bad"), {}]).json()
    assert answer["accepted"] == 1
    assert [(r["index"], r["reason"]) for r in answer["rejected"]] == [(0, "type"), (2, "value"), (3, "type")]


def test_a_missing_time_is_the_arrival_and_a_wild_one_is_refused(client: httpx.Client, service: ToyService) -> None:
    late, edge, wild, seconds = NOW - 10**9, NOW + 300_000, NOW + 300_001, NOW // 1000
    batch = [click(i, timestamp=t) for i, t in enumerate([None, late, edge, wild, seconds])]
    del batch[0]["timestamp"]
    answer = client.post("/v1/events", json=batch).json()
    assert [(r["index"], r["reason"]) for r in answer["rejected"]] == [(3, "timestamp"), (4, "timestamp")]
    assert [event.timestamp for event in service.events] == [NOW, late, edge]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"nonsense", b'{"type":"action"}', b"\xff[]", b"[" * 100_000, b"3", b"null"]
)
def test_a_body_that_is_no_array_is_one_error(client: httpx.Client, body: bytes) -> None:
    assert reason(client.post("/v1/events", content=body), 400) == "json"


def test_an_empty_batch_changes_nothing(client: httpx.Client) -> None:
    assert client.post("/v1/events", content=b" [] ").json() == {"accepted": 0, "duplicates": 0, "rejected": []}


def test_recommend_passes_everything_on(client: httpx.Client, service: ToyService) -> None:
    asked = {
        "user_id": -(2**63),
        "k": 3,
        "context": {"device": "phone", "age": 3, "vip": True, "x": None, "y": 1.5},
        "exclude": ["a", 5, "5"],
        "filters": {"genre": ["news", 1], "lang": "de"},
    }
    assert client.post("/v1/recommend", json=asked).json()["items"] == []
    assert service.asked == [(asked["user_id"], 3, asked["context"], asked["exclude"], asked["filters"])]


@pytest.mark.parametrize(
    ("route", "body", "expected"),
    [
        ("recommend", {"user_id": "u", "k": 0}, "k"),
        ("recommend", {"user_id": "u", "k": -1}, "k"),
        ("recommend", {"user_id": "u", "k": 1001}, "k"),
        ("recommend", {"user_id": "u", "k": 2.5}, "schema"),
        ("recommend", {"user_id": "u", "k": "5"}, "schema"),
        ("recommend", {"user_id": "u"}, "schema"),
        ("recommend", {"k": 5}, "schema"),
        ("recommend", {"user_id": None, "k": 5}, "schema"),
        ("recommend", {"user_id": True, "k": 5}, "schema"),
        ("recommend", {"user_id": "", "k": 5}, "schema"),
        ("recommend", {"user_id": 2**63, "k": 5}, "schema"),
        ("recommend", {"user_id": "ü" * 257, "k": 5}, "id"),
        ("recommend", {"user_id": "u", "k": 5, "exclude": ["x" * 513]}, "schema"),
        ("recommend", {"user_id": "u", "k": 5, "exclude": ["ok", "ü" * 257]}, "id"),
        ("recommend", {"user_id": "u", "k": 5, "exclude": [1] * 10_001}, "exclude"),
        ("recommend", {"user_id": "u", "k": 5, "context": [1]}, "schema"),
        ("recommend", {"user_id": "u", "k": 5, "context": {"a": {"b": 1}}}, "schema"),
        ("recommend", [], "schema"),
        ("score", {"user_id": "u"}, "schema"),
        ("score", {"user_id": "u", "item_ids": [None]}, "schema"),
        ("score", {"user_id": "u", "item_ids": [1] * 10_001}, "item_ids"),
    ],
)
def test_bad_requests_say_what_is_wrong(client: httpx.Client, route: str, body: object, expected: str) -> None:
    assert reason(client.post(f"/v1/{route}", json=body), 400) == expected


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"user_id":"\xff","k":1}', b'{"user_id":"\\ud800","k":1}', b'{"a":' * 99_999]
)
def test_requests_that_are_no_json(client: httpx.Client, body: bytes) -> None:
    for route in ("recommend", "score"):
        assert reason(client.post(f"/v1/{route}", content=body), 400) in ("json", "id")


@pytest.mark.parametrize(
    ("route", "body", "misspelt", "meant"),
    [
        ("recommend", {"user_id": "u", "k": 5, "filter": {"kind": "tea"}}, "filter", "filters"),
        ("recommend", {"user_id": "u", "k": 5, "excludes": ["a"]}, "excludes", "exclude"),
        ("recommend", {"userId": "u", "k": 5}, "userId", "user_id"),
        ("recommend", {"user_id": "u", "k": 5, "qqq": 1}, "qqq", None),
        ("score", {"user_id": "u", "items_ids": [1]}, "items_ids", "item_ids"),
        ("score", {"user_id": "u", "item_ids": [1], "k": 5}, "k", None),
    ],
)
def test_a_misspelt_field_is_refused_with_the_nearest_name(
    client: httpx.Client, service: ToyService, route: str, body: object, misspelt: str, meant: str | None
) -> None:
    refused = client.post(f"/v1/{route}", json=body)
    assert reason(refused, 400) == "schema"
    message = refused.json()["error"]["message"]
    assert repr(misspelt) in message
    assert (f"did you mean {meant!r}?" in message) if meant else ("did you mean" not in message)
    assert not service.asked


def test_a_misspelt_query_parameter_is_refused_with_the_nearest_name(client: httpx.Client) -> None:
    refused = client.get("/v1/items/a/similar?kk=5")
    assert reason(refused, 400) == "query"
    assert "did you mean 'k'?" in refused.json()["error"]["message"]
    for method, path in [
        ("GET", "/v1/items/a/similar?k=5&limit=3"),
        ("GET", "/v1/items/a/similar?k=5&k=6"),
        ("GET", "/v1/users/a/interests?k=5"),
        ("GET", "/v1/status?verbose"),
        ("DELETE", "/v1/users/a?soft=true"),
        ("POST", "/v1/recommend?k=5"),
    ]:
        assert reason(client.request(method, path), 400) == "query", path
    # Probes and caches append what they like to these.
    for path in ("/health/live", "/health/ready", "/metrics", "/schema", "/dashboard"):
        assert client.get(f"{path}?t=1").status_code == 200, path


def test_whole_numbers_may_have_a_fraction_of_zero(client: httpx.Client, service: ToyService) -> None:
    client.post("/v1/events", content=b'[{"type":"item","item_id":933.0,"timestamp":1507000000000.0}]')
    assert [(event.timestamp, client.get("/v1/items/933/similar?k=2.0").status_code) for event in service.events] == [
        (NOW, 200)
    ]
    body = b'{"user_id": 933.0, "k": 5.0, "exclude": [7.0, "7.0"], "context": {"y": 1.0}}'
    assert client.post("/v1/recommend", content=body).status_code == 200
    assert repr(service.asked[-1]) == "(933, 5, {'y': 1.0}, [7, '7.0'], None)"
    assert client.post("/v1/score", content=b'{"user_id": 1, "item_ids": [2.0, 3]}').status_code == 200
    assert repr(service.asked[-1]) == "(1, [2, 3], None)"
    for user in (b"9007199254740993.0", b"1e18", b"0.5"):
        refused = client.post("/v1/recommend", content=b'{"user_id": %s, "k": 5}' % user)
        assert reason(refused, 400) == "schema"


def test_misspelt_fields_of_events_are_named_and_taken(client: httpx.Client, service: ToyService) -> None:
    batch = [
        click("a"),
        {"type": "item", "item_id": "a", "availabel": False, "colour": "red", "timestamp": NOW},
        {"type": "nonsense", "availabel": 1},
        {"type": "action", "userid": 1, "item_id": "a", "action": "click", "timestamp": NOW},
    ]
    answer = client.post("/v1/events", json=batch).json()
    assert answer["accepted"] == len(service.events) == 2
    assert [(one["index"], one["reason"]) for one in answer["rejected"]] == [(2, "type"), (3, "schema")]
    assert answer["warnings"] == [
        {"index": 1, "field": "availabel", "did_you_mean": "available"},
        {"index": 1, "field": "colour", "did_you_mean": None},
        {"index": 3, "field": "userid", "did_you_mean": "user_id"},
    ]
    assert "warnings_more" not in answer
    assert "warnings" not in client.post("/v1/events", json=[click("a")]).json()


def test_warnings_are_a_hundred_at_most(client: httpx.Client) -> None:
    answer = client.post("/v1/events", json=[click("a"), *[click("a", colour=1)] * 250]).json()
    assert answer["accepted"] == 251
    assert [one["index"] for one in answer["warnings"]] == list(range(1, 101))
    assert answer["warnings_more"] == 150


def test_score_keeps_the_order(client: httpx.Client, service: ToyService) -> None:
    answer = client.post("/v1/score", json={"user_id": 1, "item_ids": ["b", "a", BIG], "context": {"d": 1}}).json()
    assert answer == {"scores": [pytest.approx(1 / 2), pytest.approx(1 / 3), pytest.approx(1 / 4)]}
    assert service.asked == [(1, ["b", "a", BIG], {"d": 1})]
    assert client.post("/v1/score", json={"user_id": 1, "item_ids": []}).json() == {"scores": []}


def in_path(value: int | str) -> str:
    """As a careful client writes an id into a URL."""
    return quote(json.dumps(value, ensure_ascii=False), safe="")


@pytest.mark.parametrize("value", HARD_IDS)
def test_ids_survive_the_path(client: httpx.Client, value: int | str) -> None:
    answer = client.get(f"/v1/users/{in_path(value)}/interests").json()
    assert answer == {
        "user_id": value,
        "interests": [{"item_id": "medoid", "importance": 1.5}],
    }
    assert type(answer["user_id"]) is type(value)


@given(st.one_of(st.integers(-(2**63), 2**63 - 1), st.text(min_size=1).filter(lambda s: len(s.encode()) <= 512)))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_id_survives_the_path(client: httpx.Client, value: int | str) -> None:
    answer = client.delete(f"/v1/users/{in_path(value)}").json()
    assert answer == {"user_id": value, "deleted": True}


def test_a_bare_text_in_the_path_is_text(client: httpx.Client) -> None:
    for bare, meant in [("5", 5), ("-5", -5), ("05", "05"), ("-0", "-0"), ("u1", "u1"), ("9223372036854775808",) * 2]:
        assert client.get(f"/v1/users/{bare}/interests").json()["user_id"] == meant


@pytest.mark.parametrize("part", ["", "%FF", "x" * 513, "%22open", "%22%22"])
def test_what_is_no_id_in_the_path(client: httpx.Client, part: str) -> None:
    assert reason(client.get(f"/v1/users/{part}/interests"), 400) == "id"


def test_similar(client: httpx.Client, service: ToyService) -> None:
    client.post("/v1/events", json=[click("a/b")])
    answer = client.get("/v1/items/a%2Fb/similar", params={"k": 3}).json()
    assert answer == {"item_id": "a/b", "items": [{"item_id": "near", "score": 0.9}]}
    client.get("/v1/items/a%2Fb/similar")
    assert service.asked == [("a/b", 3), ("a/b", 10)]
    assert reason(client.get("/v1/items/zzz/similar"), 404) == "item"
    for k in ("0", "1001", "x", "", "1.5"):
        assert reason(client.get("/v1/items/a%2Fb/similar", params={"k": k}), 400) == "k"


def test_backpressure_says_when_to_come_back(client: httpx.Client, service: ToyService) -> None:
    service.backlog = 999_999
    assert client.post("/v1/events", json=[]).status_code == 200
    service.backlog = 1_000_000
    refused = client.post("/v1/events", json=[click("a")])
    assert reason(refused, 429) == "backlog"
    assert int(refused.headers["retry-after"]) >= 1
    assert client.post("/v1/recommend", json={"user_id": 1, "k": 1}).status_code == 200


def test_until_it_is_ready_only_health_metrics_and_status_answer(client: httpx.Client, service: ToyService) -> None:
    service.is_ready = False
    for method, path in [
        ("POST", "/v1/events"),
        ("POST", "/v1/recommend"),
        ("POST", "/v1/score"),
        ("GET", "/v1/items/1/similar"),
        ("GET", "/v1/users/1/interests"),
        ("DELETE", "/v1/users/1"),
        ("GET", "/health/ready"),
    ]:
        waiting = client.request(method, path)
        assert reason(waiting, 503) == "not_ready"
        assert "retry-after" in waiting.headers
    for path in ("/health/live", "/metrics", "/v1/status", "/dashboard", "/schema"):
        assert client.get(path).status_code == 200
    service.is_ready = True
    assert client.get("/health/ready").status_code == 200


@pytest.mark.parametrize(
    ("problem", "status", "expected"),
    [
        (RefusedError("filters", "no such feature"), 400, "filters"),
        (UnavailableError("disk", "the disk is full", retry_after=9), 503, "disk"),
        (RuntimeError("secret detail"), 500, "internal"),
    ],
)
def test_what_the_service_raises_becomes_an_answer(
    client: httpx.Client, service: ToyService, problem: Exception, status: int, expected: str
) -> None:
    service.fails = problem
    answers = [client.post("/v1/recommend", json={"user_id": 1, "k": 1})]
    answers.append(client.post("/v1/events", json=[click("a")]))
    for answer in answers:
        assert reason(answer, status) == expected
        assert "secret" not in answer.text
        assert answer.headers.get("retry-after") == ("9" if status == 503 else None)
    service.fails = None
    assert client.post("/v1/events", json=[click("a")]).json()["accepted"] == 1


def test_batch_and_slate_limits_are_settings(serving: Serving) -> None:
    client = serving(max_events=2, max_k=3, max_items=1)
    assert client.post("/v1/events", json=[click("a")] * 2).status_code == 200
    assert reason(client.post("/v1/events", json=[click("a")] * 3), 400) == "batch"
    assert client.post("/v1/recommend", json={"user_id": 1, "k": 3}).status_code == 200
    assert reason(client.post("/v1/recommend", json={"user_id": 1, "k": 4}), 400) == "k"
    assert reason(client.post("/v1/score", json={"user_id": 1, "item_ids": [1, 2]}), 400) == "item_ids"


def metric(client: httpx.Client, line: str) -> float:
    """The value of one line of /metrics, 0 where there is none yet."""
    found: list[Any] = [row for row in client.get("/metrics").text.splitlines() if row.startswith(line + " ")]
    return float(found[0].rsplit(" ", 1)[1]) if found else 0.0


def test_requests_are_counted_by_template(client: httpx.Client) -> None:
    line = 'stream_reco_requests_total{route="/v1/users/{id}/interests",status="200"}'
    lost = 'stream_reco_requests_total{route="unknown",status="404"}'
    seconds = 'stream_reco_request_seconds_count{route="/v1/users/{id}/interests"}'
    before = [metric(client, name) for name in (line, lost, seconds)]
    client.get("/v1/users/some-user/interests")
    client.get("/some/path")
    assert [metric(client, name) for name in (line, lost, seconds)] == [value + 1 for value in before]
    assert "some-user" not in client.get("/metrics").text


def test_rejected_events_are_counted_by_reason(client: httpx.Client) -> None:
    line = 'stream_reco_events_rejected_total{reason="timestamp"}'
    before = metric(client, line)
    client.post("/v1/events", json=[click("a", timestamp=5), click("a")])
    assert metric(client, line) == before + 1
