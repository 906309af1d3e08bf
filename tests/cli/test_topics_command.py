"""`stream-reco topics` as people run it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stream_reco.config.servers import KafkaSettings
from tests.cli.test_commands import stream_reco
from tests.kafka_server import KafkaServer
from tests.programs import kafka_environ


def test_without_an_address_it_is_wrong_usage() -> None:
    status, _, complaint = stream_reco("topics", "check", STREAM_RECO_KAFKA_BOOTSTRAP="")
    assert status == 2
    assert "kafka.bootstrap is not set" in complaint
    assert "STREAM_RECO_KAFKA_BOOTSTRAP" in complaint


def test_a_broker_that_is_away_is_named() -> None:
    status, output, complaint = stream_reco("topics", "check", STREAM_RECO_KAFKA_BOOTSTRAP="127.0.0.1:9")
    assert (status, output) == (1, "")
    assert "Kafka at 127.0.0.1:9 does not answer: Connection refused" in complaint
    assert "Traceback" not in complaint
    assert "Unable connect" not in complaint


def test_certificates_that_are_not_there_are_named() -> None:
    environ = {
        "STREAM_RECO_KAFKA_BOOTSTRAP": "127.0.0.1:9",
        "STREAM_RECO_KAFKA_SECURITY_PROTOCOL": "SSL",
        "STREAM_RECO_KAFKA_CA_FILE": "nowhere.pem",
    }
    status, _, complaint = stream_reco("topics", "check", **environ)
    assert status == 2
    assert "kafka.ca_file = 'nowhere.pem'" in complaint


@pytest.mark.kafka
def test_create_then_check(kafka_settings: KafkaSettings) -> None:
    environ = kafka_environ(replace(kafka_settings, partitions=3))
    status, output, complaint = stream_reco("topics", "check", **environ)
    assert status == 1
    assert "9 problems" in complaint
    assert f"topic {kafka_settings.prefix}.events does not exist: create it with" in complaint
    status, output, complaint = stream_reco("topics", "create", **environ)
    assert (status, complaint) == (0, "")
    assert f"created {kafka_settings.prefix}.events: 3 partitions, key: user_id, kept for 30 days" in output
    assert f"created {kafka_settings.prefix}.trainer-leader: 1 partition, key: epoch, compacted" in output
    status, output, complaint = stream_reco("topics", "check", **environ)
    assert (status, output, complaint) == (0, "all topics exist, as declared\n", "")
    status, output, complaint = stream_reco("topics", "check", **environ, STREAM_RECO_KAFKA_EVENTS_DAYS="90")
    assert status == 0
    assert output.startswith("warning: topic")
    status, output, complaint = stream_reco("topics", "create", **environ | {"STREAM_RECO_KAFKA_PARTITIONS": "12"})
    assert status == 1
    assert "events has 3 partitions, this setting needs 12, because kafka.partitions is 12" in complaint


@pytest.mark.kafka
def test_the_doctor_looks_at_kafka(kafka: KafkaServer, kafka_settings: KafkaSettings) -> None:
    environ = kafka_environ(kafka_settings)
    status, output, complaint = stream_reco("doctor", **environ)
    assert status == 1
    assert f"✓ Kafka: {kafka.bootstrap} answers as Kafka 4.1 or newer" in output
    assert f"✗ topic: topic {kafka_settings.prefix}.events does not exist" in output
    assert "9 problems" in complaint
    assert stream_reco("topics", "create", **environ)[0] == 0
    status, output, complaint = stream_reco("doctor", **environ)
    assert (status, complaint) == (0, "")
    assert "✓ topics: are as declared" in output


def test_the_doctor_finds_kafka_away() -> None:
    status, output, complaint = stream_reco("doctor", STREAM_RECO_KAFKA_BOOTSTRAP="127.0.0.1:9")
    assert (status, complaint) == (1, "stream-reco: 1 problem\n")
    assert "✗ Kafka: Kafka at 127.0.0.1:9 does not answer: Connection refused; start it, or set" in output
