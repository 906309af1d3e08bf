"""Make the records of version 0.1.0 again, with the code of version 0.1.0.

    git worktree add ../v0.1.0 dcec3e9
    PYTHONPATH=$PWD/../v0.1.0:$PWD python tests/compatibility/write_0_1_0.py folder
    PYTHONPATH=$PWD/../v0.1.0:$PWD python tests/compatibility/write_0_1_0.py servers
    PYTHONPATH=$PWD/../v0.1.0:$PWD python tests/compatibility/write_0_1_0.py names

The first folder of the path is the old release, whose `stream_reco` and `topologies` are used; the second one is this
checkout, for `tests.compatibility`. All parts write into `tests/compatibility/v0_1_0/`.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import lzma
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stream_reco.config.servers import KafkaSettings
from stream_reco.events import Event
from tests.compatibility import kafka_records, redis_records
from tests.compatibility.folder_answers import (
    ROUNDS_BEFORE,
    ROUNDS_BEHIND,
    continued,
    opened,
    state_of,
)
from tests.compatibility.folder_answers import answers_of as folder_answers_of
from tests.compatibility.installation import (
    GROUPS,
    PARTITIONS,
    PREFIX,
    ROUNDS,
    TOPICS,
    answers_of,
    impressions_of,
    kafka_at,
    start_scorer,
    start_worker,
)
from tests.compatibility.release_names import names_of_release
from tests.compatibility.shop import described, shop_events, time_of
from tests.integration import kafka_log
from tests.integration.workers import Worker
from tests.kafka_jars import kafka_jars
from tests.kafka_server import KafkaServer
from tests.programs import COMMAND, environ, kafka_environ
from tests.redis_server import RedisServer
from tests.waiting import until

RECORDS = Path(__file__).parent / "v0_1_0"


def write_folder() -> None:
    """A data folder with log records behind its only checkpoint, and what the old code answers from it."""
    RECORDS.mkdir(exist_ok=True)
    with TemporaryDirectory() as temporary:
        folder, asked, continuing = (Path(temporary) / name for name in ("data", "asked", "continued"))
        with opened(folder) as engine:
            engine.ingest([*described(), *shop_events(ROUNDS_BEFORE)])
            engine.forget("gone")
            engine.checkpoint()
            at_checkpoint = state_of(engine)
        with opened(folder) as engine:
            for number in range(ROUNDS_BEHIND):
                engine.ingest(shop_events(1, first=ROUNDS_BEFORE + number))
            engine.tick(time_of(ROUNDS_BEFORE + ROUNDS_BEHIND))
        for copy in (asked, continuing):
            shutil.copytree(folder, copy)
        with opened(asked) as engine:
            answers = {"at checkpoint": at_checkpoint, "at end": state_of(engine), "answers": folder_answers_of(engine)}
        with opened(continuing) as engine:
            answers["continued"] = continued(engine)
        with tarfile.open(RECORDS / "data.tar.xz", "w:xz") as packed:
            packed.add(folder, "data")
    _write_json("answers", answers)


def write_servers() -> None:
    """What a whole installation leaves in Kafka and Redis, and in the trainer's checkpoints."""
    RECORDS.mkdir(exist_ok=True)
    with TemporaryDirectory() as temporary, ExitStack() as left:
        folder = Path(temporary)
        server = KafkaServer(folder / "kafka", kafka_jars())
        left.callback(server.clean)
        server.start()
        redis = left.enter_context(RedisServer(folder / "redis"))
        kafka = kafka_at(server.bootstrap)
        _command(kafka, "topics", "create")
        workers = {
            name: start_worker(name, kafka, redis.url, folder, folder / "checkpoints")
            for name in ("labelling", "interests", "training")
        }
        for worker in workers.values():
            left.callback(worker.kill)
        shown = _live(kafka, redis, workers, folder)
        for worker in workers.values():
            assert worker.stop() == 0, worker.said()
        scorer = start_scorer(redis.url, folder / "scorer after")
        left.callback(scorer.kill)
        scorer.wait_until_it_recommends()
        _write_json("scorer", answers_of(scorer) | {"shown": shown})
        assert scorer.stop() == 0, scorer.said()
        _write_json("redis", redis_records.dump(redis))
        _write_json("kafka", asyncio.run(kafka_records.dump(server.bootstrap, _declared(kafka), GROUPS)))
        with tarfile.open(RECORDS / "checkpoints.tar.xz", "w:xz") as packed:
            packed.add(folder / "checkpoints", "checkpoints")


def _live(kafka: KafkaSettings, redis: RedisServer, workers: dict[str, Worker], folder: Path) -> list[Any]:
    """Events, two slates, a deletion and dead letters; returns the slates, of which the first alone was shown."""
    workers["training"].wait_for("leads in epoch 1")
    _send(kafka, [*described(), *shop_events(ROUNDS - 1)])
    _until_all_is_learned(kafka, workers)
    scorer = start_scorer(redis.url, folder / "scorer before", kafka)
    try:
        scorer.wait_until_it_recommends()
        slates = [scorer.slate(user, 3) for user in ("ann", "bob")]
        status, _ = scorer.ask("DELETE", "/v1/users/gone")
        assert status in (200, 204), status
        until(lambda: len(asyncio.run(kafka_log.read(kafka, "served"))) >= 2)
    finally:
        assert scorer.stop() == 0, scorer.said()
    shown = [json.loads(value) for value in asyncio.run(kafka_log.read(kafka, "served"))]
    shown.sort(key=lambda slate: str(slate["user_id"]))
    assert [slate["request_id"] for slate in shown[:2]] == [slate["request_id"] for slate in slates]
    _send(kafka, impressions_of(shown[0]))
    asyncio.run(kafka_log.write(kafka, [(b"ann", b"{"), (b"ann", b'{"type":"wish"}')]))
    _until_all_is_learned(kafka, workers)
    # A snapshot, since scorers that have left keep nothing, and behind it what changes with one more round.
    redis.do("SET", "{stream-reco}:wanted", 1)
    until(lambda: not redis.do("EXISTS", "{stream-reco}:wanted"))
    _send(kafka, shop_events(1, first=ROUNDS - 1))
    _until_all_is_learned(kafka, workers)
    # It is as bad as before, so that there are three letters then, of which the first has been sent again.
    _command(kafka, "dead-letters", "drive", "--offset", "0")
    until(lambda: len(asyncio.run(kafka_log.read(kafka, "dead-letters"))) == 3)
    return shown[:2]


def _send(kafka: KafkaSettings, events: Sequence[Event]) -> None:
    asyncio.run(kafka_log.write(kafka, [kafka_log.message(event) for event in events]))


def _until_all_is_learned(kafka: KafkaSettings, workers: dict[str, Worker]) -> None:
    until(lambda: _lag(kafka, "labelling") + _lag(kafka, "interests") == 0, 60)
    until(lambda: _is_learned(workers["training"]), 60)


def _lag(kafka: KafkaSettings, group: str) -> int:
    return asyncio.run(kafka_log.lag(kafka, group))


def _is_learned(trainer: Worker) -> bool:
    """Whether nothing lies behind what was learned but the marker of the last transaction of examples."""
    marker = {"events": 0.0, "examples": 1.0}
    lags = re.findall(r'work_lag_records{partition="(\w+)-\d+",work="training"} (\S+)', trainer.metrics())
    return len(lags) == 2 * PARTITIONS and all(float(lag) <= marker[topic] for topic, lag in lags)


def _command(kafka: KafkaSettings, *arguments: str) -> None:
    subprocess.run([*COMMAND, *arguments], env=environ(**kafka_environ(kafka)), check=True, timeout=60)


def _declared(kafka: KafkaSettings) -> dict[str, tuple[int, dict[str, str]]]:
    declared = importlib.import_module("topologies.topics").declared_topics(kafka)
    found = {topic.name: (topic.partitions, topic.configs(1)) for topic in declared}
    assert set(found) == {f"{PREFIX}.{name}" for name in TOPICS}
    return found


def write_names() -> None:
    """The names of settings, metrics, commands, routes and functions."""
    (RECORDS / "names.json").write_text(json.dumps(names_of_release(), indent=1, sort_keys=True) + "\n")


def _write_json(name: str, content: Any) -> None:
    with lzma.open(RECORDS / f"{name}.json.xz", "wt") as file:
        json.dump(content, file, indent=1, sort_keys=True)


if __name__ == "__main__":
    if importlib.util.find_spec("stream_reco.storage") is not None:
        sys.exit("this is a later release: put the folder of version 0.1.0 first into PYTHONPATH")
    {"folder": write_folder, "servers": write_servers, "names": write_names}[sys.argv[1]]()
