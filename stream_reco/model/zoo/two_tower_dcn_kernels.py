"""The forward pass of `two_tower_dcn` as two kernels: what is of requests alone, then the candidates.

Candidates go through all layers a block at a time, so that what lies between two layers never leaves the first cache.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.model.dense_layers import add_product, bound, dot, rectify, spread
from stream_reco.model.product_tile import ROWS, UNIT
from stream_reco.model.zoo.feature_layers import MOST_DEVIATIONS, click_rate
from stream_reco.model.zoo.two_tower_dcn_sizes import EMPTY_HISTORY, MATCHES, NO_MATCH, ROW_SCALE
from stream_reco.signals.settings import RECENT

_BLOCK = 32
"""Candidates of one request that go through the layers together, a multiple of `ROWS`: a weight that comes from the
second cache is used for all of them, and what they have between two layers takes 16 kB."""
_ASKED = RECENT
"""The column of `Partners` that is the user's vector, behind those of the history."""
PARTNERS = RECENT + 1 + -(RECENT + 1) % UNIT
"""Columns of it; the others are zeros."""
_NONE, _SCALE, _MOST = np.float32(NO_MATCH), np.float32(ROW_SCALE), np.float32(MOST_DEVIATIONS)
_EMPTY = np.float32(EMPTY_HISTORY)


class RequestWeights(NamedTuple):
    """Weights by which requests are read; matrices are float32[inputs, outputs] as `transposed` gives them."""

    tower: NDArray[np.float32]
    tower_bias: NDArray[np.float32]
    tower_out: NDArray[np.float32]
    tower_out_bias: NDArray[np.float32]
    condense: NDArray[np.float32]
    condense_bias: NDArray[np.float32]
    leads_to: NDArray[np.float32]


class RequestRows(NamedTuple):
    """What is read of g requests."""

    ages: NDArray[np.float32]
    """float32[g, RECENT], −1 behind the last."""
    history: NDArray[np.float32]
    """float32[g, RECENT, tower_dim]: what the items say as parts of it."""
    contexts: NDArray[np.float32]
    """float32[g, fields · context_dim], zeros for values that are absent."""
    users: NDArray[np.float32]
    """float32[g, user_dim]"""


class CandidateWeights(NamedTuple):
    """Weights by which candidates are read; matrices are float32[inputs, outputs] as `transposed` gives them."""

    mean: NDArray[np.float32]
    slopes: NDArray[np.float32]
    """float32[features]: what standardised features are multiplied by."""
    keep: NDArray[np.float32]
    rates: NDArray[np.float32]
    narrow: NDArray[np.float32]
    """float32[layers, width, rank]"""
    widen: NDArray[np.float32]
    """float32[layers, rank, width]"""
    widen_bias: NDArray[np.float32]
    bounded: NDArray[np.float32]
    deep: NDArray[np.float32]
    deep_bias: NDArray[np.float32]
    deeper: NDArray[np.float32]
    deeper_bias: NDArray[np.float32]
    top: NDArray[np.float32]
    """float32[width], of the crosses."""
    out: NDArray[np.float32]
    """float32[hidden // 2], of the deep part."""
    switches: NDArray[np.float32]
    """float32[3]: what is added to every log-odds; 1 or 0 for whether items' rows and the towers' match are read."""
    item_dim: int
    """The part of an item's row that is read beside features; what an item is and says, of one length, follow."""


class CandidateRows(NamedTuple):
    """What is read of n candidates of g requests."""

    dense: NDArray[np.float32]
    """float32[n, features]"""
    items: NDArray[np.float32]
    """float32[n, dim]: whole rows."""
    bounds: NDArray[np.int64]
    """int64[g + 1]: where the candidates of each request begin and end."""
    shared: NDArray[np.float32]
    """float32[g, request_dim filled up]: what all candidates of a request share."""
    partners: NDArray[np.float32]
    """float32[g, tower_dim filled up, PARTNERS]: what a candidate's target is multiplied with: the items of the
    history, newest first, and the user's vector."""
    known: NDArray[np.bool_]
    """bool[g, RECENT]: which of the history there are."""


@njit(cache=True, nogil=True)
def _pool(rows: RequestRows, one: int, pooled: NDArray[np.float32]) -> None:
    """Add to the zeros that float32[≥ tower] begins with the mean of a history, newer items weighing more."""
    total = np.float32(0.0)
    for place in range(rows.ages.shape[1]):
        if rows.ages[one, place] >= 0.0:
            weight = np.float32(math.exp(-rows.ages[one, place]))
            total += weight
            for at in range(rows.history.shape[2]):
                pooled[at] += weight * rows.history[one, place, at]
    for at in range(rows.history.shape[2]):
        pooled[at] /= total + _EMPTY


@njit(cache=True, nogil=True)
def read_requests(
    w: RequestWeights, rows: RequestRows
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Of g requests the user vectors, `shared` and `partners`, as in `CandidateRows`; the first two filled up."""
    count, contexts = rows.contexts.shape
    size, tower, own = -(-count // ROWS) * ROWS, rows.history.shape[2], rows.users.shape[1]
    read = np.zeros((size, w.tower.shape[0]), np.float32)
    condensed = np.zeros((size, w.condense.shape[0]), np.float32)
    hidden = np.empty((size, w.tower_bias.shape[0]), np.float32)
    vectors = np.empty((size, w.tower_out_bias.shape[0]), np.float32)
    shared = np.empty((size, w.condense_bias.shape[0]), np.float32)
    spread(w.tower_bias, hidden)
    spread(w.tower_out_bias, vectors)
    spread(w.condense_bias, shared)
    for one in range(count):
        _pool(rows, one, read[one])
        for at in range(contexts):
            read[one, tower + at] = rows.contexts[one, at]
            condensed[one, own + at] = rows.contexts[one, at] * _SCALE
        for at in range(own):
            read[one, tower + contexts + at] = rows.users[one, at]
            condensed[one, at] = rows.users[one, at] * _SCALE
    add_product(read, w.tower, hidden, count)
    rectify(hidden)
    add_product(hidden, w.tower_out, vectors, count)
    add_product(condensed, w.condense, shared, count)
    partners = np.zeros((count, w.leads_to.shape[1], PARTNERS), np.float32)
    said = np.zeros((RECENT, w.leads_to.shape[0]), np.float32)
    ahead = np.empty((RECENT, w.leads_to.shape[1]), np.float32)
    nothing = np.zeros(ahead.shape[1], np.float32)
    for one in range(count):
        for place in range(RECENT):
            for at in range(tower):
                said[place, at] = rows.history[one, place, at]
        spread(nothing, ahead)
        add_product(said, w.leads_to, ahead, RECENT)
        for at in range(tower):
            for place in range(RECENT):
                partners[one, at, place] = ahead[place, at]
            partners[one, at, _ASKED] = vectors[one, at]
    return vectors, shared, partners


@njit(cache=True, nogil=True)
def _summarise(products: NDArray[np.float32], known: NDArray[np.bool_], out: NDArray[np.float32]) -> None:
    """Fill float32[3]: the match with the newest item of a history, with the best one, and log Σ exp over all."""
    most, unknown = products[0] if known[0] else _NONE, np.float32(0.0)
    for place in range(known.shape[0]):
        most = max(most, products[place] if known[place] else _NONE)
        unknown += np.float32(0.0 if known[place] else 1.0)
    total = unknown * np.float32(math.exp(_NONE - most))
    for place in range(known.shape[0]):
        if known[place]:
            total += np.float32(math.exp(products[place] - most))
    out[0] = products[0] if known[0] else _NONE
    out[1], out[2] = most, most + np.float32(math.log(total))


@njit(cache=True, nogil=True)
def _read(
    w: CandidateWeights,
    rows: CandidateRows,
    place: tuple[int, int, int],
    first: NDArray[np.float32],
    products: NDArray[np.float32],
) -> None:
    """Fill float32[block, width] with what the network reads of candidates; `place`: request, first and number.

    `products` float32[block, PARTNERS] are those of the candidates' targets with `rows.partners`.
    """
    owner, begin, count = place
    features, end = w.mean.shape[0], w.mean.shape[0] + w.item_dim
    shared = w.top.shape[0] - end - 1 - MATCHES
    scale = _SCALE * w.switches[1]
    for one in range(count):
        x, candidate = first[one], begin + one
        for at in range(features):
            deviations = (rows.dense[candidate, at] - w.mean[at]) * w.slopes[at]
            x[at] = min(max(deviations, -_MOST), _MOST) * w.keep[at]
        for at in range(w.item_dim):
            x[features + at] = rows.items[candidate, at] * scale
        for at in range(shared):
            x[end + at] = rows.shared[owner, at]
        products[one, _ASKED] *= w.switches[2]
        x[end + shared] = products[one, _ASKED]
        _summarise(products[one], rows.known[owner], x[end + shared + 1 :])


@njit(cache=True, nogil=True)
def _meet(w: CandidateWeights, rows: CandidateRows, place: tuple[int, int, int], products: NDArray[np.float32]) -> None:
    """Fill the `products` of `_read`."""
    owner, begin, count = place
    targets = np.zeros((_BLOCK, rows.partners.shape[1]), np.float32)
    for one in range(count):
        for at in range((rows.items.shape[1] - w.item_dim) // 2):
            targets[one, at] = rows.items[begin + one, w.item_dim + at]
    spread(np.zeros(PARTNERS, np.float32), products)
    add_product(targets, rows.partners[owner], products, count)


@njit(cache=True, nogil=True)
def _cross(w: CandidateWeights, first: NDArray[np.float32], x: NDArray[np.float32], count: int) -> None:
    """Let float32[block, width] `x` go through the cross layers; it begins as `first`."""
    narrow = np.empty((_BLOCK, w.narrow.shape[2]), np.float32)
    wide, nothing = np.empty((_BLOCK, first.shape[1]), np.float32), np.zeros(w.narrow.shape[2], np.float32)
    for one in range(count):
        for at in range(first.shape[1]):
            x[one, at] = first[one, at]
    for layer in range(w.narrow.shape[0]):
        spread(nothing, narrow)
        add_product(x, w.narrow[layer], narrow, count)
        if w.bounded[layer] > 0.0:
            bound(narrow)
        spread(w.widen_bias[layer], wide)
        add_product(narrow, w.widen[layer], wide, count)
        for one in range(count):
            for at in range(first.shape[1]):
                x[one, at] += first[one, at] * wide[one, at]


@njit(cache=True, nogil=True)
def score_candidates(
    w: CandidateWeights, rows: CandidateRows, odds: NDArray[np.float32], bottom: NDArray[np.float32]
) -> None:
    """Fill the log-odds float32[n] of candidates, and `bottom` float32[n or 0, hidden // 2 + width]."""
    width, half = w.top.shape[0], w.out.shape[0]
    first = np.zeros((_BLOCK, w.deep.shape[0]), np.float32)
    x, products = np.zeros((_BLOCK, w.deep.shape[0]), np.float32), np.empty((_BLOCK, PARTNERS), np.float32)
    hidden = np.empty((_BLOCK, w.deep.shape[1]), np.float32)
    deeper = np.empty((_BLOCK, w.deeper.shape[1]), np.float32)
    for owner in range(rows.bounds.shape[0] - 1):
        for begin in range(rows.bounds[owner], rows.bounds[owner + 1], _BLOCK):
            count = min(_BLOCK, rows.bounds[owner + 1] - begin)
            _meet(w, rows, (owner, begin, count), products)
            _read(w, rows, (owner, begin, count), first, products)
            _cross(w, first, x, count)
            spread(w.deep_bias, hidden)
            add_product(first, w.deep, hidden, count)
            rectify(hidden)
            spread(w.deeper_bias, deeper)
            add_product(hidden, w.deeper, deeper, count)
            rectify(deeper)
            for one in range(count):
                own = dot(x[one, :width], w.top) + dot(deeper[one, :half], w.out)
                rate = click_rate(rows.dense[begin + one], w.rates)
                odds[begin + one] = own + products[one, _ASKED] + rate + w.switches[0]
                if bottom.shape[0]:
                    for at in range(half):
                        bottom[begin + one, at] = deeper[one, at]
                    for at in range(width):
                        bottom[begin + one, half + at] = x[one, at]
