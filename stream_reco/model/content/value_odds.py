"""What content says of many candidates of a request, from rows that each value has once (`value_rows.py`).

What is known of a value is added up once, and each candidate adds up its values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.model.content.pairs import (
    ACTIVITY,
    APPEAL,
    CONTEXT,
    CROSS,
    EQUAL,
    ITEM,
    MOST_CROSSED,
    MOST_SQUARES,
    OWN,
    PARTS,
    POPULARITY,
    USER,
    WORDS,
    Said,
)
from stream_reco.model.content.value_rows import OF_VALUE, ValueRows, crossed
from stream_reco.model.inputs import NO_KEY
from stream_reco.signals.content.fields import OF_TEXT

_MEAN, _SQUARE, _VARIANCE = range(3)
_BY_VALUE, _UNCROSSED = np.array([ITEM, OWN, WORDS, CONTEXT, CROSS]), 3
"""Parts that speak of values; so many of them, the first, of all values, the others of the first `MOST_CROSSED`."""


@njit(cache=True, nogil=True)
def _add(sums: NDArray[np.float64], part: int, row: NDArray[np.float32], weight: float, prior: float) -> None:
    """Add a coefficient to float64[3, parts]."""
    if prior > 0.0:
        square = weight * weight
        sums[_MEAN, part] += weight * row[0]
        sums[_SQUARE, part] += square
        sums[_VARIANCE, part] += square * prior * (1.0 - row[1])


@njit(cache=True, nogil=True)
def _sum_up_values(
    said: Said, rows: ValueRows, owners: NDArray[np.int64], known: NDArray[np.float32], priors: NDArray[np.float32]
) -> NDArray[np.float64]:
    """float64[d, 3, `_BY_VALUE`]: of each distinct value, which weighs 1, what each part says; `owners` int64[d]."""
    found = np.zeros((rows.of_value.shape[0], 3, _BY_VALUE.shape[0]))
    for value in range(rows.of_value.shape[0]):
        at, owner, sums = rows.of_value[value], owners[value], found[value]
        first, row = said.user_bounds[owner], at + OF_VALUE
        _add(sums, 0, known[at], 1.0, priors[ITEM])
        # Which of the two it is does not depend on the request: only one is added to for a value.
        _add(sums, 1, known[at + 1], 1.0, priors[OWN])
        _add(sums, 2, known[at + 1], 1.0, priors[WORDS])
        for context in said.contexts[owner]:
            if context != NO_KEY:
                _add(sums, 3, known[row], 1.0, priors[CONTEXT])
                row += 1
        for p in range(first, first + crossed(first, said.user_bounds[owner + 1])):
            _add(sums, 4, known[row], said.user_weights[p], priors[CROSS])
            row += 1
    return found


@njit(cache=True, nogil=True)
def _add_values(
    fields: NDArray[np.int32],
    weights: NDArray[np.float32],
    value_of: NDArray[np.int64],
    of_values: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> None:
    """Add to float64[3, parts] what the values of one candidate say, of which the first are crossed."""
    for q in range(fields.shape[0]):
        weight, value = float(weights[q]), of_values[value_of[q]]
        square, left_out = weight * weight, 1 if fields[q] & OF_TEXT else 2
        for by in range(_BY_VALUE.shape[0] if q < MOST_CROSSED else _UNCROSSED):
            if by != left_out:
                part = _BY_VALUE[by]
                sums[_MEAN, part] += weight * value[_MEAN, by]
                sums[_SQUARE, part] += square * value[_SQUARE, by]
                sums[_VARIANCE, part] += square * value[_VARIANCE, by]


@njit(cache=True, nogil=True)
def _add_itself(
    rows: NDArray[np.float32], weights: NDArray[np.float32], priors: NDArray[np.float32], sums: NDArray[np.float64]
) -> None:
    """Add a candidate's popularity, and its appeal to each value of the user, whose `weights` are float32[u]."""
    _add(sums, POPULARITY, rows[0], 1.0, priors[POPULARITY])
    for p in range(weights.shape[0]):
        _add(sums, APPEAL, rows[1 + p], weights[p], priors[APPEAL])


@njit(cache=True, nogil=True)
def _add_equals(
    value_of: NDArray[np.int64],
    equals: NDArray[np.int64],
    equal_rows: NDArray[np.int64],
    known: NDArray[np.float32],
    prior: float,
    sums: NDArray[np.float64],
) -> None:
    """Add the features that user and candidate say the same of, each once however often; the first values count."""
    used, count = np.empty(MOST_CROSSED**2, np.int64), 0
    for value in value_of[:MOST_CROSSED]:
        for row in equal_rows[equals[value] : equals[value + 1]]:
            is_new = True
            for place in range(count):
                is_new = is_new and used[place] != row
            if is_new:
                _add(sums, EQUAL, known[row], 1.0, prior)
                used[count] = row
                count += 1


@njit(cache=True, nogil=True)
def _total(sums: NDArray[np.float64]) -> tuple[float, float]:
    """The mean and the variance of a candidate, no part of which counts more than its settings say, as in `pairs`."""
    mean, variance = 0.0, 0.0
    for part in range(PARTS):
        square = sums[_SQUARE, part]
        share = MOST_SQUARES / square if part != EQUAL and square > MOST_SQUARES else 1.0
        mean += np.sqrt(share) * sums[_MEAN, part]
        variance += share * sums[_VARIANCE, part]
    return mean, variance


@njit(cache=True, nogil=True)
def _owners_of(said: Said, value_of: NDArray[np.int64], values: int) -> NDArray[np.int64]:
    """int64[values]: the request of each distinct value."""
    owners = np.zeros(values, np.int64)
    for candidate in range(said.owners.shape[0]):
        for q in range(said.item_bounds[candidate], said.item_bounds[candidate + 1]):
            owners[value_of[q]] = said.owners[candidate]
    return owners


@njit(cache=True, nogil=True)
def _score(
    plain_said: tuple[NDArray[Any], ...],
    plain_rows: tuple[NDArray[np.int64], ...],
    known: NDArray[np.float32],
    priors: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    said, rows = Said(*plain_said), ValueRows(*plain_rows)
    count, owners = said.owners.shape[0], _owners_of(said, rows.value_of, rows.of_value.shape[0])
    of_values = _sum_up_values(said, rows, owners, known, priors)
    means, variances = np.zeros(count, np.float32), np.zeros(count, np.float32)
    of_user, sums, before = np.zeros((3, PARTS)), np.zeros((3, PARTS)), -1
    for candidate in range(count):
        owner, first, end = said.owners[candidate], said.item_bounds[candidate], said.item_bounds[candidate + 1]
        weights = said.user_weights[said.user_bounds[owner] : said.user_bounds[owner + 1]]
        if owner != before:
            before, at = owner, rows.of_request[owner]
            of_user[:] = 0.0
            _add(of_user, ACTIVITY, known[at], 1.0, priors[ACTIVITY])
            for p in range(weights.shape[0]):
                _add(of_user, USER, known[at + 1 + p], weights[p], priors[USER])
        if first == end and not weights.shape[0]:
            continue
        sums[:] = of_user
        value_of = rows.value_of[first:end]
        _add_itself(known[rows.of_candidate[candidate] :], weights, priors, sums)
        _add_values(said.item_fields[first:end], said.item_weights[first:end], value_of, of_values, sums)
        if weights.shape[0]:
            _add_equals(value_of, rows.equals, rows.equal_rows, known, priors[EQUAL], sums)
        means[candidate], variances[candidate] = _total(sums)
    return means, variances


def score_values(
    said: Said, rows: ValueRows, known: NDArray[np.float32], priors: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Means and variances float32[n] of the candidates' log-odds, from what is `known` float32[m, 2] of `rows.keys`.

    The same as `regression.score` of `pairs_of`, but for rounding.
    """
    means, variances = _score(tuple(said), tuple(rows), known, priors)
    return means, variances
