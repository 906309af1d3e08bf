"""Kafka and Redis, looked at from this machine, where the settings name them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_reco.cli.checks import Finding
from stream_reco.cli.failure import Failure
from stream_reco.cli.with_kafka import PATIENCE_SECONDS, run

if TYPE_CHECKING:
    from stream_reco.config import Settings


def kafka(settings: Settings) -> list[Finding]:
    """Whether a broker answers, which release it is, and whether the topics are as declared."""
    from topologies.connecting import probe
    from topologies.releases import OLDEST, release_of
    from topologies.topic_report import topic_report

    where = settings.kafka.bootstrap
    try:
        release = release_of(run(probe(settings.kafka)))
        if release is None:
            return [Finding("bad", "Kafka", f"{where} is older than {OLDEST}; upgrade the brokers")]
        report = run(topic_report(settings, PATIENCE_SECONDS, create=False))
    except Failure as failure:
        return [Finding("bad", "Kafka", f"{failure}; start it, or set kafka.bootstrap (STREAM_RECO_KAFKA_BOOTSTRAP)")]
    findings = [Finding("good", "Kafka", f"{where} answers as Kafka {release} or newer")]
    findings += [Finding("bad", "topic", problem) for problem in report.problems]
    findings += [Finding("warning", "topic", warning) for warning in report.warnings]
    return findings if len(findings) > 1 else [*findings, Finding("good", "topics", "are as declared")]
