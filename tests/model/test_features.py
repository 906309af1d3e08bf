"""The features: each column is its formula, and serving computes the very bits that training saw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream_reco.model.features.kernels import feature_matrix
from stream_reco.model.features.names import FAMILIES, FEATURES, start_of
from stream_reco.signals.context import ContextValue
from stream_reco.signals.settings import SignalSettings
from stream_reco.signals.signals import Signals
from tests.model.reference_features import Reference
from tests.model.small_loop import START, USERS, Happening, SmallLoop, contexts, logs

PHONE: dict[str, ContextValue] = {"device": "phone", "started": START}
BUSY = [Happening("act", step % 2, step * step % 5, START + 40_000 * step, PHONE) for step in range(50)]


def test_every_column_has_one_name() -> None:
    assert len(set(FEATURES)) == len(FEATURES)
    assert [start_of(family) for family in FAMILIES] == [
        sum(len(names) for names in list(FAMILIES.values())[:place]) for place in range(len(FAMILIES))
    ]


@settings(deadline=None, max_examples=80)
@given(log=logs(), user=st.integers(0, USERS), context=contexts, after=st.integers(0, 200_000_000))
@example(log=BUSY, user=0, context=PHONE, after=1)
@example(log=[Happening("show", 0, 1, START, {})] * 3, user=0, context={}, after=0)
def test_every_column_is_its_formula(
    log: list[Happening], user: int, context: dict[str, ContextValue], after: int
) -> None:
    now = max([START, *(one.time for one in log)]) + after
    loop = SmallLoop()
    for one in log:
        loop.take(one)
    reference = Reference(log)
    found = loop.features(user, context, now)
    assert found.shape == (len(reference.items), len(FEATURES))
    for item, row in zip(reference.items, found, strict=True):
        expected = reference.row(item, user, context, now)
        assert set(expected) == set(FEATURES)
        wrong = {
            name: (float(value), expected[name])
            for name, value in zip(FEATURES, row, strict=True)
            if value != pytest.approx(expected[name], abs=1e-4)
        }
        assert not wrong, f"item {item}: (kernel, formula) {wrong}"


def test_no_column_is_idle() -> None:
    """The formulas would agree on a column that is always 0 as well."""
    loop = SmallLoop()
    first: dict[str, ContextValue] = {"a": "x", "b": "x", "c": 1, "d": 2, "e": True, "f": "z", "g": "q", "h": "v"}
    first |= {"t": START, "s": START + 1}
    other: dict[str, ContextValue] = dict.fromkeys("abcdefgh", "other")
    other |= {"t": START - 9, "s": START - 99}
    for step, one in enumerate(BUSY * 2):
        context = first if step % 3 else other
        loop.take(one._replace(time=START + 40_000 * step, context=context))
        loop.take(Happening("show", 0, step % 3, START + 40_000 * step, {}))
        loop.take(Happening("describe", 0, step % 5, START + 40_000 * step, {}))
    loop.take(Happening("dislike", 0, 4, START + 4_000_000, {}))
    rows = np.concatenate(
        [
            loop.features(user, context, START + 4_100_000 + late)
            for user in (0, 1, 2)
            for context in (first, other)
            for late in (0, 10**8)
        ]
    )
    idle = {name for name, spread in zip(FEATURES, np.ptp(rows, axis=0), strict=True) if spread == 0}
    assert not idle


@settings(deadline=None, max_examples=40)
@given(log=logs(least=5), cuts=st.sets(st.integers(0, 60), max_size=4), user=st.integers(0, USERS), context=contexts)
def test_a_replica_just_synced_computes_the_very_bits(
    log: list[Happening], cuts: set[int], user: int, context: dict[str, ContextValue]
) -> None:
    loop, replica = SmallLoop(), Signals(SignalSettings())
    for step, one in enumerate(log):
        loop.take(one)
        if step in cuts or step == len(log) - 1:
            drained, catalogue = loop.signals.drain()
            replica.apply(drained)
            replica.apply_catalogue(catalogue)
    now = max(one.time for one in log) + 777
    (recent, times), shown, disliked = loop.recent(user), loop.exposures.of(user), loop.dislikes.of(user)
    encoded = replica.coder.encode(context, now)
    served = feature_matrix(replica, recent, times, encoded, now, loop.slots(), shown, disliked)
    trained = loop.features(user, context, now)
    assert served.tobytes() == trained.tobytes()


@settings(deadline=None, max_examples=40)
@given(log=logs(least=1), user=st.integers(0, USERS), context=contexts, fresh=st.integers(-1, 1))
def test_an_item_without_a_slot_reads_as_one_that_was_just_admitted(
    log: list[Happening], user: int, context: dict[str, ContextValue], fresh: int
) -> None:
    loop = SmallLoop()
    for one in log:
        loop.take(one)
    now = max(one.time for one in log) + 777
    (recent, times), shown, disliked = loop.recent(user), loop.exposures.of(user), loop.dislikes.of(user)
    # A replica finds no slot for what its users were shown of items that it does not know.
    shown = shown._replace(
        slots=np.append(shown.slots, np.int32(-1)),
        counts=np.append(shown.counts, np.int32(5)),
        times=np.append(shown.times, now),
    )
    admitted = loop.signals.admit("fresh")
    places = np.array([admitted if place == fresh + 1 else -1 for place in range(3)], dtype=np.int32)
    rows = feature_matrix(loop.signals, recent, times, loop.context(context, now), now, places, shown, disliked)
    assert np.unique(rows, axis=0).shape[0] == 1
    among = np.append(loop.slots(), np.int32(-1))
    whole = feature_matrix(loop.signals, recent, times, loop.context(context, now), now, among, shown, disliked)
    assert whole[:-1].tobytes() == loop.features(user, context, now).tobytes()
    assert whole[-1].tobytes() == rows[0].tobytes()


def test_no_candidates_give_no_rows() -> None:
    loop = SmallLoop()
    assert loop.features(0, {}, START).shape == (0, len(FEATURES))
    loop.take(BUSY[0])
    none = np.empty(0, dtype=np.int32)
    found = feature_matrix(loop.signals, *loop.recent(0), loop.context({}, START), START, none)
    assert found.shape == (0, len(FEATURES))
