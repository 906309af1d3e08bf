"""The learning half of the embedded loop: events in, labels, signals, training, publications; with and without a disk.

Wall seconds on whatever else the machine does; what the trainer alone takes is told apart by its own histogram.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter

from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.embedded.warm_up import warm_up
from stream_reco.events import Event
from stream_reco.metrics import REGISTRY
from tests.bench.busy_shop import batches, catalogue, clicks, quantiles

EVENTS = 20_000
_BATCH = 256
_DURABLE_BATCH = 1_000
_STEPS = "stream_reco_train_step_seconds_sum"


def bench_memory(events: list[Event]) -> dict[str, object]:
    """In memory, a publication after every batch: what a replay does, without the asking."""
    with Engine() as engine:
        engine.ingest(catalogue())
        engine.sync()
        stepped, learning, syncs = _stepped(), 0.0, []
        for batch in batches(events, _BATCH):
            start = perf_counter()
            engine.ingest(batch)
            between = perf_counter()
            engine.sync()
            learning += between - start
            syncs.append(perf_counter() - between)
        training = _stepped() - stepped
        status = engine.status()
    return {
        "events_per_second": len(events) / learning,
        "training_examples_per_second": len(events) / training,
        "training_share": training / learning,
        "publication": quantiles(syncs),
        "items": status["items"],
        "users": status["users"],
    }


def bench_durable(events: list[Event]) -> dict[str, float]:
    """On disk: taken, written, synced to the disk and learned from before `ingest` returns."""
    with tempfile.TemporaryDirectory() as folder:
        with Engine(Path(folder)) as engine:
            engine.ingest(catalogue())
            start = perf_counter()
            for batch in batches(events, _DURABLE_BATCH):
                engine.ingest(batch)
            seconds = perf_counter() - start
            start = perf_counter()
            engine.checkpoint()
            checkpoint = perf_counter() - start
        start = perf_counter()
        with Engine(Path(folder)):
            restart = perf_counter() - start
    return {
        "events_per_second": len(events) / seconds,
        "checkpoint_seconds": checkpoint,
        "restart_from_checkpoint_seconds": restart,
    }


def _stepped() -> float:
    seconds = REGISTRY.get_sample_value(_STEPS)
    assert seconds is not None, f"there is no metric {_STEPS}"
    return seconds


def run(count: int = EVENTS) -> dict[str, object]:
    """Everything; about a minute and a half."""
    warm_up(Settings())
    events = clicks(count)
    return {"memory": bench_memory(events), "durable": bench_durable(events[: count // 2])}
