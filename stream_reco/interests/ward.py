"""Ward's hierarchical clustering by the nearest-neighbour chain.

J. H. Ward, "Hierarchical grouping to optimize an objective function", JASA 58 (1963); the update of distances is Lance
and Williams, "A general theory of classificatory sorting strategies", Computer Journal 9 (1967); the chain is F. Murtagh,
"A survey of recent advances in hierarchical clustering algorithms", Computer Journal 26 (1983). PinnerSage (Pal et al.,
KDD 2020, Algorithm 1) uses the same on users' recent pins.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

Points = npt.NDArray[np.float64] | npt.NDArray[np.float32]


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def squared_distances(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Squared Euclidean distances float64[n, n] of points float64[n, d], infinite on the diagonal."""
    n, dim = points.shape
    square = np.empty((n, n))
    for i in range(n):
        square[i, i] = np.inf
        for j in range(i):
            total = 0.0
            for c in range(dim):
                gap = points[i, c] - points[j, c]
                total += gap * gap
            square[i, j] = total
            square[j, i] = total
    return square


@njit(cache=True, nogil=True)
def _nearest(row: npt.NDArray[np.float64], first: int, best: float) -> tuple[int, float]:
    """The nearest in a row, where the distance `best` of `first` is only given up for a smaller one."""
    for j in range(len(row)):
        if row[j] < best:
            best = row[j]
            first = j
    return first, best


@njit(cache=True, nogil=True, fastmath={"contract"})
def _join(square: npt.NDArray[np.float64], size: npt.NDArray[np.int64], gone: int, kept: int) -> None:
    """Puts cluster `gone` into the row of `kept`, by the formula of Lance and Williams for Ward."""
    height = square[gone, kept]
    a, b = size[gone], size[kept]
    for j in range(len(size)):
        c = size[j]
        if c == 0 or j == gone or j == kept:
            continue
        merged = ((a + c) * square[gone, j] + (b + c) * square[kept, j] - c * height) / (a + b + c)
        # Of coinciding points rounding may leave a tiny negative square.
        merged = max(merged, 0.0)
        square[kept, j] = merged
        square[j, kept] = merged
    size[kept] = a + b
    _retire(square, size, gone)


@njit(cache=True, nogil=True)
def _retire(square: npt.NDArray[np.float64], size: npt.NDArray[np.int64], cluster: int) -> None:
    size[cluster] = 0
    for j in range(len(size)):
        square[j, cluster] = np.inf


@njit(cache=True, nogil=True)
def merge_chain(square: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The n − 1 merges by rising height: pairs of rows int64[n−1, 2] and squared heights float64[n−1].

    `square` float64[n, n] holds squared distances (infinite diagonal) and is used up. Each row of a pair stands for the
    cluster that it is in by then; the rows are those of the chain, so that equal heights keep its order.
    """
    n = len(square)
    pairs = np.empty((max(n - 1, 0), 2), np.int64)
    heights = np.empty(max(n - 1, 0))
    size = np.ones(n, np.int64)
    chain = np.empty(n + 1, np.int64)
    length = merged = start = 0
    while merged < n - 1:
        # Rounding among ties may leave a used-up cluster in the chain; any live end is a valid chain.
        while length > 0 and size[chain[length - 1]] == 0:
            length -= 1
        if length == 0 or length > n:
            while size[start] == 0:
                start += 1
            chain[0] = start
            length = 1
        x = chain[length - 1]
        previous = chain[length - 2] if length > 1 else x
        y, height = _nearest(square[x], previous, square[x, previous])
        if y == previous:
            pairs[merged, 0], pairs[merged, 1] = min(x, y), max(x, y)
            heights[merged] = height
            merged += 1
            _join(square, size, min(x, y), max(x, y))
            length -= 2
        else:
            chain[length] = y
            length += 1
    order = np.argsort(heights, kind="mergesort")
    return pairs[order], heights[order]


@njit(cache=True, nogil=True)
def find_root(parent: npt.NDArray[np.int64], node: int) -> int:
    """The root of a node in a forest of parents, whose paths are halved on the way."""
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@njit(cache=True, nogil=True)
def _linkage(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    n = len(points)
    pairs, heights = merge_chain(squared_distances(points))
    parent = np.arange(2 * n - 1)
    size = np.ones(2 * n - 1, np.int64)
    tree = np.empty((n - 1, 4))
    for row in range(n - 1):
        a, b = find_root(parent, pairs[row, 0]), find_root(parent, pairs[row, 1])
        parent[a] = parent[b] = n + row
        size[n + row] = size[a] + size[b]
        tree[row, 0], tree[row, 1] = min(a, b), max(a, b)
        tree[row, 2] = np.sqrt(heights[row])
        tree[row, 3] = size[n + row]
    return tree


@njit(cache=True, nogil=True)
def _cut(tree: npt.NDArray[np.float64], alpha: float) -> npt.NDArray[np.int32]:
    n = len(tree) + 1
    parent = np.arange(2 * n - 1)
    for row in range(n - 1):
        if tree[row, 2] <= alpha:
            parent[find_root(parent, int(tree[row, 0]))] = n + row
            parent[find_root(parent, int(tree[row, 1]))] = n + row
    return number_clusters(parent, n)


@njit(cache=True, nogil=True)
def number_clusters(parent: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int32]:
    """Labels int32[n] from 0, in the order of each cluster's first member, of the first n nodes of a forest."""
    name = np.full(len(parent), -1, np.int32)
    labels = np.empty(n, np.int32)
    count = 0
    for i in range(n):
        root = find_root(parent, i)
        if name[root] < 0:
            name[root] = count
            count += 1
        labels[i] = name[root]
    return labels


def ward_linkage(points: Points) -> npt.NDArray[np.float64]:
    """Ward's tree of points [n, d] as SciPy's linkage matrix float64[n−1, 4].

    Row i joins the clusters in columns 0 and 1 (smaller first; below n a point, else n + row) into cluster n + i at the
    height in column 2, which is √(2ab/(a+b)) times the distance of the two centroids (a, b members), not decreasing; column 3
    counts the members. No or one point gives no rows. Time and memory are O(n²). Raises ValueError where points are not a
    matrix of finite numbers whose squared distances are finite too.
    """
    points = np.ascontiguousarray(points, np.float64)
    if points.ndim != 2:
        raise ValueError(f"points have shape {points.shape}; Ward clusters a matrix [points, dimensions]")
    bad = np.flatnonzero(~np.isfinite(np.square(points).sum(axis=1)))
    if len(bad):
        raise ValueError(
            f"point {bad[0]} is {points[bad[0]]}: NaN, infinite or too large to square has no distance; leave it out"
        )
    if len(points) < 2:
        return np.empty((0, 4))
    tree: npt.NDArray[np.float64] = _linkage(points)
    return tree


def cut(tree: npt.NDArray[np.float64], alpha: float) -> npt.NDArray[np.int32]:
    """Cluster labels int32[n] of the n points of a linkage matrix float64[n−1, 4], all merges up to `alpha` done.

    Labels count from 0 in the order of each cluster's first point. A matrix of no rows is one point.
    """
    labels: npt.NDArray[np.int32] = _cut(np.ascontiguousarray(tree, np.float64), float(alpha))
    return labels
