"""What an engine of any release answers from a data folder; written down by version 0.1.0, and asked of the present.

It uses public names alone, and those of the tables, so that both releases can run it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry

from stream_reco import metrics
from stream_reco.clock import ManualClock
from stream_reco.config import Settings
from stream_reco.embedded import Engine
from tests.compatibility.shop import ITEMS, MINUTE, USERS, afterwards, time_of

ROUNDS_BEFORE, ROUNDS_BEHIND = 180, 20
"""Rounds of the shop in the folder's checkpoint, and behind it in its log."""
ROUNDS = ROUNDS_BEFORE + ROUNDS_BEHIND
NOW = time_of(ROUNDS) + MINUTE
_CLOCK = time_of(ROUNDS + 10)
_ASKED = (*USERS, "nobody")
_FACTS = ("events", "examples", "items", "users", "pending", "stream_time", "log_position")


def opened(folder: Path, settings: Settings | None = None) -> Engine:
    """An engine at a time after all events, with default settings unless others are given."""
    return Engine(folder, settings, clock=ManualClock(_CLOCK))


def state_of(engine: Engine) -> dict[str, Any]:
    """Facts, and each table's keys with their rows as hexadecimal float32."""
    status: Mapping[str, object] = engine.status()
    return {"facts": {name: status[name] for name in _FACTS}, "tables": _tables_of(engine)}


def answers_of(engine: Engine) -> dict[str, Any]:
    """Scores, slates, neighbours and interests at a fixed time, in a fixed order."""
    return {
        "scores": [
            engine.score(user, ITEMS, now=NOW, context={"device": "d1"}).astype(float).tolist() for user in _ASKED
        ],
        "slates": [
            [[item.item_id, float(item.score), item.source] for item in engine.recommend(user, 5, now=NOW).items]
            for user in _ASKED
        ],
        "similar": [[item.item_id for item in engine.similar(item_id, 3) or ()] for item_id in ITEMS[:4]],
        "interests": [[one.item_id for one in engine.interests(user)] for user in USERS],
    }


def continued(engine: Engine) -> dict[str, Any]:
    """What becomes of what was pending: events that go on with it, and then every deadline."""
    before = _examples()
    taken = engine.ingest(afterwards(ROUNDS))
    between = _examples()
    engine.finish()
    engine.sync()
    after = _examples()
    return {
        "taken": [taken.accepted, taken.duplicates, len(taken.rejected)],
        "by events": _difference(before, between),
        "by deadlines": _difference(between, after),
        **state_of(engine),
    }


def _tables_of(engine: Engine) -> dict[str, dict[str, str]]:
    # Release 0.1.0 kept the trainer in the learner itself.
    holder: Any = getattr(engine.learner, "queue", engine.learner)
    found = {}
    for name, table in holder.trainer.tables.items():
        keys = np.sort(table.keys())
        rows = table.lookup(keys).astype("<f4")
        found[name] = {str(key): row.tobytes().hex() for key, row in zip(keys.tolist(), rows, strict=True)}
    return found


def _examples() -> dict[str, float]:
    registry: CollectorRegistry = metrics.REGISTRY
    samples = [one for family in registry.collect() for one in family.samples]
    return {
        f"{one.labels['reason']} {one.labels['label']}": one.value
        for one in samples
        if one.name == "stream_reco_examples_total"
    }


def _difference(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: value - before.get(name, 0.0) for name, value in after.items() if value != before.get(name, 0.0)}
