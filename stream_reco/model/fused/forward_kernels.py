"""What a fused step of the towers and the cross network does between its matrix products, on the way forward.

Shared sizes: g requests, n candidates, those of a request side by side; h items of a history; t the towers' dimension;
w the width of the cross network, whose first f columns are features. A candidate's columns behind them are its item,
the request, the match of the towers, and its matches with the newest, the best and all items of the history.
Sums go along the axis that is not vectorised, in an order that does not depend on the machine's load.
Where numbers are divided, `error_model` leaves out the check for zero, with which LLVM does not vectorise a loop.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.model.zoo.two_tower_dcn_sizes import EMPTY_HISTORY

Arrays: TypeAlias = tuple[NDArray[Any], ...]
"""Several arrays as a plain tuple, which kernels take faster than a named one."""


@njit(cache=True, nogil=True)
def number_keys(keys: NDArray[np.int64], distinct: NDArray[np.int64], places: NDArray[np.int64]) -> int:
    """Write the distinct keys in the order of their first place; returns how many they are.

    `keys`, `distinct` and `places` are int64[m]; distinct[places] are the keys.
    """
    size = 2
    while size < 2 * len(keys):
        size *= 2
    slots, mask, count = np.full(size, -1, np.int64), size - 1, 0
    for place in range(len(keys)):
        key = keys[place]
        # Fibonacci hashing: the upper bits of the product depend on all bits of a key.
        at = ((key * -7046029254386353131) >> 32) & mask
        while slots[at] >= 0 and distinct[slots[at]] != key:
            at = (at + 1) & mask
        if slots[at] < 0:
            slots[at] = count
            distinct[count] = key
            count += 1
        places[place] = slots[at]
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def fill_requests(rows: Arrays, places: Arrays, given: Arrays, scale: float, out: Arrays) -> None:
    """Fill what the network reads of requests.

    `rows`: float32[·, dim] distinct rows of items, users and contexts; `places` int64[g·h], int64[g], int64[g·c] where
    they are used; `given`: ages float32[g, h] and context keys int64[g, c]; `scale` is the rows' in a request. `out`:
    histories float32[g·h, t], their weights [g, h], inputs of the user's tower [g, t + c·dim + user] and of what is
    condensed [g, user + c·dim].
    """
    items, users, contexts = rows
    history_at, user_at, context_at = places
    ages, keys = given
    history, shares, tower_in, request_in = out
    h, t, dim, fields, user = ages.shape[1], history.shape[1], contexts.shape[1], keys.shape[1], users.shape[1]
    from_ = items.shape[1] - t
    for one in range(ages.shape[0]):
        total = np.float32(0.0)
        for place in range(h):
            shares[one, place] = math.exp(-ages[one, place]) if ages[one, place] >= 0.0 else 0.0
            total += shares[one, place]
        total += np.float32(EMPTY_HISTORY)
        tower_in[one, :] = 0.0
        for place in range(h):
            shares[one, place] /= total
            row, target = items[history_at[one * h + place]], history[one * h + place]
            for j in range(t):
                target[j] = row[from_ + j]
                tower_in[one, j] += shares[one, place] * target[j]
        for field in range(fields):
            row = contexts[context_at[one * fields + field]]
            is_given = np.float32(1.0 if keys[one, field] != 0 else 0.0)
            for j in range(dim):
                tower_in[one, t + field * dim + j] = row[j] * is_given
                request_in[one, user + field * dim + j] = row[j] * is_given * scale
        for j in range(user):
            tower_in[one, t + fields * dim + j] = users[user_at[one], j]
            request_in[one, j] = users[user_at[one], j] * scale


@njit(cache=True, nogil=True, error_model="numpy")
def learn_moments(
    x: NDArray[np.float32],
    mean: NDArray[np.float32],
    variance: NDArray[np.float32],
    share: float,
) -> None:
    """Let float32[n, f] have a share of running means and variances, float32[f] each; of a share of 1 nothing stays."""
    n, f = x.shape
    sums = np.zeros(f)
    for place in range(n):
        for j in range(f):
            sums[j] += x[place, j]
    for j in range(f):
        mean[j] += share * (sums[j] / n - mean[j])
    sums[:] = 0.0
    for place in range(n):
        for j in range(f):
            away = x[place, j] - mean[j]
            sums[j] += away * away
    for j in range(f):
        variance[j] += share * (sums[j] / n - variance[j])


@njit(cache=True, nogil=True)
def _match(
    target: NDArray[np.float32],
    turned: NDArray[np.float32],
    ages: NDArray[np.float32],
    absent: float,
    match: NDArray[np.float32],
) -> int:
    """Fill `match` float32[h] of a target float32[t] with what items lead to, `turned` [t, h]; returns the best one."""
    match[:] = 0.0
    for j in range(len(target)):
        for place in range(len(match)):
            match[place] += target[j] * turned[j, place]
    best = 0
    for place in range(len(match)):
        if not ages[place] >= 0.0:
            match[place] = absent
        if match[place] > match[best]:
            best = place
    return best


@njit(cache=True, nogil=True)
def _fill_features(dense: Arrays, at: int, most: float, x: NDArray[np.float32]) -> None:
    features, mean, factor, keep = dense
    bound = np.float32(most)
    for j in range(features.shape[1]):
        x[j] = min(max((features[at, j] - mean[j]) * factor[j], -bound), bound) * keep[j]


@njit(cache=True, nogil=True)
def assemble(
    dense: Arrays, candidates: Arrays, requests: Arrays, numbers: tuple[float, float, float], out: Arrays
) -> None:
    """Fill the first layer float32[n, w] but for its last column, and what is needed to come back from it.

    `dense`: features float32[n, f], their means, the factors that standardise them and 1 or 0 for those kept, [f].
    `candidates`: rows of items float32[u, dim], int64[n] which of them, int64[g + 1] bounds of the requests.
    `requests`: user vectors float32[g, t], what is condensed [g, r], what histories lead to [g·h, t], ages [g, h].
    `numbers`: the rows' scale, how many deviations are kept, the match with an item that is not there. `out`: the first
    layer, targets [n, t], matches less the best [n, h], the best int64[n].
    """
    items, item_at, bounds = candidates
    vectors, condensed, leads, ages = requests
    first, targets, matches, best_at = out
    scale, absent = np.float32(numbers[0]), np.float32(numbers[2])
    f, h, t, r = dense[0].shape[1], ages.shape[1], vectors.shape[1], condensed.shape[1]
    dim = first.shape[1] - f - r - 4
    for one in range(len(bounds) - 1):
        turned = leads[one * h : (one + 1) * h].T.copy()
        for at in range(bounds[one], bounds[one + 1]):
            row, x, target, match = items[item_at[at]], first[at], targets[at], matches[at]
            _fill_features(dense, at, numbers[1], x)
            for j in range(dim):
                x[f + j] = row[j] * scale
            for j in range(r):
                x[f + dim + j] = condensed[one, j]
            product = np.float32(0.0)
            for j in range(t):
                target[j] = row[dim + j]
                product += target[j] * vectors[one, j]
            best_at[at] = _match(target, turned, ages[one], absent, match)
            best = match[best_at[at]]
            x[f + dim + r] = product
            x[f + dim + r + 1] = match[0]
            x[f + dim + r + 2] = best
            for place in range(h):
                match[place] -= best


@njit(cache=True, nogil=True, error_model="numpy")
def sum_matches(exps: NDArray[np.float32], first: NDArray[np.float32]) -> None:
    """The last column: the logarithm of the summed exponentials of all matches, whose best is the column before.

    `exps` float32[n, h]: exponentials of the matches less the best; each is divided by their sum.
    """
    last = first.shape[1] - 1
    for at in range(exps.shape[0]):
        total = np.float32(0.0)
        for place in range(exps.shape[1]):
            total += exps[at, place]
        first[at, last] = first[at, last - 1] + math.log(total)
        for place in range(exps.shape[1]):
            exps[at, place] /= total


@njit(cache=True, nogil=True)
def add_bias(x: NDArray[np.float32], bias: NDArray[np.float32], rectified: bool) -> None:
    """Add float32[k] to each row of float32[m, k]; with `rectified` what is negative then becomes 0."""
    least = np.float32(0.0 if rectified else -np.inf)
    for at in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[at, j] = max(x[at, j] + bias[j], least)


@njit(cache=True, nogil=True)
def add_cross(wide: NDArray[np.float32], bias: NDArray[np.float32], layers: Arrays, out: NDArray[np.float32]) -> None:
    """What is behind a cross layer, float32[n, w]: `wide`, to which its bias is added, times the first layer, and `x`.

    `layers`: the first layer and `x`, the one before.
    """
    first, x = layers
    for at in range(wide.shape[0]):
        for j in range(wide.shape[1]):
            wide[at, j] += bias[j]
            out[at, j] = x[at, j] + first[at, j] * wide[at, j]
