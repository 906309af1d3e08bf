"""Which partitions a trainer learns from, and what it does not learn from again."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

from aiokafka import TopicPartition

from stream_reco.labels import Example
from tests.embedded.journal.recovery_world import SETTINGS
from tests.learner.two_streams import Labelling, clicked
from topologies.trainer.input import TrainingRecord
from topologies.trainer.standby import LearnerAtOffsets

TWO = replace(SETTINGS, training=replace(SETTINGS.training, trainers=2, trainer=1, batch=4))


def records(partition: int, count: int, first: int = 0) -> list[TrainingRecord]:
    """Examples of a partition, from an offset on."""
    labelling = Labelling(SETTINGS)
    examples: list[Example] = [example for event in clicked(count) for example in labelling.take(event)]
    source = TopicPartition("p.examples", partition)
    return [
        TrainingRecord(source, SimpleNamespace(offset=first + number), example)
        for number, example in enumerate(examples)
    ]


def test_partitions_are_divided_among_trainers() -> None:
    other = LearnerAtOffsets(replace(TWO, training=replace(TWO.training, trainer=0)))
    assert [LearnerAtOffsets(TWO).owns(number) for number in range(4)] == [False, True, False, True]
    assert [other.owns(number) for number in range(4)] == [True, False, True, False]
    assert LearnerAtOffsets(SETTINGS).owns(7)


def test_what_it_has_learned_before_is_taken_and_not_learned_from_again() -> None:
    at = LearnerAtOffsets(TWO)
    at.replay_until({"p.examples": {1: 10, 3: 2}})
    at.replay_until({"p.examples": {1: 6}})
    given = records(1, 14)
    at.learn(given)
    at.learner.queue.flush()
    assert at.learner.queue.trainer.examples == len(given) - 10 > 0
    assert at.own_offsets("p.examples") == {"p.examples": {1: len(given)}}


def test_one_that_meets_the_others_in_the_midst_of_it_claims_no_less_than_before() -> None:
    at = LearnerAtOffsets(TWO)
    at.replay_until({"p.examples": {1: 10}})
    at.learn(records(1, 4)[:3])
    assert at.offsets["p.examples"][1] == 3
    assert at.own_offsets("p.examples") == {"p.examples": {1: 10}}


def test_what_others_have_learned_from_is_known_where_a_partition_changes_hands() -> None:
    at = LearnerAtOffsets(TWO)
    at.note_offsets("p.examples", {0: 5, 1: 9}, own=False)
    assert at.offsets["p.examples"] == {0: 5}
    at.note_offsets("p.examples", {0: 6, 1: 9}, own=True)
    assert at.offsets["p.examples"] == {0: 6, 1: 9}
