"""Who leads goes on leading, whoever comes, goes or wakes up."""

from __future__ import annotations

from aiokafka.cluster import ClusterMetadata

from topologies.trainer.assignor import NewestEpochAssignor


class _OneTopic(ClusterMetadata):  # type: ignore[misc] # aiokafka has no types
    def partitions_for_topic(self, topic: str) -> set[int]:  # noqa: ARG002 - it is called so
        return {0}


def led(**epochs: int) -> str:
    """The member that gets the partition, where members last led in these epochs."""
    members = {}
    for name, epoch in epochs.items():
        one = NewestEpochAssignor()
        one.epoch = epoch
        members[name] = one.metadata(["leader"])
    given = NewestEpochAssignor().assign(_OneTopic(), members)
    (leader,) = [name for name, assignment in given.items() if assignment.partitions()]
    return leader


def test_newcomers_and_those_who_led_before_stand_by() -> None:
    assert led(a=0, b=3, c=0) == "b"
    assert led(a=2, b=3) == "b"
    assert led(b=0, a=0) == "a"


def test_what_others_tell_is_read_with_care() -> None:
    stranger = NewestEpochAssignor().metadata(["leader"])
    stranger.user_data = b"x\xff"
    mine = NewestEpochAssignor()
    mine.epoch = 1
    given = NewestEpochAssignor().assign(_OneTopic(), {"a": stranger, "b": mine.metadata(["leader"])})
    assert given["b"].partitions()
