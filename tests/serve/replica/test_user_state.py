"""A user's state comes back as it was sent, and fades as the interests that it was taken from."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_reco.interests import Interests, InterestSettings, Medoids
from stream_reco.serve.replica.user_state import FORMAT, BadUserStateError, UserState
from stream_reco.signals.settings import DAY_MS
from stream_reco.signals.shown_items import ShownItems

NOW = 1_600_000_000_000
INTEGER = st.integers(-(2**63), 2**63 - 1)
FEATURE = st.text(max_size=9) | INTEGER | st.floats(allow_nan=False) | st.booleans() | st.none()


def int64(values: list[int]) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


@given(
    actions=st.lists(st.tuples(INTEGER, INTEGER), max_size=50),
    medoids=st.lists(st.tuples(INTEGER, st.floats(0, 1e9), INTEGER), max_size=9),
    at=INTEGER,
    seen=st.lists(st.tuples(INTEGER, INTEGER), max_size=20),
    profile=st.dictionaries(st.text(min_size=1, max_size=9), FEATURE | st.lists(FEATURE, max_size=4), max_size=5),
)
def test_what_was_sent_comes_back(
    actions: list[tuple[int, int]],
    medoids: list[tuple[int, float, int]],
    at: int,
    seen: list[tuple[int, int]],
    profile: dict[str, Any],
) -> None:
    columns = Medoids(
        int64([key for key, _, _ in medoids]),
        np.array([weight for _, weight, _ in medoids]),
        int64([last for _, _, last in medoids]),
    )
    shown = ShownItems()
    for item, time in seen:
        shown.add(item, time)
    items, times = int64([item for item, _ in actions]), int64([time for _, time in actions])
    sent = UserState(items, times, columns, at, shown=shown, profile=profile)
    got = UserState.from_bytes(sent.to_bytes(at))
    assert list(got.profile.items()) == list(profile.items()), "in their order: models read the first features most"
    assert (got.at, got.written) == (at, at)
    assert [got.shown.items, got.shown.counts, got.shown.times] == [shown.items, shown.counts, shown.times]
    for one, other in zip((sent.items, sent.times, *sent.medoids), (got.items, got.times, *got.medoids), strict=True):
        assert one.dtype == other.dtype
        assert one.tolist() == other.tolist()


def test_states_without_a_number_are_read_and_the_number_is_passed_over_by_earlier_releases() -> None:
    sent = UserState(int64([1]), int64([NOW]), Medoids(int64([]), np.empty(0), int64([])), NOW)
    *fields, number, _, _, _, disliked, profile = msgspec.msgpack.decode(sent.to_bytes(7))
    assert (number, disliked, profile) == (7, b"", {})
    got = UserState.from_bytes(msgspec.msgpack.encode(fields))
    assert (got.items.tolist(), got.at, got.written, len(got.shown), got.profile) == ([1], NOW, 0, 0, {})

    class Earlier(msgspec.Struct, frozen=True, array_like=True):
        format: int
        at: int
        items: bytes
        times: bytes
        keys: bytes
        importance: bytes
        last: bytes

    assert msgspec.msgpack.decode(sent.to_bytes(7), type=Earlier).at == NOW


def test_a_thousand_actions_take_16_kb() -> None:
    many = np.arange(1_000, dtype=np.int64)
    assert len(UserState(many, many, Medoids(many[:5], np.ones(5), many[:5]), NOW).to_bytes()) < 16_200


GOOD = UserState(int64([1]), int64([NOW]), Medoids(int64([]), np.empty(0), int64([])), NOW).to_bytes()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xff",
        GOOD[:-1],
        GOOD + b"x",
        msgspec.msgpack.encode([FORMAT + 1, 0, b"", b"", b"", b"", b""]),
        msgspec.msgpack.encode([FORMAT, 0, b"odd", b"odd", b"", b"", b""]),
        msgspec.msgpack.encode([FORMAT, 0, bytes(8), bytes(16), b"", b"", b""]),
        msgspec.msgpack.encode([FORMAT, 0, b"", b"", bytes(8), bytes(16), bytes(8)]),
        msgspec.msgpack.encode([FORMAT, "0", b"", b"", b"", b"", b""]),
        msgspec.msgpack.encode({"format": FORMAT}),
    ],
)
def test_other_bytes_are_no_state(data: bytes) -> None:
    with pytest.raises(BadUserStateError):
        UserState.from_bytes(data)


@given(st.binary(max_size=80))
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    with suppress(BadUserStateError):
        UserState.from_bytes(data)


def test_interests_fade_and_leave_as_the_store_would_have_them() -> None:
    settings = InterestSettings()
    store = Interests(settings)
    vectors = {5: [1.0, 0.0], 6: [0.0, 1.0], 7: [0.1, 0.995]}

    def vectors_of(keys: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.array([vectors[int(key)] for key in keys], dtype=np.float32).reshape(len(keys), 2)

    items, times = int64([6, 7, 5]), int64([NOW, NOW - DAY_MS, NOW - 80 * DAY_MS])
    store.recluster_all("u", items, times, vectors_of(items), NOW)
    state = UserState.from_bytes(UserState(items, times, store.medoids("u", NOW), NOW).to_bytes())
    for later in (0, 3 * DAY_MS, 20 * DAY_MS, 400 * DAY_MS):
        wanted, got = store.medoids("u", NOW + later), state.interests(NOW + later, settings)
        assert got.keys.tolist() == wanted.keys.tolist()
        assert got.last.tolist() == wanted.last.tolist()
        np.testing.assert_allclose(got.importance, wanted.importance, rtol=1e-12)
    assert len(state.interests(NOW, settings).keys) == 2
    assert len(state.interests(NOW + 20 * DAY_MS, settings).keys) == 1
