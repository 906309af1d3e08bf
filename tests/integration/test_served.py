"""Features of the moment over a real Kafka: what scorers served is in the examples, whatever happens to the workers."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest

from stream_reco.config.servers import KafkaSettings
from stream_reco.events import Event, Impression
from stream_reco.labels import Example
from stream_reco.labels.settings import DAY_MS
from tests.integration import kafka_log
from tests.integration.arriving import disordered
from tests.integration.conftest import StartWorker
from tests.integration.references import labels
from tests.integration.served_log import features_of, messages_of, shown_slate, slates_of
from tests.integration.test_labelling import WINDOW_MS, a_log, done, end, write_all
from tests.labels.reference_join import rows

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

NOW = 1_700_000_000_000


async def examples(kafka: KafkaSettings) -> list[Example]:
    return kafka_log.examples(await kafka_log.read(kafka, "examples"))


def test_examples_have_what_was_served_through_kills_a_takeover_and_a_lost_disk(
    kafka_settings: KafkaSettings, start_labelling: StartWorker, tmp_path: Path
) -> None:
    async def story() -> None:
        rng = np.random.default_rng(8)
        log = disordered(a_log(8), 8)
        slates = list(slates_of(log))
        worker = start_labelling()
        worker.wait_until_at_work()
        written = set[str]()
        for number, portion in enumerate(np.array_split(np.arange(len(log)), 6)):
            part = [log[at] for at in portion]
            requests = {str(event.request_id) for event in part if isinstance(event, Impression)} - written
            await kafka_log.write(
                kafka_settings, messages_of([slate for slate in slates if slate.request_id in requests]), topic="served"
            )
            written |= requests
            await write_all(kafka_settings, part)
            await asyncio.sleep(float(rng.random()))
            worker.kill()
            if number == 3:
                shutil.rmtree(tmp_path / "a")
            worker = start_labelling("a" if number < 4 else "b")
        await end(kafka_settings, log)
        await done(kafka_settings)
        assert worker.stop() == 0, worker.said()
        found = await examples(kafka_settings)
        assert rows(found) == labels(log, WINDOW_MS)
        served = features_of(slates)
        for example in found:
            expected = served.get((example.user_id, example.request_id, example.item_id))
            assert example.features == (None if example.reason == "unprompted" else expected), example
        assert sum(example.features is not None for example in found) >= len(served) > 1000
        assert await kafka_log.read(kafka_settings, "dead-letters") == []

    asyncio.run(story())


def test_a_backlog_of_both_is_joined_as_it_came(kafka_settings: KafkaSettings, start_labelling: StartWorker) -> None:
    """More slates than are read at once, written long before anybody reads."""

    async def story() -> None:
        worker = start_labelling()
        worker.wait_until_at_work()
        worker.kill()
        events: list[Event] = []
        for day in range(4):
            now = NOW + day * DAY_MS // 2
            slates = [shown_slate(1, f"r{day}-{number}", now + number, ["a", "b"]) for number in range(1_500)]
            shown = [
                Impression(user_id=1, item_id=item, timestamp=slate.now, request_id=slate.request_id)
                for slate in slates[::10]
                for item in slate.item_ids
            ]
            await kafka_log.write(kafka_settings, messages_of(slates), topic="served")
            await write_all(kafka_settings, shown)
            events += shown
        worker = start_labelling()
        await end(kafka_settings, events)
        await done(kafka_settings)
        assert worker.stop() == 0, worker.said()
        found = await examples(kafka_settings)
        assert len(found) == len(events) == 1_200
        served = features_of(list(slates_of(events)))
        assert {(one.user_id, one.request_id, one.item_id) for one in found if one.features} == set(served)

    asyncio.run(story())


def impression(request: str, item: str, at: int) -> Impression:
    return Impression(user_id=7, item_id=item, timestamp=at, request_id=request, event_id=f"{request}/{item}/{at}")


def test_without_a_slate_after_a_day_or_from_another_there_are_none(
    kafka_settings: KafkaSettings, start_labelling: StartWorker
) -> None:
    async def story() -> None:
        worker = start_labelling()
        worker.wait_until_at_work()
        slates = [
            shown_slate(7, "good", NOW, ["a", "b"]),
            shown_slate(7, "old", NOW, ["a"]),
            shown_slate(8, "other", NOW, ["a"]),
        ]
        await kafka_log.write(kafka_settings, messages_of(slates), topic="served")
        later = NOW + DAY_MS + 120_000
        at_once = [("good", "a"), ("good", "c"), ("none", "a"), ("other", "a")]
        log = [impression(request, item, NOW) for request, item in at_once]
        log += [impression("good", "b", later), impression("old", "a", later)]
        await write_all(kafka_settings, log[:4])
        await done(kafka_settings)
        # Only what moves the time lies between the slates and these.
        await write_all(kafka_settings, [Impression(user_id=7, item_id="z", timestamp=later)])
        await done(kafka_settings)
        await write_all(kafka_settings, log[4:])
        await end(kafka_settings, log)
        await done(kafka_settings)
        assert worker.stop() == 0, worker.said()
        found = {(one.request_id, one.item_id): one.features for one in await examples(kafka_settings)}
        assert len(found) == 7
        served = features_of(slates)
        assert {key: features for key, features in found.items() if features} == {("good", "a"): served[7, "good", "a"]}

    asyncio.run(story())


def test_bad_slates_become_dead_letters(kafka_settings: KafkaSettings, start_labelling: StartWorker) -> None:
    async def story() -> None:
        worker = start_labelling()
        worker.wait_until_at_work()
        ((_, good),) = messages_of([shown_slate(7, "r", NOW, ["a"])])
        body = msgspec.json.decode(good)
        bad = {
            "json": [b"{", b"", b"\xff"],
            "schema": [
                b"[]",
                b"{}",
                changed(body, timestamp="now"),
                changed(body, items=[{"item_id": "a"}]),
                changed(body, items=[{"item_id": "a", "features": "?"}]),
                changed(body, items=[{"item_id": "a", "features": "AAAA"}]),
                other_release(body),
            ],
            "id": [changed(body, user_id=""), changed(body, request_id=2**63)],
            "timestamp": [changed(body, timestamp=1), changed(body, timestamp=2**62)],
        }
        values = [value for each in bad.values() for value in each]
        await kafka_log.write(kafka_settings, [(b"7", value) for value in values], topic="served")
        await kafka_log.write(kafka_settings, [(b"7", good)], topic="served")
        log = [impression("r", "a", NOW)]
        await write_all(kafka_settings, log)
        await end(kafka_settings, log)
        await done(kafka_settings)
        assert worker.stop() == 0, worker.said()
        assert [one.features is not None for one in await examples(kafka_settings)] == [True]
        letters = [msgspec.json.decode(value) for value in await kafka_log.read(kafka_settings, "dead-letters")]
        assert {letter["topic"] for letter in letters} == {f"{kafka_settings.prefix}.served"}
        assert Counter(letter["reason"] for letter in letters) == {why: len(each) for why, each in bad.items()}

    asyncio.run(story())


def changed(body: dict[str, object], **fields: object) -> bytes:
    return msgspec.json.encode(body | fields)


def other_release(body: dict[str, object]) -> bytes:
    """Whole, but with the candidates of two items."""
    slate = shown_slate(7, "r", NOW, ["a", "b"])
    return changed(body, items=[{"item_id": "a", "features": slate.inputs.to_bytes()}])
