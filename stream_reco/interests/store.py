"""The interests of every live user."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Self, TypeVar

import numpy as np
import numpy.typing as npt

from stream_reco.interests.record import ROW, Actions, Clustering, Rows, Vectors, importance_of, recluster
from stream_reco.interests.settings import InterestSettings
from stream_reco.interests.ward import Indices, Vector
from stream_reco.signals.active_time import ActiveTime

VectorsOf = Callable[[Indices], Vectors]
State = dict[str, npt.NDArray[np.generic]]

T = TypeVar("T", bound=np.generic)
_NOTHING: Rows = np.empty(0, ROW)


class Medoids(NamedTuple):
    """A user's interests in the order that their importance had at the last action."""

    keys: Indices
    """Item keys int64[m] of the medoids."""
    importance: Vector
    """Σ exp(−λ·age) float64[m] over the actions of each."""
    last: Indices
    """Time int64[m] (ms) of the last action of each."""


def draw(medoids: Medoids, n: int, rng: np.random.Generator) -> Indices:
    """Keys int64[≤n] of up to `n` distinct medoids, drawn in proportion to importance.

    An exponential race (Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006).
    """
    arrival = rng.standard_exponential(len(medoids.keys)) / medoids.importance
    return medoids.keys[np.argsort(arrival, kind="stable")[:n]]


class Interests:
    """Interests of users, kept up to date action by action; a user who is idle beyond the horizon leaves.

    The horizon lies in `active_time`; all of stream time counts without it. One thread writes; others may read
    concurrently, since a user's record is replaced, never changed.
    """

    def __init__(self, settings: InterestSettings | None = None, active_time: ActiveTime | None = None) -> None:
        self.settings = settings or InterestSettings()
        self._active_time = active_time or ActiveTime()
        # In the order of the last write, so that the idle come first.
        self._rows: dict[int | str, Rows] = {}
        self._first: tuple[Rows, int] = _NOTHING, 0
        """The record that came first when it was last looked at, and the time (ms) of its last action."""
        self._decay = self.settings.decay_per_ms
        self._horizon = self.settings.horizon_ms
        self._clustering = Clustering(
            self.settings.recent,
            self.settings.alpha**2,
            self._decay,
            self._horizon,
            self.settings.max_clusters,
        )

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, user: int | str) -> bool:
        return user in self._rows

    @property
    def nbytes(self) -> int:
        """Bytes of all records, without the dictionary around them."""
        return sum(rows.nbytes for rows in self._rows.values())

    def observe(
        self, user: int | str, items: Indices, times: Indices, vectors: Vectors, now: int, vectors_of: VectorsOf
    ) -> None:
        """Clusters a user's most recent actions together with the interests stored before.

        Item keys int64[n], `times` int64[n] (ms) and `vectors` float32[n, d] (of length 1; zeros while nothing is
        known of an item) are the present window, newest first, cut to `settings.recent` actions. It repeats the
        actions already seen; each counts once however often it is shown. `vectors_of(keys)` gives the vectors of
        stored medoids. Raises ValueError, and changes nothing, where shapes differ or a vector is not finite.
        """
        n = self.settings.recent
        old = self._rows.get(user, _NOTHING)
        stored = old["key"][old["action"] == 0]
        near = vectors_of(stored) if len(stored) else vectors[:0]
        self._write(user, old, near, items[:n], times[:n], vectors[:n], now)

    def observe_items(self, user: int | str, items: Indices, times: Indices, now: int, vectors_of: VectorsOf) -> None:
        """`observe`, with the vectors of the window and of the stored medoids from one call of `vectors_of`."""
        n = self.settings.recent
        items, times, old = items[:n], times[:n], self._rows.get(user, _NOTHING)
        stored = old["key"][old["action"] == 0]
        vectors = vectors_of(np.concatenate([items, stored]) if len(stored) else items)
        self._write(user, old, vectors[len(items) :], items, times, vectors[: len(items)], now)

    def recluster_all(self, user: int | str, items: Indices, times: Indices, vectors: Vectors, now: int) -> None:
        """Forgets a user's stored interests and clusters the whole history, given as `observe` is given the window.

        At most `settings.history` actions of the last `settings.history_days` count; the rest is ignored.
        """
        n = self.settings.history
        self._write(user, _NOTHING, vectors[:0], items[:n], times[:n], vectors[:n], now)

    def medoids(self, user: int | str, now: int) -> Medoids:
        """A user's interests with their importance as of `now` (ms); of an unknown user none."""
        rows = self._rows.get(user, _NOTHING)
        weights: Vector = importance_of(rows, now, self._decay)
        rows = rows[: len(weights)]
        live = rows["time"] >= self._active_time.earliest(now, self._horizon)
        return Medoids(rows["key"][live], weights[live], rows["time"][live])

    def all_medoids(self, user: int | str, at: int) -> Medoids:
        """`medoids` with their importance as of `at` (ms), those included that are too old by then."""
        rows = self._rows.get(user, _NOTHING)
        weights: Vector = importance_of(rows, at, self._decay)
        rows = rows[: len(weights)]
        return Medoids(rows["key"], weights, rows["time"])

    def sample(self, user: int | str, n: int | None, rng: np.random.Generator, now: int) -> Indices:
        """Up to `n` (None: `settings.samples`) distinct medoids int64[≤n], drawn in proportion to importance."""
        return draw(self.medoids(user, now), self.settings.samples if n is None else n, rng)

    def record_of(self, user: int | str) -> bytes:
        """A user's record, for `restore`; of an unknown user empty."""
        return self._rows.get(user, _NOTHING).tobytes()

    def restore(self, user: int | str, record: bytes) -> None:
        """Take a user's record over. Raises ValueError if it is not one."""
        rows: Rows = np.frombuffer(record, ROW).copy()
        self._rows.pop(user, None)
        if len(rows):
            self._rows[user] = rows

    def forget(self, user: int | str) -> bool:
        """Drops all that is stored of a user; returns whether there was anything."""
        return self._rows.pop(user, None) is not None

    def turn_back(self, time: int) -> None:
        """Take actions later than `time` (ms) as of that time: the clock was wrong."""
        for user, rows in self._rows.items():
            if (rows["time"] > time).any():
                self._rows[user] = rows.copy()
                np.minimum(rows["time"], time, out=self._rows[user]["time"])

    def _write(
        self, user: int | str, old: Rows, stored: Vectors, items: Indices, times: Indices, vectors: Vectors, now: int
    ) -> None:
        if vectors.ndim != 2 or not len(items) == len(times) == len(vectors) or stored.shape[1:] != vectors.shape[1:]:
            raise ValueError(
                f"{len(items)} items, {len(times)} times, vectors {vectors.shape} and medoid vectors {stored.shape} do "
                "not match; each action has an item, a time and a vector, all of one dimension"
            )
        actions = Actions(_plain(items, np.int64), _plain(times, np.int64), _plain(vectors, np.float32))
        since = self._active_time.earliest(now, self._horizon)
        how = self._clustering._replace(horizon=now - since)
        rows, bad = recluster(old, _plain(stored, np.float32), actions, now, how)
        if bad >= 0:
            key = items[bad] if bad < len(items) else old["key"][bad - len(items)]
            raise ValueError(f"the vector of item {key} is not finite; interests of user {user!r} stay as they were")
        self._rows.pop(user, None)
        if len(rows):
            self._rows[user] = rows
        self._expire(since)

    def _expire(self, since: int) -> None:
        # Two for each one written keeps up with any stream and never makes one action wait for a crowd.
        for _ in range(2):
            user = next(iter(self._rows), None)
            if user is None:
                return
            rows = self._rows[user]
            if rows is not self._first[0]:
                self._first = rows, int(rows["time"].max())
            if self._first[1] >= since:
                return
            del self._rows[user]

    def state(self) -> State:
        """Everything stored, as plain arrays that `from_state` turns back into the same store."""
        records = list(self._rows.values())
        rows = np.concatenate([_NOTHING, *records])
        state: State = {name: rows[name].copy() for name in ROW.names or ()}
        state["lengths"] = np.array([len(record) for record in records], np.int64)
        texts = [user.encode() if isinstance(user, str) else b"" for user in self._rows]
        state["user_number"] = np.array([0 if isinstance(user, str) else user for user in self._rows], np.int64)
        # −1 is a number; so even an empty text stays a text.
        kinds = zip(self._rows, texts, strict=True)
        state["user_text_length"] = np.array([len(t) if isinstance(u, str) else -1 for u, t in kinds], np.int64)
        state["user_text"] = np.frombuffer(b"".join(texts), np.uint8).copy()
        return state

    @classmethod
    def from_state(
        cls,
        settings: InterestSettings | None,
        state: Mapping[str, npt.NDArray[np.generic]],
        active_time: ActiveTime | None = None,
    ) -> Self:
        """The store that gave `state`; it goes on bit for bit as that one would. Raises ValueError on a torn state."""
        store = cls(settings, active_time)
        lengths = state["lengths"].tolist()
        rows = np.empty(len(state["key"]), ROW)
        for name in ROW.names or ():
            if len(state[name]) != sum(lengths) or len(state["user_number"]) != len(lengths):
                raise ValueError(
                    f"interests state has {len(state[name])} values of {name!r} and {len(state['user_number'])} users "
                    f"where {sum(lengths)} and {len(lengths)} belong; it is torn, take an older checkpoint"
                )
            rows[name] = state[name]
        at = 0
        for user, length in zip(_users(state), lengths, strict=True):
            # A copy each, or one idle user would keep the memory of all.
            store._rows[user] = rows[at : at + length].copy()
            at += length
        return store


def _plain(array: npt.NDArray[np.generic], dtype: type[T]) -> npt.NDArray[T]:
    # One layout means one compiled version; a read-only array would compile another in the middle of traffic.
    plain: npt.NDArray[T] = np.ascontiguousarray(array, dtype)
    return plain if plain.flags.writeable else plain.copy()


def _users(state: Mapping[str, npt.NDArray[np.generic]]) -> Iterator[int | str]:
    text, at = state["user_text"].tobytes(), 0
    for number, length in zip(state["user_number"].tolist(), state["user_text_length"].tolist(), strict=True):
        yield number if length < 0 else text[at : at + length].decode()
        at += max(length, 0)
