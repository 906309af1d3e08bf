"""Workers that end with the test that has started them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from stream_reco.config.servers import KafkaSettings
from tests.integration.workers import Worker

StartWorker = Callable[..., Worker]


@pytest.fixture
def start_worker() -> Iterator[StartWorker]:
    """Starts a `Worker` with the arguments of that; all are killed with the test."""
    with ExitStack() as left:

        def begin(*arguments: object, **named: object) -> Worker:
            worker = Worker(*arguments, **named)  # type: ignore[arg-type] # as they come
            left.callback(worker.kill)
            return worker

        yield begin


@pytest.fixture
def start_labelling(start_worker: StartWorker, kafka_settings: KafkaSettings, tmp_path: Path) -> StartWorker:
    """Starts labelling with a state folder of that name, a window of a day, and labels that are a join's own."""

    def begin(name: str = "a", kafka: KafkaSettings = kafka_settings, policy: str = "conclusive") -> Worker:
        return start_worker("labelling", kafka, tmp_path / name, {"LABELS_WINDOW_DAYS": "1", "LABELS_POLICY": policy})

    return begin
