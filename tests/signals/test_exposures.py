"""What users were shown and passed over, against a plain dict of every impression that counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stream_reco.signals import shown_items
from stream_reco.signals.exposures import NOTHING_SHOWN, Exposures
from stream_reco.signals.settings import DAY_MS, HOUR_MS, SignalSettings
from stream_reco.signals.shown_items import MOST_ITEMS, ShownItems

START = 1_600_000_000_000
USERS: list[int | str] = [5, "5", -(2**63), "😀"]
SETTINGS = SignalSettings(user_idle_days=4.0)
Times = dict[int, list[int]]
"""Item slot → times of the impressions that count, in the order of the last of each item."""


class ExposuresMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.exposures = Exposures(SETTINGS)
        self.model: dict[int | str, Times] = {}
        self.now = START

    @rule(
        user=st.sampled_from(USERS),
        slots=st.lists(st.integers(0, 2 * MOST_ITEMS), min_size=1, max_size=150),
        gap=st.sampled_from([0, 1, HOUR_MS]),
        late=st.sampled_from([0, 0, 1, HOUR_MS, 9 * DAY_MS]),
    )
    def show(self, user: int | str, slots: list[int], gap: int, late: int) -> None:
        for slot in slots:
            self.now += gap
            self.exposures.add(user, slot, self.now - late)
            known = self.model.setdefault(user, {})
            known[slot] = [*known.pop(slot, []), self.now - late]
            while len(known) > MOST_ITEMS:
                del known[next(iter(known))]

    @rule(user=st.sampled_from(USERS), slot=st.integers(0, 30))
    def act(self, user: int | str, slot: int) -> None:
        self.exposures.acted(user, slot)
        self.model.get(user, {}).pop(slot, None)

    @rule(user=st.sampled_from(USERS))
    def forget(self, user: int | str) -> None:
        assert self.exposures.forget(user) == (user in self.model)
        self.model.pop(user, None)

    @rule(slots=st.sets(st.integers(0, 2 * MOST_ITEMS), max_size=60))
    def forget_items(self, slots: set[int]) -> None:
        self.exposures.forget_items(np.array(sorted(slots), dtype=np.int32))
        for known in self.model.values():
            for slot in slots:
                known.pop(slot, None)

    @rule(gap=st.sampled_from([0, DAY_MS, 5 * DAY_MS]))
    def evict(self, gap: int) -> None:
        self.now += gap
        self.exposures.evict(self.now)
        for user, known in list(self.model.items()):
            if max(max(times) for times in known.values()) < self.now - 4 * DAY_MS:
                del self.model[user]

    @rule(back=st.sampled_from([1, HOUR_MS, DAY_MS]))
    def turn_back(self, back: int) -> None:
        time = self.now - back
        self.exposures.turn_back(time)
        for known in self.model.values():
            for slot, times in known.items():
                known[slot] = [min(one, time) for one in times]

    @rule()
    def restart(self) -> None:
        self.exposures = Exposures.from_state(SETTINGS, self.exposures.state())

    @invariant()
    def same(self) -> None:
        self.model = {user: known for user, known in self.model.items() if known}
        assert set(self.exposures.users()) == set(self.model)
        assert len(self.exposures) == len(self.model)
        for user in USERS:
            known = self.model.get(user, {})
            slots, counts, times = self.exposures.of(user)
            assert slots.tolist() == list(known)
            assert counts.tolist() == [len(one) for one in known.values()]
            assert times.tolist() == [max(one) for one in known.values()]


ExposuresMachine.TestCase.settings = settings(deadline=None, max_examples=30, stateful_step_count=20)
TestExposures = ExposuresMachine.TestCase


def test_one_impression_can_be_taken_out_again() -> None:
    exposures = Exposures(SETTINGS)
    exposures.add("u", 7, START)
    exposures.add("u", 8, START + 5)
    exposures.add("u", 7, START + 10)
    assert [part.tolist() for part in exposures.before("u", 7, START + 10)] == [[8, 7], [1, 1], [START + 5, START + 10]]
    assert exposures.before("u", 8, START + 5).slots.tolist() == [7]
    # It was not counted yet: nothing to take out.
    assert exposures.before("u", 8, START + 6).counts.tolist() == exposures.of("u").counts.tolist()
    assert exposures.before("nobody", 8, START) is NOTHING_SHOWN


def test_a_count_stays_where_two_bytes_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown_items._MOST_TIMES == 65_535
    monkeypatch.setattr(shown_items, "_MOST_TIMES", 3)
    shown = ShownItems()
    for step in range(5):
        shown.add(-9, START + step)
    assert shown.remove(-9) == (3, START + 4)


def test_a_user_takes_little_memory() -> None:
    shown = ShownItems("i")
    for item in range(3 * MOST_ITEMS):
        shown.add(item, START)
    assert len(shown) == MOST_ITEMS
    held = sum(column.buffer_info()[1] * column.itemsize for column in (shown.items, shown.counts, shown.times))
    assert held == 14 * MOST_ITEMS


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"lengths \(1, 0, 0\)"):
        ShownItems.from_bytes(b"12345678", b"", b"")
