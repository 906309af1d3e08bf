"""Bodies of events over real HTTP: counted before they are decoded, a hundred bad ones described, memory bounded."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.events import BadEvent, check_time, decode_batch, decode_many, encode_batch, validate
from stream_reco.events.wire import encode_elements, join_batch
from stream_reco.metrics import REGISTRY
from stream_reco.serve.http import event_bodies
from stream_reco.serve.http.body_memory import BodyMemory, DecodingTurns
from stream_reco.serve.http.event_bodies import EventBodies
from stream_reco.serve.http.json_array import elements_of
from stream_reco.serve.http.messages import HttpError
from tests.events.test_decode import anything

if TYPE_CHECKING:
    from tests.serve.conftest import Serving, ToyService

NOW = 1_507_000_000_000
FUTURE_MS = 300_000
ACTION: dict[str, Any] = {"type": "action", "user_id": "u", "item_id": 5, "action": "click", "timestamp": NOW}
FIELDS = ["user_id", "item_id", "action", "value", "context", "timestamp", "features", "vector", "retracts"]


def decoded(bodies: EventBodies, body: bytes) -> event_bodies.DecodedEvents:
    return asyncio.run(bodies.decode(body, NOW))


def test_ten_thousand_bad_events_are_counted_and_a_hundred_described(client: httpx.Client) -> None:
    batch = [ACTION, *[{}] * 5_000, ACTION, *[{**ACTION, "value": "x"}] * 4_998]
    answer = client.post("/v1/events", json=batch).json()
    assert answer["accepted"] == 2
    assert [one["index"] for one in answer["rejected"]] == list(range(1, 101))
    assert answer["rejected_more"] == {"type": 4_900, "value": 4_998}


def test_what_the_loop_refuses_is_described_in_its_place_too(client: httpx.Client, service: ToyService) -> None:
    service.refuses = "bad"
    refused = {**ACTION, "event_id": "bad"}
    answer = client.post("/v1/events", json=[{}, refused, *[{}] * 120, refused]).json()
    assert [one["index"] for one in answer["rejected"]] == list(range(100))
    assert answer["rejected"][1]["reason"] == "value"
    assert answer["rejected_more"] == {"type": 22, "value": 1}


def test_too_many_elements_are_refused_before_they_are_decoded(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(event_bodies, "decode_many", never)
    monkeypatch.setattr(event_bodies, "decode_good", never)
    for body in (b"[" + b"{}," * 300_000 + b"{}]", b"[" + b"1," * 10_000 + b"1]"):
        answer = client.post("/v1/events", content=body)
        assert answer.status_code == 400
        assert answer.json()["error"]["reason"] == "batch"
        assert f"has {body.count(b',') + 1} events" in answer.json()["error"]["message"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from(FIELDS), anything, max_size=2), max_size=6),
    st.integers(1, 3),
    st.sampled_from(["action", "item", "user"]),
)
def test_slices_give_what_the_whole_gives(changes: list[dict[str, object]], size: int, kind: str) -> None:
    body = json.dumps([{**ACTION, "retracts": 1, "type": kind, **change} for change in changes]).encode()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(event_bodies, "SLICE_EVENTS", size)
        patched.setattr(event_bodies, "INLINE_BYTES", 0)
        found = decoded(EventBodies(100, FUTURE_MS), body)
    expected = [(index, event) for index, event in enumerate(decode_many(body, arrived_at=NOW)) if is_taken(event)]
    assert list(zip(found.places, found.events, strict=True)) == expected
    assert decoded(EventBodies(100, FUTURE_MS), body).events == found.events
    assert len(expected) + found.rejections.answer(0, 0).rejections.get("value", 0) <= len(changes)
    assert len(expected) + sum(found.rejections.answer(0, 0).rejections.values()) == len(changes)


def is_taken(event: object) -> bool:
    if isinstance(event, BadEvent):
        return False
    try:
        check_time(event, NOW, FUTURE_MS)  # type: ignore[arg-type] # an event
    except BadEvent:
        return False
    return True


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["impression", "action", "retraction", "item", "user"]),
    st.dictionaries(st.sampled_from([*FIELDS, "position", "propensity", "event_id"]), anything, max_size=4),
)
def test_whatever_is_decoded_is_valid_and_comes_back_from_the_log(kind: str, changes: dict[str, object]) -> None:
    """So nothing has to check it again before it is written."""
    body = json.dumps([{**ACTION, "retracts": 1, "type": kind, **changes}] * 17).encode()
    events = decoded(EventBodies(100, 1 << 62), body).events
    for event in events[:1]:
        validate(event)
    assert decode_batch(encode_batch(events)) == events
    for count in (0, 1, 15, 16, 17):
        some = events[:count]
        assert join_batch(len(some), [encode_elements([one]) for one in some]) == encode_batch(some)


@pytest.mark.parametrize(
    "body",
    [
        b"[1,]",
        b"[,1]",
        b"[{},,{}]",
        b"[" + json.dumps(ACTION).encode() + b",]",
        b"[{]",
        b'[{"a":1]]',
        b"[nonsense]",
        b"[" * 100_000 + b"]" * 100_000,
        b"{}",
    ],
)
def test_a_large_body_that_is_no_array_is_one_error(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    monkeypatch.setattr(event_bodies, "INLINE_BYTES", 0)
    monkeypatch.setattr(event_bodies, "SLICE_EVENTS", 1)
    with pytest.raises(HttpError) as caught:
        decoded(EventBodies(100, FUTURE_MS), body)
    assert (caught.value.status, caught.value.reason) == (400, "json")


@pytest.mark.parametrize("inline", [0, 1 << 20])
def test_an_id_that_is_too_long_in_bytes_is_found_among_short_events(
    monkeypatch: pytest.MonkeyPatch, inline: int
) -> None:
    """Ids are measured where an event has room for one that is too long; JSON never writes text shorter."""
    monkeypatch.setattr(event_bodies, "INLINE_BYTES", inline)
    for text, fits in (("€" * 170 + "aa", True), ("€" * 171, False), ("a" * 512, True), ("a" * 513, False)):
        for at in (0, 130, 299):
            events = [{**ACTION, "event_id": number} for number in range(300)]
            events[at]["event_id"] = text
            body = json.dumps(events, ensure_ascii=False, separators=(",", ":")).encode()
            found = decoded(EventBodies(1000, FUTURE_MS), body)
            assert found.places == [number for number in range(300) if fits or number != at]
            assert found.rejections.answer(0, 0).rejections == ({} if fits else {"id": 1})


def test_a_time_that_is_impossible_is_found_among_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_bodies, "INLINE_BYTES", 0)
    events = [{**ACTION, "timestamp": NOW - number} for number in range(300)]
    events[7]["timestamp"], events[140]["timestamp"] = NOW + FUTURE_MS + 1, 5
    events[8]["timestamp"] = NOW + FUTURE_MS
    found = decoded(EventBodies(1000, FUTURE_MS), json.dumps(events).encode())
    assert [number for number in range(300) if number not in found.places] == [7, 140]
    assert found.rejections.answer(0, 0).rejections == {"timestamp": 2}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=12), st.integers(1, 4), st.integers(1, 60))
def test_slices_are_short_and_end_at_commas(sizes: list[int], events: int, size: int) -> None:
    body = b"[" + b",".join(b'"' + b"x" * one + b'"' for one in sizes) + b"]"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(event_bodies, "SLICE_EVENTS", events)
        patched.setattr(event_bodies, "SLICE_BYTES", size)
        slices = list(event_bodies._slices(elements_of(body, 100)))
    parts = [body[start:end] for start, end, _ in slices]
    assert b",".join(parts) == body[1:-1]
    for part, (_, _, count) in zip(parts, slices, strict=True):
        assert part.count(b",") + 1 == count <= events
        assert count == 1 or len(part) <= size
    for (start, end, count), after in itertools.pairwise([*slices, (len(body), 0, 0)]):
        following = body.find(b",", after[0])
        assert count == events or after[2] == 0 or (following if following > 0 else len(body) - 1) - start > size, end


def test_learning_makes_way_while_a_large_body_is_taken(client: httpx.Client, service: ToyService) -> None:
    client.post("/v1/events", json=[ACTION])
    assert service.batches == []
    large = [{**ACTION, "event_id": f"b{number}", "context": {"k": "x" * 1000}} for number in range(70)]
    assert client.post("/v1/events", json=large).json()["accepted"] == 70
    assert service.batches == [len(service.events) - 70, len(service.events)], "before and after"


def test_an_event_of_two_megabytes_is_refused_alone(client: httpx.Client) -> None:
    batch = [ACTION, {**ACTION, "context": {"a": "x" * 2_000_000}}, ACTION]
    answer = client.post("/v1/events", json=batch).json()
    assert answer["accepted"] == 2
    assert [(one["index"], one["reason"]) for one in answer["rejected"]] == [(1, "too_large")]


def test_a_body_without_memory_is_refused_and_the_memory_comes_back(serving: Serving) -> None:
    client = serving(body_memory_megabytes=1, body_seconds=20)
    body = json.dumps([{**ACTION, "context": {f"k{n}": "x" * 1000 for n in range(700)}}]).encode()
    arriving, proceed = threading.Event(), threading.Event()

    def slowly() -> Any:
        yield body[:500_000]
        arriving.set()
        assert proceed.wait(20)
        yield body[500_000:]

    answers: list[httpx.Response] = []
    with httpx.Client(base_url=client.base_url, timeout=30) as other:
        headers = {"content-length": str(len(body))}
        sender = threading.Thread(
            target=lambda: answers.append(other.post("/v1/events", content=slowly(), headers=headers))
        )
        sender.start()
        assert arriving.wait(10)
        wait_for(lambda: held_bytes() >= len(body))
        refused = client.post("/v1/events", content=body)
        assert refused.status_code == 503
        assert refused.json()["error"]["reason"] == "memory"
        assert int(refused.headers["retry-after"]) >= 1
        assert client.post("/v1/events", json=[ACTION]).status_code == 200, "small ones still fit"
        proceed.set()
        sender.join()
    assert answers[0].json()["accepted"] == 1
    assert client.post("/v1/events", content=body).status_code == 200
    assert held_bytes() == 0


def held_bytes() -> float:
    value = REGISTRY.get_sample_value("stream_reco_body_bytes")
    assert value is not None
    return value


def wait_for(condition: Any) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_the_budget_and_a_body_that_is_larger_than_it() -> None:
    memory = BodyMemory(100)
    first, second = memory.hold(), memory.hold()
    assert first.grow(60)
    assert not second.grow(60)
    assert second.grow(40)
    assert not second.grow(41)
    second.release()
    assert first.grow(1_000), "alone it may have all, or it could never be read"
    assert not second.grow(1)
    first.release()
    first.release()
    assert second.grow(100)
    second.release()


def test_bodies_take_turns_in_their_order() -> None:
    done: list[str] = []

    async def body(turns: DecodingTurns, name: str, size: int) -> None:
        async with turns.turn(size):
            await asyncio.sleep(0.01)
            done.append(name)

    async def run() -> None:
        turns = DecodingTurns(10)
        async with asyncio.TaskGroup() as group:
            group.create_task(body(turns, "a", 6))
            group.create_task(body(turns, "larger than all", 50))
            gone = group.create_task(body(turns, "gone", 50))
            group.create_task(body(turns, "b", 5))
            group.create_task(body(turns, "c", 5))
            await asyncio.sleep(0)
            gone.cancel()
        assert turns._under_way == 0

    asyncio.run(run())
    assert done == ["a", "larger than all", "b", "c"]


def test_nobody_waits_for_large_and_bad_bodies(client: httpx.Client) -> None:
    """In seconds; `tests/bench/bench_bodies.py` measures milliseconds."""
    bad = json.dumps([{**ACTION, "value": "x"}] * 10_000).encode()
    large = json.dumps([{**ACTION, "context": {f"k{n}": "x" * 90 for n in range(14)}}] * 10_000).encode()
    assert 14_000_000 < len(large) < 16_777_216
    bodies = [b"[" + b"{}," * 300_000 + b"{}]", bad, large]
    statuses: Counter[int] = Counter()

    def post() -> None:
        with httpx.Client(base_url=client.base_url, timeout=60) as other:
            statuses.update(other.post("/v1/events", content=body).status_code for body in bodies)

    senders = [threading.Thread(target=post) for _ in range(2)]
    for sender in senders:
        sender.start()
    longest = 0.0
    while any(sender.is_alive() for sender in senders):
        start = time.monotonic()
        assert client.get("/health/live").status_code == 200
        longest = max(longest, time.monotonic() - start)
    assert longest < 3.0
    assert statuses == {400: 2, 200: 4}
