"""What Prometheus is given: whom it asks, what wakes people, and that each alert fires when it should."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Gauge

from stream_reco import metrics
from tests.deploy.queries import never_fed, query_problems
from tests.deploy.yaml_files import DEPLOY, document
from tests.pages import bare, page

CONFIG, ALERTS, STORIES = DEPLOY / "prometheus.yml", DEPLOY / "alerts.yml", DEPLOY / "alerts_test.yml"
CREDENTIALS = "/run/prometheus/serve-token"


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)


def alerts() -> list[dict[str, Any]]:
    return [rule for group in document(ALERTS)["groups"] for rule in group["rules"]]


@pytest.mark.prometheus
def test_promtool_reads_all_of_it(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.touch()
    text = CONFIG.read_text().replace(CREDENTIALS, str(token)).replace("[alerts.yml]", f"[{ALERTS}]")
    (tmp_path / "prometheus.yml").write_text(text)
    done = promtool("check", "config", tmp_path / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.prometheus
def test_alerts_fire_when_they_should() -> None:
    done = promtool("test", "rules", STORIES)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.prometheus
def test_a_story_can_fail(tmp_path: Path) -> None:
    slower = ALERTS.read_text().replace("staleness_seconds > 600", "staleness_seconds > 6000")
    (tmp_path / "alerts.yml").write_text(slower)
    (tmp_path / "alerts_test.yml").write_text(STORIES.read_text())
    done = promtool("test", "rules", tmp_path / "alerts_test.yml")
    assert done.returncode != 0
    assert "ReplicaStale" in done.stdout + done.stderr


def test_every_alert_has_a_story_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    tests = [test for story in document(STORIES)["tests"] for test in story["alert_rule_test"]]
    fires = {test["alertname"] for test in tests if test.get("exp_alerts")}
    quiet = {test["alertname"] for test in tests if not test.get("exp_alerts")}
    assert fires == quiet == {rule["alert"] for rule in alerts()}


def test_the_page_lists_every_alert() -> None:
    assert [bare(row[0]) for row in page("docs/deployment.md").table("alert")] == [rule["alert"] for rule in alerts()]


def test_alerts_ask_for_what_the_code_shows() -> None:
    for rule in alerts():
        assert [*query_problems(rule["expr"]), *never_fed(rule["expr"])] == [], rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["fix"]


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("stream_reco_ponderings_total > 1", "no stream_reco_ponderings_total"),
        ("rate(stream_reco_requests[5m])", "no stream_reco_requests"),
        ("stream_reco_request_seconds_buckets", "no stream_reco_request_seconds_buckets"),
        ('stream_reco_work_lag_records{worker="labelling"}', "no label worker"),
        ('stream_reco_work_lag_records{work="labeling"}', "no kind of work is called labeling"),
        ("sum by (reason) (stream_reco_work_lag_records)", "the label reason"),
        ("sum by (le, path) (rate(stream_reco_request_seconds_bucket[5m]))", "the label path"),
        ("process_resident_bytes", "no process_resident_bytes"),
    ],
)
def test_what_no_process_shows_is_found(query: str, complaint: str) -> None:
    assert any(complaint in found for found in query_problems(query)), list(query_problems(query))


def test_a_metric_that_nothing_feeds_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "NEVER_FED", Gauge("stream_reco_never", "Nothing.", registry=None), raising=False)
    assert list(never_fed("stream_reco_never > 0")) == ["nothing feeds NEVER_FED"]
    assert list(never_fed("stream_reco_backlog_events > 0")) == ["nothing feeds BACKLOG"], "only the embedded loop does"
    assert list(never_fed("rate(stream_reco_request_seconds_bucket[5m])")) == []


@pytest.mark.parametrize(
    "query",
    [
        'sum by (work, job) (stream_reco_work_lag_records{work=~"labelling|training", partition="0"}) > 1',
        "histogram_quantile(0.99, sum by (le, route) (rate(stream_reco_request_seconds_bucket[5m])))",
        'absent(up{job="training"}) or rate(process_cpu_seconds_total[5m]) > 0',
    ],
)
def test_what_processes_show_is_not_found(query: str) -> None:
    assert list(query_problems(query)) == []


def unscraped(config: Any, compose: Any) -> Iterator[str]:
    """Every long-running process of ours is asked, at its own port, by a job of its own kind."""
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    for name, service in compose["services"].items():
        started = service.get("command", [""])[0]
        if started == "work":
            found = [(one["port"], one["names"]) for one in jobs.get(name, {}).get("dns_sd_configs", ())]
            port = service["environment"]["STREAM_RECO_WORK_METRICS_PORT"]
            if found != [(port, [name])]:
                yield f"{name} is not asked on port {port}, but {found}"
        elif started == "serve":
            target = f"{name}:{service['environment']['STREAM_RECO_SERVE_PORT']}"
            scorers = jobs.get("scorer", {})
            if not any(target in one["targets"] for one in scorers.get("static_configs", ())):
                yield f"{target} is not asked"
            if scorers.get("authorization", {}).get("credentials_file") != CREDENTIALS:
                yield "scorers ask for a token"


@pytest.fixture(scope="module")
def compose() -> Any:
    return document(DEPLOY / "compose.yaml")


def test_every_process_is_scraped(compose: Any) -> None:
    assert list(unscraped(document(CONFIG), compose)) == []
    assert f">{CREDENTIALS}" in str(compose["services"]["prometheus"]["command"])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("scorer-2:8080", "scorer-3:8080"), "scorer-2:8080 is not asked"),
        (("[interests]", "[interest]"), "interests is not asked"),
        (("names: [labelling], type: A, port: 9100", "names: [labelling], type: A, port: 9101"), "labelling is not"),
        (("    authorization: {credentials_file: /run/prometheus/serve-token}\n", ""), "ask for a token"),
    ],
)
def test_a_process_that_is_not_scraped_is_found(
    compose: Any, change: tuple[str, str], complaint: str, tmp_path: Path
) -> None:
    (tmp_path / "changed.yml").write_text(CONFIG.read_text().replace(*change))
    assert any(complaint in found for found in unscraped(document(tmp_path / "changed.yml"), compose))


def test_alerts_name_jobs_that_are_asked() -> None:
    jobs = {job["job_name"] for job in document(CONFIG)["scrape_configs"]}
    named = {
        name for rule in alerts() for found in re.findall(r'job=~?"([^"]*)"', rule["expr"]) for name in found.split("|")
    }
    assert named <= jobs
    assert {"labelling", "interests", "training", "scorer"} <= named
