"""Ids and keys, and events that survive every form they take."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from stream_reco.events import (
    Action,
    BadEvent,
    Event,
    Id,
    Impression,
    ItemEvent,
    Retraction,
    UserEvent,
    check_id,
    decode,
    decode_batch,
    decode_many,
    encode,
    encode_batch,
    id_from_path,
    is_canonical_integer,
    key_of,
    validate,
)

KEYS = [-6389223713642328882, 940768194319052535, 691214282487138278]
"""Written down once: a release that hashes differently orphans every stored row."""

int64 = st.integers(-(2**63), 2**63 - 1)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ids: st.SearchStrategy[Id] = int64 | text.filter(bool)
finite = st.floats(allow_nan=False, allow_infinity=False)
scalars = text | int64 | finite | st.booleans() | st.none()
names = text.filter(bool)
contexts = st.none() | st.dictionaries(names, scalars, max_size=3)
features = st.dictionaries(names, scalars | st.lists(scalars, max_size=3), max_size=3)
maybe_id = st.none() | ids
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        Impression,
        user_id=ids,
        item_id=ids,
        timestamp=int64,
        event_id=maybe_id,
        request_id=maybe_id,
        group_id=maybe_id,
        position=st.none() | st.integers(0, 2**31 - 1),
        propensity=st.none() | st.floats(0, 1, exclude_min=True),
        context=contexts,
    ),
    st.builds(
        Action,
        user_id=ids,
        item_id=ids,
        timestamp=int64,
        action=names,
        event_id=maybe_id,
        request_id=maybe_id,
        group_id=maybe_id,
        value=st.none() | finite,
        context=contexts,
    ),
    st.builds(Retraction, retracts=ids, timestamp=int64, event_id=maybe_id, user_id=maybe_id, group_id=maybe_id),
    st.builds(
        ItemEvent,
        item_id=ids,
        timestamp=int64,
        event_id=maybe_id,
        features=features,
        vector=st.just(UNSET) | st.none() | st.lists(finite, min_size=1, max_size=4),
        available=st.none() | st.booleans(),
        replace=st.booleans(),
    ),
    st.builds(UserEvent, user_id=ids, timestamp=int64, event_id=maybe_id, features=features),
)


@settings(deadline=None)
@given(event=events)
def test_json_round_trip(event: Event) -> None:
    data = encode(event)
    assert decode(data) == event
    assert decode(json.dumps(json.loads(data)).encode()) == event
    assert encode(decode(data)) == data
    validate(event)


@settings(deadline=None)
@given(batch=st.lists(events, max_size=5))
def test_batch_round_trips(batch: list[Event]) -> None:
    assert decode_batch(encode_batch(batch)) == batch
    assert encode_batch(decode_batch(encode_batch(batch))) == encode_batch(batch)
    assert decode_many(b"[" + b",".join(map(encode, batch)) + b"]") == batch


def test_a_broken_batch_is_an_error() -> None:
    data = encode_batch([UserEvent(user_id=1, timestamp=1)])
    for length in range(len(data)):
        with pytest.raises(msgspec.DecodeError):
            decode_batch(data[:length])


def test_text_and_integers_stay_apart() -> None:
    five, text_five = decode_batch(encode_batch([UserEvent(user_id=n, timestamp=1) for n in (5, "5")]))
    assert five != text_five


@given(number=int64, feature=names)
def test_integers_are_their_own_key(number: int, feature: str) -> None:
    assert key_of(number, feature) == number


@given(name=names)
def test_keys_of_text_fit_and_differ_between_features(name: str) -> None:
    key = key_of(name, "user")
    assert np.int64(key) == key
    assert key == key_of(name, "user") != key_of(name, "item")


def test_keys_are_the_same_in_every_process_and_release() -> None:
    assert [key_of("u1", "user"), key_of("😀", "item"), key_of("5", "user")] == KEYS
    code = (
        "from stream_reco.events import key_of; print([key_of('u1','user'), key_of('😀','item'), key_of('5','user')])"
    )
    root = Path(__file__).parents[2]
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert json.loads(out.stdout) == KEYS


@pytest.mark.parametrize("good", ["0", "5", "-5", "9223372036854775807", "-9223372036854775808"])
def test_canonical_integers(good: str) -> None:
    assert is_canonical_integer(good)
    assert id_from_path(good) == int(good)


@pytest.mark.parametrize(
    "other",
    [
        "-0",
        "+5",
        "05",
        " 5",
        "5 ",
        "5\n",
        "5.0",
        "1_000",
        "٣",
        "9223372036854775808",
        "-9223372036854775809",
        "x",
        "1e3",
    ],
)
def test_the_rest_is_text(other: str) -> None:
    assert not is_canonical_integer(other)
    assert id_from_path(other) == other


def test_quoted_ids_in_paths_are_text() -> None:
    assert id_from_path('"5"') == "5"
    assert id_from_path('"a\\"b"') == 'a"b'
    for bad in ['"5', '""', "", '"\\ud800"', '"a"b', '"' + "x" * 600 + '"', "x" * 600]:
        with pytest.raises(BadEvent) as caught:
            id_from_path(bad)
        assert caught.value.reason == "id"


@given(value=ids)
def test_ids_come_back_from_paths(value: Id) -> None:
    quoted = str(value) if isinstance(value, int) else json.dumps(value, ensure_ascii=False)
    assert id_from_path(quoted) == value


@given(value=ids)
def test_check_id_returns_what_is_good(value: Id) -> None:
    assert check_id(value, "user_id") is value


def test_the_error_names_field_value_and_fix() -> None:
    with pytest.raises(BadEvent, match=r"user_id is 5\.0: .*64-bit integer"):
        check_id(5.0, "user_id")
