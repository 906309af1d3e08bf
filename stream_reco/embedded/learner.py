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
from stream_reco.embedded.patience import Patience
from stream_reco.embedded.randomness import Randomness
from stream_reco.embedded.share import Share, share_of
from stream_reco.events import Action, Event, Id, Impression, ItemEvent, key_of
from stream_reco.interests import Interests
from stream_reco.labels import Example, LabelJoiner, observe_example, observe_pending
from stream_reco.labels.store import Store, StoreError
from stream_reco.model.inputs import Inputs
from stream_reco.signals.history import Histories
from stream_reco.signals.settings import DAY_MS
from stream_reco.signals.signals import Signals
from stream_reco.train.negatives import NegativeSampler
from stream_reco.train.present import Present
from stream_reco.train.trainer import Labelled, Trainer, TrainingBatch, training_batch

_LOGGER = logging.getLogger(__name__)
Watcher = Callable[[TrainingBatch], None]
_END_OF_TIME = 1 << 62
_UNCOMMITTED = 5_000
"""Records that the labels' store takes at once."""
_AT_ONCE = 10_000
"""Deadlines that pass between two commits."""


class Learner:
    """Takes events through labels, signals, interests and the trainer."""

    def __init__(self, settings: Settings, store: Store | None = None) -> None:
        """`store` keeps what waits for a label; without one it is in memory."""
        self.settings = settings
        labels = settings.labels
        self.joiner = LabelJoiner(**labels.of_joiner(), store=store)
        self.patience = Patience(labels.window_ms) if labels.policy == "conclusive" else None
        self.signals = Signals(settings.signals)
        self.histories = Histories(settings.signals)
        self.interests = Interests(settings.interests)
        self.trainer = Trainer(settings.model, settings.training)
        self._commit_at = _UNCOMMITTED
        self.waiting: list[Labelled] = []
        """Examples that the next training step will take."""
        self.waiting_since = 0
        """Stream time at which the first of them came, ms."""
        self.stream_time = 0
        self.events = 0
        """Distinct events so far."""
        self.examples = 0
        self.steps = 0
        self.day = -1
        self.watch: Watcher | None = None
        """Called with each batch before the trainer learns from it."""
        self.watch_shown: Callable[[Impression, bytes], None] | None = None
        """Called with each new impression and its `Inputs`."""
        self.user_lock = threading.Lock()
        """Held while a user's history or interests change."""
        self._randomness = Randomness(settings.training.seed)
        self.reconnect()

    def label_by(self, joiner: LabelJoiner) -> None:
        """Take other labels than the settings ask for; what they say is learned from at once."""
        self.joiner, self.patience = joiner, None

    def reconnect(self) -> None:
        """Read from the signals and histories that are set now."""
        self._present = Present(self.signals, self.histories, NegativeSampler(self.settings.training))

    def learn(self, events: Sequence[Event], between: Callable[[], None] = lambda: None) -> None:
        """Take events in, with a pause for others `between` them; how they are portioned changes nothing.

        The trainer learns from each full batch of examples; the rest waits for more, or for stream time to pass.
        """
        with metrics.LEARN_SECONDS.time():
            for event in events:
                self._take_safely(event, self._rng(1))
                self._mature()
                self._train(self.stream_time)
                between()
        metrics.STREAM_TIME.set(self.stream_time / 1000)
        observe_pending(self.joiner, self.stream_time)

    def tick(self, now: int) -> None:
        """Let stream time reach `now` (ms) without an event, and learn from what waits for more events."""
        self.stream_time = max(self.stream_time, now)
        self._mature()
        self._train(_END_OF_TIME)

    def forget(self, user_id: Id) -> None:
        """Delete what is known of a user: history, interests, pending examples. The user's row fades with its TTL."""
        key = key_of(user_id, "user")
        self.waiting = [one for one in self.waiting if Inputs.from_bytes(one.inputs).user_key != key]
        with self.user_lock:
            self.joiner.forget_user(user_id)
            if self.patience is not None:
                self.patience.forget_user(user_id)
            self.histories.forget(user_id)
            self.interests.forget(user_id)

    def finish(self) -> None:
        """Let every deadline pass, as at the end of a log."""
        self._advance(self.stream_time + 2 * self.joiner.window_ms + DAY_MS)
        self._train(_END_OF_TIME)

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
        self.events += 1
        if event.timestamp < self.stream_time - self.settings.labels.lateness_ms:
            metrics.EVENTS_LATE.inc()
        self._pass_time(event.timestamp)
        if isinstance(event, Action):
            self._act(event, rng)
        elif isinstance(event, Impression):
            self._show(event)
        else:
            if isinstance(event, ItemEvent):
                self.signals.describe(event.item_id, event.features or {}, available=event.available,
                                      now=event.timestamp)
            self._label(self.joiner.process([event]))

    def _pass_time(self, now: int) -> None:
        self.stream_time = max(self.stream_time, now)
        self.signals.refresh(self.stream_time)
        if self.stream_time // DAY_MS > self.day:
            self.day = self.stream_time // DAY_MS
            self._evict()

    def _evict(self) -> None:
        now = self.stream_time
        with self.user_lock:
            self.histories.evict(now)
            # A freed slot goes to another item: to whoever acted on the old one, that would look seen.
            self.histories.forget_items(self.signals.evict(now))
        self.trainer.evict(now)

    def _act(self, event: Action, rng: np.random.Generator) -> None:
        slot = self.signals.admit(event.item_id)
        self.signals.learn_context(event.context)
        context = self.signals.coder.encode(event.context, event.timestamp)
        features = None
        if self.joiner.expects_features(event):
            features = self._present.action(event.user_id, slot, context, event.timestamp, rng)
        self._label(self.joiner.process([event], [features]))
        row = self.histories.row_of(event.user_id)
        recent, times = self._present.recent(row)
        if self.joiner.weight(event) > 0:
            self.signals.act(slot, recent, times, context, event.timestamp)
        with self.user_lock:
            last = int(self.histories.last[row]) if row >= 0 else 0
            row = self.histories.add(event.user_id, slot, event.timestamp)
            self._cluster(event.user_id, row, event.timestamp, whole=event.timestamp // DAY_MS > last // DAY_MS)

    def _cluster(self, user_id: Id, row: int, now: int, *, whole: bool) -> None:
        """Renew a user's interests; the whole history is looked at once a day, at the day's first action."""
        if whole and self.histories.counts[row] > 1:
            slots, times = self.histories.whole(row, now)
            keys = self.signals.catalogue.keys[slots]
            self.interests.recluster_all(user_id, keys, times, self._vectors(keys), now)
            return
        known = self.histories.items[row] >= 0
        keys = self.signals.catalogue.keys[self.histories.items[row][known]]
        self.interests.observe(user_id, keys, self.histories.times[row][known], self._vectors(keys), now,
                               self._vectors)

    def _vectors(self, keys: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32[n, tower_dim] of length 1, zeros for items that are not trained yet."""
        vectors = self.trainer.ranker.targets_of(self.trainer.tables["item"].lookup(keys))
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: NDArray[np.float32] = vectors / np.maximum(norms, np.float32(1e-12))
        return unit

    def _show(self, event: Impression) -> None:
        slot = self.signals.admit(event.item_id)
        self.signals.learn_context(event.context)
        features = None
        if self.joiner.expects_features(event):
            context = self.signals.coder.encode(event.context, event.timestamp)
            features = self._present.impression(event.user_id, slot, context, event.timestamp)
            if self.watch_shown is not None:
                self.watch_shown(event, features)
        self._label(self.joiner.process([event], [features]))
        self.signals.show(slot, event.timestamp)

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
        for example in self.patience.due(watermark) if self.patience is not None else ():
            self._teach(example)
        self._label(self.joiner.advance(watermark, _AT_ONCE))
        while self.joiner.is_behind:
            # Where time has jumped, all that has fallen due would not fit into memory at once.
            self._commit_some()
            self._label(self.joiner.advance(watermark, _AT_ONCE))

    def _label(self, examples: list[Example]) -> None:
        for example in examples:
            self.examples += 1
            observe_example(example, self.stream_time)
            if self.patience is None or not self.patience.holds(example):
                self._teach(example)

    def _teach(self, example: Example) -> None:
        share = self._share(example)
        if not share.teaches:
            return
        if not self.waiting:
            self.waiting_since = self.stream_time
        self.waiting.append(self._labelled(example, share))
        if len(self.waiting) == self.settings.training.batch:
            self._step()

    def _train(self, now: int) -> None:
        """Take a step with fewer examples than a batch where the first of them has waited long enough."""
        if self.waiting and now - self.waiting_since >= self.settings.training.wait_seconds * 1000:
            self._step()

    def _share(self, example: Example) -> Share:
        settings = self.settings
        presumes = self.joiner.presume_ms is not None
        return share_of(example, presumes, settings.labels.negative_rate, settings.training.seed)

    def _labelled(self, example: Example, share: Share) -> Labelled:
        features = example.features
        if features is None:
            metrics.EVENTS_FEATURES_LATE.inc()
            slot = self.signals.admit(example.item_id)
            context = self.signals.coder.encode(example.context, example.event_time)
            features = self._present.impression(example.user_id, slot, context, self.stream_time)
        position = 0 if example.position is None else example.position + 1
        return Labelled(
            features, example.label, share.weight, example.label_time, position, share.undone, share.feedback,
            share.rate,
        )

    def _step(self) -> None:
        examples, self.waiting = self.waiting, []
        if self.watch is not None:
            self.watch(training_batch(examples))
        self.trainer.step(training_batch(examples, self._rng(2)))
        self.steps += 1

    def _rng(self, purpose: int) -> np.random.Generator:
        """Random numbers that depend on the seed and on how far the stream has come, and on nothing else."""
        progress = self.events if purpose == 1 else self.steps
        return self._randomness.at(progress * 4 + purpose)
