"""A learner and how far it has read: what a leader works with, and a standby keeps warm."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from stream_reco import metrics
from stream_reco.config import Settings
from stream_reco.events import Action, Event, Impression, ItemEvent
from stream_reco.labels import Example
from stream_reco.learner.distributed_learner import DistributedLearner
from stream_reco.storage.checkpoint import CheckpointError
from topologies.messages.user_deletion import Deletion
from topologies.trainer.checkpoints import Checkpoints, Offsets
from topologies.trainer.input import Taken

_LOGGER = logging.getLogger(__name__)
_START = 1_600_000_000_000


class LearnerAtOffsets:
    """What was learned from all records before the `offsets`; one thread at a time."""

    def __init__(self, settings: Settings) -> None:
        self.learner = DistributedLearner(settings.labels, settings.signals, settings.model, settings.training)
        self.offsets: Offsets = {}
        self.records = 0
        """Records learned from in this process."""

    def learn(self, taken: Sequence[Taken]) -> list[Taken]:
        """Learn from records in their order; returns those of examples that could not be learned from."""
        failed = []
        with metrics.LEARN_SECONDS.time():
            for one in taken:
                if not self._take(one.what):
                    failed.append(one)
                self.offsets.setdefault(one.source.topic, {})[one.source.partition] = one.record.offset + 1
        self.records += len(taken)
        metrics.WORK_RECORDS.labels("training").inc(len(taken))
        metrics.STREAM_TIME.set(self.learner.now / 1000)
        return failed

    def _take(self, what: Event | Deletion | Example | None) -> bool:
        try:
            if isinstance(what, Example):
                self.learner.take_example(what)
            elif isinstance(what, Deletion):
                self.learner.forget(what.user_id)
            elif what is not None:
                self.learner.take_event(what)
        except Exception:
            # What one record does wrong must not stop those behind it.
            _LOGGER.exception("a record could not be learned from and was passed over: %r", what)
            if isinstance(what, Example):
                return False
            metrics.EVENTS_REJECTED.labels("internal").inc()
        return True


def rehearse(settings: Settings) -> None:
    """Compile and load what learning runs, before anybody waits for it; to be called before anything is counted."""
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


class WarmStandby:
    """The newest checkpoint as a learner that could go on from it at once."""

    def __init__(self, settings: Settings, checkpoints: Checkpoints) -> None:
        self._settings, self._checkpoints = settings, checkpoints
        self._name = ""
        self._standing: LearnerAtOffsets | None = None
        self.is_rehearsed = False
        """Whether all is compiled that `rehearse` could compile."""

    def rehearse(self) -> None:
        """Compile and load what learning runs, before anybody waits for it; before anything is counted."""
        try:
            rehearse(self._settings)
        finally:
            self.is_rehearsed = True

    def refresh(self) -> None:
        """Load the newest checkpoint, where it is another one. Raises CheckpointError or ValueError, as it reads it."""
        found = self._checkpoints.newest(self._name)
        if found is None:
            return
        # Given up first: two take twice the memory.
        self._standing, self._name = None, ""
        standing = LearnerAtOffsets(self._settings)
        standing.learner.restore(found.parts)
        standing.offsets = found.offsets
        self._standing, self._name = standing, found.name
        _LOGGER.info("training: loaded %s, %d examples", found.name, standing.learner.lessons.examples)

    def look(self) -> None:
        """`refresh` for who only waits: what cannot be read now may be written anew."""
        try:
            self.refresh()
        except (CheckpointError, ValueError, OSError) as error:
            _LOGGER.warning("training: %s", error)

    def take(self) -> LearnerAtOffsets:
        """The learner of the newest checkpoint, a new one where there is none; it is the caller's now."""
        self.refresh()
        standing, self._standing, self._name = self._standing, None, ""
        return standing or LearnerAtOffsets(self._settings)
