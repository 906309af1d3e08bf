"""Sends the events that a scorer receives over HTTP to Kafka."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from stream_reco.clock import Clock
from stream_reco.config import Settings
from stream_reco.events import Event, Id, encode
from stream_reco.serve.event_validation import count_accepted
from stream_reco.serve.service import Accepted, UnavailableError
from topologies.client.configuration import ClientSettingsError
from topologies.client.connection import KafkaUnavailableError
from topologies.gateway.batch_producer import Message, Sender
from topologies.messages.keys import event_key, id_key
from topologies.messages.user_deletion import Deletion, encode_deletion
from topologies.topics.declaration import events_key
from topologies.topics.validation import TopicsError

_RETRY_SECONDS = 5
_ENCODED_INLINE = 50
"""Events encoded on the event loop; more would delay other requests, and are encoded on a thread."""


class KafkaSink:
    """Writes events to the events topic. `Service.accept` of a scorer replica is its `accept`.

    Duplicates are not detected here: labelling and interests take each id once.
    """

    def __init__(self, settings: Settings, clock: Clock, timeout: float = 5.0) -> None:
        """It needs `settings.kafka.bootstrap`; `timeout` is in seconds."""
        self._key = events_key(settings.labels)
        self._kafka = settings.kafka
        self._clock = clock
        self._sender = Sender(self._kafka, self._key, "events", timeout)

    async def accept(self, events: Sequence[Event]) -> Accepted:
        """Send decoded events; returns once the brokers have them.

        Raises `UnavailableError` where Kafka was unavailable for longer than the timeout, or its topics are not as
        declared. Some events may have been written then; when they are sent again, those with an id count once.
        """
        if len(events) > _ENCODED_INLINE:
            messages = await asyncio.to_thread(self._messages, events)
        else:
            messages = self._messages(events)
        await self._send(messages)
        count_accepted(Counter(map(type, events)))
        return Accepted(len(messages), 0)

    async def forget(self, user_id: Id) -> None:
        """Have every reader of the events delete a user's data; returns once the brokers have the message.

        Raises `UnavailableError` as `accept` does, and where labels are inferred by group: a user's events are then in
        many partitions, and this message would be in one.
        """
        if self._key != "user_id":
            raise UnavailableError(
                "deletion",
                "users cannot be deleted where labels.order is group: wait until their"
                " events have left, or set another order",
            )
        deletion = Deletion(user_id=user_id, timestamp=self._clock.now_ms())
        await self._send([(id_key(user_id), encode_deletion(deletion))])

    async def _send(self, messages: Sequence[Message]) -> None:
        try:
            await self._sender.send(messages)
        except (KafkaUnavailableError, TopicsError, ClientSettingsError) as error:
            raise UnavailableError("kafka", str(error), retry_after=_RETRY_SECONDS) from error

    async def stop(self) -> None:
        """Close the connections; pending calls raise `UnavailableError`."""
        await self._sender.stop()

    def _messages(self, events: Sequence[Event]) -> list[Message]:
        return [(event_key(event, self._key), encode(event)) for event in events]
