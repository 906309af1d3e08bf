"""Ranking metrics against the textbook's sums."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_reco.measure import RankingMetrics, rank_of

RANKS = st.lists(st.none() | st.integers(1, 30), min_size=1, max_size=60)


@given(ranks=RANKS, k=st.integers(1, 12), window=st.none() | st.integers(1, 20))
def test_against_the_definitions(ranks: list[int | None], k: int, window: int | None) -> None:
    metrics = RankingMetrics(k, window)
    for rank in ranks:
        metrics.add(rank)
    counted = ranks if window is None else ranks[-window:]
    hits = [rank for rank in counted if rank is not None and rank <= k]
    assert metrics.as_dict() == {
        "evaluated": len(counted),
        f"hr@{k}": pytest.approx(len(hits) / len(counted)),
        f"ndcg@{k}": pytest.approx(sum(math.log(2) / math.log(1 + rank) for rank in hits) / len(counted)),
        f"mrr@{k}": pytest.approx(sum(1 / rank for rank in hits) / len(counted)),
    }


def test_known_values() -> None:
    metrics = RankingMetrics(10)
    for rank in (1, 3, 10, 11, None):
        metrics.add(rank)
    assert metrics.hit_rate == 0.6
    assert metrics.ndcg == pytest.approx((1 + 0.5 + 1 / math.log2(11)) / 5)
    assert metrics.mrr == pytest.approx((1 + 1 / 3 + 0.1) / 5)


def test_before_the_first_event_there_is_no_metric() -> None:
    assert RankingMetrics(10).as_dict() == {"evaluated": 0, "hr@10": None, "ndcg@10": None, "mrr@10": None}


def test_ranks_count_from_one_and_so_do_k_and_window() -> None:
    with pytest.raises(ValueError, match="rank 1"):
        RankingMetrics().add(0)
    for k, window in ((0, None), (10, 0)):
        with pytest.raises(ValueError, match="count from 1"):
            RankingMetrics(k, window)


def test_rank_of_tells_five_from_its_text() -> None:
    assert rank_of("5", [5, 7, "5"]) == 3
    assert rank_of(5, [7, 5]) == 2
    assert rank_of(5, ["5"]) is None
    assert rank_of(5, []) is None
