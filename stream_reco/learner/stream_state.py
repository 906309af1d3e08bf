"""Events into signals and histories, and out of them again with age."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from stream_reco.events import Action, Id, Impression, ItemEvent, UserEvent
from stream_reco.model.spec import Need
from stream_reco.signals.active_time import ActiveTime
from stream_reco.signals.content.profiles import Profiles
from stream_reco.signals.content.settings import FeatureSettings
from stream_reco.signals.context import Context, ContextValue
from stream_reco.signals.dislikes import Dislikes
from stream_reco.signals.exposures import Exposures
from stream_reco.signals.history import Histories
from stream_reco.signals.item_updates import Statement
from stream_reco.signals.settings import DAY_MS, SignalSettings
from stream_reco.signals.signals import Signals
from stream_reco.signals.voices import number_of_kind
from stream_reco.signals.withdrawal import Withdrawn, withdraw
from stream_reco.train.feature_builder import NOBODY_RECENT, NOBODY_TIMES, FeatureBuilder, KnownUsers
from stream_reco.train.negative_sampler import NegativeSampler
from stream_reco.train.settings import TrainSettings


class StreamState:
    """What the learner sees of the world: the items' signals, the users' histories, and how far time has come."""

    def __init__(
        self,
        signals: SignalSettings,
        training: TrainSettings,
        needs: frozenset[Need],
        features: FeatureSettings | None = None,
    ) -> None:
        """`needs`: what the model reads of a request; `features`: kinds that are not to be inferred."""
        self.features = features
        self.stream_time = 0
        """The highest time seen, ms."""
        self.active_time = ActiveTime()
        """By which it is judged what was idle for too long."""
        self.events = 0
        """Distinct events so far."""
        self.day = -1
        self.on_freed: Callable[[NDArray[np.int32]], None] = lambda _: None
        """Called with slots whose items have left and that others will have."""
        self.on_users: Callable[[Iterable[Id]], None] = lambda _: None
        """Called with users of whom something was forgotten because it became too old, or its item left."""
        self.lock = threading.Lock()
        """Held while what is known of a user changes, for threads that read while the learner runs."""
        self._training, self._needs, self._settings = training, needs, signals
        # Requests are served from a replica: nobody asks the learner which items have a value.
        listless = Signals(signals, features, lists_items=False)
        self.connect(listless, Histories(signals), Dislikes(signals), Exposures(signals))

    def connect(
        self,
        signals: Signals,
        histories: Histories,
        dislikes: Dislikes,
        exposures: Exposures,
        profiles: Profiles | None = None,
    ) -> None:
        """Take signals and what is known of users over from a checkpoint; without `profiles` nobody has any."""
        self.signals, self.histories, self.dislikes, self.exposures = signals, histories, dislikes, exposures
        self.profiles = Profiles(self._settings, signals.user_fields) if profiles is None else profiles
        sampler = NegativeSampler(self._training)
        users = KnownUsers(histories, exposures, dislikes, self.profiles)
        self.present = FeatureBuilder(signals, users, sampler, self._needs)

    def pass_time(self, now: int) -> bool:
        """An event of the time `now` (ms) has come: let what has become too old leave; returns whether a day has begun.

        A gap before it lets nothing leave: see `ActiveTime`.
        """
        self.stream_time = max(self.stream_time, now)
        self.active_time.reach(now)
        self.signals.refresh(self.stream_time)
        if self.stream_time // DAY_MS <= self.day:
            return False
        self.day = self.stream_time // DAY_MS
        with self.lock:
            changed = self._forget_old()
            # A freed slot goes to another item: to users who acted on the old one, that would look seen.
            freed = self.signals.evict(self.stream_time, self.active_time)
            for users in (self.histories, self.dislikes, self.exposures):
                changed += users.forget_items(freed)
            self.on_users(dict.fromkeys(changed))
        self.on_freed(freed)
        return True

    def _forget_old(self) -> list[Id]:
        """Let what is known of users and has become too old leave; returns who lost anything, some twice."""
        now, active, histories = self.stream_time, self.active_time, self.histories

        def is_known(user_id: Id) -> bool:
            return histories.row_of(user_id) >= 0

        changed = histories.evict(now, active)
        changed += self.dislikes.evict(now, active, is_known)
        changed += self.exposures.evict(now, active)
        return changed + self.profiles.evict(now, active, is_known)

    def users(self) -> list[Id]:
        """All users of whom anything is known."""
        known = (self.histories, self.dislikes, self.exposures, self.profiles)
        return list(dict.fromkeys(user_id for one in known for user_id in one.users()))

    def turn_back(self, time: int) -> tuple[int, int]:
        """Let stream time be `time` (ms) again: the clock was wrong. Returns how many items and users lay later."""
        self.stream_time, self.day = time, time // DAY_MS
        self.active_time.turn_back(time)
        self.exposures.turn_back(time)
        self.dislikes.turn_back(time)
        self.profiles.turn_back(time)
        return self.signals.turn_back(time), self.histories.turn_back(time)

    def admit(self, event: Action | Impression) -> tuple[int, Context]:
        """The item's slot and the context in numbers, whatever of them is new included."""
        context = self.signals.take_context(event.context, event.timestamp)
        return self.signals.admit(event.item_id), context

    def admit_named(self, item_id: Id, context: Mapping[str, ContextValue] | None, now: int) -> tuple[int, Context]:
        """The slot of an item, a new one if it is unknown, and a context of the time `now` (ms) in known numbers."""
        slot = self.signals.admit(item_id)
        return slot, self.signals.coder.encode(context, now)

    def count(self, event: Action, slot: int, context: Context) -> bool:
        """Count a positive action, unless its user was heard on that already; `remember` comes after it.

        Returns whether it was counted.
        """
        histories, kind = self.histories, number_of_kind(event.action)
        row = histories.row_of(event.user_id)
        if histories.is_heard(row, slot, kind, event.timestamp):
            return False
        self.signals.act(slot, *histories.said(row), context, event.timestamp)
        return True

    def remember(self, event: Action, slot: int, *, counted: bool) -> tuple[int, bool]:
        """Add a positive action to its user's history; the user's row, and whether it is the first of a day.

        The caller holds `lock`.
        """
        user_id, now = event.user_id, event.timestamp
        row = self.histories.row_of(user_id)
        last = int(self.histories.last[row]) if row >= 0 else 0
        row = self.histories.add(user_id, slot, now, number_of_kind(event.action), silent=not counted)
        self.exposures.acted(user_id, slot)
        return row, now // DAY_MS > last // DAY_MS

    def dislike(self, event: Action, slot: int) -> None:
        """Remember a negative action: its item leaves the user's slates. The caller holds `lock`."""
        self.dislikes.add(event.user_id, slot, event.timestamp)

    def withdraw(self, event: Action) -> None:
        """Take a positive action that was counted and remembered out again; the caller holds `lock`.

        Where the history does not have it any more, the counts lose it all the same, but for what it was paired with.
        """
        slot = self.signals.catalogue.slot_of(event.item_id)
        if slot < 0:
            return
        now, context = event.timestamp, self.signals.coder.encode(event.context, event.timestamp)
        action, span = Withdrawn(slot, number_of_kind(event.action), now), self._settings.once_ms
        if not withdraw(self.signals, self.histories, event.user_id, action, context, span):
            self.signals.take_back(slot, NOBODY_RECENT, NOBODY_TIMES, context, now)

    def withdraw_dislike(self, event: Action) -> None:
        """Take a negative action back: its item may be shown again. The caller holds `lock`."""
        slot = self.signals.catalogue.slot_of(event.item_id)
        self.dislikes.take_back(event.user_id, slot, event.timestamp)

    def show(self, user_id: Id, slot: int, now: int) -> None:
        """Count an impression at `now` (ms), for the user too unless an action on the item came in between."""
        self.signals.show(slot, now)
        with self.lock:
            if not self.histories.acted_since(self.histories.row_of(user_id), slot, now):
                self.exposures.add(user_id, slot, now)

    def forget(self, user_id: Id) -> None:
        """Delete what is known of a user; the caller holds `lock`."""
        self.histories.forget(user_id)
        self.dislikes.forget(user_id)
        self.exposures.forget(user_id)
        self.profiles.forget(user_id)

    def describe_user(self, event: UserEvent) -> None:
        """Take over what is said of a user."""
        with self.lock:
            self.profiles.describe(event.user_id, event.features, event.timestamp)

    def describe(self, event: ItemEvent) -> None:
        """Take over what the shop says of an item."""
        said = Statement(event.timestamp, event.features, event.available, event.replace, event.vector)
        self.signals.describe(event.item_id, said)
