"""The experiment on cold starts: ranks against brute force, what is known when, the articles, and the policies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_reco.datasets import DeadLetters, Log
from stream_reco.datasets.rows import ListedRows
from stream_reco.events import Action, Event, Id, ItemEvent
from stream_reco.experiments.cold_start.articles import ArticlePlan, article_log
from stream_reco.experiments.cold_start.first_events import BUCKETS, K, bucket_of, rank_quality
from stream_reco.experiments.cold_start.off_policy import estimate_share
from stream_reco.experiments.cold_start.plan import COLD_START_LOGS, NARROWER, WITHOUT
from stream_reco.experiments.cold_start.walk import ColdStartWalk, WalkPlan
from stream_reco.experiments.runs.plan import CONTENT_OFF, config_text
from stream_reco.model.content.settings import ContentSettings
from stream_reco.serve.service import Accepted

T = 1_600_000_000_000
SMALL = ArticlePlan(clicks=600, users=20, topics=4, interests=1, alive=30)


def click(user: int, item: int, at: int) -> Action:
    return Action(user_id=user, item_id=item, action="click", timestamp=T + 1000 * at)


def log_of(events: list[Event]) -> Log:
    return Log("log", [ListedRows(events)], DeadLetters())


@given(st.lists(st.integers(0, 2), min_size=2, max_size=6), st.integers(0, 5))
def test_ties_are_broken_by_lot(scores: list[int], target: int) -> None:
    target %= len(scores)
    ranks = []
    for order in permutations(range(len(scores))):
        ranking = sorted(order, key=lambda place: -scores[place])  # stable: ties as the permutation has them
        ranks.append(1 + ranking.index(target))
    found = rank_quality(np.array(scores, dtype=np.float64), target)
    assert found.hit == pytest.approx(np.mean([rank <= K for rank in ranks]))
    assert found.ndcg == pytest.approx(np.mean([1 / math.log2(rank + 1) if rank <= K else 0 for rank in ranks]))
    assert found.auc == pytest.approx(1 - (np.mean(ranks) - 1) / (len(scores) - 1))


def test_targets_below_the_first_ten_are_no_hits() -> None:
    scores = np.arange(30.0)
    assert [rank_quality(scores, 29 - place).hit for place in (0, 9, 10, 29)] == [1, 1, 0, 0]
    tied = rank_quality(np.zeros(40), 3)
    assert tied.hit == pytest.approx(K / 40)
    assert tied.auc == pytest.approx(0.5)


def test_buckets() -> None:
    assert [bucket_of(number) for number in (1, 2, 3, 4, 10, 11, 500)] == [BUCKETS[at] for at in (0, 1, 1, 2, 2, 3, 3)]


@dataclass
class CountingLoop:
    """Scores each item by how often it was acted on in what was ingested, and remembers what it was asked."""

    counts: dict[Id, int] = field(default_factory=dict)
    asked: list[tuple[Id, tuple[Id, ...], tuple[int, ...]]] = field(default_factory=list)

    def ingest(self, events: Sequence[Event]) -> Accepted:
        for event in events:
            if isinstance(event, Action):
                self.counts[event.item_id] = self.counts.get(event.item_id, 0) + 1
        return Accepted(len(events), 0)

    def score(self, user_id: Id, item_ids: Sequence[Id], *, now: int) -> NDArray[np.float32]:  # noqa: ARG002
        found = [self.counts.get(item, 0) for item in item_ids]
        self.asked.append((user_id, tuple(item_ids), tuple(found)))
        return np.array(found, dtype=np.float32)

    def sync(self) -> int:
        return 1


def test_actions_are_ranked_among_what_is_open_before_they_are_learned_from() -> None:
    announced: list[Event] = [ItemEvent(item_id=item, timestamp=T) for item in (1, 2, 3, 4)]
    gone: list[Event] = [ItemEvent(item_id=4, timestamp=T + 1500, available=False)]
    clicks: list[Event] = [click(7, 1, 1), click(8, 1, 2), click(7, 2, 3), click(7, 1, 4)]
    loop = CountingLoop()
    found = ColdStartWalk(loop, WalkPlan(1, 60_000, lambda _: 1.0)).run(log_of([*announced, *gone, *clicks]))
    assert loop.asked == [
        (8, (1, 2, 3), (1, 0, 0)),
        (7, (2, 3), (0, 0)),
        (7, (1, 3), (2, 0)),
    ]
    figures = found.as_dict()
    assert figures["user"]["1"]["events"] == 1
    assert figures["user"]["2–3"]["events"] == 2
    assert figures["item"]["1"]["events"] == 1
    assert figures["all"]["all"]["engine"] == figures["all"]["all"]["popularity"]


def test_what_is_not_positive_closes_an_item_and_is_not_evaluated() -> None:
    announced: list[Event] = [ItemEvent(item_id=item, timestamp=T) for item in (1, 2, 3)]
    loop = CountingLoop()
    walk = ColdStartWalk(loop, WalkPlan(0, 60_000, lambda action: float(action.item_id != 1)))
    walk.run(log_of([*announced, click(7, 1, 1), click(7, 2, 2)]))
    assert [items for _, items, _ in loop.asked] == [(2, 3)]


def test_frequent_events_stand_for_each_other() -> None:
    announced: list[Event] = [ItemEvent(item_id=item, timestamp=T) for item in range(300)]
    clicks: list[Event] = [click(user, item, 100 * user + item) for user in range(30) for item in range(60)]
    every = ColdStartWalk(CountingLoop(), WalkPlan(0, 60_000, lambda _: 1.0, every=1)).run(log_of(announced + clicks))
    some = ColdStartWalk(CountingLoop(), WalkPlan(0, 60_000, lambda _: 1.0, every=5)).run(log_of(announced + clicks))
    assert every.count == 1800
    assert some.count < 1200
    whole, part = (one.as_dict()["all"]["all"]["events"] for one in (every, some))
    assert whole == pytest.approx(part, rel=0.02)


def test_articles_say_their_topic_in_words_and_readers_read_unread_ones_that_are_there() -> None:
    events = list(article_log(SMALL, 3))
    assert events == list(article_log(SMALL, 3))
    assert [event.timestamp for event in events] == sorted(event.timestamp for event in events)
    there: set[Id] = set()
    topics: dict[Id, str] = {}
    read: dict[Id, list[Id]] = {}
    for event in events:
        if isinstance(event, ItemEvent):
            (there.discard if event.available is False else there.add)(event.item_id)
            own = {word.partition("w")[0] for word in str(event.features.get("title", "")).split() if word[0] == "t"}
            assert len(own) <= 1
            topics |= dict.fromkeys([event.item_id], own.pop()) if own else {}
        elif isinstance(event, Action):
            assert event.item_id in there
            read.setdefault(event.user_id, []).append(event.item_id)
    assert sum(map(len, read.values())) == SMALL.clicks
    assert all(len(set(items)) == len(items) for items in read.values())
    shares = []
    for items in read.values():
        named = [topics[item] for item in items if item in topics]
        shares.append(max(named.count(topic) for topic in set(named)) / len(named))
    # Of four topics one would have a quarter by chance.
    assert np.mean(shares) > 0.6


def test_greedy_is_estimated_from_the_impressions_that_it_agrees_with() -> None:
    ranks, sizes = np.array([0, 1, 0, 2]), np.full(4, 3)
    rewards, propensities = np.array([1.0, 1.0, 0.0, 1.0]), np.full(4, 1 / 3)
    greedy = estimate_share(rewards, propensities, ranks, sizes, 0.0)
    assert greedy.value == pytest.approx(0.5)
    assert greedy.effective_samples == pytest.approx(2)
    everything = estimate_share(rewards, propensities, ranks, sizes, 1.0)
    assert everything.value == pytest.approx(0.75)


def test_runs_differ_in_their_settings_alone() -> None:
    for source in COLD_START_LOGS:
        assert len({config_text(run) for run in source.runs}) == len(source.runs)
        assert "model.content.item = 0.0" in config_text(source.run(WITHOUT))
    assert NARROWER in COLD_START_LOGS[0].titles


def test_all_parts_of_content_are_switched_off() -> None:
    assert [f"model.content.{one.name} = 0.0" for one in fields(ContentSettings)] == list(CONTENT_OFF)
