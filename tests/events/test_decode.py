"""The edge: what is taken, and by which reason the rest is refused."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from stream_reco.events import (
    Action,
    BadEvent,
    Event,
    Impression,
    ItemEvent,
    Retraction,
    UserEvent,
    check_time,
    decode,
    decode_many,
    validate,
)

NOW = 1_507_000_000_000
ACTION = {"type": "action", "user_id": "u", "item_id": 5, "action": "click", "timestamp": NOW}


def wire(**changes: object) -> bytes:
    return json.dumps({**ACTION, **changes}).encode()


def reason(data: bytes, arrived_at: int | None = None) -> str:
    with pytest.raises(BadEvent) as caught:
        decode(data, arrived_at=arrived_at)
    assert len(str(caught.value)) < 1000
    str(caught.value).encode()  # can be logged
    return caught.value.reason


def test_each_kind_is_read_with_all_its_fields() -> None:
    assert decode(
        b'{"type":"impression","event_id":"e","request_id":"r","user_id":"u1","item_id":"i9","position":3,'
        b'"group_id":"job7","propensity":0.2,"context":{"device":"phone","n":1,"f":0.5,"b":true,"z":null},"timestamp":5}'
    ) == Impression(
        event_id="e",
        request_id="r",
        user_id="u1",
        item_id="i9",
        position=3,
        group_id="job7",
        propensity=0.2,
        context={"device": "phone", "n": 1, "f": 0.5, "b": True, "z": None},
        timestamp=5,
    )
    assert decode(wire(value=3, event_id=1, request_id=2, context={"a": "b"})) == Action(
        user_id="u", item_id=5, action="click", timestamp=NOW, value=3.0, event_id=1, request_id=2, context={"a": "b"}
    )
    assert decode(b'{"type":"retraction","event_id":"x","retracts":"e","timestamp":1,"user_id":2}') == Retraction(
        event_id="x", retracts="e", timestamp=1, user_id=2
    )
    assert decode(
        b'{"type":"item","item_id":"i","features":{"genre":["a","b"],"year":1999},"vector":[1,0.5],"available":false,'
        b'"timestamp":1}'
    ) == ItemEvent(
        item_id="i", features={"genre": ["a", "b"], "year": 1999}, vector=[1.0, 0.5], available=False, timestamp=1
    )
    assert decode(b'{"type":"user","user_id":1,"features":{"age":5},"timestamp":1}') == UserEvent(
        user_id=1, features={"age": 5}, timestamp=1
    )


def test_what_may_be_missing_is_none() -> None:
    event = decode(b'{"type":"item","item_id":1,"timestamp":2}')
    assert isinstance(event, ItemEvent)
    assert (event.features, event.vector, event.available, event.event_id) == ({}, UNSET, None, None)
    assert decode(wire(event_id=None, value=None, context=None)) == decode(wire())


def test_unknown_fields_are_left_out() -> None:
    unknown = {"colour": "red", "deep": {"a": [1, {"b": None}]}, "position": -3}
    assert decode(wire(**unknown)) == decode(wire())
    assert decode(json.dumps(ACTION).encode()[:-1] + b',"big":1e999}') == decode(wire())


@pytest.mark.parametrize(
    "good",
    [0, -1, 2**53 + 1, 2**63 - 1, -(2**63), "5", "x", "😀", "😀" * 128, "a" * 512, "é" * 256, " ", "\x00", "null"],
)
@pytest.mark.parametrize("field", ["user_id", "item_id", "event_id", "request_id", "group_id"])
def test_good_ids_survive(field: str, good: object) -> None:
    value = getattr(decode(wire(**{field: good})), field)
    assert value == good
    assert type(value) is type(good)


@pytest.mark.parametrize(
    "bad",
    [
        *[
            "",
            2**63,
            -(2**63) - 1,
            2**64,
            10**30,
            True,
            False,
            5.5,
            -0.1,
            2.0**53,
            1e300,
            math.nan,
            math.inf,
            [],
            [1],
            {},
        ],
        *["x" * 10_000, "x" * 513, "é" * 257, "😀" * 129, "\ud800", "a\udfff"],
    ],
)
@pytest.mark.parametrize("field", ["user_id", "event_id", "group_id"])
def test_bad_ids_are_refused(field: str, bad: object) -> None:
    assert reason(wire(**{field: bad})) == "id"
    (refused,) = decode_many(b"[" + wire(**{field: bad}) + b"]")
    assert isinstance(refused, BadEvent)
    assert refused.reason == "id"
    assert field in str(refused)


@pytest.mark.parametrize("literal", [b"1e999", b"-1e999", b"NaN", b"Infinity", b"-Infinity"])
@pytest.mark.parametrize("place", [b'"value":%s', b'"context":{"a":%s}'])
def test_numbers_that_are_not_finite_are_refused(place: bytes, literal: bytes) -> None:
    data = wire()[:-1] + b"," + place % literal + b"}"
    assert reason(data) == "value"
    bad, good = decode_many(b"[" + data + b"," + wire() + b"]")
    assert isinstance(bad, BadEvent)
    assert bad.reason == "value"
    assert good == decode(wire())


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        ("action", {"value": True}, "value"),
        ("action", {"value": "3"}, "value"),
        ("action", {"action": ""}, "schema"),
        ("action", {"action": 5}, "schema"),
        ("action", {"context": [1]}, "schema"),
        ("action", {"context": {"a": [1]}}, "schema"),
        ("action", {"context": {"a": {}}}, "schema"),
        ("action", {"context": {"a": 2**63}}, "value"),
        ("action", {"context": {"a": 10**40}}, "value"),
        ("action", {"context": {"a": "x" * 5000}}, "too_large"),
        ("action", {"context": {f"k{n}": n for n in range(2000)}}, "too_large"),
        ("impression", {"position": -1}, "value"),
        ("impression", {"position": 1.5}, "value"),
        ("impression", {"position": 2**31}, "value"),
        ("impression", {"propensity": 0}, "value"),
        ("impression", {"propensity": -0.1}, "value"),
        ("impression", {"propensity": 1.01}, "value"),
        ("item", {"vector": []}, "schema"),
        ("item", {"vector": ["a"]}, "schema"),
        ("item", {"vector": [1, math.nan]}, "value"),
        ("item", {"vector": [0.5] * 5000}, "too_large"),
        ("item", {"features": {"a": [[1]]}}, "schema"),
        ("item", {"features": {"a": [math.inf]}}, "value"),
        ("item", {"available": "yes"}, "schema"),
        ("user", {"features": []}, "schema"),
        ("user", {"features": {"": 1}}, "schema"),
        ("nothing", {}, "type"),
        ("", {}, "type"),
        ("Action", {}, "type"),
    ],
)
def test_each_problem_has_its_reason(kind: str, changes: dict[str, object], expected: str) -> None:
    assert reason(wire(type=kind, **changes)) == expected


@pytest.mark.parametrize("kind", [None, 5, True, ["action"], {}])
def test_a_type_that_is_no_text(kind: object) -> None:
    assert reason(wire(type=kind)) == "type"


def test_missing_fields_are_named() -> None:
    for field in ("user_id", "item_id", "action"):
        data = json.dumps({name: value for name, value in ACTION.items() if name != field}).encode()
        with pytest.raises(BadEvent, match=field) as caught:
            decode(data)
        assert caught.value.reason == "schema"
    assert reason(b"{}") == "type"
    assert reason(b'{"type":"retraction","timestamp":1}') == "schema"


@pytest.mark.parametrize(
    "when", [1.5, 1507000000000.5, 2.0**53, "2017-10-03T03:06:40Z", "1507000000000", True, [], 2**63, 10**30]
)
def test_bad_timestamps(when: object) -> None:
    assert reason(wire(timestamp=when), arrived_at=5) == "timestamp"


@pytest.mark.parametrize("text", ["933.0", "9.33e2", "-0.0", "9007199254740991.0", "-9007199254740991.0"])
def test_a_whole_number_may_have_a_fraction_of_zero(text: str) -> None:
    """It is an integer in JSON, as its schema says."""
    for field in ("user_id", "item_id", "event_id", "request_id", "group_id", "timestamp"):
        data = wire(**{field: "HERE"}).replace(b'"HERE"', text.encode())
        for event in (decode(data), *decode_many(b"[" + data + b"]")):
            value = getattr(event, field)
            assert type(value) is int
            assert value == float(text)
    shown = {"type": "impression", "user_id": 1, "item_id": 2, "timestamp": 3, "position": 4.0}
    impression = decode(json.dumps(shown).encode())
    assert isinstance(impression, Impression)
    assert type(impression.position) is int


def test_a_whole_number_that_a_float_may_have_changed_is_refused() -> None:
    """Written as 9007199254740993.0 it would be read as …992."""
    for text in (b"9007199254740993.0", b"9007199254740992.0", b"1e18", b"-9223372036854775808.0"):
        assert reason(wire(user_id="HERE").replace(b'"HERE"', text)) == "id"


def test_a_missing_timestamp_is_stamped_on_arrival_only() -> None:
    data = json.dumps({name: value for name, value in ACTION.items() if name != "timestamp"}).encode()
    for missing in (data, wire(timestamp=None)):
        assert reason(missing) == "timestamp"
        assert decode(missing, arrived_at=7) == Action(user_id="u", item_id=5, action="click", timestamp=7)
        assert decode_many(b"[" + missing + b"]", arrived_at=7) == [decode(missing, arrived_at=7)]
    assert decode(wire(), arrived_at=7).timestamp == NOW


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"\xff\xfe",
        b'{"type":"action","user_id":"\xff"}',
        b"\xef\xbb\xbf" + wire(),
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000,
        b'{"type":"action","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        wire() + b"x",
        wire() + wire(),
        b"9" * 5000,
        b"\x00",
        b"{'type':'action'}",
    ],
)
def test_what_is_not_json(data: bytes) -> None:
    assert reason(data) == "json"
    with pytest.raises(BadEvent) as caught:
        decode_many(data)
    assert caught.value.reason == "json"


@pytest.mark.parametrize("data", [b"[]", b"5", b'"text"', b"null", b"[" + wire() + b"]"])
def test_json_that_is_no_object(data: bytes) -> None:
    assert reason(data) == "schema"


def test_every_truncation_is_refused() -> None:
    data = wire(context={"a": "b"}, value=1.5)
    for length in range(len(data)):
        assert reason(data[:length], arrived_at=5) == "json"


def test_ten_megabytes_are_refused_unread() -> None:
    assert reason(wire(context={"a": "x" * 10_000_000})) == "too_large"
    bad, good = decode_many(b"[" + wire(context={"a": "x" * 10_000_000}) + b"," + wire() + b"]")
    assert isinstance(bad, BadEvent)
    assert bad.reason == "too_large"
    assert good == decode(wire())
    with pytest.raises(BadEvent) as caught:
        decode_many(b" " * (64 << 20) + b"[]")
    assert caught.value.reason == "too_large"


def test_many_keep_their_places() -> None:
    parts = [
        wire(),
        wire(user_id=""),
        b"5",
        wire(type="no"),
        wire(timestamp=None),
        wire(item_id="é" * 300),
        wire(value=2),
    ]
    got = decode_many(b" [" + b" ,\n".join(parts) + b"] ")
    assert [part.reason if isinstance(part, BadEvent) else "good" for part in got] == [
        "good",
        "id",
        "schema",
        "type",
        "timestamp",
        "id",
        "good",
    ]
    assert decode_many(b"[]") == []
    assert decode_many(b"[" + wire() + b"]" * 1) == [decode(wire())]


@pytest.mark.parametrize("data", [b"{}", wire(), b"null", b"5", b"[" + wire(), b"[1,]"])
def test_a_body_that_is_no_array(data: bytes) -> None:
    with pytest.raises(BadEvent) as caught:
        decode_many(data)
    assert caught.value.reason == "json"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode(errors="surrogatepass")))
def test_nothing_else_is_ever_raised(data: bytes) -> None:
    for body in (data, b'{"type":"action","user_id":' + data + b"}", wire()[:-1] + b"," + data + b"}"):
        assert outcome(body) in {"good", "json", "type", "schema", "id", "timestamp", "value", "too_large"}
        try:
            decode_many(b"[" + body + b"]", arrived_at=1)
        except BadEvent:
            assert outcome(b"[" + body + b"]") == "json"


def outcome(data: bytes) -> str:
    try:
        decode(data, arrived_at=1)
    except BadEvent as bad:
        return bad.reason
    return "good"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ["user_id", "item_id", "action", "value", "context", "timestamp", "position", "vector", "features", "retracts"]


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(["impression", "action", "retraction", "item", "user"]),
    changes=st.dictionaries(st.sampled_from(FIELDS), anything, max_size=3),
)
def test_one_and_many_agree_and_what_is_taken_is_valid(kind: str, changes: dict[str, object]) -> None:
    data = json.dumps({**ACTION, "retracts": 1, "type": kind, **changes}).encode()
    (part,) = decode_many(b"[" + data + b"]", arrived_at=1)
    if isinstance(part, BadEvent):
        assert outcome(data) == part.reason
    else:
        assert decode(data, arrived_at=1) == part
        validate(part)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Action(user_id="", item_id=1, action="a", timestamp=1), "id"),
        (Action(user_id=5.0, item_id=1, action="a", timestamp=1), "id"),  # type: ignore[arg-type]
        (Action(user_id=True, item_id=1, action="a", timestamp=1), "id"),
        (Action(user_id=b"u", item_id=1, action="a", timestamp=1), "id"),  # type: ignore[arg-type]
        (Action(user_id=None, item_id=1, action="a", timestamp=1), "id"),  # type: ignore[arg-type]
        (Action(user_id=10**5000, item_id=1, action="a", timestamp=1), "id"),
        (Action(user_id="\ud800", item_id=1, action="a", timestamp=1), "id"),
        (Retraction(retracts="x" * 513, timestamp=1), "id"),
        (Action(user_id=1, item_id=1, action="a", timestamp=1, value=math.nan), "value"),
        (Impression(user_id=1, item_id=1, timestamp=1, propensity=math.inf), "value"),
        (Impression(user_id=1, item_id=1, timestamp=1, propensity=2.0), "value"),
        (Impression(user_id=1, item_id=1, timestamp=1, context={"a": -math.inf}), "value"),
        (Impression(user_id=1, item_id=1, timestamp=1, context={"a": b"x"}), "value"),  # type: ignore[dict-item]
        (Impression(user_id=1, item_id=1, timestamp=1, context={"a": "\ud800"}), "value"),
        (Impression(user_id=1, item_id=1, timestamp=1, context={"a": 2**70}), "value"),
        (Impression(user_id=1, item_id=1, timestamp=1, context={"a": "x" * 5000}), "too_large"),
        (ItemEvent(item_id=1, timestamp=1, vector=[1.0, math.nan]), "value"),
        (ItemEvent(item_id=1, timestamp=1, features={"a": [math.nan]}), "value"),
        (Action(user_id=1, item_id=1, action="a", timestamp=1.5), "timestamp"),  # type: ignore[arg-type]
        (Action(user_id=1, item_id=1, action="a", timestamp=None), "timestamp"),  # type: ignore[arg-type]
        (Action(user_id=1, item_id=1, action="", timestamp=1), "schema"),
    ],
)
def test_events_made_in_python_are_held_to_the_same_rules(event: Event, expected: str) -> None:
    with pytest.raises(BadEvent) as caught:
        validate(event)
    assert caught.value.reason == expected


def test_times_that_must_be_mistakes() -> None:
    def at(timestamp: int) -> Event:
        return Action(user_id=1, item_id=1, action="a", timestamp=timestamp)

    check_time(at(NOW + 300_000), NOW, 300_000)
    check_time(at(631_152_000_000), NOW, 300_000)
    for when, said in [
        (NOW + 300_001, "ahead"),
        (NOW * 1000, "ahead"),
        (NOW // 1000, "1990"),
        (0, "1990"),
        (-5, "1990"),
    ]:
        with pytest.raises(BadEvent, match=said) as caught:
            check_time(at(when), NOW, 300_000)
        assert caught.value.reason == "timestamp"
