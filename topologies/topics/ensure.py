"""Topics that are there before work begins."""

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
    """Make the topics that are absent; a Kafka that is away is waited for.

    Raises TopicsError where others are not as they must be, or Kafka refuses for good.
    """
    key = events_key(settings.labels)

    async def check(admin: AIOKafkaAdminClient) -> None:
        for topic in await create_absent(admin, settings.kafka, key):
            _LOGGER.info("made the topic %s", topic.name)
        await require(admin, settings.kafka, key)

    try:
        await with_admin(settings.kafka, check)
    except KafkaError as error:
        raise TopicsError(
            f"Kafka at {settings.kafka.bootstrap} does not let its topics be made or looked at: {reason_of(error)}"
        ) from error
