"""Creates missing topics before a worker begins."""

from __future__ import annotations

import logging

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from stream_reco.config import Settings
from topologies.client.connection import reason_of, with_admin
from topologies.topics.declaration import events_key
from topologies.topics.validation import TopicsError, create_absent, require

_LOGGER = logging.getLogger(__name__)


async def check_topics(settings: Settings) -> None:
    """Create missing topics and validate existing ones; waits for a Kafka that is unavailable.

    Raises TopicsError where some are not as declared, or Kafka refuses for good.
    """
    key = events_key(settings.labels)

    async def check(admin: AIOKafkaAdminClient) -> None:
        for topic in await create_absent(admin, settings.kafka, key):
            _LOGGER.info("created topic %s", topic.name)
        await require(admin, settings.kafka, key)

    try:
        await with_admin(settings.kafka, check)
    except KafkaError as error:
        raise TopicsError(
            f"Kafka at {settings.kafka.bootstrap} does not allow topics to be created or described: {reason_of(error)}"
        ) from error
