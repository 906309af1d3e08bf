"""Histories against sorted lists of all that each user did."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stream_reco.signals.history import Histories
from stream_reco.signals.settings import RECENT, SignalSettings
from stream_reco.signals.withdrawal import recent_before
from tests.signals.reference_signals import DAY, HOUR, NEWEST, ReferenceHistory

START = 1_600_000_000_000
USERS: list[int | str] = [5, "5", -(2**63), 2**63 - 1, "😀", "é"]
SETTINGS = SignalSettings(history_length=30, history_days=6.0, user_idle_days=4.0)


class HistoriesMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.histories = Histories(SETTINGS)
        self.twin = Histories(SETTINGS)
        self.model: dict[int | str, ReferenceHistory] = {}
        self.now = START

    @rule(
        user=st.sampled_from(USERS),
        items=st.lists(st.integers(0, 12), min_size=1, max_size=25),
        gap=st.sampled_from([0, 1, HOUR, DAY]),
        late=st.sampled_from([0, 0, 1, HOUR, 3 * DAY, 8 * DAY]),
    )
    def act(self, user: int | str, items: list[int], gap: int, late: int) -> None:
        for item in items:
            self.now += gap
            rows = {histories.add(user, item, self.now - late) for histories in (self.histories, self.twin)}
            assert rows == {self.histories.row_of(user)}
            self.model.setdefault(user, ReferenceHistory()).add(item, self.now - late, SETTINGS.history_length)

    @rule(user=st.sampled_from(USERS))
    def forget(self, user: int | str) -> None:
        known = self.model.pop(user, None) is not None
        assert [histories.forget(user) for histories in (self.histories, self.twin)] == [known, known]

    @rule(gap=st.sampled_from([0, DAY, 5 * DAY]))
    def evict(self, gap: int) -> None:
        self.now += gap
        gone = {user for user, history in self.model.items() if history.last < self.now - 4 * DAY}
        old = {
            user for user, history in self.model.items() if any(at < self.now - 6 * DAY for at, *_ in history.actions)
        }
        for histories in (self.histories, self.twin):
            assert set(histories.evict(self.now)) == gone | old
        for user in gone:
            del self.model[user]
        for history in self.model.values():
            history.actions = [action for action in history.actions if action[0] >= self.now - 6 * DAY]

    @rule(items=st.sets(st.integers(0, 14), max_size=4))
    def forget_items(self, items: set[int]) -> None:
        had = {user for user, history in self.model.items() if any(one[2] in items for one in history.actions)}
        for histories in (self.histories, self.twin):
            assert set(histories.forget_items(np.array(sorted(items), dtype=np.int32))) == had
        for history in self.model.values():
            history.actions = [action for action in history.actions if action[2] not in items]

    @precondition(lambda self: bool(self.model))
    @rule()
    def restart(self) -> None:
        self.twin = Histories.from_state(SETTINGS, self.histories.state())

    @invariant()
    def agrees(self) -> None:
        histories = self.histories
        assert len(histories) == len(self.model)
        assert set(histories.users()) == set(self.model)
        for user in USERS:
            row = histories.row_of(user)
            assert (row >= 0) == (user in self.model)
            if row < 0:
                assert not len(histories.seen(row))
                assert [len(column) for column in histories.remembered(row)] == [0, 0]
                continue
            history = self.model[user]
            items = [item for _, _, item in history.actions]
            times = [time for time, _, _ in history.actions]
            assert histories.seen(row).tolist() == items
            assert [column.tolist() for column in histories.remembered(row)] == [items, times]
            assert histories.counts[row] == history.count
            assert histories.last[row] == history.last
            padding = [-1] * (RECENT - len(items[:NEWEST]))
            assert histories.items[row].tolist() == items[:NEWEST] + padding
            assert histories.times[row][: len(items[:NEWEST])].tolist() == times[:NEWEST]
            young = [time >= self.now - 6 * DAY for time in times]
            slots, at = histories.whole(row, self.now)
            assert slots.tolist() == [item for item, keep in zip(items, young, strict=True) if keep]
            assert at.tolist() == [time for time, keep in zip(times, young, strict=True) if keep]

    @invariant()
    def says_what_was_said_before(self) -> None:
        for once_seconds in (0.0, 3600.0):
            # What is counted once is no part of the state.
            of_span = replace(SETTINGS, once_seconds=once_seconds)
            histories = Histories.from_state(of_span, self.histories.state())
            for user in USERS:
                row = histories.row_of(user)
                wanted = recent_before(histories.newest(row), of_span.once_ms)
                assert [one.tolist() for one in histories.said(row)] == [one.tolist() for one in wanted]

    @invariant()
    def twin_is_the_same_to_the_bit(self) -> None:
        mine, other = self.histories.state(), self.twin.state()
        assert mine.keys() == other.keys()
        for name, array in mine.items():
            np.testing.assert_array_equal(array, other[name], err_msg=name)


TestHistories = HistoriesMachine.TestCase
TestHistories.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_what_was_read_does_not_change_when_the_user_leaves() -> None:
    histories = Histories(SETTINGS)
    for item in range(25):
        row = histories.add("u", item, START + item)
    seen, state = histories.seen(row), histories.state()
    histories.forget("u")
    histories.add("other", 99, START)
    assert seen.tolist() == list(range(24, -1, -1))
    assert state["items"][0].tolist() == list(range(24, 4, -1))


def test_many_users_keep_their_rows_through_growth() -> None:
    histories = Histories(SETTINGS)
    for user in range(3000):
        histories.add(user, user % 7, START + user)
    assert all(histories.row_of(user) == user for user in range(3000))
    assert histories.items[:3000, 0].tolist() == [user % 7 for user in range(3000)]
    copy = Histories.from_state(SETTINGS, histories.state())
    assert copy.add("new", 1, START) == histories.add("new", 1, START) == 3000
