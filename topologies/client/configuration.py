"""Configuration of Kafka clients, derived from the settings in this one place."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from aiokafka.helpers import create_ssl_context

from stream_reco.config.servers import KafkaSettings

# The longest message is a dead letter of the longest event (topics/declaration.py); the rest is Kafka's framing.
_LONGEST_REQUEST_BYTES = (4 << 20) + (64 << 10)
_BATCH_BYTES = 256 << 10
# A rebalance may take as long as a session, and its response comes after that.
_SPARE_MS = 5_000
# How often members of a group check whether the topic has new partitions.
_METADATA_MS = 30_000

Arguments = dict[str, Any]


class ClientSettingsError(ValueError):
    """TLS files that the settings name cannot be used; the text says which and why."""


def client_arguments(kafka: KafkaSettings) -> Arguments:
    """Arguments of every client, `AIOKafkaAdminClient` included. Raises `ClientSettingsError`."""
    arguments: Arguments = {
        "bootstrap_servers": [address.strip() for address in kafka.bootstrap.split(",")],
        "security_protocol": kafka.security_protocol,
        "request_timeout_ms": kafka.session_ms + _SPARE_MS,
    }
    if kafka.security_protocol.startswith("SASL"):
        arguments |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.sasl_username,
            "sasl_plain_password": kafka.sasl_password,
        }
    if kafka.security_protocol.endswith("SSL"):
        arguments["ssl_context"] = _tls(kafka)
    return arguments


def consumer_arguments(
    kafka: KafkaSettings, group: str | None = None, *, read_committed: bool = True, gaps: bool = True
) -> Arguments:
    """Arguments of an `AIOKafkaConsumer`; `group` without the prefix, None for a consumer without a group.

    Offsets are never committed automatically. Reading begins with the oldest message where no offset is known, or
    where the next one was deleted. With `gaps=False` that raises OffsetOutOfRangeError instead: for consumers that
    always seek before reading, and must know what is missing. `read_committed` is needed for all that is written in
    transactions, such as examples and state.
    """
    arguments = client_arguments(kafka) | {
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest" if gaps else "none",
        "isolation_level": "read_committed" if read_committed else "read_uncommitted",
        "max_partition_fetch_bytes": _LONGEST_REQUEST_BYTES,
    }
    if group is not None:
        arguments |= {
            "group_id": f"{kafka.prefix}.{group}",
            "session_timeout_ms": kafka.session_ms,
            "heartbeat_interval_ms": max(1, kafka.session_ms // 4),
            "metadata_max_age_ms": _METADATA_MS,
        }
    return arguments


def producer_arguments(kafka: KafkaSettings, transactional: str | None = None) -> Arguments:
    """Arguments of an `AIOKafkaProducer`, idempotent: its own retries neither lose nor duplicate messages.

    `transactional` is the transactional id without the prefix; a producer started later with the same id fences this
    one.
    """
    arguments = client_arguments(kafka) | {
        "acks": "all",
        "enable_idempotence": True,
        "max_batch_size": _BATCH_BYTES,
        "max_request_size": _LONGEST_REQUEST_BYTES,
    }
    if transactional is not None:
        arguments |= {
            "transactional_id": f"{kafka.prefix}.{transactional}",
            "transaction_timeout_ms": kafka.session_ms,
        }
    return arguments


def connection_arguments(arguments: Mapping[str, Any]) -> Arguments:
    """Those arguments of a client that a single connection takes."""
    return {name: value for name, value in arguments.items() if name != "bootstrap_servers"}


def _tls(kafka: KafkaSettings) -> ssl.SSLContext:
    try:
        context: ssl.SSLContext = create_ssl_context(
            cafile=kafka.ca_file, certfile=kafka.cert_file, keyfile=kafka.key_file
        )
    except (OSError, ssl.SSLError) as error:
        files = {"ca_file": kafka.ca_file, "cert_file": kafka.cert_file, "key_file": kafka.key_file}
        named = ", ".join(f"kafka.{name} = {path!r}" for name, path in files.items() if path)
        raise ClientSettingsError(
            f"TLS to Kafka cannot be set up from {named}: {error}; each must be a readable PEM file"
        ) from error
    return context
