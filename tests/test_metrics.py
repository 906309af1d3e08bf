"""Counters start at 0 after a warm-up, and go on for those that hold one of them; processes count together."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import Counter
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from stream_reco import metrics
from stream_reco.metrics import REGISTRY
from tests.programs import environ


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Counter, Counter]]:
    """A counter with labels and one without, declared as those of the loop are."""
    labelled = Counter("stream_reco_tried", "Tried.", ["source"], registry=metrics.REGISTRY)
    plain = Counter("stream_reco_tried_plainly", "Tried.", registry=metrics.REGISTRY)
    monkeypatch.setattr(metrics, "TRIED", labelled, raising=False)
    monkeypatch.setattr(metrics, "TRIED_PLAINLY", plain, raising=False)
    yield labelled, plain
    metrics.REGISTRY.unregister(labelled)
    metrics.REGISTRY.unregister(plain)


def value(name: str, **labels: str) -> float | None:
    return metrics.REGISTRY.get_sample_value(name, labels)


def test_a_counter_that_was_taken_before_a_reset_counts_after_it(declared: tuple[Counter, Counter]) -> None:
    labelled, plain = declared
    held = labelled.labels("tower")
    held.inc(3)
    plain.inc(2)
    metrics.reset_counters()
    assert value("stream_reco_tried_total", source="tower") == value("stream_reco_tried_plainly_total") == 0.0
    held.inc(5)
    plain.inc()
    assert value("stream_reco_tried_total", source="tower") == 5.0
    assert value("stream_reco_tried_plainly_total") == 1.0
    assert labelled.labels("tower") is held


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """What three processes show together, and what is shown once one of them was killed."""
    command = [sys.executable, "-m", "tests.metrics_of_processes", str(tmp_path_factory.mktemp("metrics"))]
    done = subprocess.run(command, env=environ(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    all_three, two = json.loads(done.stdout)
    return all_three, two


def test_processes_add_up_and_what_a_killed_one_counted_stays(counted: tuple[dict[str, Any], dict[str, Any]]) -> None:
    for shown in counted:
        values = shown["values"]
        assert values["stream_reco_requests_total route=/v1/recommend status=200"] == 1 + 2 + 4
        assert values["stream_reco_request_seconds_count route=/v1/recommend"] == 3
        assert values["stream_reco_request_seconds_bucket le=0.001 route=/v1/recommend"] == 1
        assert values["stream_reco_request_seconds_bucket le=+Inf route=/v1/recommend"] == 3
        assert values["stream_reco_table_rows table=item"] == 4, "what was set last"
    assert [shown["values"]["stream_reco_queued_requests"] for shown in counted] == [1 + 2 + 4, 1 + 2]


def test_processes_show_the_names_and_types_of_one(counted: tuple[dict[str, Any], dict[str, Any]]) -> None:
    alone = {family.name: family.type for family in text_string_to_metric_families(generate_latest(REGISTRY).decode())}
    alone = {name: kind for name, kind in alone.items() if name.startswith("stream_reco_")}
    together = {name: kind for name, kind in counted[0]["types"].items() if name.startswith("stream_reco_")}
    created = {name for name in alone if name.endswith("_created")}
    assert together == {name: kind for name, kind in alone.items() if name not in created}
    assert "pid" not in counted[0]["labels"]
    assert counted[0]["values"]["process_resident_memory_bytes"] > 10_000_000
    assert counted[0]["values"]["process_cpu_seconds_total"] > 0
