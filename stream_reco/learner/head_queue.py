"""What is learned by kind of action: from labels and events into training steps of the heads."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from stream_reco.events import Action, Id, key_of
from stream_reco.labels import Example, LabelSettings
from stream_reco.learner.acted_impressions import Acted, ActedImpressions, Early
from stream_reco.model.inputs import Inputs
from stream_reco.train.head_trainer import HeadTrainer, KindExample
from stream_reco.train.settings import TrainSettings
from stream_reco.train.trainer import Trainer


class HeadQueueState(Struct, frozen=True, array_like=True):
    """What a `HeadQueue` holds, for a checkpoint."""

    acted: Acted
    early: Early
    waiting: list[KindExample]
    waiting_since: int


class HeadQueue:
    """Takes labels and positive actions as they come, and steps the heads on each full batch. Times in ms."""

    def __init__(self, trainer: Trainer, labels: LabelSettings, training: TrainSettings) -> None:
        self._training = training
        self.trainer = HeadTrainer(trainer, training)
        self.acted = ActedImpressions(self.trainer.slots, labels.action_kinds, labels.window_ms)
        self.waiting: list[KindExample] = []
        """What the next step will take."""
        self.waiting_since = 0
        """Stream time at which the first of it came."""

    def label(self, example: Example, now: int) -> None:
        """Take a label that `acted.concerns`; it has features."""
        self._take(self.acted.labelled(example), now)

    def act(self, event: Action, now: int) -> None:
        """Take a positive action, before or after the label that it gives."""
        self._take(self.acted.acted(event), now)

    def withdraw(self, event: Action, now: int) -> None:
        """A positive action is taken back."""
        self._take(self.acted.withdrawn(event), now)

    def train(self, now: int) -> None:
        """Take a step with fewer examples than a batch where the first of them has waited until `now`."""
        if self.waiting and now - self.waiting_since >= self._training.wait_seconds * 1000:
            self.flush()

    def flush(self) -> None:
        """Take a step with whatever waits."""
        if self.waiting:
            waiting, self.waiting = self.waiting, []
            self.trainer.learn(waiting)

    def forget_user(self, user_id: Id) -> None:
        """Drop what is held of a user."""
        key = key_of(user_id, "user")
        self.waiting = [one for one in self.waiting if Inputs.from_bytes(one.inputs).user_key != key]
        self.acted.forget_user(user_id)

    def turn_back(self, time: int) -> None:
        """Take what is held and later than `time` as of that time: the clock was wrong."""
        self.waiting = [replace(one, time=min(one.time, time)) for one in self.waiting]
        self.waiting_since = min(self.waiting_since, time)
        self.acted.turn_back(time)

    def state(self) -> HeadQueueState:
        """For a checkpoint; the heads themselves are in `trainer.state()`."""
        return HeadQueueState(*self.acted.state(), self.waiting, self.waiting_since)

    def recall(self, state: HeadQueueState) -> None:
        """The inverse of `state`."""
        self.acted.recall(state.acted, state.early)
        self.waiting, self.waiting_since = list(state.waiting), state.waiting_since

    def _take(self, examples: list[KindExample], now: int) -> None:
        for example in examples:
            if not self.waiting:
                self.waiting_since = now
            self.waiting.append(example)
            if len(self.waiting) == self._training.batch:
                self.flush()
