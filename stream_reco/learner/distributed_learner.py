"""The learner of the distributed run: events for signals and histories, examples from those who label.

The two come from different places, so either may be ahead of the other. What an example is learned with must not know
of its own action, or of anything that its user did later, whichever came first.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from stream_reco import metrics
from stream_reco.events import Action, Event, Id, Impression, ItemEvent, Retraction
from stream_reco.labels import Example, LabelSettings
from stream_reco.learner import checkpoint_parts
from stream_reco.learner.event_deduplication import HashedEventDeduplicator
from stream_reco.learner.example_queue import ExampleQueue
from stream_reco.learner.feature_snapshots import FeatureSnapshots
from stream_reco.learner.positional_rng import PositionalRng
from stream_reco.learner.retractable_actions import RetractableActions
from stream_reco.learner.stream_state import StreamState
from stream_reco.model.inputs import Inputs
from stream_reco.model.settings import ModelSettings
from stream_reco.signals.content.settings import FeatureSettings
from stream_reco.signals.settings import DAY_MS, MINUTE_MS, SignalSettings
from stream_reco.storage.checkpoint import Part, RestoredPart
from stream_reco.train.settings import TrainSettings

_OF_EVENT, _OF_EXAMPLE, _PURPOSES = 1, 3, 4
_EXAMPLES_COME_WITHIN_MS = 10 * MINUTE_MS
"""Examples of unprompted actions come within this time and the lateness; later ones are not waited for."""


class _DistributedProgress(checkpoint_parts.LearnerProgress, frozen=True, kw_only=True):
    labelled_until: int
    impressions: int


class DistributedLearner:
    """Learns from events and labelled examples, in whatever order the two come.

    Its state is a function of the seed and of that order. Each example is learned from whenever it is given: who calls
    sees to it that this is once.
    """

    def __init__(
        self,
        labels: LabelSettings,
        signals: SignalSettings,
        model: ModelSettings,
        training: TrainSettings,
        features: FeatureSettings | None = None,
    ) -> None:
        """`features`: kinds that are not to be inferred."""
        self._labels, self._signals = labels, signals
        self.queue = ExampleQueue(labels, model, training, self._features)
        self.state = StreamState(signals, training, self.queue.trainer.model.needs, features)
        self.queue.trainer.active_time = self.state.active_time
        self.state.on_freed = self.queue.trainer.encoder.forget_items
        self.labelled_until = 0
        """The newest label's time, ms: so far, less the lateness, no label of an earlier time is expected."""
        self._impressions = 0
        self._kinds = labels.action_kinds
        self._snapshots = FeatureSnapshots()
        self._deduplicator = HashedEventDeduplicator()
        self._retractable = RetractableActions(labels.window_ms, labels.lateness_ms)
        self._rng = PositionalRng(training.seed)

    @property
    def now(self) -> int:
        """Stream time, ms: the highest time of an event or a label."""
        return max(self.state.stream_time, self.labelled_until)

    def take_event(self, event: Event, *, own: bool = True) -> bool:
        """Count an event, and add it to its user's history; False where it had come before.

        `own`: whether examples of it come to this learner; else nothing is computed for them.
        """
        time = max(event.timestamp, self.state.stream_time)
        if event.event_id is not None:
            if not self._deduplicator.add(event.event_id, time + DAY_MS):
                metrics.EVENTS_DUPLICATE.inc()
                return False
            self._deduplicator.expire(time)
        rng = self._rng.at(self.state.events * _PURPOSES + _OF_EVENT)
        self.state.events += 1
        if event.timestamp < self.state.stream_time - self._labels.lateness_ms:
            metrics.EVENTS_LATE.inc()
        if self.state.pass_time(event.timestamp):
            self.queue.trainer.evict(self.state.stream_time)
        self._retractable.expire(self.state.stream_time)
        if isinstance(event, Action):
            self._act(event, rng, own)
        elif isinstance(event, Retraction):
            self._retract(event, own)
        elif isinstance(event, Impression):
            self._impressions += 1
            slot, context = self.state.admit(event)
            user_id, now = event.user_id, event.timestamp
            if own:
                self.queue.show(now, self.state.present.impression(user_id, slot, context, now))
            self.state.show(user_id, slot, now)
        elif isinstance(event, ItemEvent):
            self.state.describe(event)
        else:
            self.state.describe_user(event)
        self.queue.train(self.now)
        return True

    def take_example(self, example: Example) -> None:
        """Learn from an example; features that it comes with must be `Inputs` of this release.

        Those that were computed for another model, which needs less, are left out.
        """
        if example.features is not None and not self._suffices(example.features):
            example = msgspec.structs.replace(example, features=None)
        self.labelled_until = max(self.labelled_until, example.label_time)
        settled = self.labelled_until - self._labels.lateness_ms
        self._snapshots.forget_before(settled - _EXAMPLES_COME_WITHIN_MS)
        self.queue.release(settled, self.now)
        self.queue.take([example], self.now)
        self.queue.train(self.now)

    def _suffices(self, features: bytes) -> bool:
        return "features" not in self.queue.trainer.model.needs or Inputs.from_bytes(features).dense.shape[1] > 0

    def tick(self, now: int) -> None:
        """Let stream time reach `now` (ms) with no event, and learn from what waits for a step."""
        self.state.stream_time = max(self.state.stream_time, now)
        self.queue.release(0, now)
        self.queue.flush()

    def forget(self, user_id: Id) -> None:
        """Delete what is known of a user: history, examples that wait, rows of the tables."""
        self.queue.forget_user(user_id)
        with self.state.lock:
            self.state.forget(user_id)
            self._snapshots.forget_user(user_id)
            self._retractable.forget_user(user_id)

    def finish(self) -> None:
        """Learn from all that is held, as at the end of a log."""
        self.queue.release(1 << 62, self.now)
        self.queue.flush()

    def _act(self, event: Action, rng: np.random.Generator, own: bool) -> None:
        sign = self._kinds.sign(event)
        if sign == 0:
            return
        slot, context = self.state.admit(event)
        is_live = self._retractable.add(event)
        if sign < 0:
            if is_live:
                with self.state.lock:
                    self.state.dislike(event, slot)
            return
        if own and self._may_be_unprompted(event) and self._snapshots.wants(event):
            now = event.timestamp
            self._snapshots.keep(event, self.state.present.action(event.user_id, slot, context, now, rng, now))
        self._snapshots.came(event)
        if is_live:
            if own:
                self._teach(event, slot, rng)
            counted = self.state.count(event, slot, context)
            with self.state.lock:
                self.state.remember(event, slot, counted=counted)

    def _teach(self, event: Action, slot: int, rng: np.random.Generator) -> None:
        self.queue.heads.act(event, self.now)
        if not self.queue.trainer.is_replaying:
            self.queue.trainer.encoder.act(self.state.signals, self.state.histories, event, slot, rng)

    def _retract(self, event: Retraction, own: bool) -> None:
        action = self._retractable.take(event)
        if action is None:
            return
        with self.state.lock:
            if self._kinds.sign(action) < 0:
                self.state.withdraw_dislike(action)
            else:
                if own:
                    self.queue.heads.withdraw(action, self.now)
                self.state.withdraw(action)

    def _may_be_unprompted(self, event: Action) -> bool:
        # Where there are impressions, an action that names a request nearly always has one.
        return event.request_id is None or not self._impressions

    def _features(self, example: Example, _: int) -> bytes:
        """`Inputs` of an example that came without: of its moment if that was kept, else of the present counts."""
        unprompted = example.reason == "unprompted" and example.label == 1
        if unprompted and (kept := self._snapshots.take(example)) is not None:
            return kept
        if unprompted:
            self.state.signals.learn_context(example.context)
        slot, context = self.state.admit_named(example.item_id, example.context, example.event_time)
        time, present = example.event_time, self.state.present
        if not unprompted:
            metrics.EVENTS_FEATURES_LATE.inc()
            return present.impression(example.user_id, slot, context, time, time)
        if self.state.histories.has(self.state.histories.row_of(example.user_id), slot, time):
            metrics.EVENTS_FEATURES_LATE.inc()
        else:
            self._snapshots.expect(example)
        rng = self._rng.at(self.queue.examples * _PURPOSES + _OF_EXAMPLE)
        return present.action(example.user_id, slot, context, time, rng, time)

    def parts(self) -> dict[str, Part]:
        """Everything that its future depends on, for a checkpoint."""
        progress = msgspec.structs.asdict(checkpoint_parts.progress_of(self.state, self.queue))
        whole = _DistributedProgress(labelled_until=self.labelled_until, impressions=self._impressions, **progress)
        return {
            "progress": msgspec.msgpack.encode(whole),
            "moments": self._snapshots.state(),
            "seen": self._deduplicator.state(),
            "retractable": self._retractable.state(),
            **checkpoint_parts.parts_of(self.state, self.queue),
        }

    def restore(self, parts: Mapping[str, RestoredPart]) -> None:
        """Go on from what `parts` gave. Raises ValueError where the settings do not fit them."""
        progress = msgspec.msgpack.decode(checkpoint_parts.raw(parts["progress"]), type=_DistributedProgress)
        checkpoint_parts.restore(self.state, self.queue, self._signals, progress, parts)
        self.labelled_until, self._impressions = progress.labelled_until, progress.impressions
        self._snapshots.recall(checkpoint_parts.raw(parts["moments"]))
        self._deduplicator = HashedEventDeduplicator.from_state(checkpoint_parts.arrays(parts["seen"]))
        if "retractable" in parts:  # not up to version 0.2.0
            self._retractable.recall(checkpoint_parts.raw(parts["retractable"]))
