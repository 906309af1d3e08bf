"""Logs outages of Kafka while a worker runs: clients retry silently."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from stream_reco.config.servers import KafkaSettings
from topologies.client.cancellation import end
from topologies.client.connection import probe, retry_while_unavailable

_LOOK_SECONDS = 5.0


@asynccontextmanager
async def log_outages(kafka: KafkaSettings) -> AsyncIterator[None]:
    """Within this, it is logged when no broker answers any more, and when one does again."""
    looking = asyncio.create_task(_look(kafka))
    try:
        yield
    finally:
        await end([looking])


async def _look(kafka: KafkaSettings) -> None:
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        await retry_while_unavailable(kafka, partial(probe, kafka), meanwhile="waiting for it")
