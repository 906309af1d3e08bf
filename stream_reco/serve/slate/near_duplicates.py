"""Candidates that say nearly the same as a better one: an article posted twice, a product in five sellers' copies.

Of two such items only the better one stays a candidate. That is decided before the order of a slate, from what all
candidates say, so nothing else of a slate changes: what is explored is drawn from the others, and chances are exact.
Pairs are found by their words or given vectors (`alike_pairs.py`); what both say exactly has the last word
(`same_thing.py`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_reco.serve.slate.alike_pairs import Pairs, pairs_by_vectors, pairs_by_words, wordless
from stream_reco.serve.slate.same_thing import KnownFacts
from stream_reco.signals.catalogue import Catalogue
from stream_reco.signals.content.fields import OF_TEXT
from stream_reco.signals.content.values import Values

_OFF = 1.0
"""The cosine from which nothing is a near-duplicate of anything."""
_MOST_CHECKED = 1_000
"""Pairs of a request that are checked exactly, those of the best candidates first: 220 items of one title that differ
in a number would be 24,000."""


class NearDuplicates:
    """Finds them among the candidates of requests; any number of threads may ask."""

    def __init__(self, least: float) -> None:
        """`least`: the cosine of words from which two items say nearly the same; 1: never."""
        self._least = least
        self._facts = KnownFacts()

    def among(
        self,
        catalogue: Catalogue,
        slots: NDArray[np.int32],
        content: tuple[NDArray[np.int32], Values],
        values: NDArray[np.float32],
    ) -> NDArray[np.bool_] | None:
        """bool[n]: which candidates `slots` int32[n] say nearly the same as a better one that stays; None: none.

        `content` has how many values each says, int32[n] or int32[0], and all of these; `values` float32[n] are what
        candidates are ordered by, of equal ones that of the lower slot is better.
        """
        counts, said = content
        says_words, vectors = bool((said.fields & OF_TEXT).any()), catalogue.content.vectors
        if self._least >= _OFF or not (says_words or vectors.names):
            return None
        order = np.lexsort((slots, -values))
        found = [pairs_by_words(counts, said, order, self._least)] if says_words else []
        if vectors.names:
            told = order[wordless(counts, said)[order]] if says_words else order
            arrays = map(vectors.array, vectors.names)
            found += [pairs_by_vectors(array, slots, told) for array in arrays if array is not None]
        pairs = found[0] if len(found) == 1 else _in_order(np.concatenate(found), order)
        return self._worse_of(catalogue, slots, pairs) if len(pairs) else None

    def _worse_of(self, catalogue: Catalogue, slots: NDArray[np.int32], pairs: Pairs) -> NDArray[np.bool_] | None:
        facts = self._facts.reader(catalogue)
        left_out = np.zeros(len(slots), dtype=np.bool_)
        checked = 0
        for better, worse in pairs.tolist():
            if checked == _MOST_CHECKED:
                break
            if not left_out[better] and not left_out[worse]:
                checked += 1
                left_out[worse] = facts.are_one_thing(int(slots[better]), int(slots[worse]))
        return left_out if left_out.any() else None


def without_duplicates(
    duplicates: NDArray[np.bool_] | None, values: NDArray[np.float32], k: int
) -> NDArray[np.int64] | None:
    """int64[m], ascending: the candidates that stay; None: all do.

    Where fewer than k say something of their own, the best of the `duplicates` bool[n] stay too, by `values`
    float32[n]: a slate is rather repetitive than short.
    """
    if duplicates is None:
        return None
    lacking = min(k, len(values)) - int(len(values) - duplicates.sum())
    if lacking > 0:
        places = np.flatnonzero(duplicates)
        duplicates = duplicates.copy()
        duplicates[places[np.argsort(-values[places], kind="stable")[:lacking]]] = False
    return np.flatnonzero(~duplicates)


def _in_order(pairs: Pairs, order: NDArray[np.int64]) -> Pairs:
    """Pairs by their worse one, the best first: whether the better one stays is then known before."""
    ranks = np.argsort(order)
    sorted_pairs: Pairs = pairs[np.lexsort((ranks[pairs[:, 0]], ranks[pairs[:, 1]]))]
    return sorted_pairs
