"""Bounded lists against dictionaries of what was added and when."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stream_reco.signals.decayed_lists import (
    EMPTY,
    add_weight,
    drop_keys,
    empty_lists,
    grown_lists,
    put_lists,
    take_lists,
    with_spare,
)
from tests.signals.reference_signals import DAY, HOUR, PAIRS, decayed

START = 1_600_000_000_000
ROWS, WIDTH, KEYS = 3, 4, 9
_NOTHING = 1e-30
"""Below this, weights lose their digits: float32 ends at 1e-38 and a row's own stamp may be far behind."""
GAPS = st.sampled_from([0, 1, 7, 1000, HOUR // 2, 2 * HOUR, 2 * HOUR + 1, DAY, 400 * DAY])


class ListMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.lists = empty_lists(ROWS, WIDTH, PAIRS)
        self.model: list[dict[int, list[tuple[int, float]]]] = [{} for _ in range(ROWS)]
        self.now = START

    def present(self, row: int) -> set[int]:
        keys = self.lists.keys[self.lists.numbers[row]]
        return set(keys[keys != EMPTY].tolist())

    @rule(
        row=st.integers(0, ROWS - 1),
        key=st.integers(0, KEYS - 1),
        gap=GAPS,
        late=GAPS,
        amount=st.sampled_from([0.5, 1.0]),
    )
    def add(self, row: int, key: int, gap: int, late: int, amount: float) -> None:
        self.now += gap
        time = self.now - late
        model = self.model[row]
        add_weight(self.lists, row, key, amount, time)
        if key in model or len(model) < WIDTH:
            model.setdefault(key, []).append((time, amount))
            return
        weights = {known: decayed(times, PAIRS[-1], self.now) for known, times in model.items()}
        mine = decayed([(time, amount)], PAIRS[-1], self.now)
        left = set(model) - self.present(row)
        least = min(weights.values())
        if left:
            # Only the lightest goes; near ties may fall either way.
            assert len(left) == 1
            assert weights[next(iter(left))] <= least * (1 + 1e-4) + _NOTHING
            del model[next(iter(left))]
            model[key] = [(time, amount)]
        else:
            assert late > 0
            assert mine <= least * (1 + 1e-4) + _NOTHING

    @rule(keys=st.sets(st.integers(0, KEYS - 1), max_size=3))
    def drop(self, keys: set[int]) -> None:
        gone = np.zeros(KEYS, dtype=np.bool_)
        gone[list(keys)] = True
        changed = np.zeros(ROWS, dtype=np.bool_)
        drop_keys(self.lists, gone, changed)
        assert changed.tolist() == [bool(keys & set(row)) for row in self.model]
        for row in self.model:
            for key in keys & set(row):
                del row[key]

    @rule()
    def grow(self) -> None:
        self.lists = grown_lists(self.lists, len(self.lists.numbers) + 1)
        if len(self.lists.keys) < 4096:  # it doubles
            self.lists = with_spare(self.lists, len(self.lists.keys))

    @invariant()
    def agrees(self) -> None:
        for row, model in enumerate(self.model):
            number = self.lists.numbers[row]
            keys = self.lists.keys[number].tolist()
            assert sorted(key for key in keys if key != EMPTY) == sorted(model)
            assert all(key == EMPTY for key in keys[len(model) :])
            for place, key in enumerate(keys[: len(model)]):
                for kind, half_life in enumerate(PAIRS):
                    fade = 2.0 ** (-(self.now - int(self.lists.stamps[number])) / half_life)
                    got = float(self.lists.weights[number, place, kind]) * fade
                    assert got == pytest.approx(decayed(model[key], half_life, self.now), rel=1e-4, abs=_NOTHING)
        assert not self.lists.numbers[ROWS:].any()
        assert (self.lists.keys[0] == EMPTY).all()
        assert (self.lists.keys[int(self.lists.used[0]) :] == EMPTY).all()


TestLists = ListMachine.TestCase
TestLists.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_a_row_that_is_touched_every_few_milliseconds_still_decays() -> None:
    lists = empty_lists(1, 2, PAIRS)
    add_weight(lists, 0, 1, 4000.0, START)
    n, gap = 20_000, 20
    for step in range(1, n + 1):
        add_weight(lists, 0, 2, 1.0, START + gap * step)
    for kind, half_life in enumerate(PAIRS):
        got = float(lists.weights[1, 0, kind]) * 2.0 ** (-(START + gap * n - int(lists.stamps[1])) / half_life)
        assert got == pytest.approx(4000.0 * 2.0 ** (-gap * n / half_life), rel=1e-5)


def test_a_late_newcomer_does_not_push_out_what_weighs_more() -> None:
    lists = empty_lists(1, 2, PAIRS)
    add_weight(lists, 0, 1, 1.0, START)
    add_weight(lists, 0, 2, 1.0, START)
    add_weight(lists, 0, 3, 1.0, START - 70 * DAY)
    assert lists.keys[1].tolist() == [1, 2]
    add_weight(lists, 0, 3, 0.5, START)
    assert lists.keys[1].tolist() == [3, 2]


def test_rows_that_hold_nothing_take_nothing_and_are_emptied_where_they_arrive() -> None:
    lists, other = empty_lists(2000, 2, PAIRS), empty_lists(2000, 2, PAIRS)
    add_weight(lists, 7, 1, 1.0, START)
    add_weight(other, 9, 2, 1.0, START)
    rows = np.arange(2000, dtype=np.int32)
    parts = take_lists(lists, rows, "pairs.")
    assert parts["pairs.rows"].tolist() == [7]
    assert parts["pairs.keys"].tolist() == [[1, EMPTY]]
    other = put_lists(other, rows, parts, "pairs.")
    assert other.keys[other.numbers[9]].tolist() == [EMPTY, EMPTY]
    again = take_lists(other, rows, "pairs.")
    assert all((parts[name] == again[name]).all() for name in parts)


def test_lists_of_an_earlier_release_come_with_all_their_rows() -> None:
    """Up to version 0.2.0 parts had a list for each row."""
    rows = np.array([3, 1, 2], dtype=np.int32)
    parts = {
        "pairs.keys": np.array([[5, EMPTY], [EMPTY, EMPTY], [6, 7]], dtype=np.int32),
        "pairs.weights": np.ones((3, 2, 2), dtype=np.float32),
        "pairs.stamps": np.array([START, 0, START + 1]),
    }
    lists = put_lists(empty_lists(4, 2, PAIRS), rows, parts, "pairs.")
    assert [lists.keys[lists.numbers[row]].tolist() for row in range(4)] == [[-1, -1], [-1, -1], [6, 7], [5, -1]]
    assert int(lists.used[0]) == 3
    assert lists.stamps[lists.numbers].tolist() == [0, 0, START + 1, START]
    with pytest.raises(ValueError, match=r"pairs\.keys.*other settings"):
        put_lists(empty_lists(4, 3, PAIRS), rows, parts, "pairs.")
