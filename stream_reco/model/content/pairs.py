"""Which coefficients speak for a user and an item: keys of rows, and what each is multiplied by.

GLMix (Zhang et al., KDD 2016, §3.1) with crosses: coefficients for everybody of what is said of items, of users and of
both together, coefficients of each user over what is said of items, and of each item over what is said of users.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.embedding.kernels.index import mix
from stream_reco.model.content.settings import ContentSettings
from stream_reco.model.inputs import NO_KEY, Batch
from stream_reco.signals.content.fields import OF_TEXT

ITEM, USER, CROSS, EQUAL, CONTEXT, OWN, APPEAL, POPULARITY, ACTIVITY, WORDS = range(10)
"""Parts of the model, in the order of `priors_of`."""
MOST_CROSSED = 12
"""Values of a user, and of an item, that are crossed: the first ones, of features in the order of their numbers."""
PARTS = 10
MOST_SQUARES = 1.0
"""The squares of a part's weights sum to so much at most: a candidate of whom much is said is no less known for it."""
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Pairs(NamedTuple):
    """The coefficients of n candidates, one behind the other."""

    keys: NDArray[np.int64]
    """int64[m]: keys of rows."""
    weights: NDArray[np.float32]
    """float32[m]: what each coefficient is multiplied by."""
    parts: NDArray[np.int8]
    """int8[m]: the part of the model that each belongs to."""
    bounds: NDArray[np.int64]
    """int64[n + 1]: where the coefficients of each candidate begin and end."""


class Said(NamedTuple):
    """What is known of the users and the items of a batch; `Values` one behind the other, with bounds."""

    user_fields: NDArray[np.int32]
    user_codes: NDArray[np.int64]
    user_weights: NDArray[np.float32]
    user_bounds: NDArray[np.int64]
    item_fields: NDArray[np.int32]
    item_codes: NDArray[np.int64]
    item_weights: NDArray[np.float32]
    item_bounds: NDArray[np.int64]
    user_keys: NDArray[np.int64]
    item_keys: NDArray[np.int64]
    contexts: NDArray[np.int64]
    owners: NDArray[np.int64]


def priors_of(settings: ContentSettings) -> NDArray[np.float32]:
    """float32[10]: the prior variance of each part's coefficients."""
    one = settings
    variances = (
        one.item,
        one.user,
        one.cross,
        one.equal,
        one.context,
        one.own,
        one.appeal,
        one.popularity,
        one.activity,
        one.words,
    )
    return np.array(variances, dtype=np.float32)


@njit(cache=True, nogil=True)
def mixed(first: int, second: int) -> int:
    """int64 of two: SplitMix64 (Steele, Lea and Flood 2014) of one, moved by the other."""
    return int(mix(np.int64(np.uint64(first) * GOLDEN + np.uint64(second)), 0))


@njit(cache=True, nogil=True)
def key_of_row(part: int, first: int, second: int) -> int:
    """int64: the key of a row of a part; which numbers these are differs from part to part."""
    key = mixed(mixed(first, part + 1), second)
    return key if key != 0 else 1


@njit(cache=True, nogil=True)
def _count(user: int, item: int, contexts: int) -> int:
    """The most coefficients that so many values can have."""
    crossed = min(user, MOST_CROSSED) * min(item, MOST_CROSSED)
    return 2 + 2 * item + 2 * user + 2 * crossed + contexts * min(item, MOST_CROSSED)


@njit(cache=True, nogil=True)
def _put(pairs: Pairs, at: int, key: int, weight: float, part: int) -> int:
    pairs.keys[at], pairs.weights[at], pairs.parts[at] = key, weight, part
    return at + 1


@njit(cache=True, nogil=True)
def _put_crosses(
    said: Said, u: tuple[int, int], i: tuple[int, int], priors: NDArray[np.float32], pairs: Pairs, at: int
) -> int:
    first_equal = at
    for p in range(u[0], min(u[1], u[0] + MOST_CROSSED)):
        for q in range(i[0], min(i[1], i[0] + MOST_CROSSED)):
            if priors[EQUAL] > 0.0 and said.user_codes[p] == said.item_codes[q]:
                key = key_of_row(EQUAL, said.user_fields[p], said.item_fields[q])
                known = False
                for before in range(first_equal, at):
                    known = known or pairs.keys[before] == key
                if not known:
                    at = _put(pairs, at, key, 1.0, EQUAL)
    if priors[CROSS] > 0.0:
        for p in range(u[0], min(u[1], u[0] + MOST_CROSSED)):
            user = mixed(said.user_fields[p], said.user_codes[p])
            for q in range(i[0], min(i[1], i[0] + MOST_CROSSED)):
                item = mixed(said.item_fields[q], said.item_codes[q])
                weight = said.user_weights[p] * said.item_weights[q]
                at = _put(pairs, at, key_of_row(CROSS, user, item), weight, CROSS)
    return at


@njit(cache=True, nogil=True)
def _put_item(said: Said, owner: int, i: tuple[int, int], priors: NDArray[np.float32], pairs: Pairs, at: int) -> int:
    """What is said of an item: for everybody, for this user, in this context."""
    for q in range(i[0], i[1]):
        value, weight = mixed(said.item_fields[q], said.item_codes[q]), said.item_weights[q]
        if priors[ITEM] > 0.0:
            at = _put(pairs, at, key_of_row(ITEM, value, 0), weight, ITEM)
        own = WORDS if said.item_fields[q] & OF_TEXT else OWN
        if priors[own] > 0.0:
            at = _put(pairs, at, key_of_row(OWN, said.user_keys[owner], value), weight, own)
        if priors[CONTEXT] > 0.0 and q < i[0] + MOST_CROSSED:
            for context in said.contexts[owner]:
                if context != NO_KEY:
                    at = _put(pairs, at, key_of_row(CONTEXT, context, value), weight, CONTEXT)
    return at


@njit(cache=True, nogil=True)
def _put_user(said: Said, item_key: int, u: tuple[int, int], priors: NDArray[np.float32], pairs: Pairs, at: int) -> int:
    """What is said of a user: for all items, for this one."""
    for p in range(u[0], u[1]):
        value, weight = mixed(said.user_fields[p], said.user_codes[p]), said.user_weights[p]
        if priors[USER] > 0.0:
            at = _put(pairs, at, key_of_row(USER, value, 0), weight, USER)
        if priors[APPEAL] > 0.0:
            at = _put(pairs, at, key_of_row(APPEAL, item_key, value), weight, APPEAL)
    return at


@njit(cache=True, nogil=True)
def _put_candidate(said: Said, candidate: int, priors: NDArray[np.float32], pairs: Pairs, at: int) -> int:
    owner, item_key = said.owners[candidate], said.item_keys[candidate]
    u = said.user_bounds[owner], said.user_bounds[owner + 1]
    i = said.item_bounds[candidate], said.item_bounds[candidate + 1]
    if u[0] == u[1] and i[0] == i[1]:
        return at
    if priors[POPULARITY] > 0.0:
        at = _put(pairs, at, key_of_row(POPULARITY, item_key, 0), 1.0, POPULARITY)
    if priors[ACTIVITY] > 0.0:
        at = _put(pairs, at, key_of_row(ACTIVITY, said.user_keys[owner], 0), 1.0, ACTIVITY)
    at = _put_item(said, owner, i, priors, pairs, at)
    at = _put_user(said, item_key, u, priors, pairs, at)
    return int(_put_crosses(said, u, i, priors, pairs, at))


@njit(cache=True, nogil=True)
def _shrink(pairs: Pairs, begin: int, end: int) -> None:
    """Keep each part's share of a candidate's prior variance to what its settings say, however much is said.

    Features that are equal are left alone: they are few, and each of them tells.
    """
    squares = np.zeros(PARTS)
    for at in range(begin, end):
        squares[pairs.parts[at]] += pairs.weights[at] ** 2
    squares[EQUAL] = 0.0
    for at in range(begin, end):
        sum_of_part = squares[pairs.parts[at]]
        if sum_of_part > MOST_SQUARES:
            pairs.weights[at] *= np.float32(np.sqrt(MOST_SQUARES / sum_of_part))


@njit(cache=True, nogil=True)
def _pairs(
    plain_said: tuple[NDArray[Any], ...], priors: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int8], NDArray[np.int64]]:
    said = Said(*plain_said)
    most, count = 0, said.owners.shape[0]
    for candidate in range(count):
        owner = said.owners[candidate]
        user = said.user_bounds[owner + 1] - said.user_bounds[owner]
        most += _count(user, said.item_bounds[candidate + 1] - said.item_bounds[candidate], said.contexts.shape[1])
    pairs = Pairs(
        np.empty(most, np.int64), np.empty(most, np.float32), np.empty(most, np.int8), np.zeros(count + 1, np.int64)
    )
    end = 0
    for candidate in range(count):
        begin = end
        end = _put_candidate(said, candidate, priors, pairs, end)
        _shrink(pairs, begin, end)
        pairs.bounds[candidate + 1] = end
    return pairs.keys[:end], pairs.weights[:end], pairs.parts[:end], pairs.bounds


def said_of(batch: Batch) -> Said:
    """What is known of the users and the items of a batch."""
    return Said(
        *batch.profiles,
        _bounds(batch.profile_counts, len(batch.user_keys)),
        *batch.said,
        _bounds(batch.said_counts, len(batch.item_keys)),
        batch.user_keys,
        batch.item_keys,
        batch.context_keys,
        batch.owners,
    )


def pairs_of(batch: Batch, priors: NDArray[np.float32]) -> Pairs:
    """The coefficients of all candidates of a batch, of parts whose prior variance `priors` float32[10] is above 0."""
    return Pairs(*_pairs(tuple(said_of(batch)), priors))


def _bounds(counts: NDArray[np.int32], size: int) -> NDArray[np.int64]:
    bounds = np.zeros(size + 1, dtype=np.int64)
    if len(counts):
        np.cumsum(counts, out=bounds[1:])
    return bounds
