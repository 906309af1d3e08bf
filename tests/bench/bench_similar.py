"""What `similar` is worth on films: whether the next film of a user is among those like the last, and shared genres.

`python -m tests.bench.bench_similar FILE [--limit N]` runs events of ml100k through an engine. Of each tenth positive
action in the second half it asks, before the action is learned from, for the ten films most like the one before, and
compares them with the largest cosines of item-to-item collaborative filtering (Sarwar et al., 2001), which are exact.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from stream_reco.config import Settings
from stream_reco.datasets import load
from stream_reco.embedded import Engine
from stream_reco.events import Action, Event, Id, ItemEvent

K = 10
LIMIT = 30_000
_EVERY = 10
_BATCH = 256
_POSITIVE_FROM = 4.0


class ItemCosines:
    """Users that items share, over the geometric mean of the users of both."""

    def __init__(self) -> None:
        self._items: defaultdict[Id, set[Id]] = defaultdict(set)
        self._users: Counter[Id] = Counter()
        self._shared: defaultdict[Id, Counter[Id]] = defaultdict(Counter)

    def act(self, user: Id, item: Id) -> None:
        """A user acted on an item."""
        if item in self._items[user]:
            return
        for other in self._items[user]:
            self._shared[item][other] += 1
            self._shared[other][item] += 1
        self._items[user].add(item)
        self._users[item] += 1

    def most_alike(self, item: Id) -> list[Id]:
        """The K largest cosines."""

        def cosine(other: Id) -> float:
            return self._shared[item][other] / math.sqrt(self._users[item] * self._users[other])

        return sorted(self._shared[item], key=cosine, reverse=True)[:K]


class Compared:
    """Hits and shared genres of one way to find films that are alike."""

    def __init__(self) -> None:
        self._hits = self._asked = 0
        self._shares: list[float] = []

    def add(self, found: Sequence[Id], target: Id, last: Id, genres: dict[Id, set[str]]) -> None:
        """What was found for the film `last`, after which the user went on to `target`."""
        self._asked += 1
        self._hits += target in found
        mine = genres.get(last, set())
        for one in found:
            theirs = genres.get(one, set())
            self._shares.append(len(mine & theirs) / max(1, len(mine | theirs)))

    def figures(self) -> dict[str, float]:
        return {
            "asked": self._asked,
            "next_hit@10": self._hits / max(1, self._asked),
            "genres_shared": sum(self._shares) / max(1, len(self._shares)),
        }


def measure(events: Sequence[Event]) -> dict[str, dict[str, float]]:
    """The figures of `similar` and of item cosines."""
    ours, cosines, exact = Compared(), Compared(), ItemCosines()
    genres: dict[Id, set[str]] = {}
    last: dict[Id, Id] = {}
    positives = sum(_is_positive(event) for event in events)
    seen, waiting = 0, list[Event]()
    with Engine(None, Settings()) as engine:
        for event in events:
            if isinstance(event, ItemEvent):
                genres[event.item_id] = set((event.features or {}).get("genre") or [])  # type: ignore[arg-type]
            if _is_positive(event):
                assert isinstance(event, Action)
                seen += 1
                before = last.get(event.user_id)
                if seen > positives / 2 and seen % _EVERY == 0 and before is not None:
                    engine.ingest(waiting)
                    waiting.clear()
                    engine.sync()
                    found = [one.item_id for one in engine.similar(before, K) or []]
                    ours.add(found, event.item_id, before, genres)
                    cosines.add(exact.most_alike(before), event.item_id, before, genres)
                exact.act(event.user_id, event.item_id)
                last[event.user_id] = event.item_id
            waiting.append(event)
            if len(waiting) == _BATCH:
                engine.ingest(waiting)
                waiting.clear()
    return {"similar": ours.figures(), "item_cosine": cosines.figures()}


def _is_positive(event: Event) -> bool:
    return isinstance(event, Action) and (event.value or 0.0) >= _POSITIVE_FROM


def main(arguments: Sequence[str] | None = None) -> None:
    """Run and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--limit", type=int, default=LIMIT)
    chosen = parser.parse_args(arguments)
    data = os.environ.get("STREAM_RECO_DATA")
    if not data:
        raise SystemExit("STREAM_RECO_DATA is not set: the folder that has ml100k/ratings.csv.gz")
    log = list(load(Path(data) / "ml100k" / "ratings.csv.gz", "movielens"))[: chosen.limit]
    figures = {"limit": chosen.limit, **measure(log)}
    chosen.file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
