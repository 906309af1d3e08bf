"""The learning half of the loop: events in, labels, signals, interests and training steps out of them.

Its state is a function of its records in their order, and of nothing else, so that a restart that replays the records
ends with the same bits as a run that was never interrupted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_reco import metrics
from stream_reco.config import Settings
from stream_reco.events import Action, Event, Id, Impression, ItemEvent, Retraction, UserEvent
from stream_reco.interests import Interests
from stream_reco.labels import Example, LabelJoiner, observe_pending
from stream_reco.learner.example_queue import ExampleQueue
from stream_reco.learner.positional_rng import PositionalRng
from stream_reco.learner.stream_state import StreamState
from stream_reco.model.item_directions import ItemDirections
from stream_reco.signals.settings import DAY_MS
from stream_reco.storage.rocksdb import RocksStore, StoreError

_LOGGER = logging.getLogger(__name__)
_UNCOMMITTED = 5_000
"""Records of the labels' store in one commit; more take memory, fewer take more writes."""
_AT_ONCE = 10_000
"""Deadlines that pass between two commits, so that a jump of time does not bring all of them into memory."""
_NEGATIVES = 1
"""Place, among an event's random numbers, of those that draw its negatives."""
_PURPOSES = 4
"""Random numbers of each event, as many as `ExampleQueue` has of each step."""


class TurnedBack(NamedTuple):
    """How much lay later than the time that stream time was turned back to."""

    impressions: int
    """Impressions whose label can still change."""
    items: int
    users: int
    rows: int
    """Of the embedding tables."""


class Learner:
    """Takes events through labels, signals, interests and the trainer."""

    def __init__(self, settings: Settings, store: RocksStore | None = None) -> None:
        """`store` holds what waits for a label; without one it is in memory."""
        self.settings = settings
        self.joiner = LabelJoiner(**settings.labels.of_joiner(), store=store)
        self.queue = ExampleQueue(settings.labels, settings.model, settings.training, self._late_features)
        self.state = StreamState(settings.signals, settings.training, self.queue.trainer.model.needs, settings.features)
        self.queue.trainer.active_time = self.state.active_time
        self.state.on_freed = self.queue.trainer.encoder.forget_items
        self.interests = Interests(settings.interests, self.state.active_time)
        self._directions = ItemDirections(self.queue.trainer.model)
        self._commit_at, self._lateness_ms = _UNCOMMITTED, settings.labels.lateness_ms
        self.merges_items = True
        """False while records of a release are applied in which an item event replaced the one before."""
        self.on_impression: Callable[[Impression, bytes], None] | None = None
        """Called with each new impression and its `Inputs`, before it is learned from."""
        self.on_user: Callable[[Id], None] | None = None
        """Called with the user of each event, and with who is deleted, once what is known of that user has changed.

        Of those of whom something leaves with age `state.on_users` is told. Both on the thread that learns."""
        self._rng = PositionalRng(settings.training.seed)

    def label_by(self, joiner: LabelJoiner) -> None:
        """Use another joiner than that of the settings; its examples are learned from at once."""
        self.joiner, self.queue.window_buffer = joiner, None
        self.queue.presumes = joiner.presumes

    def learn(self, events: Sequence[Event], between: Callable[[], None] = lambda: None) -> None:
        """Take events in, calling `between` after each; how they are split into calls changes nothing.

        The trainer learns from each full batch of examples; the rest waits for more, or for stream time to pass.
        """
        with metrics.LEARN_SECONDS.time():
            for event in events:
                self._take_safely(event, self._rng.at(self.state.events * _PURPOSES + _NEGATIVES))
                self._mature()
                self.queue.train(self.state.stream_time)
                between()
        metrics.STREAM_TIME.set(self.state.stream_time / 1000)
        observe_pending(self.joiner, self.state.stream_time)

    def tick(self, now: int) -> None:
        """Let stream time reach `now` (ms) without an event, and learn from what waits for more events."""
        self.state.stream_time = max(self.state.stream_time, now)
        self._mature()
        self.queue.flush()

    def forget(self, user_id: Id) -> None:
        """Delete what is known of a user: history, interests, pending examples, rows of the tables."""
        with self.state.lock:
            self.joiner.forget_user(user_id)
            self.state.forget(user_id)
            self.interests.forget(user_id)
        self._tell(user_id)
        # Requests read nothing of it, and all rows of content are gone through, which takes a while.
        self.queue.forget_user(user_id)

    def finish(self) -> None:
        """Let every deadline pass, as at the end of a log."""
        self._advance(self.state.stream_time + 2 * self.joiner.window_ms + DAY_MS)
        self.queue.flush()

    def turn_back(self, time: int) -> TurnedBack:
        """Let stream time be `time` (ms) again, and all that is later be of that time: the clock was wrong.

        Returns what lay later. Raises ValueError where the labels have no store, StoreError where it cannot be written.
        """
        if time >= self.state.stream_time:
            return TurnedBack(0, 0, 0, 0)
        with self.state.lock:
            impressions = self.joiner.turn_back(time)
            self.queue.turn_back(time, time - self._lateness_ms)
            items, users = self.state.turn_back(time)
            self.interests.turn_back(time)
            self.state.on_users(self.state.users())
            return TurnedBack(impressions, items, users, self.queue.trainer.turn_back(time))

    def _take_safely(self, event: Event, rng: np.random.Generator) -> None:
        # An event that was accepted must not stop later ones, now or in any replay of the log.
        try:
            self._take(event, rng)
        except Exception:
            metrics.EVENTS_REJECTED.labels("internal").inc()
            _LOGGER.exception("an event could not be learned from and was skipped: %r", event)
        if isinstance(event, Action | Impression | UserEvent):
            self._tell(event.user_id)

    def _tell(self, user_id: Id) -> None:
        if self.on_user is not None:
            self.on_user(user_id)

    def _take(self, event: Event, rng: np.random.Generator) -> None:
        if event.event_id is not None and self.joiner.seen(event.event_id):
            self.joiner.process([event])
            return
        self.state.events += 1
        if event.timestamp < self.state.stream_time - self._lateness_ms:
            metrics.EVENTS_LATE.inc()
        if self.state.pass_time(event.timestamp):
            self.queue.trainer.evict(self.state.stream_time)
        if isinstance(event, Action):
            self._act(event, rng)
        elif isinstance(event, Impression):
            self._show(event)
        elif isinstance(event, Retraction):
            self._retract(event)
        else:
            if isinstance(event, ItemEvent):
                self.state.describe(event)
            elif isinstance(event, UserEvent):
                self.state.describe_user(event)
            self._label(self.joiner.process([event]))

    def _act(self, event: Action, rng: np.random.Generator) -> None:
        sign = self.joiner.sign(event)
        if sign == 0:
            self._label(self.joiner.process([event]))
            return
        slot, context = self.state.admit(event)
        features = None
        if self.joiner.expects_features(event):
            present, now = self.state.present, event.timestamp
            if sign > 0:
                features = present.action(event.user_id, slot, context, now, rng)
            else:  # a 0 stands for its item alone
                features = present.impression(event.user_id, slot, context, now)
        is_live = self.joiner.retracted(event) is None
        self._label(self.joiner.process([event], [features]))
        if not is_live:
            return
        if sign < 0:
            with self.state.lock:
                self.state.dislike(event, slot)
            return
        self.queue.heads.act(event, self.state.stream_time)
        self.queue.trainer.encoder.act(self.state.signals, self.state.histories, event, slot, rng)
        counted = self.state.count(event, slot, context)
        with self.state.lock:
            row, whole = self.state.remember(event, slot, counted=counted)
            self._cluster(event.user_id, row, event.timestamp, whole=whole)

    def _retract(self, event: Retraction) -> None:
        action = self.joiner.retracted(event)
        self._label(self.joiner.process([event]))
        if action is None:
            return
        self._tell(action.user_id)
        with self.state.lock:
            if self.joiner.sign(action) < 0:
                self.state.withdraw_dislike(action)
            elif self.joiner.sign(action) > 0:
                self.queue.heads.withdraw(action, self.state.stream_time)
                self.state.withdraw(action)
                row = self.state.histories.row_of(action.user_id)
                self._cluster_all(action.user_id, row, self.state.stream_time)

    def _cluster(self, user_id: Id, row: int, now: int, *, whole: bool) -> None:
        """Update a user's interests; the whole history is clustered once a day, at the day's first action."""
        histories = self.state.histories
        if whole and histories.counts[row] > 1:
            self._cluster_all(user_id, row, now)
            return
        slots = histories.items[row]
        known = slots >= 0
        keys = self.state.signals.catalogue.keys[slots[known]]
        self.interests.observe_items(user_id, keys, histories.times[row][known], now, self._vectors)

    def _cluster_all(self, user_id: Id, row: int, now: int) -> None:
        """Cluster a user's whole history; of a negative row, after a retraction, nothing is left."""
        slots, times = self.state.histories.whole(row, now, self.state.active_time)
        keys = self.state.signals.catalogue.keys[slots]
        self.interests.recluster_all(user_id, keys, times, self._vectors(keys), now)

    def _vectors(self, keys: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32[n, vector_dim] of length 1, zeros for items that are not trained yet."""
        return self._directions.of(self.queue.trainer.tables, keys)

    def _show(self, event: Impression) -> None:
        slot, context = self.state.admit(event)
        features = None
        if self.joiner.expects_features(event):
            features = self.state.present.impression(event.user_id, slot, context, event.timestamp)
            self.queue.show(event.timestamp, features)
            if self.on_impression is not None:
                self.on_impression(event, features)
        self._label(self.joiner.process([event], [features]))
        self.state.show(event.user_id, slot, event.timestamp)

    def commit_labels(self) -> None:
        """Commit the labels' state to their store, where there is one. Raises StoreError with nothing lost."""
        if self.joiner.store is not None:
            self.joiner.commit(b"")
            self._commit_at = _UNCOMMITTED

    def _commit_some(self) -> None:
        try:
            self.commit_labels()
        except StoreError as error:
            # It stays in memory, and the log has all of it; the next attempt is as far away as this one was.
            self._commit_at = self.joiner.uncommitted + _UNCOMMITTED
            _LOGGER.error("%s", error)

    def _mature(self) -> None:
        self._advance(self.state.stream_time - self._lateness_ms)
        if self.joiner.uncommitted >= self._commit_at:
            self._commit_some()

    def _advance(self, watermark: int) -> None:
        self.queue.release(watermark, self.state.stream_time)
        self._label(self.joiner.advance(watermark, _AT_ONCE))
        while self.joiner.is_behind:
            # After a jump of time, everything that is due would not fit into memory at once.
            self._commit_some()
            self._label(self.joiner.advance(watermark, _AT_ONCE))

    def _label(self, examples: list[Example]) -> None:
        self.queue.take(examples, self.state.stream_time)

    def _late_features(self, example: Example, now: int) -> bytes:
        metrics.EVENTS_FEATURES_LATE.inc()
        slot, context = self.state.admit_named(example.item_id, example.context, example.event_time)
        return self.state.present.impression(example.user_id, slot, context, now)
