"""A whole installation on this machine: Kafka, Redis, one process of each kind, and a scorer to talk to."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

from stream_reco.config.servers import KafkaSettings
from tests.bench.busy_shop import RETRIEVE
from tests.bench.running_server import Client
from tests.integration.scorer import ScorerProcess
from tests.integration.workers import Worker
from tests.redis_server import RedisServer

WORKERS = ("labelling", "interests", "training")
_READY_SECONDS = 300.0
_SHOP = {f"RETRIEVE_{name.upper()}": str(getattr(RETRIEVE, name))
         for name in ("trending", "tower", "interests", "fresh", "limit")}  # fmt: skip


class Installation:
    """What runs; `client` talks to the scorer."""

    def __init__(self, kafka: KafkaSettings, redis: RedisServer, folder: Path, sync_seconds: float) -> None:
        given = _SHOP | {
            "REDIS_URL": redis.url, "REDIS_PREFIX": kafka.prefix,
            "TRAINING_CHECKPOINT_DIR": str(folder / "checkpoints"),
            "KAFKA_BOOTSTRAP": kafka.bootstrap, "KAFKA_PREFIX": kafka.prefix, "KAFKA_PARTITIONS": str(kafka.partitions),
        }  # fmt: skip
        self._given, self._kafka, self._folder, self._sync_seconds = given, kafka, folder, sync_seconds
        self._left = ExitStack()
        self.workers: dict[str, Worker] = {}
        self._left.callback(self.stop_workers)
        for name in WORKERS:
            self.start(name)
            self._wait(name, "works on partitions" if name != "training" else "leads in epoch")
        scorer = ScorerProcess(redis.url, folder / "scorer", given)
        self._left.callback(scorer.stop)
        scorer.wait_until_ready()
        self.client = Client(scorer.port())

    def start(self, name: str) -> None:
        """Start a worker with what it knew before, if it ran before."""
        flags = ("--sync-interval", str(self._sync_seconds)) if name == "training" else ()
        self.workers[name] = Worker(name, self._kafka, self._folder / name, self._given, flags)

    def stop_workers(self) -> None:
        """End all workers; the scorer goes on."""
        for worker in self.workers.values():
            worker.stop()

    def _wait(self, name: str, for_what: str) -> None:
        worker, deadline = self.workers[name], time.monotonic() + _READY_SECONDS
        while for_what not in worker.said():
            if worker.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not start: {worker.said()}")
            time.sleep(0.1)

    def metric(self, name: str, line: str) -> float:
        """The value of one line of a worker's metrics."""
        where = re.search(r"metrics are at (\S+)", self.workers[name].said())
        assert where is not None
        text = urlopen(where[1], timeout=10).read().decode()
        found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def stop(self) -> None:
        """End everything."""
        self._left.close()


@contextmanager
def installation(kafka: KafkaSettings, redis: RedisServer, folder: Path, sync_seconds: float) -> Iterator[Installation]:
    """An installation that is ready."""
    running = Installation(kafka, redis, folder, sync_seconds)
    try:
        yield running
    finally:
        running.stop()
