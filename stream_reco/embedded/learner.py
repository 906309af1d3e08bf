"""The learning half of the loop: events in, labels, signals, interests and training steps out of them.

What it becomes is a function of the records it is given, in their order, and of nothing else: that is what lets a
restart end with the very bits of a run that was never interrupted.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from stream_reco import metrics
from stream_reco.config import Settings
from stream_reco.events import Action, Event, Id, Impression, ItemEvent
from stream_reco.interests import Interests
from stream_reco.labels import Example, LabelJoiner, observe_pending
from stream_reco.learner.example_queue import ExampleQueue
from stream_reco.learner.positional_rng import PositionalRng
from stream_reco.learner.stream_state import StreamState
from stream_reco.model.item_directions import item_directions
from stream_reco.signals.history import Histories
from stream_reco.signals.settings import DAY_MS
from stream_reco.signals.signals import Signals
from stream_reco.storage.rocksdb import RocksStore, StoreError
from stream_reco.train.batch import Labelled
from stream_reco.train.trainer import Trainer

_LOGGER = logging.getLogger(__name__)
_UNCOMMITTED = 5_000
"""Records that the labels' store takes at once."""
_AT_ONCE = 10_000
"""Deadlines that pass between two commits."""
_NEGATIVES = 1
_PURPOSES = 4


class Learner:
    """Takes events through labels, signals, interests and the trainer."""

    def __init__(self, settings: Settings, store: RocksStore | None = None) -> None:
        """`store` keeps what waits for a label; without one it is in memory."""
        self.settings = settings
        self.joiner = LabelJoiner(**settings.labels.of_joiner(), store=store)
        self.lessons = ExampleQueue(settings.labels, settings.model, settings.training, self._late_features)
        self.intake = StreamState(settings.signals, settings.training, self.lessons.trainer.model.needs)
        self.interests = Interests(settings.interests)
        self._commit_at = _UNCOMMITTED
        self.watch_shown: Callable[[Impression, bytes], None] | None = None
        """Called with each new impression and its `Inputs`."""
        self._randomness = PositionalRng(settings.training.seed)

    @property
    def signals(self) -> Signals:
        return self.intake.signals

    @property
    def histories(self) -> Histories:
        return self.intake.histories

    @property
    def user_lock(self) -> threading.Lock:
        """Held while a user's history or interests change."""
        return self.intake.lock

    @property
    def trainer(self) -> Trainer:
        return self.lessons.trainer

    @property
    def waiting(self) -> list[Labelled]:
        """Examples that the next training step will take."""
        return self.lessons.waiting

    @property
    def stream_time(self) -> int:
        """The highest time seen, ms."""
        return self.intake.stream_time

    @property
    def events(self) -> int:
        """Distinct events so far."""
        return self.intake.events

    @property
    def examples(self) -> int:
        """Examples so far."""
        return self.lessons.examples

    def label_by(self, joiner: LabelJoiner) -> None:
        """Take other labels than the settings ask for; what they say is learned from at once."""
        self.joiner, self.lessons.window_buffer = joiner, None
        self.lessons.presumes = joiner.presume_ms is not None

    def learn(self, events: Sequence[Event], between: Callable[[], None] = lambda: None) -> None:
        """Take events in, with a pause for others `between` them; how they are portioned changes nothing.

        The trainer learns from each full batch of examples; the rest waits for more, or for stream time to pass.
        """
        with metrics.LEARN_SECONDS.time():
            for event in events:
                self._take_safely(event, self._randomness.at(self.events * _PURPOSES + _NEGATIVES))
                self._mature()
                self.lessons.train(self.stream_time)
                between()
        metrics.STREAM_TIME.set(self.stream_time / 1000)
        observe_pending(self.joiner, self.stream_time)

    def tick(self, now: int) -> None:
        """Let stream time reach `now` (ms) without an event, and learn from what waits for more events."""
        self.intake.stream_time = max(self.stream_time, now)
        self._mature()
        self.lessons.flush()

    def forget(self, user_id: Id) -> None:
        """Delete what is known of a user: history, interests, pending examples. The user's row fades with its TTL."""
        with self.user_lock:
            self.joiner.forget_user(user_id)
            self.lessons.forget_user(user_id)
            self.histories.forget(user_id)
            self.interests.forget(user_id)

    def finish(self) -> None:
        """Let every deadline pass, as at the end of a log."""
        self._advance(self.stream_time + 2 * self.joiner.window_ms + DAY_MS)
        self.lessons.flush()

    def _take_safely(self, event: Event, rng: np.random.Generator) -> None:
        # An event that was accepted must not stop those behind it, now or in any replay of the log.
        try:
            self._take(event, rng)
        except Exception:
            metrics.EVENTS_REJECTED.labels("internal").inc()
            _LOGGER.exception("an event could not be learned from and was passed over: %r", event)

    def _take(self, event: Event, rng: np.random.Generator) -> None:
        if event.event_id is not None and self.joiner.seen(event.event_id):
            self.joiner.process([event])
            return
        self.intake.events += 1
        if event.timestamp < self.stream_time - self.settings.labels.lateness_ms:
            metrics.EVENTS_LATE.inc()
        if self.intake.pass_time(event.timestamp):
            self.trainer.evict(self.stream_time)
        if isinstance(event, Action):
            self._act(event, rng)
        elif isinstance(event, Impression):
            self._show(event)
        else:
            if isinstance(event, ItemEvent):
                self.intake.describe(event)
            self._label(self.joiner.process([event]))

    def _act(self, event: Action, rng: np.random.Generator) -> None:
        slot, context = self.intake.admit(event)
        features = None
        if self.joiner.expects_features(event):
            features = self.intake.present.action(event.user_id, slot, context, event.timestamp, rng)
        self._label(self.joiner.process([event], [features]))
        if self.joiner.weight(event) > 0:
            self.intake.count(event, slot, context)
        with self.user_lock:
            row, whole = self.intake.remember(event.user_id, slot, event.timestamp)
            self._cluster(event.user_id, row, event.timestamp, whole=whole)

    def _cluster(self, user_id: Id, row: int, now: int, *, whole: bool) -> None:
        """Renew a user's interests; the whole history is looked at once a day, at the day's first action."""
        if whole and self.histories.counts[row] > 1:
            slots, times = self.histories.whole(row, now)
            keys = self.signals.catalogue.keys[slots]
            self.interests.recluster_all(user_id, keys, times, self._vectors(keys), now)
            return
        known = self.histories.items[row] >= 0
        keys = self.signals.catalogue.keys[self.histories.items[row][known]]
        self.interests.observe(user_id, keys, self.histories.times[row][known], self._vectors(keys), now, self._vectors)

    def _vectors(self, keys: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32[n, vector_dim] of length 1, zeros for items that are not trained yet."""
        return item_directions(self.trainer.model, self.trainer.tables, keys)

    def _show(self, event: Impression) -> None:
        slot, context = self.intake.admit(event)
        features = None
        if self.joiner.expects_features(event):
            features = self.intake.present.impression(event.user_id, slot, context, event.timestamp)
            if self.watch_shown is not None:
                self.watch_shown(event, features)
        self._label(self.joiner.process([event], [features]))
        self.intake.show(slot, event.timestamp)

    def commit_labels(self) -> None:
        """Bring what the labels remember to their store, where there is one. Raises StoreError with nothing lost."""
        if self.joiner.store is not None:
            self.joiner.commit(b"")
            self._commit_at = _UNCOMMITTED

    def _commit_some(self) -> None:
        try:
            self.commit_labels()
        except StoreError as error:
            # It stays in memory, and the log has all of it; the next try is as far away as this one was.
            self._commit_at = self.joiner.uncommitted + _UNCOMMITTED
            _LOGGER.error("%s", error)

    def _mature(self) -> None:
        self._advance(self.stream_time - self.settings.labels.lateness_ms)
        if self.joiner.uncommitted >= self._commit_at:
            self._commit_some()

    def _advance(self, watermark: int) -> None:
        self.lessons.release(watermark, self.stream_time)
        self._label(self.joiner.advance(watermark, _AT_ONCE))
        while self.joiner.is_behind:
            # Where time has jumped, all that has fallen due would not fit into memory at once.
            self._commit_some()
            self._label(self.joiner.advance(watermark, _AT_ONCE))

    def _label(self, examples: list[Example]) -> None:
        self.lessons.take(examples, self.stream_time)

    def _late_features(self, example: Example, now: int) -> bytes:
        metrics.EVENTS_FEATURES_LATE.inc()
        slot, context = self.intake.admit_named(example.item_id, example.context, example.event_time)
        return self.intake.present.impression(example.user_id, slot, context, now)
