"""Checks of Kafka and Redis, where the settings name them."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from stream_reco.cli.doctor.machine import Finding
from stream_reco.terminal.errors import Failure
from stream_reco.terminal.kafka import TIMEOUT_SECONDS, run

if TYPE_CHECKING:
    from stream_reco.config import Settings
    from stream_reco.redis.connection import RedisLink

_OLDEST_REDIS = (6, 2)


def check_kafka(settings: Settings) -> list[Finding]:
    """Whether a broker answers, which release it is, and whether the topics are as declared."""
    from topologies.client.broker_release import OLDEST, release_of
    from topologies.client.connection import probe
    from topologies.topics.report import topic_report

    where = settings.kafka.bootstrap
    try:
        release = release_of(run(probe(settings.kafka)))
        if release is None:
            return [Finding("bad", "Kafka", f"{where} is older than {OLDEST}; upgrade the brokers")]
        report = run(topic_report(settings, TIMEOUT_SECONDS, create=False))
    except Failure as failure:
        return [Finding("bad", "Kafka", f"{failure}; start it, or set kafka.bootstrap (STREAM_RECO_KAFKA_BOOTSTRAP)")]
    findings = [Finding("good", "Kafka", f"{where} answers as Kafka {release} or newer")]
    findings += [Finding("bad", "topic", problem) for problem in report.problems]
    findings += [Finding("warning", "topic", warning) for warning in report.warnings]
    return findings if len(findings) > 1 else [*findings, Finding("good", "topics", "are as declared")]


def check_redis(settings: Settings) -> list[Finding]:
    """Whether Redis answers, is recent enough, and does not evict keys without a TTL."""
    from stream_reco.redis.connection import RedisFailure, RedisLink

    # The finding says what would be logged.
    logging.getLogger("stream_reco.redis.connection").setLevel(logging.CRITICAL)
    try:
        with RedisLink.of(settings.redis, timeout_seconds=3.0) as link:
            return [_redis_version(link), *_redis_policy(link)]
    except (ValueError, RedisFailure) as error:
        return [Finding("bad", "Redis", f"{error}; start it, or set redis.url (STREAM_RECO_REDIS_URL)")]


def _redis_version(link: RedisLink) -> Finding:
    answer = link.call("INFO", "server")
    version = str(answer.get("redis_version", "")) if isinstance(answer, dict) else ""
    oldest = ".".join(map(str, _OLDEST_REDIS))
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < _OLDEST_REDIS:
        return Finding(
            "bad", "Redis", f"{link.address} is {version or 'of unknown version'}: {oldest} or newer is needed"
        )
    return Finding("good", "Redis", f"{version} at {link.address}")


def _redis_policy(link: RedisLink) -> list[Finding]:
    from stream_reco.redis.connection import RedisRefused

    try:
        answer = link.call("CONFIG GET", "maxmemory-policy")
    except RedisRefused:  # managed services may forbid the command
        return []
    policy = str(answer.get("maxmemory-policy", "")) if isinstance(answer, dict) else ""
    if policy.startswith("allkeys"):
        fix = "set maxmemory-policy noeviction or volatile-ttl"
        text = f"{policy} may evict publications that replicas have not read, so that they need snapshots; {fix}"
        return [Finding("warning", "Redis memory", text)]
    return [Finding("good", "Redis memory", f"maxmemory-policy {policy}")] if policy else []
