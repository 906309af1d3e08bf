"""What a running worker shows to Prometheus."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from stream_reco.config.servers import KafkaSettings
from tests.integration.conftest import StartWorker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]


def test_a_worker_shows_its_partitions(start_labelling: StartWorker, kafka_settings: KafkaSettings) -> None:
    worker, deadline = start_labelling(), time.monotonic() + 90
    while worker.metric('stream_reco_work_partitions{work="labelling"}') != kafka_settings.partitions:
        assert time.monotonic() < deadline, worker.said()
        assert worker.process.poll() is None, worker.said()
        time.sleep(0.2)
    assert worker.stop() == 0, worker.said()


def test_a_worker_whose_metrics_cannot_be_served_says_so(
    start_worker: StartWorker, kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    worker = start_worker("labelling", kafka_settings, tmp_path, {"WORK_METRICS_HOST": "nowhere.invalid"})
    assert worker.process.wait(60) == 1
    assert "work.metrics_host" in worker.said()
    assert "Traceback" not in worker.said()
