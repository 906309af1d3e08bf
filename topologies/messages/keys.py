"""Keys of messages: messages that must be in one partition have one key."""

from __future__ import annotations

from stream_reco.events import Event, Id, ItemEvent, UserEvent
from topologies.topics.declaration import EventsKey


def id_key(id: Id) -> bytes:  # noqa: A002 - as everywhere
    """The text of an id; 5 and "5" have the same key, and so share a partition without being joined."""
    return str(id).encode()


def event_key(event: Event, events_key: EventsKey) -> bytes | None:
    """The item of an item event; of others the user, or the group where labels are inferred by group.

    An event without a group is keyed by its user. None for a retraction that names neither: any partition will do.
    """
    if isinstance(event, ItemEvent):
        return id_key(event.item_id)
    if events_key == "group_id" and not isinstance(event, UserEvent) and event.group_id is not None:
        return id_key(event.group_id)
    return None if event.user_id is None else id_key(event.user_id)
