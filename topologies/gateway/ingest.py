"""Sends a log to the events topic."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice

from stream_reco.config import Settings
from stream_reco.events import Event, encode
from topologies.gateway.batch_producer import Sender
from topologies.messages.keys import event_key
from topologies.topics.declaration import events_key


async def ingest(
    settings: Settings, events: Iterable[Event], size: int, timeout: float, sent: Callable[[int], None]
) -> str:
    """Send validated events, `size` at a time; calls `sent` with the size of each batch that Kafka has confirmed.

    Returns the topic. Raises `TopicsError`, or `KafkaUnavailableError` after `timeout` seconds without a
    confirmation: earlier batches stay, and sending all of them again changes nothing where events have ids.
    """
    key = events_key(settings.labels)
    sender = Sender(settings.kafka, key, "events", timeout)
    try:
        left = iter(events)
        while part := [(event_key(event, key), encode(event)) for event in islice(left, size)]:
            await sender.send(part)
            sent(len(part))
    finally:
        await sender.stop()
    return sender.topic
