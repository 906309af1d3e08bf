"""What a fused step of the towers and the cross network does between its matrix products, on the way back.

Sizes and `error_model` are those of `forward_kernels`.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.model.fused.forward_kernels import Arrays


@njit(cache=True, nogil=True, error_model="numpy")
def slope_losses(
    logits: NDArray[np.float32],
    examples: Arrays,
    bounds: NDArray[np.int64],
    odds_weight: float,
    slopes: NDArray[np.float32],
) -> float:
    """The summed losses of lists, of single candidates and of labels taken back, and their `slopes` float32[n].

    `examples`: labels float32[n], weights and weights undone float32[g].
    """
    labels, weights, undone = examples
    loss = 0.0
    for one in range(len(bounds) - 1):
        start, end, weight = bounds[one], bounds[one + 1], float(weights[one])
        listed = end - start > 1
        pointwise = weight * odds_weight if listed else weight
        best, total = float(logits[start]), 0.0
        if listed:
            for at in range(start, end):
                best = max(best, float(logits[at]))
            for at in range(start, end):
                total += math.exp(logits[at] - best)
            loss += weight * (math.log(total) + best - logits[start])
        for at in range(start, end):
            z, label = float(logits[at]), float(labels[at])
            small = math.exp(-abs(z))
            chance = (1.0 if z >= 0.0 else small) / (1.0 + small)
            both = max(z, 0.0) + math.log1p(small)
            loss += pointwise * (both - z * label)
            slope = pointwise * (chance - label)
            if listed:
                slope += weight * (math.exp(z - best) / total - (1.0 if at == start else 0.0))
            elif undone[one] != 0.0:
                loss -= undone[one] * (both - z * (1.0 - label))
                slope -= undone[one] * (chance - (1.0 - label))
            slopes[at] = slope
    return loss


@njit(cache=True, nogil=True)
def slope_towers(said: Arrays, examples: Arrays, bounds: NDArray[np.int64], weight: float) -> float:
    """The towers' loss, a softmax of each positive over the batch; turns shares float32[g, n] into slopes.

    `said`: shares and their logarithms float32[g] of the first candidates; `examples` as `slope_losses` takes them.
    """
    shares, logs = said
    labels, weights, _ = examples
    loss = 0.0
    for one in range(len(bounds) - 1):
        start = bounds[one]
        factor = np.float32(weight * weights[one]) if labels[start] == 1.0 else np.float32(0.0)
        loss -= factor * logs[one]
        for at in range(shares.shape[1]):
            shares[one, at] *= factor
        shares[one, start] -= factor
    return loss


@njit(cache=True, nogil=True)
def outer(column: NDArray[np.float32], row: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """out[i, j] = column[i] · row[j]."""
    for i in range(len(column)):
        for j in range(len(row)):
            out[i, j] = column[i] * row[j]


@njit(cache=True, nogil=True)
def back_from_relu(slopes: NDArray[np.float32], values: NDArray[np.float32], sums: NDArray[np.float32]) -> None:
    """Set slopes float32[m, k] to 0 where values are 0, and sum each column into float32[k]."""
    sums[:] = 0.0
    for i in range(slopes.shape[0]):
        for j in range(slopes.shape[1]):
            slopes[i, j] = slopes[i, j] if values[i, j] > 0.0 else np.float32(0.0)
            sums[j] += slopes[i, j]


@njit(cache=True, nogil=True)
def back_from_tanh(slopes: NDArray[np.float32], values: NDArray[np.float32]) -> None:
    """Slopes float32[m, k] before the function, from those behind it and its values."""
    for i in range(slopes.shape[0]):
        for j in range(slopes.shape[1]):
            slopes[i, j] *= np.float32(1.0) - values[i, j] * values[i, j]


@njit(cache=True, nogil=True)
def back_from_cross(
    slopes: NDArray[np.float32], layer: Arrays, sums: NDArray[np.float32], features: int, out: Arrays
) -> None:
    """Slopes of what a cross layer widens to, `out[0]` float32[n, w], summed into float32[w].

    `slopes` float32[n, w]; `layer`: the first layer and what this one widens to; what of it is of the first layer is
    added to `out[1]` float32[n, w − f], the features left out.
    """
    first, wide = layer
    below, tail = out
    sums[:] = 0.0
    width = slopes.shape[1]
    for i in range(slopes.shape[0]):
        for j in range(width):
            below[i, j] = slopes[i, j] * first[i, j]
            sums[j] += below[i, j]
        for j in range(features, width):
            tail[i, j - features] += slopes[i, j] * wide[i, j]


@njit(cache=True, nogil=True)
def _back_from_match(
    by_column: NDArray[np.float32],
    shares: NDArray[np.float32],
    best: int,
    ages: NDArray[np.float32],
    pair: Arrays,
    out: Arrays,
) -> None:
    """From the three columns of matches to a target float32[t] and to what a history leads to, [h, t]."""
    target, leads = pair
    of_target, of_leads = out
    for place in range(len(ages)):
        if ages[place] >= 0.0:
            slope = by_column[2] * shares[place]
            if place == 0:
                slope += by_column[0]
            if place == best:
                slope += by_column[1]
            for j in range(len(target)):
                of_target[j] += slope * leads[place, j]
                of_leads[place, j] += slope * target[j]


@njit(cache=True, nogil=True)
def back_to_candidates(
    slopes: Arrays, values: Arrays, places: Arrays, ages: NDArray[np.float32], scale: float, out: Arrays
) -> None:
    """From the first layer to the rows of candidates, and to what is theirs of requests.

    `slopes`: of the columns behind the features float32[n, w − f], of the log-odds [n], of targets by the towers' loss
    [n, t]. `values`: targets, shares of the matches [n, h], the best int64[n], user vectors [g, t], what histories lead
    to [g·h, t]. `places`: int64[n] rows of items, bounds. `out`, all added to: gradients of item rows, of user vectors,
    of what histories lead to, of what is condensed.
    """
    tail, odds, towers = slopes
    targets, shares, best_at, vectors, leads = values
    item_at, bounds = places
    items, of_vectors, of_leads, of_condensed = out
    h, t, r = ages.shape[1], vectors.shape[1], of_condensed.shape[1]
    dim = tail.shape[1] - r - 4
    of_target = np.empty(t, np.float32)
    for one in range(len(bounds) - 1):
        lead, of_lead = leads[one * h : (one + 1) * h], of_leads[one * h : (one + 1) * h]
        for at in range(bounds[one], bounds[one + 1]):
            row, x, target = items[item_at[at]], tail[at], targets[at]
            for j in range(dim):
                row[j] += x[j] * scale
            for j in range(r):
                of_condensed[one, j] += x[dim + j]
            slope = x[dim + r] + odds[at]
            for j in range(t):
                of_target[j] = towers[at, j] + slope * vectors[one, j]
                of_vectors[one, j] += slope * target[j]
            matched = (target, lead), (of_target, of_lead)
            _back_from_match(x[dim + r + 1 :], shares[at], best_at[at], ages[one], matched[0], matched[1])
            for j in range(t):
                row[dim + j] += of_target[j]


@njit(cache=True, nogil=True)
def back_to_requests(slopes: Arrays, given: Arrays, places: Arrays, scale: float, out: Arrays) -> None:
    """From the inputs that `fill_requests` made to the rows of histories, users and contexts, added to `out`.

    `slopes`: of the inputs of the user's tower, of what is condensed, of histories; `given`: their weights, ages, and
    context keys.
    """
    tower_in, request_in, history = slopes
    shares, ages, keys = given
    history_at, user_at, context_at = places
    items, users, contexts = out
    h, t, dim, fields, user = ages.shape[1], history.shape[1], contexts.shape[1], keys.shape[1], users.shape[1]
    from_ = items.shape[1] - t
    for one in range(ages.shape[0]):
        for place in range(h):
            if ages[one, place] >= 0.0:
                row = items[history_at[one * h + place]]
                for j in range(t):
                    row[from_ + j] += history[one * h + place, j] + shares[one, place] * tower_in[one, j]
        for field in range(fields):
            if keys[one, field] != 0:
                row = contexts[context_at[one * fields + field]]
                for j in range(dim):
                    at = field * dim + j
                    row[j] += tower_in[one, t + at] + scale * request_in[one, user + at]
        for j in range(user):
            users[user_at[one], j] += tower_in[one, t + fields * dim + j] + scale * request_in[one, j]


@njit(cache=True, nogil=True)
def add_tail(whole: NDArray[np.float32], skipped: int, tail: NDArray[np.float32]) -> None:
    """Add the columns of float32[n, w] behind those skipped to float32[n, w − skipped]."""
    for at in range(tail.shape[0]):
        for j in range(tail.shape[1]):
            tail[at, j] += whole[at, skipped + j]


@njit(cache=True, nogil=True)
def add_at(places: NDArray[np.int64], slopes: NDArray[np.float32], sums: NDArray[np.float32]) -> None:
    """sums[places[i]] += slopes[i], of all places beyond the last at the last one; `sums` float32[k, 1]."""
    last = len(sums) - 1
    for i in range(len(places)):
        sums[min(places[i], last), 0] += slopes[i]


@njit(cache=True, nogil=True)
def sum_columns(x: NDArray[np.float32], sums: NDArray[np.float32]) -> None:
    """Sum each column of float32[m, k] into float32[k]."""
    sums[:] = 0.0
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            sums[j] += x[i, j]
