"""What version 0.1.0 left in Redis is served by a scorer of the present, as one of that version served it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.compatibility import redis_records
from tests.compatibility.installation import answers_of, start_scorer
from tests.compatibility.recorded import read_json
from tests.redis_server import RedisServer

pytestmark = pytest.mark.redis

_NEAR = 1e-5
"""Matrix products differ in their last bits between processors."""


def test_a_scorer_applies_an_old_snapshot_and_answers_as_before(redis_server: RedisServer, tmp_path: Path) -> None:
    redis_records.restore(redis_server, read_json("redis"))
    scorer, wanted = start_scorer(redis_server.url, tmp_path), read_json("scorer")
    try:
        scorer.wait_until_it_recommends()
        found = answers_of(scorer)
    finally:
        assert scorer.stop() == 0, scorer.said()
    assert found["facts"] == wanted["facts"]
    for one, other in zip(found["scores"], wanted["scores"], strict=True):
        np.testing.assert_allclose(one["scores"], other["scores"], rtol=0, atol=_NEAR)
    for slate, old_slate in zip(found["slates"], wanted["slates"], strict=True):
        assert [item[::2] for item in slate] == [item[::2] for item in old_slate]
        np.testing.assert_allclose([item[1] for item in slate], [item[1] for item in old_slate], rtol=0, atol=_NEAR)
    assert [item["item_id"] for item in found["similar"]["items"]] == [
        item["item_id"] for item in wanted["similar"]["items"]
    ]
    for one, other in zip(found["interests"], wanted["interests"], strict=True):
        assert [interest["item_id"] for interest in one["interests"]] == [
            interest["item_id"] for interest in other["interests"]
        ]
    assert all(one["interests"] for one in wanted["interests"])
