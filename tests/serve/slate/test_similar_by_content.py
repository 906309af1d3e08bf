"""Neighbours of items that nobody has clicked yet, by what is said of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from stream_reco.embedded import Engine
from stream_reco.events import Event, ItemEvent

TIME = 1_700_000_000_000
TAGS = [f"tag-{number}" for number in range(12)]


def described(count: int) -> dict[int, list[Any]]:
    rng = np.random.default_rng(3)
    return {item: sorted(set(rng.choice(TAGS, size=rng.integers(1, 5)).tolist())) for item in range(count)}


def cosine(one: list[str], other: list[str]) -> float:
    return len(set(one) & set(other)) / math.sqrt(len(one) * len(other))


def test_they_are_those_with_the_largest_cosine_of_what_is_said() -> None:
    tags = described(60)
    with Engine() as engine:
        items: list[Event] = [ItemEvent(item_id=item, timestamp=TIME, features={"tags": tags[item]}) for item in tags]
        engine.ingest(items, strict=True)
        engine.ingest([ItemEvent(item_id=7, timestamp=TIME + 1, available=False)], strict=True)
        engine.sync()
        for item in range(5):
            found = engine.similar(item, 8)
            assert found is not None
            expected = sorted(
                (cosine(tags[item], tags[other]) for other in tags if other not in (item, 7)), reverse=True
            )
            assert [one.score for one in found] == pytest.approx(expected[: len(found)], abs=1e-5)
            assert len(found) == min(8, sum(score > 0 for score in expected))
            for one in found:
                assert isinstance(one.item_id, int)
                assert one.score == pytest.approx(cosine(tags[item], tags[one.item_id]), abs=1e-5)


def test_there_are_none_where_nothing_is_said() -> None:
    with Engine() as engine:
        said: list[Event] = [ItemEvent(item_id=item, timestamp=TIME, features={"tag": str(item)}) for item in range(3)]
        engine.ingest([*said, ItemEvent(item_id="bare", timestamp=TIME)], strict=True)
        engine.sync()
        assert engine.similar("bare", 5) == []
        assert engine.similar(0, 5) == []
        assert engine.similar("unheard", 5) is None
