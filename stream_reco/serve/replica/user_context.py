"""A user's context where another process writes the user's state into a store, which may be unavailable."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_reco import metrics
from stream_reco.events import Id, key_of
from stream_reco.interests import InterestSettings, Medoids, draw
from stream_reco.serve.replica.user_state import BadUserStateError, UserState
from stream_reco.serve.slate.request import UserContext
from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.signals.active_time import ActiveTime
from stream_reco.signals.content.values import NO_VALUES, values_of
from stream_reco.signals.exposures import Exposure
from stream_reco.signals.settings import DAY_MS, RECENT
from stream_reco.signals.shown_items import ShownItems

_LOGGER = logging.getLogger(__name__)
_NO_SLOTS = np.empty(0, dtype=np.int32)
_NO_KEYS = np.empty(0, dtype=np.int64)
_NO_MEDOIDS = Medoids(_NO_KEYS, np.empty(0, dtype=np.float64), _NO_KEYS)


class FoundUser(Protocol):
    """What a store says of a user."""

    @property
    def state(self) -> bytes | None:
        """As `UserState.to_bytes` gives it; None where there is none."""

    @property
    def complete(self) -> bool:
        """Whether a user without a state is certainly unknown; False where the store may have lost it."""


class Users(Protocol):
    """A store of states: `RedisStates`, or `storage.shared_users.SharedUsers` on one machine."""

    @property
    def source(self) -> str:
        """What metrics call it."""

    def get(self, user: Id) -> FoundUser:
        """The present state. Raises OSError where the store is unavailable, after a time that a request can wait."""


class RemoteUserContexts:
    """Gives a user's context in the slots that are served; safe to use from several threads, never raises.

    While the store is unavailable, or has an older state, the last known one is used, of at most `capacity` users;
    other users are unknown. No request waits for a store that is known to be unavailable: a thread tries it again every
    `retry_seconds`.
    """

    def __init__(
        self,
        served: ServingState,
        users: Users,
        interests: InterestSettings,
        *,
        history_days: float | None = 90.0,
        active_time: Callable[[], ActiveTime] = ActiveTime,
        seed: int = 0,
        capacity: int = 10_000,
        retry_seconds: float = 1.0,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """`history_days`: older actions are passed over; None where who writes states takes out what is too old.

        `active_time`: by which it is judged which interests are too old; all of stream time counts by default.
        """
        self._served = served
        self._users = users
        self._interests = interests
        self._history_ms = None if history_days is None else int(history_days * DAY_MS)
        self._active_time = active_time
        self._rng = np.random.default_rng(seed)
        self._capacity = capacity
        self._retry_seconds = retry_seconds
        self._elapsed = elapsed
        self._known: OrderedDict[Id, UserState] = OrderedDict()
        self._retry_at = 0.0
        self._lock = threading.Lock()
        self.away = False
        """Whether the store was unavailable at the last attempt."""
        self.newest = 0
        """Time of the newest action of any user that was requested, ms."""

    def __call__(self, user_id: Id, now: int) -> UserContext:
        """The user's context; to be called inside `replica.reading()`, while no publication is applied."""
        key = key_of(user_id, "user")
        state = self.state(user_id)
        recent, times = np.full(RECENT, -1, dtype=np.int32), np.zeros(RECENT, dtype=np.int64)
        if state is None:
            return UserContext(key, recent, times, _NO_SLOTS, _NO_KEYS)
        items, at = state.items, state.times
        if self._history_ms is not None:
            young = at >= now - self._history_ms
            items, at = items[young], at[young]
        catalogue, shown = self._served.signals.catalogue, np.frombuffer(state.shown.items, dtype=np.int64)
        ends = len(items), len(items) + len(shown)
        slots = catalogue.slots_of_keys(np.concatenate([items, shown, state.disliked]))
        slots, slots_shown, disliked = slots[: ends[0]], slots[ends[0] : ends[1]], slots[ends[1] :]
        count = min(len(slots), RECENT)
        recent[:count], times[:count] = slots[:count], at[:count]
        interests = state.interests(now, self._interests, self._active_time())
        with self._lock:
            medoids = draw(interests, self._interests.samples, self._rng)
        distinct = np.array(list(dict.fromkeys(disliked[disliked >= 0].tolist())), dtype=np.int32)
        profile = values_of(self._served.signals.user_fields, state.profile, now) if state.profile else NO_VALUES
        seen, exposure = slots[slots >= 0], _exposure(slots_shown, state.shown)
        return UserContext(key, recent, times, seen, medoids, exposure, distinct, profile)

    def interests(self, user_id: Id, now: int) -> Medoids:
        """The user's interests as of `now` (ms); none for an unknown user."""
        state = self.state(user_id)
        return _NO_MEDOIDS if state is None else state.interests(now, self._interests, self._active_time())

    def forget(self, user_id: Id) -> None:
        """Drop the last known state of a user."""
        with self._lock:
            self._known.pop(user_id, None)

    def state(self, user_id: Id) -> UserState | None:
        """The user's present state, else the last known one; None for an unknown user."""
        found = self._read(user_id)
        if found is not None and (found.state is not None or found.complete):
            return self._take(user_id, found.state)
        with self._lock:
            state = self._known.get(user_id)
            if state is not None:
                self._known.move_to_end(user_id)
        metrics.USER_STATES.labels("nowhere" if state is None else "memory").inc()
        return state

    def _take(self, user_id: Id, data: bytes | None) -> UserState | None:
        try:
            state = None if data is None else UserState.from_bytes(data)
        except BadUserStateError as error:
            _LOGGER.warning("the state of user %r is ignored: %s", user_id, error)
            state = None
        with self._lock:
            known = self._known.pop(user_id, None)
            is_older = state is not None and known is not None and 0 < state.written < known.written
            if is_older:  # the store went back in time; who writes there will notice
                state = known
            if state is not None:
                self._known[user_id] = state
                self.newest = max(self.newest, int(state.times[:1].sum()))
                if len(self._known) > self._capacity:
                    self._known.popitem(last=False)
        metrics.USER_STATES.labels("nowhere" if state is None else "memory" if is_older else self._users.source).inc()
        return state

    def _read(self, user_id: Id) -> FoundUser | None:
        """The store's answer; None where it is unavailable."""
        if self.away:
            self._retry_in_background(user_id)
            return None
        try:
            return self._users.get(user_id)
        except OSError as error:
            _LOGGER.warning("users are served from their last known states: %s", error)
            with self._lock:
                self.away, self._retry_at = True, self._elapsed() + self._retry_seconds
            return None

    def _retry_in_background(self, user_id: Id) -> None:
        """Try on another thread whether the store is available again, at most once every `retry_seconds`."""
        with self._lock:
            now = self._elapsed()
            if now < self._retry_at:
                return
            self._retry_at = now + self._retry_seconds
        threading.Thread(target=self._retry, args=(user_id,), name="users", daemon=True).start()

    def _retry(self, user_id: Id) -> None:
        try:
            self._users.get(user_id)
        except OSError:
            return
        self.away = False


def _exposure(slots: NDArray[np.int32], shown: ShownItems) -> Exposure:
    """What was shown, in the slots int32[n] that are served, −1 where an item is not."""
    known = slots >= 0
    counts, times = np.array(shown.counts, dtype=np.int32), np.array(shown.times, dtype=np.int64)
    return Exposure(slots[known], counts[known], times[known])
