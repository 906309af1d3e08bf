"""Labelled examples into training steps: which are trained on, when, and in which batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from stream_reco.events import Id, key_of
from stream_reco.labels import Example, LabelSettings, observe_example
from stream_reco.learner.cohort_buffer import CohortBuffer
from stream_reco.learner.example_weight import ExampleWeight, weigh
from stream_reco.learner.head_queue import HeadQueue
from stream_reco.learner.positional_rng import PositionalRng
from stream_reco.learner.window_buffer import WindowBuffer
from stream_reco.model.inputs import Inputs, collate_encoded
from stream_reco.model.settings import ModelSettings
from stream_reco.model.training_batch import TrainingBatch
from stream_reco.train.batch import Labelled, training_batch
from stream_reco.train.live_calibration import LiveCalibration
from stream_reco.train.settings import TrainSettings
from stream_reco.train.trainer import Trainer


class ShownItem(Struct, frozen=True, array_like=True):
    """An impression that nothing was predicted of yet: when it was shown, ms, and its `Inputs`."""

    time: int
    inputs: bytes


Watcher = Callable[[TrainingBatch], None]
_SHOWN_AT_ONCE = 256
"""Impressions that are predicted together at most; what was shown is held until then, or until a training step."""
_SHOWN_TOGETHER_MS = 1000
"""Impressions of about the same time are predicted together: those of one slate above all."""
_STEPPING = 2
_PURPOSES = 4
"""Random streams per position: four for each training step and four for each event."""


class ExampleQueue:
    """Takes examples as their labels come, and steps the trainer on each full batch.

    Its state is a function of the examples, their order and the times passed in, and of nothing else.
    """

    def __init__(
        self,
        labels: LabelSettings,
        model: ModelSettings,
        training: TrainSettings,
        features: Callable[[Example, int], bytes],
    ) -> None:
        """`features(example, now)` gives the `Inputs` of an example that came without them."""
        self._labels, self._training, self._features = labels, training, features
        self.calibration = LiveCalibration(labels.lateness_ms, corrects=training.correction == "auto")
        """Whether what the model says of impressions comes true; a publication takes its shift along."""
        self.trainer = Trainer(model, training, self.calibration.come_by)
        # A slate without any action has no label before its window is over unless one is presumed, so whatever weight
        # its fellows had by then, they could not stand for it.
        self.window_buffer: WindowBuffer | None = WindowBuffer(labels.window_ms, closed=labels.presumes)
        self.cohorts = CohortBuffer()
        """Positives that are learned from when the negatives of the same time are."""
        self.presumes = labels.presumes
        """Whether impressions without an action are presumed negative."""
        self.waiting: list[Labelled] = []
        """Examples that the next training step will take."""
        self.waiting_since = 0
        """Stream time at which the first of them came, ms."""
        self.shown: list[ShownItem] = []
        """Impressions that nothing was predicted of yet."""
        self.heads = HeadQueue(self.trainer, labels, training)
        """What is learned by kind of action."""
        self.examples = 0
        self.steps = 0
        self.watch: Watcher | None = None
        """Called with each batch before the trainer learns from it; of its positions some are hidden."""
        self._rng = PositionalRng(training.seed)

    def take(self, examples: Iterable[Example], now: int) -> None:
        """Train on examples at stream time `now` (ms), or hold them to the end of their window."""
        for example in examples:
            self.examples += 1
            observe_example(example, now)
            self._calibrate(example)
            held = self.window_buffer is not None and self.window_buffer.holds(example)
            held = held or self.cohorts.holds(example, now)
            if self.heads.acted.concerns(example):
                # Heads tell apart what was acted on, of whatever day: there is nothing to wait for.
                example = self._with_features(example, now)
                self.heads.label(example, now)
            if not held:
                self._enqueue(example, now)

    def show(self, time: int, inputs: bytes) -> None:
        """An impression came: what the model gives it now is compared with its label once that is known."""
        self.shown.append(ShownItem(time, inputs))
        if len(self.shown) == _SHOWN_AT_ONCE:
            self._predict()

    def release(self, watermark: int, now: int) -> None:
        """Train on what was held and whose window ends before `watermark`, ms, or whose like are presumed at `now`."""
        for example in self.window_buffer.due(watermark) if self.window_buffer is not None else ():
            self._enqueue(example, now)
        for example in self.cohorts.due(max(watermark, now)):
            self._enqueue(example, now)

    def train(self, now: int) -> None:
        """Take a step with fewer examples than a batch where the first of them has waited until `now` (ms)."""
        self.heads.train(now)
        if self.waiting and now - self.waiting_since >= self._training.wait_seconds * 1000:
            self._step()
        elif self.shown and now - self.shown[0].time >= _SHOWN_TOGETHER_MS:
            self._predict()

    def flush(self) -> None:
        """Predict for what was shown, and take a step with whatever waits."""
        self._predict()
        if self.waiting:
            self._step()
        self.heads.flush()

    def replay(self, replaying: bool) -> None:
        """From here on examples were learned from before, and what they gave is here, or no longer so."""
        if self.trainer.is_replaying != replaying:
            self.flush()
            self.trainer.is_replaying = replaying

    def drop(self) -> None:
        """Drop the examples that wait or are held: somebody else learns from them."""
        self.waiting, self.shown, self.cohorts = [], [], CohortBuffer()
        if self.window_buffer is not None:
            self.window_buffer = WindowBuffer(self._labels.window_ms, closed=self.presumes)

    def forget_user(self, user_id: Id) -> None:
        """Drop what is held of a user, or waits for a step, and the user's rows."""
        key = key_of(user_id, "user")
        self.waiting = [one for one in self.waiting if Inputs.from_bytes(one.inputs).user_key != key]
        self.shown = [one for one in self.shown if Inputs.from_bytes(one.inputs).user_key != key]
        if self.window_buffer is not None:
            self.window_buffer.forget_user(user_id)
        self.cohorts.forget_user(user_id)
        self.heads.forget_user(user_id)
        self.trainer.forget_user(user_id)

    def turn_back(self, time: int, watermark: int) -> None:
        """Take what is held and later than `time` (ms) as of that time: the clock was wrong."""
        self.waiting = [replace(one, time=min(one.time, time)) for one in self.waiting]
        self.waiting_since = min(self.waiting_since, time)
        self.shown = [replace(one, time=min(one.time, time)) for one in self.shown]
        self.calibration.turn_back(time)
        self.heads.turn_back(time)
        self.cohorts.turn_back(time)
        if self.window_buffer is not None:
            self.window_buffer.turn_back(time, watermark)

    def _enqueue(self, example: Example, now: int) -> None:
        share = weigh(example, self.presumes, self._labels.negative_rate, self._training.seed)
        if not share.teaches:
            return
        if not self.waiting:
            self.waiting_since = now
        self.waiting.append(self._labelled(example, share, now))
        if len(self.waiting) == self._training.batch:
            self._step()

    def _with_features(self, example: Example, now: int) -> Example:
        return example if example.features is not None else replace(example, features=self._features(example, now))

    def _labelled(self, example: Example, share: ExampleWeight, now: int) -> Labelled:
        features = example.features
        if features is None:
            features = self._features(example, now)
        position = 0 if example.position is None else example.position + 1
        return Labelled(
            features,
            example.label,
            share.weight,
            example.label_time,
            position,
            share.undone,
            share.feedback,
            share.rate,
            0 if example.is_unprompted else example.event_time,
        )

    def _calibrate(self, example: Example) -> None:
        if example.is_unprompted:
            return
        before = example.undoes
        undone, was = (before.weight, before.label) if before is not None else (0.0, 0)
        positives = example.weight * example.label - undone * was
        # Each impression counts once however much its labels weigh; a first label has that in it.
        mass = example.weight - (undone if before is not None else 1.0)
        if positives or mass:
            self.calibration.labelled(example.event_time, example.label_time - example.event_time, positives, mass)

    def _predict(self) -> None:
        """Predict for the impressions that wait, by what was learned before them."""
        shown, self.shown = self.shown, []
        if not shown:
            return
        batch = collate_encoded([one.inputs for one in shown], [False] * len(shown))
        times = np.array([one.time for one in shown], dtype=np.int64)
        self.calibration.shown(times, self.trainer.log_odds(batch))
        self.calibration.pass_time(int(times.max()))

    def _step(self) -> None:
        self._predict()
        examples, self.waiting = self.waiting, []
        rng = self._rng.at(self.steps * _PURPOSES + _STEPPING)
        batch = training_batch(examples, rng, self.trainer.model.needs)
        if self.watch is not None:
            self.watch(batch)
        self.trainer.step(batch)
        self.steps += 1
