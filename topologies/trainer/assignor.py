"""Assigns the partition whose owner leads: to the member that led last, so that a rebalance does not move it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

_VERSION = 0


class NewestEpochAssignor:
    """A partition assignor of aiokafka; each member has one.

    Range and round-robin assignors move partitions when members join. The sticky one trusts what a member claims to
    own, even where that member was frozen while another one led.
    """

    name = "succession"

    def __init__(self) -> None:
        self.epoch = 0
        """The last epoch that this member led in, 0 where it never did."""

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """What this member reports when it joins."""
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
        """Nothing to do: the rebalance listener is called too."""


def _epoch_of(metadata: ConsumerProtocolMemberMetadata) -> int:
    reported = bytes(metadata.user_data or b"")
    return int(reported) if reported.isdigit() else 0
