"""Telling that Kafka is away while one works: clients try again and again, and do not say so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from stream_reco.config.servers import KafkaSettings
from topologies.connecting import KafkaAwayError, probe
from topologies.waiting import end

_LOGGER = logging.getLogger(__name__)
_LOOK_SECONDS = 5.0


@asynccontextmanager
async def outages_told(kafka: KafkaSettings) -> AsyncIterator[None]:
    """Meanwhile it is logged when no broker answers any more, and when one does again."""
    looking = asyncio.create_task(_look(kafka))
    try:
        yield
    finally:
        await end([looking])


async def _look(kafka: KafkaSettings) -> None:
    away = False
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        try:
            await probe(kafka)
        except KafkaAwayError as error:
            if not away:
                _LOGGER.warning("%s; waiting for it", error)
            away = True
        else:
            if away:
                _LOGGER.warning("Kafka at %s answers again", kafka.bootstrap)
            away = False
