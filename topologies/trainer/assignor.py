"""Who of a group gets the one partition that makes its owner the leader: who has led last goes on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

_VERSION = 0


class NewestEpochAssignor:
    """An assignor of aiokafka's, of one member.

    Assignors that spread partitions evenly move them when members come, and the one that keeps them where they are
    believes whoever says that they had them: one who slept through the time of another leader, too.
    """

    name = "succession"

    def __init__(self) -> None:
        self.epoch = 0
        """The last epoch that this member led in, 0 where it never has."""

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """What this member tells of itself when it joins."""
        return ConsumerProtocolMemberMetadata(_VERSION, list(topics), b"%d" % self.epoch)

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """All partitions to the member of the highest epoch; of several, to the first by name."""
        leader = min(members, key=lambda member: (-_epoch_of(members[member]), member))
        topics = sorted({topic for metadata in members.values() for topic in metadata.subscription})
        all_of_it = [(topic, sorted(cluster.partitions_for_topic(topic) or ())) for topic in topics]
        return {
            member: ConsumerProtocolMemberAssignment(_VERSION, all_of_it if member == leader else [], b"")
            for member in members
        }

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """The listener hears of it."""


def _epoch_of(metadata: ConsumerProtocolMemberMetadata) -> int:
    told = bytes(metadata.user_data or b"")
    return int(told) if told.isdigit() else 0
