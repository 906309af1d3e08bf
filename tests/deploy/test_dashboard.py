"""Grafana's dashboard, held to its own model and to the metrics that the code has."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.deploy.queries import never_fed, query_problems
from tests.deploy.yaml_files import DEPLOY, document

GRAFANA = DEPLOY / "grafana"
DASHBOARD: Any = json.loads((GRAFANA / "dashboards" / "stream-reco.json").read_text(encoding="utf-8"))
SHOWN = (
    "stream_reco_stage_seconds_bucket",
    "stream_reco_work_lag_records",
    "stream_reco_examples_total",
    "stream_reco_pending_examples",
    "stream_reco_publication_bytes_count",
    "stream_reco_replica_staleness_seconds",
    "stream_reco_request_seconds_bucket",
    "stream_reco_progressive_quality",
    "stream_reco_calibration_by_age",
    "stream_reco_head_calibration",
    "stream_reco_head_logloss",
    "stream_reco_head_share",
)


def panels() -> list[Any]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def overlaps(places: list[dict[str, int]]) -> Iterator[str]:
    for one, other in itertools.combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        if not beside and not below:
            yield f"{one} lies over {other}"


def test_panels_can_be_told_apart_and_seen() -> None:
    everything = DASHBOARD["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    assert all(panel["title"] and panel["description"] for panel in panels())
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in everything)
    assert list(overlaps([panel["gridPos"] for panel in everything])) == []
    assert list(overlaps([{"x": 0, "y": 0, "w": 2, "h": 2}, {"x": 1, "y": 1, "w": 2, "h": 2}]))


def test_every_query_asks_for_what_the_code_shows() -> None:
    for query in queries():
        assert [*query_problems(query), *never_fed(query)] == [], query
    for name in SHOWN:
        assert any(name in query for query in queries()), f"no panel shows {name}"
    assert any("0.5" in query and "request_seconds" in query for query in queries())
    assert any("0.99" in query and "request_seconds" in query for query in queries())


def test_legends_name_labels_that_their_query_keeps() -> None:
    for panel in panels():
        for target in panel["targets"]:
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                grouped = re.search(r"\bby \(([^)]*)\)", target["expr"])
                assert grouped is None or label in re.findall(r"\w+", grouped[1]), (panel["title"], label)
                assert grouped or label not in ("le",)


@pytest.mark.prometheus
def test_promtool_reads_every_query(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(queries())
    ]
    path = tmp_path / "queries.yml"
    # What is JSON is YAML.
    path.write_bytes(msgspec.json.encode({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_finds_its_source_of_data_and_its_dashboard() -> None:
    (source,) = document(GRAFANA / "provisioning/datasources/prometheus.yaml")["datasources"]
    used = {
        (part["datasource"]["type"], part["datasource"]["uid"])
        for panel in panels()
        for part in [panel, *panel["targets"]]
    }
    assert used == {(source["type"], source["uid"])}
    compose = document(DEPLOY / "compose.yaml")
    host, _, port = source["url"].removeprefix("http://").partition(":")
    assert any(f"127.0.0.1:{port}:{port}" == published for published in compose["services"][host]["ports"])
    assert not any("secureJsonData" in text for text in map(str, [source]))
