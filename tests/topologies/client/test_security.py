"""A Kafka that encrypts and asks for names and passwords, and clients that are let in, or told why not."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from stream_reco.config.servers import KafkaSettings
from tests.kafka_jars import kafka_jars
from tests.kafka_server import KafkaServer, free_ports
from topologies.client.connection import KafkaUnavailableError, administration
from topologies.topics.validation import create_absent

pytestmark = pytest.mark.kafka
HUSH = "-".join(["not", "to", "be", "told"])
_MODULES = "org.apache.kafka.common.security"


@dataclass
class Guarded:
    """Settings that are let in by password, and by certificate."""

    named: KafkaSettings
    certified: KafkaSettings


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    key, certificate, both = folder / "key.pem", folder / "certificate.pem", folder / "both.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    subprocess.run(command, check=True, capture_output=True)
    both.write_text(key.read_text() + certificate.read_text())
    passwords, certificates = (f"127.0.0.1:{port}" for port in free_ports(2))
    server = KafkaServer(
        folder / "kafka",
        kafka_jars(),
        _properties(both, certificate),
        [f"NAMED://{passwords}", f"CERTIFIED://{certificates}"],
    )
    try:
        server.start()
        server.tool(
            "kafka.admin.ConfigCommand",
            "--bootstrap-server",
            server.bootstrap,
            "--alter",
            "--entity-type",
            "users",
            "--entity-name",
            "shop",
            "--add-config",
            f"SCRAM-SHA-512=[iterations=4096,password={HUSH}]",
        )
        named = KafkaSettings(
            bootstrap=passwords,
            security_protocol="SASL_SSL",
            sasl_username="shop",
            sasl_password=HUSH,
            ca_file=str(certificate),
            partitions=2,
        )
        certified = KafkaSettings(
            bootstrap=certificates,
            security_protocol="SSL",
            ca_file=str(certificate),
            cert_file=str(certificate),
            key_file=str(key),
            partitions=2,
        )
        yield Guarded(named, certified)
    finally:
        server.clean()


def _properties(both: Path, certificate: Path) -> dict[str, str]:
    plain = f'{_MODULES}.plain.PlainLoginModule required user_shop="{HUSH}";'
    return {
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,NAMED:SASL_SSL,CERTIFIED:SSL",
        "inter.broker.listener.name": "PLAINTEXT",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(both),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(certificate),
        "listener.name.certified.ssl.client.auth": "required",
        "listener.name.named.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
        "listener.name.named.plain.sasl.jaas.config": plain,
        "listener.name.named.scram-sha-512.sasl.jaas.config": f"{_MODULES}.scram.ScramLoginModule required;",
    }


def create(kafka: KafkaSettings, prefix: str, timeout: float = 5.0) -> int:
    settings = replace(kafka, prefix=prefix)

    async def created() -> int:
        async with administration(settings, timeout=timeout) as admin:
            return len(await create_absent(admin, settings, "user_id"))

    return asyncio.run(created())


def test_who_may_come_in_comes_in(guarded: Guarded) -> None:
    assert create(guarded.named, "plain") == 9
    assert create(replace(guarded.named, sasl_mechanism="SCRAM-SHA-512"), "scram") == 9
    assert create(guarded.certified, "certified") == 9


def test_who_may_not_is_told_why(guarded: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    wrong = replace(guarded.named, sasl_password=HUSH + "x")
    cases = [
        (wrong, "Authentication"),
        (replace(wrong, sasl_mechanism="SCRAM-SHA-512"), "Authentication"),
        (replace(guarded.named, sasl_mechanism="SCRAM-SHA-256"), "UnsupportedSaslMechanism"),
        (replace(guarded.named, ca_file=None), "CERTIFICATE_VERIFY_FAILED"),
        (replace(guarded.certified, cert_file=None, key_file=None), "closed|alert|reset"),
        (KafkaSettings(bootstrap=guarded.named.bootstrap), "closed|silent|reset"),
    ]
    for kafka, reason in cases:
        with pytest.raises(KafkaUnavailableError, match=reason) as caught:
            create(replace(kafka, session_seconds=1), "no", timeout=0.0)
        assert HUSH not in str(caught.value)
    assert HUSH not in caplog.text
