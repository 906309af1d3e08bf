"""Ward against SciPy, one action through the store, and a search of the vector index against the bare product.

Ratios are of two things measured in turns in the same run, best of several, so that a busy machine hurts both alike.
"""

from collections.abc import Callable
from time import perf_counter

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import ward

from stream_reco.interests import Interests, ward_linkage
from stream_reco.retrieve.vector_index import VectorIndex

DIM = 64
Vectors = npt.NDArray[np.float32]


def _best(contestants: list[Callable[[], object]], repeats: int) -> list[float]:
    """Least seconds of each, taken in turns after one round that compiles."""
    least = [np.inf] * len(contestants)
    for contestant in contestants:
        contestant()
    for _ in range(repeats):
        for i, contestant in enumerate(contestants):
            start = perf_counter()
            contestant()
            least[i] = min(least[i], perf_counter() - start)
    return least


def _topics(rng: np.random.Generator, n: int) -> Vectors:
    vectors = rng.normal(size=(100, DIM))[rng.integers(0, 100, n)] + 0.6 * rng.normal(size=(n, DIM))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def bench_ward(n: int, repeats: int) -> dict[str, float]:
    """Whole calls, Python around the kernel included."""
    points = np.random.default_rng(n).normal(size=(n, DIM))
    ours, theirs = _best([lambda: ward_linkage(points), lambda: ward(points)], repeats)
    return {"microseconds": ours * 1e6, "scipy_microseconds": theirs * 1e6, "times_as_fast": theirs / ours}


def bench_observe(actions: int = 2_000) -> dict[str, float]:
    """One user with a full window and stored interests: what every event costs."""
    rng = np.random.default_rng(0)
    vectors, store = _topics(rng, 1_000), Interests()
    items, times = rng.integers(0, 1_000, actions), np.arange(actions) * 3_600_000
    spent = []
    for i in range(20, actions):
        window = slice(i, i - 20, -1)
        shown = items[window].copy(), times[window].copy(), vectors[items[window]]
        start = perf_counter()
        store.observe(1, *shown, int(times[i]), lambda keys: vectors[keys])
        spent.append(perf_counter() - start)
    p50, p99 = np.quantile(spent, [0.5, 0.99])
    return {"p50_microseconds": float(p50) * 1e6, "p99_microseconds": float(p99) * 1e6}


def bench_exact_search(n: int, queries: int, k: int) -> dict[str, float]:
    """Below the threshold: product and selection, beside the product alone."""
    rng = np.random.default_rng(1)
    vectors, asked = _topics(rng, n), _topics(rng, queries)
    index = VectorIndex(DIM)
    index.upsert(np.arange(n), vectors)
    search, product = _best([lambda: index.search(asked, k), lambda: asked @ vectors.T], 10)
    return {"milliseconds": search * 1e3, "product_milliseconds": product * 1e3, "times_the_product": search / product}


def bench_lists(n: int = 120_000, k: int = 100) -> dict[str, float]:
    """Above it: a look at a quarter of the vectors, of which a tenth has changed since."""
    rng = np.random.default_rng(2)
    vectors, asked = _topics(rng, n), _topics(rng, 200)
    index = VectorIndex(DIM)
    index.upsert(np.arange(n), vectors)
    start = perf_counter()
    index.build()
    index.searches_lists, index.share = True, 0.25
    built = perf_counter() - start
    changed = rng.choice(n, n // 10, replace=False)
    vectors[changed] = _topics(rng, len(changed))
    index.upsert(changed, vectors[changed])
    truth = np.argsort(-(asked @ vectors.T), axis=1)[:, :k]
    found = index.search(asked, k)[0]
    recall = np.mean([len(set(a) & set(b)) / k for a, b in zip(found.tolist(), truth.tolist(), strict=True)])
    (search,) = _best([lambda: index.search(asked[:1], k)], 20)
    return {"build_seconds": built, "milliseconds": search * 1e3, "recall": float(recall)}


def run() -> dict[str, object]:
    """Everything this room promises in numbers."""
    return {
        "ward": {str(n): bench_ward(n, repeats) for n, repeats in ((20, 500), (100, 200), (1_000, 10))},
        "observe": bench_observe(),
        "exact_search": {
            f"{queries}x100000 k={k}": bench_exact_search(100_000, queries, k)
            for queries, k in ((1, 100), (32, 100), (256, 100))
        },
        "list_search": {"120000 k=100": bench_lists()},
    }
