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
    PAIR_SEEDS,
    TRENDING,
    Gatherer,
    ProposalLists,
)
from stream_reco.signals.decayed_lists import Lists, empty_lists
from stream_reco.signals.settings import RECENT
from stream_reco.signals.trends import no_trends

SLOTS, VALUES = 14, 5
TOWER = 16
Ints = NDArray[np.int32]


class Asked(NamedTuple):
    """One call, in plain lists; lists of slots hold no −1."""

    trending: list[list[int]]
    fresh: list[int]
    pairs: list[list[int]]
    popular: list[list[int]]
    available: list[bool]
    recent: list[int]
    values: list[int]
    blocked: list[int]
    extra: list[int]

    def arrays(self) -> tuple[ProposalLists, candidates.Asked]:
        trends = no_trends(6, 6)
        for kind, listed in enumerate(self.trending):
            trends.trending[kind, : len(listed)] = listed
        trends.fresh[: len(self.fresh)] = self.fresh
        recent = np.full(RECENT, -1, dtype=np.int32)
        recent[: len(self.recent)] = self.recent
        bits = np.full(len(self.extra), TOWER, dtype=np.int32)
        lists = ProposalLists(trends, lists_of(self.pairs), lists_of(self.popular), np.array(self.available))
        return lists, candidates.Asked(recent, ints(self.values), ints(self.blocked), ints(self.extra), bits)

    def candidates(self, limit: int, quotas: tuple[int, int, int, int]) -> dict[int, int]:
        """Slot → source bits, in the order in which they are found."""
        proposals = [(slot, TOWER) for slot in self.extra]
        proposals += [(slot, TRENDING) for listed in self.trending for slot in listed[: quotas[0]]]
        proposals += [(slot, COVISIT) for row in self.recent[:PAIR_SEEDS] for slot in self.pairs[row][: quotas[1]]]
        proposals += [
            (slot, CONTEXTUAL) for value in self.values if value >= 0 for slot in self.popular[value][: quotas[2]]
        ]
        proposals += [(slot, FRESH) for slot in self.fresh[: quotas[3]]]
        found: dict[int, int] = {}
        for slot, bit in proposals:
            if 0 <= slot < SLOTS and self.available[slot] and slot not in self.blocked:
                if slot in found:
                    found[slot] |= bit
                elif len(found) < limit:
                    found[slot] = bit
        return found


def ints(values: list[int]) -> Ints:
    return np.array(values, dtype=np.int32)


def lists_of(rows: list[list[int]]) -> Lists:
    lists = empty_lists(len(rows), 6, (1000,))
    for row, keys in enumerate(rows):
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
    available=st.lists(st.booleans(), min_size=SLOTS, max_size=SLOTS),
    recent=st.lists(SLOT, max_size=RECENT),
    values=st.lists(st.integers(-1, VALUES - 1), max_size=8),
    blocked=st.lists(st.integers(-1, SLOTS + 9), max_size=6),
    extra=st.lists(st.integers(-1, SLOTS + 9), max_size=8),
)
QUOTA = st.integers(0, 7)


@settings(deadline=None, max_examples=150)
@given(st.lists(ASKED, min_size=1, max_size=4), st.integers(0, 16), st.tuples(QUOTA, QUOTA, QUOTA, QUOTA))
def test_candidates_are_what_sets_give_call_after_call(
    calls: list[Asked], limit: int, quotas: tuple[int, int, int, int]
) -> None:
    gatherer = Gatherer(limit, quotas)
    for asked in calls:
        slots, sources = gatherer(*asked.arrays())
        # One scratch serves all calls, so what one leaves behind another would show.
        assert list(zip(slots.tolist(), sources.tolist(), strict=True)) == list(asked.candidates(limit, quotas).items())
        assert (gatherer._spare[0].places == -1).all()


def test_rows_and_slots_that_are_not_there_are_skipped() -> None:
    asked = Asked([[]] * 6, [], [[1]], [[2]], [True] * 3, [0], [0], [], [])
    lists, arrays = asked.arrays()
    arrays.recent[1] = 9
    slots, _ = Gatherer(9, (9, 9, 9, 9))(lists, arrays._replace(values=ints([7])))
    assert slots.tolist() == [1]


def test_a_catalogue_that_shrank_is_not_read_beyond_its_end() -> None:
    gatherer = Gatherer(9, (9, 9, 9, 9))
    large = Asked([[3]] + [[]] * 5, [], [[]], [[]], [True] * 4, [], [], [], [3])
    assert gatherer(*large.arrays())[0].tolist() == [3]
    small = large._replace(available=[True] * 2)
    assert not len(gatherer(*small.arrays())[0])


def test_threads_share_one_gatherer() -> None:
    rng = np.random.default_rng(0)
    slots = 30_000
    gatherer = Gatherer(600, (100, 40, 40, 50))
    pairs, popular = empty_lists(slots, 40, (1000,)), empty_lists(4, 40, (1000,))
    pairs.keys[:] = rng.integers(0, slots, pairs.keys.shape)
    trends = no_trends(100, 50)
    trends.trending[:] = rng.permutation(slots)[: trends.trending.size].reshape(trends.trending.shape)
    available, nothing = np.ones(slots, dtype=np.bool_), ints([])
    recents = rng.integers(0, slots, (64, RECENT)).astype(np.int32)
    lists = ProposalLists(trends, pairs, popular, available)

    def ask(number: int) -> tuple[list[int], list[int]]:
        found, sources = gatherer(lists, candidates.Asked(recents[number % 64], nothing, nothing, nothing, nothing))
        return found.tolist(), sources.tolist()

    wanted = [ask(number) for number in range(64)]
    with ThreadPoolExecutor(4) as pool:
        for number, answer in enumerate(pool.map(ask, range(4000))):
            assert answer == wanted[number % 64]


def test_what_was_given_out_is_not_written_again() -> None:
    gatherer = Gatherer(9, (9, 9, 9, 9))
    asked = Asked([[1, 2]] + [[]] * 5, [], [[]], [[]], [True] * 4, [], [], [], [])
    slots, sources = gatherer(*asked.arrays())
    gatherer(*asked._replace(trending=[[3]] + [[]] * 5).arrays())
    assert (slots.tolist(), sources.tolist()) == ([1, 2], [TRENDING, TRENDING])


@pytest.mark.parametrize(("limit", "quotas"), [(-1, (1, 1, 1, 1)), (5, (1, -1, 1, 1))])
def test_negative_limits_are_refused(limit: int, quotas: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        Gatherer(limit, quotas)
