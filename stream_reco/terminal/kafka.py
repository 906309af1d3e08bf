"""What commands that talk to Kafka share: they need its address, and report a failure in one sentence."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from stream_reco.terminal.errors import Failure, Misuse
from stream_reco.terminal.settings import settings_of

if TYPE_CHECKING:
    from stream_reco.config import Settings

TIMEOUT_SECONDS = 5.0
"""How long a command waits for a broker to answer."""
T = TypeVar("T")


def settings_with_kafka(config: Path | None) -> Settings:
    """The settings; raises `Misuse` where kafka.bootstrap is not set."""
    settings = settings_of(config).settings
    if not settings.kafka.bootstrap:
        raise Misuse(
            "kafka.bootstrap is not set: say where Kafka is in the settings file or the environment, such as"
            " STREAM_RECO_KAFKA_BOOTSTRAP=127.0.0.1:9092"
        )
    return settings


def run(work: Coroutine[object, object, T]) -> T:
    """Run the coroutine; errors of Kafka become a `Failure`, unusable settings of clients a `Misuse`."""
    from topologies.client.configuration import ClientSettingsError
    from topologies.client.connection import AWAY, KafkaUnavailableError, reason_of
    from topologies.topics.validation import TopicsError

    # The client logs every attempt; the command reports the outcome.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        return asyncio.run(work)
    except ClientSettingsError as error:
        raise Misuse(str(error)) from error
    except (KafkaUnavailableError, TopicsError) as error:
        raise Failure(str(error)) from error
    except AWAY as error:
        raise Failure(f"Kafka refused the request: {reason_of(error)}") from error
