"""Ward's hierarchical clustering by the nearest-neighbour chain.

J. H. Ward, "Hierarchical grouping to optimize an objective function", JASA 58 (1963); the update of distances is Lance
and Williams, "A general theory of classificatory sorting strategies", Computer Journal 9 (1967); the chain is F.
Murtagh, "A survey of recent advances in hierarchical clustering algorithms", Computer Journal 26 (1983). PinnerSage
(Pal et al., KDD 2020, Algorithm 1) clusters users' recent pins so.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int32]


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def squared_distances(points: Matrix) -> Matrix:
    """Squared Euclidean distances float64[n, n] of points float64[n, d], infinite on the diagonal."""
    n, dim = points.shape
    square = np.empty((n, n))
    # Four sums at a time keep the arithmetic units busy and fill half a cache line of the mirrored half at once.
    for i in range(0, n - 3, 4):
        for j in range(i + 4):
            x = points[j]
            a = b = c = d = 0.0
            for k in range(dim):
                a += (points[i, k] - x[k]) ** 2
                b += (points[i + 1, k] - x[k]) ** 2
                c += (points[i + 2, k] - x[k]) ** 2
                d += (points[i + 3, k] - x[k]) ** 2
            square[j, i], square[j, i + 1], square[j, i + 2], square[j, i + 3] = a, b, c, d
            square[i, j], square[i + 1, j], square[i + 2, j], square[i + 3, j] = a, b, c, d
    for i in range(n - n % 4, n):
        for j in range(i):
            total = 0.0
            for k in range(dim):
                total += (points[i, k] - points[j, k]) ** 2
            square[i, j] = square[j, i] = total
    for i in range(n):
        square[i, i] = np.inf
    return square


@njit(cache=True, nogil=True)
def _nearest(row: Vector, dead: Vector, first: int) -> tuple[int, float]:
    """The nearest live cluster in a row and its squared height; among equals `first`, else the lowest."""
    best = row[first]
    for j in range(len(row)):
        height = row[j] + dead[j]
        if height < best:
            best = height
            first = j
    return first, best


@njit(cache=True, nogil=True, fastmath={"contract"})
def _join(square: Matrix, size: Vector, dead: Vector, gone: int, kept: int) -> None:
    """Puts cluster `gone` into the row of `kept`, by the formula of Lance and Williams for Ward."""
    height = square[gone, kept]
    a, b = size[gone], size[kept]
    row, other = square[kept], square[gone]
    for j in range(len(size)):
        c = size[j]
        joined = ((a + c) * other[j] + (b + c) * row[j] - c * height) / (a + b + c)
        # Of coinciding points rounding may leave a tiny negative square.
        row[j] = joined if joined > 0.0 else 0.0
    row[kept] = np.inf
    for j in range(len(size)):
        square[j, kept] = row[j]
    size[kept] = a + b
    size[gone] = 0.0
    dead[gone] = np.inf


@njit(cache=True, nogil=True)
def _compact(square: Matrix, size: Vector, point: Indices, count: int) -> tuple[Matrix, Vector, Indices]:
    """The rows and columns, sizes and points of the `count` live clusters alone, in their order."""
    live, part, sizes = np.empty(count, np.int64), np.empty((count, count)), np.empty(count)
    row = 0
    for i in range(len(size)):
        if size[i] > 0.0:
            live[row] = i
            row += 1
    for i in range(count):
        sizes[i] = size[live[i]]
        for j in range(count):
            part[i, j] = square[live[i], live[j]]
    for i in range(count):
        live[i] = point[live[i]]
    return part, sizes, live


@njit(cache=True, nogil=True)
def _by_height(pairs: Indices, heights: Vector) -> tuple[Indices, Vector]:
    order = np.argsort(heights, kind="mergesort")
    risen, high = np.empty_like(pairs), np.empty_like(heights)
    for i in range(len(order)):
        risen[i, 0], risen[i, 1], high[i] = pairs[order[i], 0], pairs[order[i], 1], heights[order[i]]
    return risen, high


@njit(cache=True, nogil=True)
def merge_chain(square: Matrix) -> tuple[Indices, Vector]:
    """The n − 1 merges by rising height: pairs of rows int64[n−1, 2] and squared heights float64[n−1].

    `square` float64[n, n] holds squared distances (infinite diagonal) and is used up. Each row of a pair stands for the
    cluster that it is in by then; equal heights stay in the order in which the chain finds them.
    """
    n = len(square)
    pairs, heights = np.empty((max(n - 1, 0), 2), np.int64), np.empty(max(n - 1, 0))
    size, dead, point = np.ones(n), np.zeros(n), np.arange(n)
    chain = np.empty(n + 1, np.int64)
    length = merged = start = 0
    while merged < n - 1:
        if len(size) >= 32 and 2 * (n - merged) <= len(size):
            # Half of the clusters are used up: what is left moves together, and the chain begins again.
            square, size, point = _compact(square, size, point, n - merged)
            dead, length, start = np.zeros(n - merged), 0, 0
        # Rounding among ties may leave a used-up cluster in the chain; any live end is a valid chain.
        while length > 0 and size[chain[length - 1]] == 0.0:
            length -= 1
        if length == 0 or length > len(size):
            while size[start] == 0.0:
                start += 1
            chain[0], length = start, 1
        x = chain[length - 1]
        previous = chain[length - 2] if length > 1 and size[chain[length - 2]] > 0.0 else x
        y, height = _nearest(square[x], dead, previous)
        if y != previous:
            chain[length] = y
            length += 1
            continue
        pairs[merged, 0], pairs[merged, 1], heights[merged] = point[min(x, y)], point[max(x, y)], height
        _join(square, size, dead, min(x, y), max(x, y))
        merged += 1
        length -= 2
    risen: tuple[Indices, Vector] = _by_height(pairs, heights)
    return risen


@njit(cache=True, nogil=True)
def find_root(parent: Indices, node: int) -> int:
    """The root of a node in a forest of parents, whose paths are halved on the way."""
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def squared_length(point: Vector) -> float:
    """|x|² of x float64[d]: zero, positive, infinite or NaN."""
    total = 0.0
    for value in point:
        total += value * value
    return total


@njit(cache=True, nogil=True)
def _linkage(points: Matrix) -> tuple[Matrix, int]:
    n = len(points)
    tree = np.empty((max(n - 1, 0), 4))
    for i in range(n):
        if not np.isfinite(squared_length(points[i])):
            return tree, i
    if n < 2:
        return tree, -1
    pairs, heights = merge_chain(squared_distances(points))
    parent = np.arange(2 * n - 1)
    size = np.ones(2 * n - 1, np.int64)
    for row in range(n - 1):
        a, b = find_root(parent, pairs[row, 0]), find_root(parent, pairs[row, 1])
        parent[a] = parent[b] = n + row
        size[n + row] = size[a] + size[b]
        tree[row, 0], tree[row, 1] = min(a, b), max(a, b)
        tree[row, 2], tree[row, 3] = np.sqrt(heights[row]), size[n + row]
    return tree, -1


@njit(cache=True, nogil=True)
def _cut(tree: Matrix, alpha: float) -> Labels:
    n = len(tree) + 1
    parent = np.arange(2 * n - 1)
    for row in range(n - 1):
        if tree[row, 2] <= alpha:
            parent[find_root(parent, int(tree[row, 0]))] = n + row
            parent[find_root(parent, int(tree[row, 1]))] = n + row
    labels: Labels = number_clusters(parent, n)
    return labels


@njit(cache=True, nogil=True)
def number_clusters(parent: Indices, n: int) -> Labels:
    """Labels int32[n] from 0, in the order of each cluster's first member, of the first n nodes of a forest."""
    name = np.full(len(parent), -1, np.int32)
    labels: Labels = np.empty(n, np.int32)
    count = 0
    for i in range(n):
        root = find_root(parent, i)
        if name[root] < 0:
            name[root] = count
            count += 1
        labels[i] = name[root]
    return labels


def ward_linkage(points: npt.NDArray[np.floating]) -> Matrix:
    """Ward's tree of points [n, d] as SciPy's linkage matrix float64[n−1, 4].

    Row i joins the clusters in columns 0 and 1 (smaller first; below n a point, else n + row) into cluster n + i at the
    height in column 2, which is √(2ab/(a+b)) times the distance of the two centroids (a, b members), not decreasing;
    column 3 counts the members. No or one point gives no rows. Time and memory are O(n²). Raises ValueError where
    points are not a matrix of finite numbers whose squares are finite too.
    """
    points = np.ascontiguousarray(points, np.float64)
    if points.ndim != 2:
        raise ValueError(f"points have shape {points.shape}; Ward clusters a matrix [points, dimensions]")
    tree: Matrix
    tree, bad = _linkage(points if points.flags.writeable else points.copy())
    if bad >= 0:
        raise ValueError(f"point {bad} is {points[bad]}, NaN, infinite or too large to square; leave it out")
    return tree


def cut(tree: Matrix, alpha: float) -> Labels:
    """Cluster labels int32[n] of the n points of a linkage matrix float64[n−1, 4], all merges up to `alpha` done.

    Labels count from 0 in the order of each cluster's first point. A matrix of no rows is one point.
    """
    labels: Labels = _cut(np.array(tree, np.float64, order="C"), float(alpha))
    return labels
