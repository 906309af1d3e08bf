"""The interests of every live user."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stream_reco.interests.clusters import ROW, Floats, Ints, Rows, interest_importance, recluster
from stream_reco.interests.settings import InterestSettings

Vectors = npt.NDArray[np.float32]
VectorsOf = Callable[[Ints], Vectors]

_NOTHING: Rows = np.empty(0, ROW)


class Medoids(NamedTuple):
    """A user's interests, the most important first as of the last action: keys int64[m], importance float64[m], last times int64[m]."""

    keys: Ints
    importance: Floats
    last: Ints


class Interests:
    """Interests of users, kept up to date action by action; a user who is idle beyond the horizon leaves.

    One thread writes; others may read beside it, since a user's record is replaced, never changed.
    """

    def __init__(self, settings: InterestSettings | None = None) -> None:
        self.settings = settings or InterestSettings()
        # In the order of the last write, so that the idle come first.
        self._rows: dict[int | str, Rows] = {}
        self._limit = self.settings.alpha**2
        self._decay = self.settings.decay_per_ms
        self._horizon = self.settings.horizon_ms

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, user: int | str) -> bool:
        return user in self._rows

    @property
    def nbytes(self) -> int:
        """Bytes of all records, without the dictionary around them."""
        return sum(rows.nbytes for rows in self._rows.values())

    def observe(
        self, user: int | str, items: Ints, times: Ints, vectors: Vectors, now: int, vectors_of: VectorsOf
    ) -> None:
        """Clusters a user's most recent actions together with the interests stored before.

        `items` int64[n] item keys, newest first, `times` int64[n] (ms) and `vectors` float32[n, d] (length 1; all zeros: not known yet)
        are the present window of at most `settings.recent` actions, the actions already seen included; each action
        counts once however often it is shown. `vectors_of(keys)` gives the vectors of stored medoids. Raises ValueError, and
        changes nothing, where shapes differ or a vector is not finite.
        """
        n = self.settings.recent
        old = self._rows.get(user, _NOTHING)
        stored = old["key"][: _count(old)]
        stored_vectors = vectors_of(stored) if len(stored) else np.empty((0, vectors.shape[1]), np.float32)
        self._write(user, old, stored_vectors, items[:n], times[:n], vectors[:n], now)

    def recluster_all(self, user: int | str, items: Ints, times: Ints, vectors: Vectors, now: int) -> None:
        """Forgets a user's stored interests and clusters the whole history, as `observe` does the window.

        At most `settings.history` actions of the last `settings.history_days` count; the rest is ignored.
        """
        n = self.settings.history
        nothing = np.empty((0, vectors.shape[1]), np.float32)
        self._write(user, _NOTHING, nothing, items[:n], times[:n], vectors[:n], now)

    def medoids(self, user: int | str, now: int) -> Medoids:
        """A user's interests as of `now` (ms); of an unknown user none."""
        rows = self._rows.get(user, _NOTHING)
        weights: Floats = interest_importance(rows, now, self._decay)
        m = len(weights)
        live = now - rows["time"][:m] <= self._horizon
        return Medoids(rows["key"][:m][live], weights[live], rows["time"][:m][live])

    def sample(self, user: int | str, n: int | None, rng: np.random.Generator, now: int) -> Ints:
        """Up to `n` (default `settings.samples`) distinct medoids int64[≤n], drawn in proportion to importance.

        Exponential races (Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006).
        """
        keys, weights, _ = self.medoids(user, now)
        n = self.settings.samples if n is None else n
        if len(keys) <= n:
            return keys
        return keys[np.argsort(rng.standard_exponential(len(keys)) / weights, kind="stable")[:n]]

    def forget(self, user: int | str) -> bool:
        """Drops all that is stored of a user; tells whether there was anything."""
        return self._rows.pop(user, None) is not None

    def _write(
        self, user: int | str, old: Rows, stored: Vectors, items: Ints, times: Ints, vectors: Vectors, now: int
    ) -> None:
        items, times = _plain(items, np.int64), _plain(times, np.int64)
        vectors, stored = _plain(vectors, np.float32), _plain(stored, np.float32)
        if vectors.ndim != 2 or not len(items) == len(times) == len(vectors) or stored.shape[1:] != vectors.shape[1:]:
            raise ValueError(
                f"{len(items)} items, {len(times)} times, vectors {vectors.shape} and medoid vectors {stored.shape} do not "
                "match; each action has an item, a time and a vector of the one dimension"
            )
        s = self.settings
        rows, bad = recluster(
            old, stored, items, times, vectors, now, s.recent, self._limit, self._decay, self._horizon, s.max_clusters
        )
        if bad >= 0:
            key = items[bad] if bad < len(items) else old["key"][bad - len(items)]
            raise ValueError(f"the vector of item {key} is not finite; interests of user {user!r} stay as they were")
        self._rows.pop(user, None)
        if len(rows):
            self._rows[user] = rows
        self._expire(now)

    def _expire(self, now: int) -> None:
        # Two for one written keeps up with any stream and never makes one action wait for a crowd.
        for _ in range(2):
            user = next(iter(self._rows), None)
            if user is None or now - int(self._rows[user]["time"].max()) <= self._horizon:
                return
            del self._rows[user]

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        """Everything stored, as plain arrays that `from_state` turns back into the same store."""
        records = list(self._rows.values())
        rows = np.concatenate([_NOTHING, *records])
        state: dict[str, npt.NDArray[np.generic]] = {name: rows[name].copy() for name in ROW.names or ()}
        state["lengths"] = np.array([len(record) for record in records], np.int64)
        texts = [user.encode() if isinstance(user, str) else b"" for user in self._rows]
        # Text is never empty, so no length means a number.
        state["user_number"] = np.array([0 if isinstance(user, str) else user for user in self._rows], np.int64)
        state["user_text_lengths"] = np.array([len(text) for text in texts], np.int64)
        state["user_text"] = np.frombuffer(b"".join(texts), np.uint8).copy()
        return state

    @classmethod
    def from_state(cls, settings: InterestSettings | None, state: dict[str, npt.NDArray[np.generic]]) -> "Interests":
        """The store that gave `state`; it goes on bit for bit as that one would. Raises ValueError on a torn state."""
        store = cls(settings)
        rows = np.empty(len(state["key"]), ROW)
        for name in ROW.names or ():
            rows[name] = state[name]
        bounds = np.concatenate([[0], np.cumsum(state["lengths"])])
        if bounds[-1] != len(rows) or len(state["user_number"]) != len(state["lengths"]):
            raise ValueError(
                f"interests state has {len(rows)} rows where its {len(state['lengths'])} users need {bounds[-1]}; "
                "the checkpoint is torn, take an older one"
            )
        for i, user in enumerate(_users(state)):
            store._rows[user] = rows[bounds[i] : bounds[i + 1]].copy()
        return store


def _count(rows: Rows) -> int:
    return len(rows) - int(np.count_nonzero(rows["action"]))


def _plain(array: npt.NDArray[np.generic], dtype: type) -> npt.NDArray[np.generic]:
    # One layout means one compiled version; a read-only array would compile a second one in the middle of traffic.
    array = np.ascontiguousarray(array, dtype)
    return array if array.flags.writeable else array.copy()


def _users(state: dict[str, npt.NDArray[np.generic]]) -> Iterator[int | str]:
    text, at = state["user_text"].tobytes(), 0
    for number, length in zip(state["user_number"].tolist(), state["user_text_lengths"].tolist(), strict=True):
        yield text[at : at + length].decode() if length else number
        at += length
