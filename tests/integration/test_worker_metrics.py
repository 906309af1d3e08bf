"""What a running worker shows to Prometheus."""

from __future__ import annotations

import re
import time
from pathlib import Path
from urllib.request import urlopen

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
            if told := re.search(r"metrics are at (http://127\.0\.0\.1:\d+/metrics)", worker.said()):
                text = urlopen(told[1], timeout=5).read().decode()
                partitions = re.search(r'^stream_reco_work_partitions\{work="labelling"\} (.*)$', text, re.MULTILINE)
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
