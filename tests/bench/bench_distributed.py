"""How fast the work over a real Kafka is: each kind on one and on two partitions, beside a reader that does nothing.

Every worker is a process of its own, and there are as many of them as partitions. What is timed is a backlog: from the
moment when the workers have their partitions until the last of it is committed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from time import perf_counter

import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition

from stream_reco.clock import SystemClock
from stream_reco.config.servers import KafkaSettings
from stream_reco.events import Event
from stream_reco.redis.connection import RedisLink
from stream_reco.sync.redis.channel import RedisChannel
from tests.bench.bench_freshness import LOADED, bench_new_item, bench_own_click
from tests.bench.bench_labels import impressions_and_clicks
from tests.bench.busy_shop import CLICK_MS, batches, catalogue, clicks
from tests.bench.catching_up import catch_up
from tests.bench.running_installation import Installation, installation
from tests.bench.running_server import wait_until
from tests.integration import kafka_log
from tests.integration.workers import Worker
from tests.kafka_jars import kafka_jars
from tests.kafka_server import KafkaServer
from tests.redis_server import RedisServer
from topologies.client.configuration import consumer_arguments
from topologies.client.connection import administration
from topologies.topics.validation import create_absent

_WINDOWS = 4.0
_TIMEOUT_SECONDS = 600.0
_LOOK_SECONDS = 0.05
_TRAINING_SECONDS = 20.0


def run(
    events: int = 200_000, intervals: Sequence[float] = (0.5, 1.0, 10.0), rounds: int = 20, a_second: float = 50.0
) -> dict[str, object]:
    """Everything; a few minutes. Rates are events a second by the clock; `cpu_seconds` are those of the workers."""
    folder = Path(tempfile.mkdtemp(prefix="stream-reco-bench-distributed-"))
    log = list(chain.from_iterable(impressions_and_clicks(events, _WINDOWS, 0)))
    try:
        with ExitStack() as left:
            kafka = left.enter_context(_kafka(folder / "kafka"))
            redis = left.enter_context(RedisServer(folder / "redis"))
            figures: dict[str, object] = {"events": len(log)}
            for partitions in (1, 2):
                settings = KafkaSettings(bootstrap=kafka.bootstrap, prefix=f"bench-{partitions}", partitions=partitions)
                figures[f"partitions_{partitions}"] = asyncio.run(_measure(settings, redis, log, folder))
            for interval in intervals:
                settings = KafkaSettings(bootstrap=kafka.bootstrap, prefix=f"sync-{interval}", partitions=2)
                figures[f"sync_{interval}"] = _freshness(settings, redis, folder / f"sync-{interval}", interval, rounds)
            settings = KafkaSettings(bootstrap=kafka.bootstrap, prefix="hour", partitions=2)
            return figures | {"an_hour_away": catch_up(settings, redis, folder / "hour", a_second)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _freshness(
    kafka: KafkaSettings, redis: RedisServer, folder: Path, interval: float, rounds: int
) -> dict[str, object]:
    """From a click to an answer that it has changed, and the bytes that publications take."""
    redis.do("FLUSHALL")
    with installation(kafka, redis, folder, interval) as running:
        opened = SystemClock().now_ms() - LOADED * CLICK_MS
        for batch in batches([*catalogue(opened), *clicks(LOADED, start=opened)], 1_000):
            running.client.send(batch)
        lag = 'stream_reco_work_lag_records{partition="events-0",work="training"}'
        wait_until(lambda: bool(running.client.recommend("anybody")) and not running.workers["training"].metric(lag))
        before, began = _published(running), perf_counter()
        few = max(3, round(rounds / max(1.0, interval / 2)))
        own, new = bench_own_click(running.client, rounds), bench_new_item(running.client, few)
        minutes, after = (perf_counter() - began) / 60, _published(running)
        whole = _snapshot_bytes(running, RedisChannel(RedisLink(redis.url), kafka.prefix))
        return {
            "own_click_until_gone_from_own_slate": own,
            "new_item_until_in_a_strangers_top_20": new,
            "delta_bytes_per_minute": round((after["delta"] - before["delta"]) / minutes),
            "snapshot_bytes": round(whole),
        }


def _published(running: Installation) -> dict[str, float]:
    """Bytes so far, by kind."""
    line = 'stream_reco_publication_bytes_sum{{kind="{}"}}'
    return {kind: running.workers["training"].metric(line.format(kind)) for kind in ("delta", "snapshot")}


def _snapshot_bytes(running: Installation, channel: RedisChannel) -> float:
    """Of a snapshot that is made because somebody asks for one."""
    before = _published(running)["snapshot"]
    channel.ask_for_snapshot()
    wait_until(lambda: _published(running)["snapshot"] > before)
    return _published(running)["snapshot"] - before


@contextmanager
def _kafka(folder: Path) -> Iterator[KafkaServer]:
    server = KafkaServer(folder, kafka_jars())
    server.start()
    try:
        yield server
    finally:
        server.clean()


async def _measure(kafka: KafkaSettings, redis: RedisServer, log: list[Event], folder: Path) -> dict[str, object]:
    async with administration(kafka) as admin:
        await create_absent(admin, kafka, "user_id")
    started = perf_counter()
    await kafka_log.write(kafka, [kafka_log.message(event) for event in log])
    figures: dict[str, object] = {"written_per_second": round(len(log) / (perf_counter() - started))}
    figures["getmany"] = await _getmany(kafka, len(log))
    for name in ("labelling", "interests"):
        figures[name] = await _work(name, kafka, redis, len(log), folder)
    return figures | {"training": await asyncio.to_thread(_train, kafka, redis, folder)}


async def _getmany(kafka: KafkaSettings, count: int) -> dict[str, object]:
    """What one consumer reads that does nothing with it."""
    consumer = AIOKafkaConsumer(**consumer_arguments(kafka))
    await consumer.start()
    try:
        consumer.assign([TopicPartition(f"{kafka.prefix}.events", number) for number in range(kafka.partitions)])
        await consumer.seek_to_beginning()
        started, read = perf_counter(), 0
        while read < count:
            read += sum(map(len, (await consumer.getmany(timeout_ms=1000)).values()))
        return {"per_second": round(read / (perf_counter() - started))}
    finally:
        await consumer.stop()


async def _work(name: str, kafka: KafkaSettings, redis: RedisServer, count: int, folder: Path) -> dict[str, object]:
    given = {"REDIS_URL": redis.url, "REDIS_PREFIX": kafka.prefix}
    places = [folder / f"{kafka.prefix}-{name}-{number}" for number in range(kafka.partitions)]
    workers = [Worker(name, kafka, place, given) for place in places]
    try:
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while not any("is open at offset" in worker.said() for worker in workers):
            await asyncio.sleep(_LOOK_SECONDS)
            assert time.monotonic() < deadline, workers[0].said()
        started, before = perf_counter(), _cpu(workers)
        while await kafka_log.lag(kafka, name):
            await asyncio.sleep(_LOOK_SECONDS)
            assert time.monotonic() < deadline, workers[0].said()
        seconds, cpu = perf_counter() - started, _cpu(workers) - before
        return {
            "per_second": round(count / seconds),
            "cpu_seconds": round(cpu, 1),
            "per_cpu_second": round(count / cpu),
        }
    finally:
        for worker in workers:
            worker.stop()


def _train(kafka: KafkaSettings, redis: RedisServer, folder: Path) -> dict[str, object]:
    """What one leader takes of the backlog of events and of the examples made of them; it reads all partitions."""
    place = folder / f"{kafka.prefix}-training"
    given = {"REDIS_URL": redis.url, "REDIS_PREFIX": kafka.prefix, "TRAINING_CHECKPOINT_DIR": str(place / "kept")}
    worker = Worker("training", kafka, place, given, ("--sync-interval", "1"))
    try:
        worker.wait_for("leads in epoch", _TIMEOUT_SECONDS)
        started, before, cpu = perf_counter(), _trained(worker), _cpu([worker])
        time.sleep(_TRAINING_SECONDS)
        seconds, after, cpu = perf_counter() - started, _trained(worker), _cpu([worker]) - cpu
        taken = {name: after[name] - before[name] for name in after}
        return {f"{name}_per_second": round(count / seconds) for name, count in taken.items()} | {
            "cpu_seconds": round(cpu, 1)
        }
    finally:
        worker.stop()


def _trained(worker: Worker) -> dict[str, float]:
    """Records read, and examples learned from, so far."""
    return {
        "records": worker.metric('stream_reco_work_records_total{work="training"}'),
        "examples": worker.metric('stream_reco_trained_examples_total{origin="labelled"}'),
    }


def _cpu(workers: list[Worker]) -> float:
    times = [psutil.Process(worker.process.pid).cpu_times() for worker in workers]
    return float(sum(one.user + one.system for one in times))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    print(json.dumps(run(parser.parse_args().events), indent=1))  # noqa: T201 - a command's answer
