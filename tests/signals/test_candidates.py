"""Gathering candidates against sets."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_reco.signals import candidates
from stream_reco.signals.candidates import (
    CONTEXTUAL,
    COVISIT,
    FRESH,
    NEIGHBOUR,
    PAIR_SEEDS,
    TRENDING,
    WINDOW,
    Gatherer,
    ProposalLists,
)
from stream_reco.signals.decayed_lists import Lists, empty_lists, with_spare
from stream_reco.signals.settings import RECENT
from stream_reco.signals.trends import no_trends

SLOTS, VALUES = 14, 5
TOWER = 32
Ints = NDArray[np.int32]
Quotas = tuple[int, int, int, int, int]


class Asked(NamedTuple):
    """One call, in plain lists; lists of slots hold no −1."""

    trending: list[list[int]]
    fresh: list[int]
    pairs: list[list[int]]
    popular: list[list[int]]
    together: list[list[int]]
    available: list[bool]
    recent: list[int]
    values: list[int]
    blocked: list[int]
    extra: list[int]
    turn: tuple[int, int, int] = (-1, 0, 0)

    def arrays(self) -> tuple[ProposalLists, candidates.Asked]:
        trends = no_trends(6, 6)
        for kind, listed in enumerate(self.trending):
            trends.trending[kind, : len(listed)] = listed
        trends.fresh[: len(self.fresh)] = self.fresh
        recent = np.full(RECENT, -1, dtype=np.int32)
        recent[: len(self.recent)] = self.recent
        bits = np.full(len(self.extra), TOWER, dtype=np.int32)
        together = lists_of(self.together)
        for row, keys in enumerate(self.together, 1):
            together.weights[row, : len(keys), 0] = [weight_of(slot) for slot in keys]
        available = np.array(self.available)
        lists = ProposalLists(trends, lists_of(self.pairs), lists_of(self.popular), together, available)
        turn = np.array(self.turn, dtype=np.int32)
        return lists, candidates.Asked(recent, ints(self.values), ints(self.blocked), ints(self.extra), bits, turn)

    def allows(self, slot: int) -> bool:
        return 0 <= slot < SLOTS and self.available[slot] and slot not in self.blocked

    def first(self, slots: list[int], quota: int) -> list[int]:
        return [slot for slot in slots if self.allows(slot)][:quota]

    def head(self, slots: list[int], quota: int) -> list[int]:
        return self.first(slots if self.turn[0] >= 0 else slots[:quota], quota)

    def least_shown(self, quota: int) -> list[int]:
        """Half of them from the list of the least shown, in turns among its first, the rest from all slots in turn."""
        turn = self.turn[0]
        if turn < 0:
            return self.first(self.fresh[:quota], quota)
        half = quota - quota // 2
        window = self.fresh[: WINDOW * half]
        start = turn * half % len(window) if window else 0
        listed = self.first(window[start:] + window[:start] + self.fresh[len(window) :], half)
        return listed + self.first(self.all_slots(), quota - len(listed))

    def all_slots(self) -> list[int]:
        return [(self.turn[1] + place) % SLOTS for place in range(SLOTS)]

    def candidates(self, limit: int, quotas: Quotas) -> dict[int, int]:
        """Slot → source bits, in the order in which they are found."""
        limit = max(limit, self.turn[2])
        reserved = min(quotas[3], limit // 4) if self.turn[0] >= 0 else 0
        proposals = [(slot, TOWER) for slot in self.first(self.extra, len(self.extra))]
        proposals += [(slot, TRENDING) for listed in self.trending for slot in self.first(listed, quotas[0])]
        for row in self.recent[:PAIR_SEEDS]:
            proposals += [(slot, COVISIT) for slot in self.head(self.pairs[row], quotas[1])]
        for row in self.recent[:PAIR_SEEDS]:
            heaviest = sorted(self.together[row], key=weight_of, reverse=True)
            proposals += [(slot, NEIGHBOUR) for slot in self.first(heaviest, quotas[4])]
        for value in self.values:
            listed = self.popular[value] if value >= 0 else []
            proposals += [(slot, CONTEXTUAL) for slot in self.head(listed, quotas[2])]
        found: dict[int, int] = {}
        self.take(found, proposals, limit - reserved)
        self.take(found, [(slot, FRESH) for slot in self.least_shown(quotas[3])], limit)
        if quotas[3] and self.turn[0] >= 0:
            more = self.first(self.fresh, SLOTS) + self.first(self.all_slots(), SLOTS)
            for slot in more:
                if len(found) < self.turn[2]:
                    self.take(found, [(slot, FRESH)], limit)
        return found

    def take(self, found: dict[int, int], proposals: list[tuple[int, int]], limit: int) -> None:
        for slot, bit in proposals:
            if slot in found:
                found[slot] |= bit
            elif len(found) < limit:
                found[slot] = bit


def weight_of(slot: int) -> float:
    """Of a slot in any list; all differ, and their order is not that of the slots."""
    return float(slot * 5 % SLOTS + 1)


def ints(values: list[int]) -> Ints:
    return np.array(values, dtype=np.int32)


def lists_of(rows: list[list[int]]) -> Lists:
    lists = empty_lists(len(rows), 6, (1000,))
    lists.numbers[:] = range(1, len(rows) + 1)
    for row, keys in enumerate(rows, 1):
        lists.keys[row, : len(keys)] = keys
    return lists


SLOT = st.integers(0, SLOTS - 1)
LISTED = st.lists(SLOT, max_size=6, unique=True)
ASKED = st.builds(
    Asked,
    trending=st.lists(LISTED, min_size=6, max_size=6),
    fresh=LISTED,
    pairs=st.lists(LISTED, min_size=SLOTS, max_size=SLOTS),
    popular=st.lists(LISTED, min_size=VALUES, max_size=VALUES),
    together=st.lists(LISTED, min_size=SLOTS, max_size=SLOTS),
    available=st.lists(st.booleans(), min_size=SLOTS, max_size=SLOTS),
    recent=st.lists(SLOT, max_size=RECENT),
    values=st.lists(st.integers(-1, VALUES - 1), max_size=8),
    blocked=st.lists(st.integers(-1, SLOTS + 9), max_size=6),
    extra=st.lists(st.integers(-1, SLOTS + 9), max_size=8),
    turn=st.tuples(st.integers(-1, 9), st.integers(0, SLOTS - 1), st.integers(0, SLOTS + 2)),
)
QUOTA = st.integers(0, 7)


@settings(deadline=None, max_examples=150)
@given(st.lists(ASKED, min_size=1, max_size=4), st.integers(0, 16), st.tuples(QUOTA, QUOTA, QUOTA, QUOTA, QUOTA))
def test_candidates_are_what_sets_give_call_after_call(calls: list[Asked], limit: int, quotas: Quotas) -> None:
    gatherer = Gatherer(limit, quotas)
    for asked in calls:
        slots, sources = gatherer(*asked.arrays())
        # One scratch serves all calls, so what one leaves behind another would show.
        assert list(zip(slots.tolist(), sources.tolist(), strict=True)) == list(asked.candidates(limit, quotas).items())
        assert (gatherer._spare[0].places == -1).all()


@settings(deadline=None, max_examples=100)
@given(st.lists(ASKED, min_size=1, max_size=4), st.integers(0, 16), st.tuples(QUOTA, QUOTA, QUOTA, QUOTA, QUOTA))
def test_a_few_that_are_listed_are_proposed_as_a_mask_of_them_would_be(
    calls: list[Asked], limit: int, quotas: Quotas
) -> None:
    gatherer, by_mask = Gatherer(limit, quotas), Gatherer(limit, quotas)
    for one in calls:
        lists, asked = one._replace(available=[True, *one.available[1:]]).arrays()
        few = np.flatnonzero(lists.available).astype(np.int32)
        listed = gatherer(lists._replace(available=~lists.available, few=few), asked)
        assert [part.tolist() for part in listed] == [part.tolist() for part in by_mask(lists, asked)]
        assert not gatherer._spare[0].listed.any()


def test_rows_and_slots_that_are_not_there_are_skipped() -> None:
    asked = Asked([[]] * 6, [], [[1]], [[2]], [[]], [True] * 3, [0], [0], [], [])
    lists, arrays = asked.arrays()
    arrays.recent[1] = 9
    slots, _ = Gatherer(9, (9, 9, 9, 9, 9))(lists, arrays._replace(values=ints([7])))
    assert slots.tolist() == [1]


def test_a_catalogue_that_shrank_is_not_read_beyond_its_end() -> None:
    gatherer = Gatherer(9, (9, 9, 9, 9, 9))
    large = Asked([[3]] + [[]] * 5, [], [[]], [[]], [[]], [True] * 4, [], [], [], [3])
    assert gatherer(*large.arrays())[0].tolist() == [3]
    small = large._replace(available=[True] * 2)
    assert not len(gatherer(*small.arrays())[0])


def test_threads_share_one_gatherer() -> None:
    rng = np.random.default_rng(0)
    slots = 30_000
    gatherer = Gatherer(600, (100, 40, 40, 50, 0))
    pairs, popular = with_spare(empty_lists(slots, 40, (1000,)), slots), empty_lists(4, 40, (1000,))
    pairs.numbers[:] = range(1, slots + 1)
    pairs.keys[1 : slots + 1] = rng.integers(0, slots, (slots, 40))
    trends = no_trends(100, 50)
    trends.trending[:] = rng.permutation(slots)[: trends.trending.size].reshape(trends.trending.shape)
    available, nothing = np.ones(slots, dtype=np.bool_), ints([])
    recents = rng.integers(0, slots, (64, RECENT)).astype(np.int32)
    lists = ProposalLists(trends, pairs, popular, empty_lists(slots, 1, (1000,)), available)

    def ask(number: int) -> tuple[list[int], list[int]]:
        turn = np.array([number % 64, 0, 0], dtype=np.int32)
        asked = candidates.Asked(recents[number % 64], nothing, nothing, nothing, nothing, turn)
        found, sources = gatherer(lists, asked)
        return found.tolist(), sources.tolist()

    wanted = [ask(number) for number in range(64)]
    with ThreadPoolExecutor(4) as pool:
        for number, answer in enumerate(pool.map(ask, range(4000))):
            assert answer == wanted[number % 64]


def test_what_was_given_out_is_not_written_again() -> None:
    gatherer = Gatherer(9, (9, 9, 9, 9, 9))
    asked = Asked([[1, 2]] + [[]] * 5, [], [[]], [[]], [[]], [True] * 4, [], [], [], [])
    slots, sources = gatherer(*asked.arrays())
    gatherer(*asked._replace(trending=[[3]] + [[]] * 5).arrays())
    assert (slots.tolist(), sources.tolist()) == ([1, 2], [TRENDING, TRENDING])


@pytest.mark.parametrize(("limit", "quotas"), [(-1, (1, 1, 1, 1, 1)), (5, (1, -1, 1, 1, 1))])
def test_negative_limits_are_refused(limit: int, quotas: Quotas) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        Gatherer(limit, quotas)


def test_all_that_is_available_has_its_turn_within_a_round() -> None:
    """Also what the list of the least shown does not hold, and with gaps in between."""
    slots, quota = 2000, 50
    available = np.arange(slots) % 3 != 0
    trends = no_trends(6, 10)
    trends.fresh[:] = range(1, 31, 3)
    empty = empty_lists(slots, 1, (1000,))
    gatherer = Gatherer(600, (0, 0, 0, quota, 0))
    found: set[int] = set()
    for number in range(slots // (quota // 2)):
        turn = np.array([number, number * (quota // 2), 0], dtype=np.int32)
        asked = candidates.Asked(ints([]), ints([]), ints([]), ints([]), ints([]), turn)
        mine, sources = gatherer(ProposalLists(trends, empty, empty, empty, available), asked)
        assert quota // 2 < len(mine) <= quota
        assert set(sources.tolist()) == {FRESH}
        found |= set(mine.tolist())
    assert found == set(np.flatnonzero(available).tolist())


def test_the_least_shown_have_their_places_where_others_could_fill_all() -> None:
    trends = no_trends(20, 20)
    trends.trending[:] = range(20)
    trends.fresh[:2] = [30, 31]
    empty, available = empty_lists(40, 1, (1000,)), np.ones(40, dtype=np.bool_)
    asked = candidates.Asked(ints([]), ints([]), ints([]), ints([]), ints([]), np.array([0, 35, 0], dtype=np.int32))
    slots, _ = Gatherer(16, (20, 0, 0, 4, 0))(ProposalLists(trends, empty, empty, empty, available), asked)
    assert slots.tolist() == [*range(12), 30, 31, 35, 36]
