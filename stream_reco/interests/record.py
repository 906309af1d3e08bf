"""One user's record, and how an action changes it: everything that happens per event, in one compiled call.

PinnerSage (Pal et al., KDD 2020), section 4.2, clusters the latest actions online and the whole history once a day.
Here the latest actions stay single in the record until newer ones push them out of the window, and only then become
part of a stored interest. So each action counts exactly once, and the interests of the latest actions can still change.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from stream_reco.interests.clusters import choose_medoids
from stream_reco.interests.ward import (
    Indices,
    Labels,
    Matrix,
    Vector,
    find_root,
    merge_chain,
    number_clusters,
    squared_distances,
    squared_length,
)

ROW = np.dtype(
    [("key", np.int64), ("mass", np.float64), ("time", np.int64), ("cluster", np.int32), ("action", np.int32)],
    align=True,
)
"""One line of a user's record.

First the interests (`action` 0), the most important first: the medoid's item key, the mass of those of its actions that
left the window (as of `time`), the time of its last action. Then the window of recent actions (`action` 1, mass 1 as of
their own time), each with the number of its interest or −1 for none.
"""

Rows = np.ndarray[tuple[int], np.dtype[np.void]]
Vectors = npt.NDArray[np.float32]


@njit(cache=True, nogil=True)
def importance_of(rows: Rows, now: int, decay: float) -> Vector:
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
def _settle(old: Rows, items: Indices, times: Indices, decay: float) -> Rows:
    """The record after actions that were pushed out of the window have become part of their interests.

    An action is pushed out by a newer one: the window has not shrunk and all in it is as new. What left in another way
    was taken back and counts no more.
    """
    old = old.copy()
    window = 0
    for i in range(len(old)):
        window += old[i].action
    if len(times) < window or window == 0:
        return old
    oldest = times[0]
    for time in times:
        oldest = min(oldest, time)
    used = np.zeros(len(times), np.bool_)
    for i in range(len(old) - window, len(old)):
        still_there = False
        for j in range(len(times)):
            if not used[j] and times[j] == old[i].time and items[j] == old[i].key:
                used[j] = still_there = True
                break
        if not still_there and old[i].cluster >= 0 and old[i].time <= oldest:
            home = old[old[i].cluster]
            home.mass += old[i].mass * np.exp(-decay * (home.time - old[i].time))
    return old


@njit(cache=True, nogil=True)
def _points(vectors: Vectors, stored: Vectors) -> tuple[Matrix, Vector]:
    """Both sets of vectors as points float64[n + m, d], and their squared lengths."""
    n, dim = vectors.shape
    points = np.empty((n + len(stored), dim))
    length = np.empty(len(points))
    for i in range(len(points)):
        for c in range(dim):
            points[i, c] = vectors[i, c] if i < n else stored[i - n, c]
        length[i] = squared_length(points[i])
    return points, length


@njit(cache=True, nogil=True)
def _gather(
    old: Rows, points: Matrix, length: Vector, items: Indices, times: Indices, now: int, horizon: int
) -> tuple[Rows, Matrix, Indices]:
    """Lines to cluster, their points, and which line each action became (−1: none)."""
    n = len(items)
    rows = np.empty(len(points), ROW)
    line = np.full(n, -1, np.int64)
    count = 0
    for i in range(len(points)):
        row = rows[count]
        if i < n:
            row.key, row.mass, row.time, row.action = items[i], 1.0, times[i], 1
        else:
            row.key, row.mass, row.time, row.action = old[i - n].key, old[i - n].mass, old[i - n].time, 0
        # A vector of zeros is an item of which nothing is known yet: it is near to everything and says nothing. And an
        # interest that lives in the window alone (no mass of its own) is there already, as its actions.
        if length[i] == 0.0 or row.mass == 0.0 or now - row.time > horizon:
            continue
        if i < n:
            line[i] = count
        for c in range(points.shape[1]):
            points[count, c] = points[i, c]
        count += 1
    return rows[:count], points[:count], line


@njit(cache=True, nogil=True)
def _cluster(points: Matrix, limit: float, most: int) -> Labels:
    """Labels of the clusters cut at squared height `limit`, or higher if they would be more than `most`."""
    n = len(points)
    pairs, heights = merge_chain(squared_distances(points))
    parent = np.arange(n)
    for i in range(n - 1):
        if heights[i] <= limit or n - i > most:
            parent[find_root(parent, pairs[i, 0])] = find_root(parent, pairs[i, 1])
    labels: Labels = number_clusters(parent, n)
    return labels


@njit(cache=True, nogil=True)
def _count(labels: Labels) -> int:
    count = 0
    for label in labels:
        count = max(count, label + 1)
    return count


@njit(cache=True, nogil=True)
def _write_interests(
    record: Rows, rows: Rows, points: Matrix, labels: Labels, clusters: int, now: int, decay: float
) -> Labels:
    """Writes the interests into the head of the record, the most important first, still without mass.

    Answers int32[clusters]: which interest each cluster became.
    """
    chosen = choose_medoids(points, labels, clusters)
    total = np.zeros(clusters)
    last = np.full(clusters, np.iinfo(np.int64).min)
    for i in range(len(rows)):
        total[labels[i]] += rows[i].mass * np.exp(-decay * (now - rows[i].time))
        last[labels[i]] = max(last[labels[i]], rows[i].time)
    rank = np.full(clusters, -1, np.int32)
    for i in range(clusters):
        most = -1
        for c in range(clusters):
            if rank[c] < 0 and (most < 0 or total[c] > total[most]):
                most = c
        rank[most] = i
        head = record[i]
        head.key, head.mass, head.time = rows[chosen[most]].key, 0.0, last[most]
        head.cluster, head.action = i, 0
    return rank


class Actions(NamedTuple):
    """Actions to look at, newest first."""

    items: Indices
    """int64[n]: embedding keys."""
    times: Indices
    """int64[n], ms."""
    vectors: Vectors
    """float32[n, d]: unit vectors of the items, zeros where nothing is known."""


class Clustering(NamedTuple):
    """How actions become interests."""

    window: int
    """So many newest actions stay single in the record."""
    limit: float
    """α²: squared height at which clusters are cut."""
    decay: float
    """λ per ms."""
    horizon: int
    """ms after which an action counts no more."""
    most: int
    """Interests beyond which the nearest merge, however far."""


@njit(cache=True, nogil=True)
def recluster(old: Rows, stored: Vectors, actions: Actions, now: int, how: Clustering) -> tuple[Rows, int]:
    """A user's new record from the old one and the actions to look at.

    `stored` float32[m, d] are the vectors of the m interests of `old`. The second answer is −1, or the number of the
    first vector that is not finite, the stored ones after the actions.
    """
    items, times, decay = actions.items, actions.times, how.decay
    points, length = _points(actions.vectors, stored)
    for i in range(len(length)):
        if not np.isfinite(length[i]):
            return old[:0], i
    rows, points, line = _gather(_settle(old, items, times, decay), points, length, items, times, now, how.horizon)
    labels = _cluster(points, how.limit, how.most)
    clusters = _count(labels)
    alone = min(how.window, len(items))
    record = np.empty(clusters + alone, ROW)
    rank = _write_interests(record, rows, points, labels, clusters, now, decay)
    for i in range(alone):
        row = record[clusters + i]
        row.key, row.mass, row.time, row.cluster, row.action = items[i], 1.0, times[i], -1, 1
        if line[i] >= 0:
            row.cluster = rank[labels[line[i]]]
            rows[line[i]].mass = 0.0
    for i in range(len(rows)):
        head = record[rank[labels[i]]]
        head.mass += rows[i].mass * np.exp(-decay * (head.time - rows[i].time))
    return record, -1
