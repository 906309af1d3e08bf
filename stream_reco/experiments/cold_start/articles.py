"""A log of articles with titles, simulated: people read what is on their topics, and only words say what that is.

Titles are drawn as topic models have it (Blei, Ng and Jordan 2003): each word is one of the topic's own or one that all
topics share, by Zipf's law.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_reco.events import Action, Event, ItemEvent, encode

_START_MS = 1_700_000_000_000


@dataclass(frozen=True)
class ArticlePlan:
    """The numbers of the world: a click a minute of one of `users`, on one of the `alive` newest articles.

    An article comes every `clicks_per_article` clicks and takes the place of the oldest. A title has `words` words, of
    which a share of `own_words` is of the topic's `vocabulary`, the others of `common` words.
    """

    clicks: int = 6_000
    users: int = 200
    topics: int = 20
    interests: int = 2
    alive: int = 200
    clicks_per_article: int = 10
    words: int = 8
    own_words: float = 0.5
    vocabulary: int = 40
    common: int = 300
    fit: float = 4.0
    """By how much an article on a topic of the reader is more likely, on the log-odds."""
    quality: float = 0.7
    """Standard deviation of what makes some articles more read than others, on the log-odds."""


def article_log(plan: ArticlePlan, seed: int) -> Iterator[Event]:
    """The events by time: articles with their titles as they come and go, and the clicks."""
    rng = np.random.default_rng(seed)
    readers = np.array([rng.choice(plan.topics, plan.interests, replace=False) for _ in range(plan.users)])
    topics = rng.integers(plan.topics, size=plan.alive + plan.clicks // plan.clicks_per_article + 1)
    qualities = rng.normal(0.0, plan.quality, size=len(topics))
    read: list[set[int]] = [set() for _ in range(plan.users)]
    for article in range(plan.alive):
        yield _born(plan, article, topics, rng, _START_MS)
    newest = plan.alive
    for number in range(plan.clicks):
        now = _START_MS + 60_000 * (number + 1)
        if number % plan.clicks_per_article == 0:
            yield ItemEvent(item_id=newest - plan.alive, timestamp=now, available=False)
            yield _born(plan, newest, topics, rng, now)
            newest += 1
        user = int(rng.integers(plan.users))
        article = _choose(plan, readers[user], read[user], (newest - plan.alive, newest), topics, qualities, rng)
        read[user].add(article)
        yield Action(user_id=user, item_id=article, action="click", timestamp=now)


def _choose(
    plan: ArticlePlan,
    interests: NDArray[np.int64],
    read: set[int],
    between: tuple[int, int],
    topics: NDArray[np.int64],
    qualities: NDArray[np.float64],
    rng: np.random.Generator,
) -> int:
    """One of the articles that are there and unread, by what the reader is interested in and how good it is."""
    there = np.array([one for one in range(*between) if one not in read])
    odds = plan.fit * np.isin(topics[there], interests) + qualities[there]
    chances = np.exp(odds - odds.max())
    return int(rng.choice(there, p=chances / chances.sum()))


def _born(plan: ArticlePlan, article: int, topics: NDArray[np.int64], rng: np.random.Generator, now: int) -> ItemEvent:
    own = rng.random(plan.words) < plan.own_words
    ranks = [_zipf(rng, plan.vocabulary if one else plan.common) for one in own]
    words = [f"t{topics[article]}w{rank}" if one else f"common{rank}" for one, rank in zip(own, ranks, strict=True)]
    return ItemEvent(item_id=article, timestamp=now, features={"title": " ".join(words)}, available=True)


def _zipf(rng: np.random.Generator, count: int) -> int:
    """One of `count` words, the r-th with a chance ∝ 1/r."""
    shares = np.cumsum(1.0 / np.arange(1, count + 1))
    return int(np.searchsorted(shares, rng.random() * shares[-1]))


def write_article_log(plan: ArticlePlan, seed: int, path: Path) -> None:
    """Write the log as JSON lines, atomically. Raises OSError where it cannot be written."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.writelines(encode(event) + b"\n" for event in article_log(plan, seed))
    part.replace(path)
