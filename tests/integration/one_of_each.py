"""One process of each kind of the distributed run, over real servers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from stream_reco.config.servers import KafkaSettings
from tests.integration.conftest import StartWorker
from tests.integration.scorer import ScorerProcess
from tests.integration.workers import Worker
from tests.programs import stop_all

_FLAGS = {"labelling": (), "interests": (), "training": ("--sync-interval", "0.5")}


@contextmanager
def one_of_each(
    start_worker: StartWorker, kafka: KafkaSettings, redis_url: str, folder: Path, settings: Mapping[str, str]
) -> Iterator[tuple[Mapping[str, Worker], ScorerProcess]]:
    """The workers by name, and a scorer, all at work; they end at the end."""
    given = {
        **settings,
        "REDIS_URL": redis_url,
        "REDIS_PREFIX": kafka.prefix,
        "TRAINING_CHECKPOINT_DIR": str(folder / "checkpoints"),
    }
    workers = {name: start_worker(name, kafka, folder / name, given, flags) for name, flags in _FLAGS.items()}
    # Whoever was first has made the topics.
    workers["labelling"].wait_until_at_work()
    scorer = ScorerProcess(redis_url, folder / "scorer", given, kafka)
    try:
        workers["interests"].wait_until_at_work()
        workers["training"].wait_for("leads in epoch")
        scorer.wait_until_ready()
        yield workers, scorer
        stop_all([*workers.values(), scorer])
    finally:
        scorer.kill()
