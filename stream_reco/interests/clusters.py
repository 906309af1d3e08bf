"""What a set of clustered actions says: medoids, importance, and both at once for one user.

PinnerSage (Pal et al., KDD 2020), sections 3.2 and 3.3: a cluster is represented by its medoid, and it is as important as
its actions are many and recent, Σ exp(−λ·age).
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from stream_reco.interests.settings import DAY_MS
from stream_reco.interests.ward import find_root, merge_chain, number_clusters, squared_distances

ROW = np.dtype(
    [("key", np.int64), ("mass", np.float64), ("time", np.int64), ("cluster", np.int32), ("action", np.int32)], align=True
)
"""One line of a user's record.

First the interests (`action` 0), the most important first: the medoid's item key, the mass of those of its actions that
left the window (as of `time`), the time of its last action. Then the window of recent actions (`action` 1, mass 1 as of
their own time), each with the number of its interest or −1 for none.
"""

Rows = np.ndarray[tuple[int], np.dtype[np.void]]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@njit(cache=True, nogil=True)
def _medoids(points: Floats, labels: npt.NDArray[np.int32], clusters: int) -> Ints:
    # Σ|x − y|² over a cluster is least where |x − mean| is least; the mean needs n distances in place of n².
    n, dim = points.shape
    mean = np.zeros((clusters, dim))
    size = np.zeros(clusters, np.int64)
    for i in range(n):
        size[labels[i]] += 1
        for c in range(dim):
            mean[labels[i], c] += points[i, c]
    best = np.full(clusters, np.inf)
    medoid = np.full(clusters, -1, np.int64)
    for i in range(n):
        label = labels[i]
        spread = 0.0
        for c in range(dim):
            gap = points[i, c] - mean[label, c] / size[label]
            spread += gap * gap
        # Equal but for rounding is equal: of two actions the one that comes first stays.
        if medoid[label] < 0 or spread < best[label] - 1e-12 * (1.0 + best[label]):
            best[label] = spread
            medoid[label] = i
    return medoid


def medoids(points: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> Ints:
    """The member of each cluster with the least sum of squared distances to the others: int64[clusters] row numbers.

    `points` [n, d]; `labels` [n] from 0, none skipped, as `cut` gives them. Of equals the first. Raises ValueError if the shapes differ.
    """
    points = np.ascontiguousarray(points, np.float64)
    labels = np.ascontiguousarray(labels, np.int32)
    if points.ndim != 2 or labels.shape != points.shape[:1]:
        raise ValueError(f"points {points.shape} and labels {labels.shape} do not match; each point has one label")
    count = int(labels.max()) + 1 if len(labels) else 0
    if len(labels) and (labels.min() < 0 or len(np.unique(labels)) != count):
        raise ValueError(f"labels are {np.unique(labels)}; they must count from 0 without a gap")
    chosen: Ints = _medoids(points, labels, count)
    return chosen


def importance(times: Ints, now: int, decay_per_day: float = 0.01) -> float:
    """Σ exp(−λ·age in days) over the times (ms) of a cluster's actions, as of `now` (ms)."""
    ages = (now - np.asarray(times, np.int64)) / DAY_MS
    return float(np.exp(-decay_per_day * ages).sum())


@njit(cache=True, nogil=True)
def interest_importance(rows: Rows, now: int, decay: float) -> Floats:
    """Importance float64[m] as of `now` (ms) of the m interests of a record; `decay` is λ per millisecond."""
    count = 0
    while count < len(rows) and rows[count].action == 0:
        count += 1
    total = np.zeros(count)
    for i in range(len(rows)):
        if rows[i].cluster >= 0:
            total[rows[i].cluster] += rows[i].mass * np.exp(-decay * (now - rows[i].time))
    return total


@njit(cache=True, nogil=True)
def _settle(old: Rows, items: Ints, times: Ints, decay: float) -> None:
    """Adds the mass of actions that were pushed out of the window to the interests they belonged to.

    An action is pushed out by a newer one: the window has not shrunk and all in it is as new. What left in another way was
    taken back and counts no more.
    """
    window = 0
    for i in range(len(old)):
        window += old[i].action
    if len(times) < window or len(times) == 0:
        return
    oldest = times.min()
    used = np.zeros(len(times), np.bool_)
    for i in range(len(old) - window, len(old)):
        found = False
        for j in range(len(times)):
            if not used[j] and times[j] == old[i].time and items[j] == old[i].key:
                used[j] = found = True
                break
        if not found and old[i].cluster >= 0 and old[i].time <= oldest:
            home = old[old[i].cluster]
            home.mass += old[i].mass * np.exp(-decay * (home.time - old[i].time))


@njit(cache=True, nogil=True)
def _gather(
    old: Rows, old_vectors: npt.NDArray[np.float32], items: Ints, times: Ints, vectors: npt.NDArray[np.float32],
    now: int, horizon: int,
) -> tuple[Rows, Floats, Ints, int]:
    """Lines to cluster with their points, and which line each action of the window became (−1: it has no vector yet).

    The last answer is the number of the first vector that is not finite (stored medoids count on after the actions), else −1.
    """
    stored, dim = old_vectors.shape
    n = len(items)
    rows = np.empty(n + stored, ROW)
    points = np.empty((n + stored, dim))
    line = np.full(n, -1, np.int64)
    count = 0
    for i in range(n + stored):
        length = 0.0
        for c in range(dim):
            value = np.float64(vectors[i, c]) if i < n else np.float64(old_vectors[i - n, c])
            points[count, c] = value
            length += value * value
        if not np.isfinite(length):
            return rows[:0], points[:0], line, i
        # All zeros is an item that nothing is known of yet: it is near to everything and says nothing.
        if length == 0.0:
            continue
        row = rows[count]
        row.action = 1 if i < n else 0
        row.key = items[i] if i < n else old[i - n].key
        row.time = times[i] if i < n else old[i - n].time
        row.mass = 1.0 if i < n else old[i - n].mass
        # An interest that lives in the window alone is there already, as its actions.
        if now - row.time > horizon or row.mass == 0.0:
            continue
        if i < n:
            line[i] = count
        count += 1
    return rows[:count], points[:count], line, -1


@njit(cache=True, nogil=True)
def recluster(
    old: Rows, old_vectors: npt.NDArray[np.float32], items: Ints, times: Ints, vectors: npt.NDArray[np.float32],
    now: int, window: int, limit: float, decay: float, horizon: int, keep: int,
) -> tuple[Rows, int]:
    """A user's new record from the old one and the actions to look at, in one call.

    `old` and `old_vectors` float32[m, d] are the record and the vectors of its m interests; `items` int64[n], `times`
    int64[n] (ms) and `vectors` float32[n, d] the actions, newest first, of which the first `window` stay single. `limit` is alpha²,
    `decay` λ per ms, `horizon` ms, `keep` the most interests: beyond it the nearest merge though further apart than alpha. The second answer is −1, or the number of the first vector that is not finite.
    """
    old = old.copy()
    _settle(old, items, times, decay)
    rows, points, line, bad = _gather(old, old_vectors, items, times, vectors, now, horizon)
    if bad >= 0:
        return rows, bad
    n = len(rows)
    pairs, heights = merge_chain(squared_distances(points))
    parent = np.arange(n)
    for i in range(n - 1):
        if heights[i] <= limit or n - i > keep:
            parent[find_root(parent, pairs[i, 0])] = find_root(parent, pairs[i, 1])
    labels = number_clusters(parent, n)
    clusters = labels.max() + 1 if n else 0
    chosen = _medoids(points, labels, clusters)
    total = np.zeros(clusters)
    last = np.full(clusters, np.iinfo(np.int64).min)
    for i in range(n):
        total[labels[i]] += rows[i].mass * np.exp(-decay * (now - rows[i].time))
        last[labels[i]] = max(last[labels[i]], rows[i].time)
    order = np.argsort(-total, kind="mergesort")
    rank = np.empty(clusters, np.int32)
    for i in range(len(order)):
        rank[order[i]] = i
    alone = min(window, len(items))
    record = np.empty(len(order) + alone, ROW)
    for i in range(len(order)):
        row = record[i]
        row.key, row.mass, row.time = rows[chosen[order[i]]].key, 0.0, last[order[i]]
        row.cluster, row.action = i, 0
    for i in range(alone):
        row = record[len(order) + i]
        row.key, row.mass, row.time, row.action = items[i], 1.0, times[i], 1
        row.cluster = rank[labels[line[i]]] if line[i] >= 0 else -1
        if line[i] >= 0:
            rows[line[i]].mass = 0.0
    for i in range(n):
        home = record[rank[labels[i]]]
        home.mass += rows[i].mass * np.exp(-decay * (home.time - rows[i].time))
    return record, -1
