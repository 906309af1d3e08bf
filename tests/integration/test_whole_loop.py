"""The whole loop over real servers: slates are asked for, shown and clicked, learned from, and served otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stream_reco.config.servers import KafkaSettings
from stream_reco.model.registry import MODELS
from tests.integration import kafka_log
from tests.integration.conftest import StartWorker
from tests.integration.one_of_each import one_of_each
from tests.integration.scorer import ScorerProcess
from tests.integration.workers import Worker
from tests.redis_server import RedisServer
from tests.waiting import until
from topologies.messages.served_slate import decode_slate

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.timeout(300)]

ITEMS, PEOPLE, COUNT = 200, 20, 5
OWNERS = {"example": "labelling", "trained": "training", "published": "training", "served": "scorer"}
"""Stage → the process that sees it."""
SMALL = {
    "MODEL_TWO_TOWER_DCN_ITEM_DIM": "4",
    "MODEL_TWO_TOWER_DCN_TOWER_DIM": "4",
    "MODEL_TWO_TOWER_DCN_USER_DIM": "4",
    "MODEL_TWO_TOWER_DCN_CONTEXT_DIM": "4",
    "MODEL_TWO_TOWER_DCN_CROSS_RANK": "4",
    "MODEL_TWO_TOWER_DCN_HIDDEN": "8",
    "SLATE_EXPLORE": "0",
}


@dataclass
class Loop:
    """One process of each kind."""

    kafka: KafkaSettings
    workers: Mapping[str, Worker]
    scorer: ScorerProcess

    def post(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Events of now."""
        status, answer = self.scorer.ask("POST", "/v1/events", events)
        assert status == 200, answer
        assert isinstance(answer, dict)
        assert answer["accepted"] == len(events), answer

    def items(self, user: str, count: int = COUNT) -> list[str]:
        return [item["item_id"] for item in self.scorer.slate(user, count)["items"]]

    def counted(self, stage: str, process: str) -> float:
        program = self.scorer if process == "scorer" else self.workers[process]
        return program.metric(f'stream_reco_stage_seconds_count{{stage="{stage}"}}')


@pytest.fixture(params=sorted(MODELS))
def loop(
    request: pytest.FixtureRequest,
    start_worker: StartWorker,
    kafka_settings: KafkaSettings,
    redis_server: RedisServer,
    tmp_path: Path,
) -> Iterator[Loop]:
    """Ready, and with a catalogue to recommend from; of each model."""
    given = SMALL | {"MODEL_NAME": request.param}
    with one_of_each(start_worker, kafka_settings, redis_server.url, tmp_path, given) as (workers, scorer):
        running = Loop(kafka_settings, workers, scorer)
        running.post([{"type": "item", "item_id": f"item-{number}"} for number in range(ITEMS)])
        scorer.wait_until_it_recommends()
        yield running


def test_what_is_clicked_is_learned_from_as_it_was_served_and_served_otherwise(loop: Loop) -> None:
    before = loop.scorer.slate("stranger", COUNT)
    slates = {f"user-{number}": loop.scorer.slate(f"user-{number}", COUNT) for number in range(PEOPLE)}
    written = 'stream_reco_served_slates_total{outcome="written"}'
    until(lambda: loop.scorer.metric(written) > PEOPLE)
    shown = [
        {
            "type": "impression",
            "user_id": user,
            "item_id": item["item_id"],
            "request_id": slate["request_id"],
            "position": position,
        }
        for user, slate in slates.items()
        for position, item in enumerate(slate["items"])
    ]
    loop.post(shown)
    clicks = [
        {
            "type": "action",
            "action": "click",
            "user_id": user,
            "item_id": slate["items"][0]["item_id"],
            "request_id": slate["request_id"],
        }
        for user, slate in slates.items()
    ]
    loop.post(clicks)
    clicked = {each["user_id"]: each["item_id"] for each in clicks}
    # What a user has acted on is in no slate of theirs any more: that is said by interests, over Redis.
    until(lambda: all(item not in loop.items(user) for user, item in clicked.items()))
    trained = 'stream_reco_trained_examples_total{origin="labelled"}'
    until(lambda: loop.workers["training"].metric(trained) >= PEOPLE)
    version = loop.scorer.slate("stranger")["version"]
    assert version > before["version"]
    until(lambda: loop.scorer.slate("stranger")["version"] > version)
    examples_are_of_their_moment(loop, {(slates[user]["request_id"], item) for user, item in clicked.items()})
    # What is new, and clicked by everybody, comes near the top for a stranger: that is said by the trainer.
    loop.post([{"type": "item", "item_id": "hit"}])
    loop.post([{"type": "action", "action": "click", "user_id": user, "item_id": "hit"} for user in slates])
    until(lambda: "hit" in loop.items("stranger", PEOPLE))
    what_is_disliked_leaves_and_comes_back(loop)
    what_is_bought_after_its_click_has_a_probability(loop, clicks)
    for stage, owner in OWNERS.items():
        for process in {*OWNERS.values(), "interests"}:
            assert (loop.counted(stage, process) > 0) == (process == owner), (stage, process)


def what_is_bought_after_its_click_has_a_probability(loop: Loop, clicks: Sequence[Mapping[str, Any]]) -> None:
    """No label says it: the trainer takes it from the events, and scorers weigh it."""
    status, answer = loop.scorer.ask("POST", "/v1/recommend", {"user_id": "stranger", "k": 5, "objectives": {"buy": 1}})
    assert status == 400, answer
    loop.post([{**click, "action": "buy", "value": 8.0} for click in clicks])
    until(lambda: set(loop.scorer.slate("stranger")["items"][0]["probabilities"]) == {"click", "buy"})
    asked = {"user_id": "stranger", "k": 5, "objectives": {"click": 1, "buy": 20, "buy.value": 2}}
    status, answer = loop.scorer.ask("POST", "/v1/recommend", asked)
    assert status == 200, answer
    assert isinstance(answer, dict)
    for item in answer["items"]:
        by_kind, worth = item["probabilities"], item["values"]["buy"]
        assert item["score"] == pytest.approx(by_kind["click"] + 20 * by_kind["buy"] + 2 * worth, rel=1e-4)
    calibration = 'stream_reco_head_calibration{kind="buy"}'
    # Predicted is what is acted on first after there were two kinds; the clicks above may all have come before.
    loop.post([{**click, "user_id": f"late {number}", "request_id": None} for number, click in enumerate(clicks)])
    # It is updated after what it is of is published.
    until(lambda: loop.workers["training"].metric(calibration) > 0, seconds=120.0)
    assert loop.workers["training"].metric('stream_reco_head_share{kind="buy"}') > 0


def what_is_disliked_leaves_and_comes_back(loop: Loop) -> None:
    """By interests, over Redis: for the one user, until it is taken back."""
    disliked = {"type": "action", "action": "dislike", "user_id": "ann", "item_id": "hit", "event_id": "dislike of ann"}
    assert "hit" in loop.items("ann", PEOPLE)
    loop.post([disliked])
    until(lambda: "hit" not in loop.items("ann", ITEMS))
    assert "hit" in loop.items("stranger", PEOPLE)
    status, scores = loop.scorer.ask("POST", "/v1/score", {"user_id": "ann", "item_ids": ["hit"]})
    assert status == 200, scores
    loop.post([{"type": "retraction", "retracts": "dislike of ann", "user_id": "ann"}])
    until(lambda: "hit" in loop.items("ann", ITEMS))


def examples_are_of_their_moment(loop: Loop, wanted: set[tuple[str, str]]) -> None:
    """Each click's example has the very features that its slate was ranked by."""
    served = {
        (str(slate.request_id), item.item_id): item.features
        for slate in map(decode_slate, asyncio.run(kafka_log.read(loop.kafka, "served")))
        for item in slate.items
    }
    examples = kafka_log.examples(asyncio.run(kafka_log.read(loop.kafka, "examples")))
    assert {(str(example.request_id), example.item_id) for example in examples} == wanted
    assert len(examples) == len(wanted)
    for example in examples:
        assert example.label == 1
        assert example.features == served[str(example.request_id), example.item_id]
    labelling = loop.workers["labelling"]
    outcomes = {
        one: labelling.metric(f'stream_reco_served_features_total{{outcome="{one}"}}')
        for one in ("joined", "late", "expired")
    }
    assert outcomes == {"joined": PEOPLE * COUNT, "late": 0, "expired": 0}
    assert loop.workers["training"].metric("stream_reco_events_features_late_total") == 0
