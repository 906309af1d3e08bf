"""The processes of a small installation over Kafka and Redis, and what its scorer is asked; for any release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from stream_reco.config.servers import KafkaSettings
from stream_reco.events import Event, Impression
from stream_reco.labels import LabelSettings
from tests.compatibility.shop import ITEMS, USERS
from tests.integration.scorer import ScorerProcess
from tests.integration.workers import Worker

PREFIX = "release-0-1-0"
PARTITIONS = 2
ROUNDS = 61
WINDOW_DAYS = 5
HAS_KINDS = any(field.name == "kinds" for field in fields(LabelSettings))
SMALL = {
    "LABELS_POLICY": "conclusive",
    "LABELS_WINDOW_DAYS": str(WINDOW_DAYS),
    "MODEL_ITEM_DIM": "4",
    "MODEL_TOWER_DIM": "4",
    "MODEL_USER_DIM": "4",
    "MODEL_CONTEXT_DIM": "4",
    "MODEL_CROSS_RANK": "4",
    "MODEL_HIDDEN": "8",
    "SLATE_EXPLORATION": "0",
    "TRAINING_BATCH": "16",
    "TRAINING_CHECKPOINT_EVENTS": "200",
    "TRAINING_CHECKPOINT_SECONDS": "1",
    # Releases up to 0.2.0 know no negative actions.
    **({"LABELS_KINDS": "dislike.sign=positive"} if HAS_KINDS else {}),
}
"""Environment variables without their prefix; keys in Redis begin as they do by default."""
TOPICS = (
    "events",
    "examples",
    "labelling-state",
    "interests-state",
    "served",
    "dead-letters",
    "trainer-leader",
    "registry",
)
GROUPS = (f"{PREFIX}.labelling", f"{PREFIX}.interests")
"""Those that commit offsets; the trainer has them in its checkpoints."""
_CONTEXT = {"device": "d1"}


def kafka_at(bootstrap: str) -> KafkaSettings:
    """Its settings of a Kafka."""
    return KafkaSettings(bootstrap=bootstrap, prefix=PREFIX, partitions=PARTITIONS, session_seconds=6.0)


def start_worker(name: str, kafka: KafkaSettings, redis_url: str, folder: Path, checkpoints: Path) -> Worker:
    """A worker with a state folder of its own."""
    settings = SMALL | {"REDIS_URL": redis_url, "TRAINING_CHECKPOINT_DIR": str(checkpoints)}
    flags: Sequence[str] = ("--sync-interval", "0.5") if name == "training" else ()
    return Worker(name, kafka, folder / name, settings, flags)


def start_scorer(redis_url: str, folder: Path, kafka: KafkaSettings | None = None) -> ScorerProcess:
    """A scorer; it writes slates and events to Kafka where it is given one."""
    return ScorerProcess(redis_url, folder, SMALL, kafka)


def answers_of(scorer: ScorerProcess) -> dict[str, Any]:
    """What a scorer that has just begun says, asked in a fixed order."""
    status = _asked(scorer, "GET", "/v1/status")
    facts = {name: status[name] for name in ("epoch", "version", "examples", "items", "stream_time")}
    body = {"item_ids": ITEMS, "context": _CONTEXT}
    scores = [_asked(scorer, "POST", "/v1/score", body | {"user_id": user}) for user in (*USERS, "nobody")]
    slates = [
        _asked(scorer, "POST", "/v1/recommend", {"user_id": user, "k": 5, "context": _CONTEXT})
        for user in (*USERS, "nobody")
    ]
    return {
        "facts": facts,
        "scores": scores,
        "slates": [[[item["item_id"], item["score"], item["source"]] for item in slate["items"]] for slate in slates],
        "similar": _asked(scorer, "GET", "/v1/items/item%201/similar?k=3"),
        "interests": [_asked(scorer, "GET", f"/v1/users/{user}/interests") for user in ("ann", "bob")],
    }


def impressions_of(slate: Any) -> list[Event]:
    """What a scorer's slate becomes once it is shown."""
    return [
        Impression(
            user_id=slate["user_id"],
            item_id=item["item_id"],
            timestamp=slate["timestamp"] + 1,
            event_id=f"{slate['request_id']}-{place}",
            request_id=slate["request_id"],
            position=place,
        )
        for place, item in enumerate(slate["items"])
    ]


def _asked(scorer: ScorerProcess, method: str, path: str, body: object = None) -> Any:
    status, answer = scorer.ask(method, path, body)
    assert status == 200, f"{method} {path}: {status} {answer}"
    return answer
