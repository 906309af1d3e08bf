"""What is known of users, as scorers in other processes of the machine read it: written as the learner learns it."""

from __future__ import annotations

import logging
import time
from array import array
from collections.abc import Callable, Iterable

import numpy as np

from stream_reco import metrics
from stream_reco.embedded.learner import Learner
from stream_reco.events import Id
from stream_reco.interests import Medoids
from stream_reco.serve.replica.shared_active_time import ActiveTimeNotes
from stream_reco.serve.replica.user_state import UserState
from stream_reco.signals.shown_items import ShownItems
from stream_reco.storage.shared_users import SharedUsers, SharedUsersError

_LOGGER = logging.getLogger(__name__)
_AT_ONCE = 256
"""Users in one transaction while it learns: 5 to 20 ms, which an event then waits at most."""
_AT_ONCE_OF_ALL = 2_000
"""Users in one transaction of all: the more, the fewer pages are written twice, and the more memory it takes."""
_RETRY_SECONDS = 1.0
"""After a failure, such as a full disk, nothing is tried for so long: each attempt costs as much as a success."""
_RETRY_ALL_SECONDS = 30.0
_WRITTEN, _FAILED = (metrics.SHARED_USERS.labels(outcome) for outcome in ("written", "failed"))
_NO_KEYS = np.empty(0, dtype=np.int64)
_NO_MEDOIDS = Medoids(_NO_KEYS, np.empty(0, dtype=np.float64), _NO_KEYS)


def user_state(learner: Learner, user_id: Id) -> UserState | None:
    """What is known of a user now; None of an unknown one. For the thread that learns.

    It holds all interests, those included that are too old now: what is too old is judged as of a request.
    """
    state = learner.state
    keys, row = state.signals.catalogue.keys, state.histories.row_of(user_id)
    actions, times = state.histories.remembered(row)
    slots = state.exposures.shown_to(user_id)
    disliked = state.dislikes.of(user_id)
    profile = state.profiles.features(user_id)
    if row < 0 and slots is None and not len(disliked) and not state.profiles.knows(user_id):
        return None
    shown = ShownItems()
    if slots is not None:
        shown.items = array("q", keys[np.frombuffer(slots.items, dtype=np.int32)].tobytes())
        shown.counts, shown.times = slots.counts, slots.times
    at = max(state.stream_time, 0)
    medoids = _NO_MEDOIDS if row < 0 else learner.interests.all_medoids(user_id, at)
    return UserState(keys[actions], times, medoids, at, shown=shown, disliked=keys[disliked], profile=profile)


class UserStates:
    """Keeps `store` as current as `learner`; all of it on the thread that learns.

    Where the store cannot be written, users stay noted and are tried again: it never raises.
    """

    def __init__(self, learner: Learner, store: SharedUsers, *, elapsed: Callable[[], float] = time.monotonic) -> None:
        """The learner calls `note` from now on."""
        self._learner, self._store, self._elapsed = learner, store, elapsed
        self._noted: dict[Id, None] = {}
        """Users whose state has changed since it was written, those who changed last at the end."""
        self._time = ActiveTimeNotes(learner.state.active_time)
        self._retry_at = 0.0
        self._is_failing = False
        self._owes_all = True
        """Whether all users are to be written: at first, and after that failed."""
        learner.on_user, learner.state.on_users = self.note, self.note_many

    def note(self, user_id: Id) -> None:
        """What is known of a user has changed."""
        self._noted.pop(user_id, None)
        self._noted[user_id] = None

    def note_many(self, user_ids: Iterable[Id]) -> None:
        """What is known of some users has changed, but for their present events: they may wait for others."""
        self._noted = dict.fromkeys(user_ids) | self._noted

    def flush(self) -> int:
        """Write users who were noted, at most some hundreds; returns how many are left.

        Those noted last come first, so that nobody who acts waits for the many who change as a day begins.
        """
        if not self._noted and not self._owes_all and not self._time.is_behind:
            return 0
        if self._is_failing and self._elapsed() < self._retry_at:
            return len(self._noted)
        if self._owes_all:
            self.write_all()
            return len(self._noted)
        users = [self._noted.popitem()[0] for _ in range(min(_AT_ONCE, len(self._noted)))]
        try:
            self._write(users)
        except SharedUsersError as error:
            self._noted |= dict.fromkeys(reversed(users))
            self._fail(error, _RETRY_SECONDS)
        else:
            self._succeed()
        return len(self._noted)

    def write_all(self) -> bool:
        """Write all users into a new file, which readers go over to at its end; False where it failed.

        It is tried again by `flush` then; readers keep what they have.
        """
        noted, self._noted = self._noted, {}
        try:
            self._store.begin_all()
            self._time.forget()
            users = self._learner.state.users()
            for begin in range(0, len(users), _AT_ONCE_OF_ALL):
                self._write(users[begin : begin + _AT_ONCE_OF_ALL])
            self._write(())
            self._store.end_all()
        except SharedUsersError as error:
            self._noted = noted
            self._owes_all = True
            self._fail(error, _RETRY_ALL_SECONDS)
            return False
        self._owes_all = False
        self._succeed()
        return True

    def _write(self, users: Iterable[Id]) -> None:
        states: dict[Id, bytes | None] = {}
        for user_id in users:
            try:
                state = user_state(self._learner, user_id)
                states[user_id] = None if state is None else state.to_bytes()
            except Exception:
                # One user of whom something cannot be written must not stop the others.
                _LOGGER.exception("what is known of user %r cannot be written for scorers", user_id)
        try:
            self._store.put_many(states, self._time.changed())
        except SharedUsersError:
            self._time.forget()
            _FAILED.inc(len(states))
            raise
        _WRITTEN.inc(len(states))

    def _fail(self, error: SharedUsersError, seconds: float) -> None:
        if not self._is_failing:
            _LOGGER.error("scorers do not get what is learned of users: %s", error)
        self._is_failing, self._retry_at = True, self._elapsed() + seconds

    def _succeed(self) -> None:
        if self._is_failing:
            _LOGGER.warning("scorers get what is learned of users again")
        self._is_failing = False
