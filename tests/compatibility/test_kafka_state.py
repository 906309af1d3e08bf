"""What version 0.1.0 left in Kafka is gone on with by workers of the present: nothing is lost, and nothing doubled."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from stream_reco.config.servers import KafkaSettings
from stream_reco.events import Action, BadEvent, Event, Id, Impression, ItemEvent, Retraction, decode
from stream_reco.labels import Example
from stream_reco.labels.settings import DAY_MS
from stream_reco.redis.connection import RedisLink
from stream_reco.redis.user_store import RedisUsers
from tests.compatibility import kafka_records, redis_records
from tests.compatibility.installation import (
    PARTITIONS,
    ROUNDS,
    WINDOW_DAYS,
    impressions_of,
    kafka_at,
    start_scorer,
    start_worker,
)
from tests.compatibility.recorded import read_json, unpack
from tests.compatibility.shop import afterwards, shop_events
from tests.integration import kafka_log
from tests.integration.references import histories, until_equal
from tests.integration.scorer import ScorerProcess
from tests.kafka_server import KafkaServer
from tests.labels.reference_join import Row, reference_join, rows
from tests.programs import COMMAND, environ, kafka_environ
from tests.redis_server import RedisServer
from tests.waiting import until

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.timeout(240)]

_SECONDS = 90.0


@dataclass(frozen=True)
class Continued:
    """The old installation after workers of the present have taken in what came since."""

    kafka: KafkaSettings
    redis: RedisServer
    scorer: ScorerProcess
    old: Any
    """What the old scorer had answered."""
    shown: Sequence[Any]
    """Slates of the old scorer: the first was shown before, the second since."""
    log: Sequence[Event]
    """All events, old and new."""
    old_examples: Sequence[bytes]
    examples: Sequence[bytes]
    """All of them, old and new; `old_examples` come first."""


@pytest.fixture(scope="module")
def continued(kafka: KafkaServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Continued]:
    folder, recorded, old = tmp_path_factory.mktemp("continued"), read_json("kafka"), read_json("scorer")
    settings = kafka_at(kafka.bootstrap)
    unpack("checkpoints", folder)
    with ExitStack() as left:
        redis = left.enter_context(RedisServer(folder / "redis"))
        redis_records.restore(redis, read_json("redis"))
        asyncio.run(kafka_records.restore(kafka.bootstrap, recorded))
        old_examples = asyncio.run(kafka_log.read(settings, "examples"))
        forget_before(kafka.bootstrap, [end for end in recorded["ends"] if end[0] == f"{settings.prefix}.examples"])
        for name in ("labelling", "interests", "training"):
            left.callback(start_worker(name, settings, redis.url, folder, folder / "checkpoints").kill)
        scorer = start_scorer(redis.url, folder / "scorer", settings)
        left.callback(scorer.kill)
        send(settings, since(old["shown"]))
        until(lambda: lag(settings, "labelling") + lag(settings, "interests") == 0, _SECONDS)
        examples = [*old_examples, *asyncio.run(kafka_log.read(settings, "examples"))]
        log = [event for event in map(event_of, asyncio.run(kafka_log.read(settings, "events"))) if event is not None]
        yield Continued(settings, redis, scorer, old, old["shown"], log, old_examples, examples)


def forget_before(bootstrap: str, ends: Sequence[tuple[str, int, int]]) -> None:
    """Delete from partitions what lies before the marker at their end, as retention does: it is not learned again."""

    async def delete() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        await admin.delete_records(
            {TopicPartition(topic, number): RecordsToDelete(before_offset=end - 1) for topic, number, end in ends}
        )
        await admin.close()

    asyncio.run(delete())


def since(shown: Sequence[Any]) -> list[tuple[int | None, Event]]:
    """What comes to the old installation, with a partition where it matters: the second slate, clicks on both, events
    that have come before, a retraction, and an end of time for all that is pending.
    """
    then = impressions_of(shown[1])
    new = [*then, click(shown[0], 0), click(shown[1], 1), *afterwards(ROUNDS)]
    new.sort(key=lambda event: event.timestamp)
    end = max(event.timestamp for event in new) + 30 * DAY_MS
    last = ItemEvent(item_id="last", timestamp=end)
    return [*((None, event) for event in new), *((partition, last) for partition in range(PARTITIONS))]


def click(slate: Any, place: int) -> Action:
    return Action(
        user_id=slate["user_id"],
        item_id=slate["items"][place]["item_id"],
        action="click",
        timestamp=slate["timestamp"] + 1_000,
        event_id=f"click on {slate['request_id']}",
        request_id=slate["request_id"],
    )


def send(kafka: KafkaSettings, events: Sequence[tuple[int | None, Event]]) -> None:
    async def all_of_them() -> None:
        free = [kafka_log.message(event) for partition, event in events if partition is None]
        await kafka_log.write(kafka, free)
        for partition, event in events:
            if partition is not None:
                await kafka_log.write(kafka, [kafka_log.message(event)], partition)

    asyncio.run(all_of_them())


def lag(kafka: KafkaSettings, group: str) -> int:
    return asyncio.run(kafka_log.lag(kafka, group))


def event_of(value: bytes) -> Event | None:
    try:
        return decode(value)
    except BadEvent:
        return None


def expected(log: Sequence[Event]) -> Counter[Row]:
    """What becomes of the whole log, by the reference; without the user who was deleted in the midst of it."""
    by_user: dict[Id, list[Event]] = {}
    for event in log:
        if isinstance(event, Impression | Action | Retraction) and event.user_id is not None:
            by_user.setdefault(event.user_id, []).append(event)
    window = WINDOW_DAYS * DAY_MS
    return Counter(row for user, events in by_user.items() if user != "gone" for row in reference_join(events, window))


def examples_of(values: Sequence[bytes]) -> list[Example]:
    return [one for one in kafka_log.examples(values) if one.user_id != "gone"]


def test_old_and_new_examples_together_are_those_of_one_log(continued: Continued) -> None:
    assert continued.examples[: len(continued.old_examples)] != continued.examples
    assert rows(examples_of(continued.examples)) == expected(continued.log)


def test_what_was_pending_is_labelled_with_the_features_it_was_served_with(continued: Continued) -> None:
    new = [json.loads(value) for value in continued.examples[len(continued.old_examples) :]]
    found = {
        (one["request_id"], one["item_id"]): (one["label"], one["reason"], one["features"])
        for one in new
        if one.get("features")
    }
    for slate, clicked in zip(continued.shown, (0, 1), strict=True):
        for place, item in enumerate(slate["items"]):
            label = (1, "action") if place == clicked else (0, "window")
            assert found[slate["request_id"], item["item_id"]] == (*label, item["features"])


def test_an_old_action_is_taken_back_and_one_that_comes_again_gives_nothing(continued: Continued) -> None:
    new = kafka_log.examples(continued.examples)[len(continued.old_examples) :]
    retraction = next(event for event in continued.log if event.event_id == "late retraction")
    assert isinstance(retraction, Retraction)
    taken_back = next(event for event in continued.log if event.event_id == retraction.retracts)
    assert isinstance(taken_back, Action)
    undone = [one for one in new if one.reason == "retraction" and one.request_id == taken_back.request_id]
    assert [(one.user_id, one.item_id, one.label) for one in undone] == [(taken_back.user_id, taken_back.item_id, 0)]
    again = [event.event_id for event in continued.log]
    assert len(again) > len(set(again))


def of_the_present_alone(new: Sequence[Event]) -> set[Id | None]:
    """Ids of actions that 0.1.0 would have remembered: new ones that are taken back."""
    known = {event.event_id for event in shop_events(ROUNDS)}
    taken = {event.retracts for event in new if isinstance(event, Retraction)}
    actions = [event for event in new if isinstance(event, Action) and event.event_id not in known]
    return {event.event_id for event in actions if event.event_id in taken}


def test_users_have_their_old_and_new_history_in_redis(continued: Continued) -> None:
    users = RedisUsers(RedisLink(continued.redis.url))
    left_out = of_the_present_alone(afterwards(ROUNDS))
    assert left_out
    wanted = histories([event for event in continued.log if event.event_id not in left_out])
    gone = wanted.pop("gone")
    assert gone
    asyncio.run(until_equal(users, wanted))
    assert users.get("gone").state is None


def test_the_next_trainer_leads_in_a_later_epoch_and_learns_each_example_once(continued: Continued) -> None:
    def status() -> dict[str, Any]:
        code, answer = continued.scorer.ask("GET", "/v1/status")
        assert code == 200
        assert isinstance(answer, dict)
        return answer

    continued.scorer.wait_until_ready()
    until(lambda: status()["epoch"] == continued.old["facts"]["epoch"] + 1, _SECONDS)
    until(lambda: status()["examples"] >= len(continued.examples), _SECONDS)
    assert status()["examples"] == len(continued.examples) > continued.old["facts"]["examples"]


def test_old_dead_letters_are_listed_and_sent_again_once(continued: Continued) -> None:
    listed = [json.loads(line) for line in dead_letters(continued, "list", "--json").splitlines()]
    assert Counter(letter["reason"] for letter in listed) == {"json": 2, "type": 1}
    said = dead_letters(continued, "drive", "--offset", "0")
    assert "nothing was sent" in said
    assert "had been sent again before" in said


def dead_letters(continued: Continued, *arguments: str) -> str:
    done = subprocess.run(
        [*COMMAND, "dead-letters", *arguments],
        env=environ(**kafka_environ(continued.kafka)),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
