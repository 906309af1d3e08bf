"""A learner and how far it has read: what a leader works with, and a standby keeps warm."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from stream_reco import metrics
from stream_reco.config import Settings
from stream_reco.events import Action, Event, Impression, ItemEvent
from stream_reco.labels import Example
from stream_reco.learner.distributed_learner import DistributedLearner
from stream_reco.storage.checkpoint import CheckpointError
from topologies.messages.user_deletion import Deletion
from topologies.trainer.checkpoints import Checkpoints, Offsets
from topologies.trainer.input import TrainingRecord

_LOGGER = logging.getLogger(__name__)
_START = 1_600_000_000_000
"""Time of the first event that `rehearse` invents, ms; any plausible one would do."""


class LearnerAtOffsets:
    """What was learned from all records before the `offsets`; used by one thread at a time."""

    def __init__(self, settings: Settings) -> None:
        self.learner = DistributedLearner(
            settings.labels, settings.signals, settings.model, settings.training, settings.features
        )
        self.offsets: Offsets = {}
        self.records = 0
        """Records learned from in this process."""
        self._training = settings.training
        self._replayed: Offsets = {}

    def learn(self, records: Sequence[TrainingRecord]) -> list[TrainingRecord]:
        """Learn from records in their order; returns the examples among them that could not be learned from."""
        failed = []
        with metrics.LEARN_SECONDS.time():
            for record in records:
                source = record.source
                own = self.owns(source.partition)
                if own:
                    until = self._replayed.get(source.topic, {}).get(source.partition, 0)
                    self.learner.queue.replay(record.message.offset < until)
                if not self._take(record.content, own):
                    failed.append(record)
                self.offsets.setdefault(source.topic, {})[source.partition] = record.message.offset + 1
        self.records += len(records)
        metrics.WORK_RECORDS.labels("training").inc(len(records))
        metrics.STREAM_TIME.set(self.learner.now / 1000)
        return failed

    @property
    def examples(self) -> int:
        """Examples learned from in the life of the learner, its checkpoints included."""
        return self.learner.queue.examples

    def owns(self, partition: int) -> bool:
        """Whether this trainer learns from the examples of a partition."""
        return partition % self._training.trainers == self._training.trainer

    def own_offsets(self, *topics: str) -> Offsets:
        """Up to where what the partitions of this trainer gave is in what it has learned, or was given of itself."""
        return {
            topic: {
                number: max(offset, self._replayed.get(topic, {}).get(number, 0))
                for number, offset in self.offsets.get(topic, {}).items()
                if self.owns(number)
            }
            for topic in topics
        }

    def replay_until(self, offsets: Offsets) -> None:
        """What the examples before these offsets gave is here already: take them without learning from them."""
        for topic, numbers in offsets.items():
            replayed = self._replayed.setdefault(topic, {})
            for number, offset in numbers.items():
                replayed[number] = max(offset, replayed.get(number, 0))

    def note_offsets(self, topic: str, offsets: Mapping[int, int], *, own: bool) -> None:
        """Others have learned from the examples before the offsets of these partitions, where `own` of its own too."""
        noted = {number: offset for number, offset in offsets.items() if own or not self.owns(number)}
        self.offsets.setdefault(topic, {}).update(noted)

    def _take(self, content: Event | Deletion | Example | None, own: bool) -> bool:
        try:
            if isinstance(content, Example):
                self.learner.take_example(content)
            elif isinstance(content, Deletion):
                self.learner.forget(content.user_id)
            elif content is not None:
                self.learner.take_event(content, own=own)
        except Exception:
            # One bad record must not stop those behind it.
            _LOGGER.exception("a record could not be learned from and was skipped: %r", content)
            if isinstance(content, Example):
                return False
            metrics.EVENTS_REJECTED.labels("internal").inc()
        return True


def rehearse(settings: Settings) -> None:
    """Compile and load all that learning runs, ahead of the first record; resets the counters, so call it first."""
    learner = LearnerAtOffsets(settings).learner
    for number in range(2 * settings.training.batch):
        at, user, item = _START + 1000 * number, number % 7, number % 5
        learner.take_event(ItemEvent(item_id=item, timestamp=at))
        learner.take_event(Impression(user_id=user, item_id=item, timestamp=at, request_id=number))
        learner.take_event(Action(user_id=user, item_id=item, action="click", timestamp=at, event_id=str(number)))
        learner.take_example(
            Example(
                user_id=user,
                item_id=item,
                label=1,
                weight=1.0,
                reason="unprompted",
                event_time=at,
                label_time=at,
                action="click",
            )
        )
    learner.finish()
    learner.parts()
    metrics.reset_counters()


class CheckpointMismatchError(ValueError):
    """The newest checkpoint is of a model that the settings do not describe: only people can mend that."""


class WarmStandby:
    """Holds the newest checkpoint as a learner that could go on from it at once."""

    def __init__(self, settings: Settings, checkpoints: Checkpoints, of_first: Checkpoints | None = None) -> None:
        """`of_first`: those of the trainer that publishes, with which another one begins that has none of its own."""
        self._settings, self._checkpoints, self._of_first = settings, checkpoints, of_first
        self._name = ""
        self._is_of_first = False
        self._learner: LearnerAtOffsets | None = None
        self.is_rehearsed = False
        """Whether `rehearse` has compiled all that it could."""

    def rehearse(self) -> None:
        """Compile and load all that learning runs; before anything is counted."""
        try:
            rehearse(self._settings)
        finally:
            self.is_rehearsed = True

    def refresh(self) -> None:
        """Load the newest checkpoint unless it is loaded already.

        Raises CheckpointMismatchError where it does not fit the settings, CheckpointError, ValueError or OSError where
        it cannot be read.
        """
        begins = self._of_first is not None and not self._checkpoints.last_epoch
        source = self._of_first if begins and self._of_first is not None else self._checkpoints
        found = source.newest(self._name if begins == self._is_of_first else "")
        if found is None:
            return
        # Dropped first: two would take twice the memory.
        self._learner, self._name = None, ""
        learner = LearnerAtOffsets(self._settings)
        try:
            learner.learner.restore(found.parts)
        except ValueError as error:
            raise CheckpointMismatchError(
                f"training cannot go on from {found.name} in training.checkpoint_dir ="
                f" {self._settings.training.checkpoint_dir}, which is the data folder of training: {error}"
            ) from error
        learner.offsets = found.offsets
        if begins:
            learner.learner.queue.drop()
        self._learner, self._name, self._is_of_first = learner, found.name, begins
        _LOGGER.info("training: loaded %s, %d examples", found.name, learner.examples)

    def try_refresh(self) -> None:
        """`refresh` of a standby, which logs failures: the leader may be about to replace what cannot be read.

        Raises CheckpointMismatchError.
        """
        try:
            self.refresh()
        except CheckpointMismatchError:
            raise
        except (CheckpointError, ValueError, OSError) as error:
            _LOGGER.warning("training: %s", error)

    def take(self) -> LearnerAtOffsets:
        """Hand over the learner of the newest checkpoint, a new one where there is none. Raises as `refresh` does."""
        self.refresh()
        learner, self._learner, self._name = self._learner, None, ""
        return learner or LearnerAtOffsets(self._settings)
