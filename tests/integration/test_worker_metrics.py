"""What a running worker shows to Prometheus."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from stream_reco.config.servers import KafkaSettings
from tests.integration.workers import Worker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]


def test_a_worker_shows_its_partitions(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    worker = Worker("labelling", kafka_settings, tmp_path)
    try:
        found, deadline = None, time.monotonic() + 90
        while found != f"{kafka_settings.partitions}.0":
            assert time.monotonic() < deadline, worker.said()
            assert worker.process.poll() is None, worker.said()
            time.sleep(0.2)
            line = r'^stream_reco_work_partitions\{work="labelling"\} (.*)$'
            partitions = re.search(line, worker.metrics(), re.MULTILINE)
            found = partitions and partitions[1]
        assert worker.stop() == 0, worker.said()
    finally:
        worker.kill()


def test_a_worker_whose_metrics_cannot_be_served_says_so(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    worker = Worker("labelling", kafka_settings, tmp_path, {"WORK_METRICS_HOST": "nowhere.invalid"})
    try:
        assert worker.process.wait(60) == 1
        assert "work.metrics_host" in worker.said()
        assert "Traceback" not in worker.said()
    finally:
        worker.kill()
