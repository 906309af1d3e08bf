"""A whole installation on this machine: Kafka, Redis, one process of each kind, and a scorer to talk to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from stream_reco.config.servers import KafkaSettings
from tests.bench.busy_shop import RETRIEVE
from tests.bench.running_server import Client
from tests.integration.scorer import ScorerProcess
from tests.integration.workers import Worker
from tests.redis_server import RedisServer

WORKERS = ("labelling", "interests", "training")
_READY_SECONDS = 300.0
_SHOP = {
    f"RETRIEVE_{name.upper()}": str(getattr(RETRIEVE, name))
    for name in ("trending", "tower", "interests", "fresh", "limit")
}


class Installation:
    """What runs; `client` talks to the scorer."""

    def __init__(self, kafka: KafkaSettings, redis: RedisServer, folder: Path, sync_seconds: float) -> None:
        given = _SHOP | {
            "REDIS_URL": redis.url,
            "REDIS_PREFIX": kafka.prefix,
            "TRAINING_CHECKPOINT_DIR": str(folder / "checkpoints"),
        }
        self._given, self._kafka, self._folder, self._sync_seconds = given, kafka, folder, sync_seconds
        self._left = ExitStack()
        self.workers: dict[str, Worker] = {}
        self._left.callback(self.stop_workers)
        for name in WORKERS:
            self.start(name)
            self.workers[name].wait_for("works on partitions|leads in epoch", _READY_SECONDS)
        scorer = ScorerProcess(redis.url, folder / "scorer", given, kafka)
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
