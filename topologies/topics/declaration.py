"""The topics: names, partitions, keys and retention, declared once for all processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

from stream_reco.config.servers import KafkaSettings
from stream_reco.labels.settings import DAY_MS, LabelSettings

_DEAD_LETTER_DAYS = 30
# An event has at most 1 MiB; what is made of it has some more, and base64 makes 4 bytes of 3.
_EVENT_BYTES = 2 << 20
_LONGEST_BYTES = 4 << 20
# A worker whose copy of the state is older than this has missed deletions and reads the state from its beginning.
TOMBSTONES_MS = 7 * DAY_MS

EventsKey = Literal["user_id", "group_id"]


@dataclass(frozen=True)
class Topic:
    """The declaration of one topic.

    `retention_ms`: how long messages are kept; None: the newest of each key for ever (compaction). `why` explains the
    number of partitions in error messages.
    """

    name: str
    partitions: int
    key: str
    retention_ms: int | None
    why: str
    with_events: bool = False
    """Whether it is co-partitioned with the events topic."""
    longest_bytes: int = _LONGEST_BYTES

    @property
    def policy(self) -> str:
        """Kafka's `cleanup.policy`."""
        return "compact" if self.retention_ms is None else "delete"

    def configs(self, replication: int) -> dict[str, str]:
        """Kafka's configuration of the topic, with `replication` copies of each partition."""
        configs = {
            "cleanup.policy": self.policy,
            "min.insync.replicas": str(least_in_sync(replication)),
            "max.message.bytes": str(self.longest_bytes),
            # By the broker's clock: a sender whose clock is wrong, or an old log, must not make messages leave early.
            "message.timestamp.type": "LogAppendTime",
        }
        if self.retention_ms is not None:
            return configs | {"retention.ms": str(self.retention_ms)}
        # Only closed segments are compacted, and what is not compacted is read at each start.
        return configs | {
            "segment.bytes": str(64 << 20),
            "min.cleanable.dirty.ratio": "0.2",
            "delete.retention.ms": str(TOMBSTONES_MS),
        }


@dataclass(frozen=True)
class Topics:
    """All topics, in the order of their creation."""

    events: Topic
    examples: Topic
    labelling_state: Topic
    interests_state: Topic
    served: Topic
    dead_letters: Topic
    trainer_leader: Topic
    trainer_exchange: Topic
    registry: Topic

    def __iter__(self) -> Iterator[Topic]:
        return (getattr(self, field.name) for field in fields(self))


def least_in_sync(replication: int) -> int:
    """`min.insync.replicas`: two of three copies, otherwise one."""
    return 2 if replication >= 3 else 1


def events_key(labels: LabelSettings) -> EventsKey:
    """The field by whose value events are spread over the partitions: those that labelling joins must meet."""
    return "group_id" if labels.inferred_by == "group" else "user_id"


def declared_topics(kafka: KafkaSettings, events_key: EventsKey = "user_id", partitions: int | None = None) -> Topics:
    """The topics that the settings ask for.

    `events_key` is `group_id` where labels are inferred by group. `partitions` is how many the events topic has where
    it exists already; the topics that belong to it follow.
    """
    count = partitions or kafka.partitions
    setting = f"kafka.partitions is {kafka.partitions}"
    co_partitioned = f"it is co-partitioned with {kafka.prefix}.events"
    events_ms, examples_ms = round(kafka.events_days * DAY_MS), round(kafka.examples_days * DAY_MS)

    def state(name: str) -> Topic:
        return Topic(f"{kafka.prefix}.{name}", count, "the worker's own", None, co_partitioned, with_events=True)

    def single(name: str, key: str, retention_ms: int | None, why: str) -> Topic:
        return Topic(f"{kafka.prefix}.{name}", 1, key, retention_ms, why)

    return Topics(
        events=Topic(
            f"{kafka.prefix}.events", kafka.partitions, events_key, events_ms, setting, longest_bytes=_EVENT_BYTES
        ),
        examples=Topic(f"{kafka.prefix}.examples", kafka.partitions, "user_id", examples_ms, setting),
        labelling_state=state("labelling-state"),
        interests_state=state("interests-state"),
        served=Topic(f"{kafka.prefix}.served", count, "user_id", events_ms, co_partitioned, with_events=True),
        dead_letters=single(
            "dead-letters", "that of the bad message", _DEAD_LETTER_DAYS * DAY_MS, "they are read in one order"
        ),
        trainer_leader=single("trainer-leader", "epoch", None, "who holds its one partition is the leader"),
        trainer_exchange=single("trainer-exchange", "none", examples_ms, "trainers apply it in one order"),
        registry=single("registry", "what the note is about", None, "its notes have one order"),
    )
