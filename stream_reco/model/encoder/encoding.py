"""From what is said of items to their vectors: tanh of a weighted sum of rows of a table.

A category or word has a row; so has each number of a given vector, by its place, so that a vector is projected linearly
by rows that are learned. Rows begin at random, and random projections keep what is alike alike (Johnson and
Lindenstrauss 1984), so items have vectors that tell something before anything is learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.embedding import Adagrad
from stream_reco.events import key_of
from stream_reco.model.content.pairs import mixed
from stream_reco.model.encoder.settings import EncoderSettings
from stream_reco.model.fields import TableSpec
from stream_reco.model.lookup import Lookup
from stream_reco.signals.content.items import Lasting

ENCODER: Final = "encoder"
"""The name of its table."""
_MOST_BYTES = 1 << 28
"""A row is 280 bytes: a million words and categories. Those seen long ago and seldom make way."""
_FIRST_ROWS = 0.2
"""Rows begin within ± this: sums of a few rows are where tanh is nearly linear, and cosines are those of the sums."""
_FIRST_SQUARES = 0.1
"""What the sums of squared gradients begin with, so that the first step of a row is no longer than the row."""
_VECTOR_WEIGHT = 2.0
"""A given vector says as much as four categories, whose squares each weigh 1."""


class Spelled(NamedTuple):
    """What n items are encoded from."""

    keys: NDArray[np.int64]
    """int64[m]: rows of categories, words and numbers, one item's behind the other's."""
    weights: NDArray[np.float32]
    """float32[m]"""
    bounds: NDArray[np.int64]
    """int64[n + 1]: where those of each item begin and end."""
    vectors: list[tuple[NDArray[np.int64], NDArray[np.float32]]]
    """Of each name of given vectors the rows of its places, int64[d], and the items' vectors float32[n, d]."""


def encoder_table(settings: EncoderSettings) -> TableSpec:
    """The table of rows that vectors are summed from."""
    optimizer = Adagrad(lr=settings.learning_rate, initial_accumulator_value=_FIRST_SQUARES)
    return TableSpec(ENCODER, settings.dim, optimizer, most_bytes=_MOST_BYTES, init_scale=_FIRST_ROWS)


def spelled(said: Lasting) -> Spelled:
    """The rows that items are encoded from, and how much of each."""
    bounds = np.zeros(len(said.counts) + 1, dtype=np.int64)
    np.cumsum(said.counts, out=bounds[1:])
    vectors = [(_places(name, given.shape[1]), _scaled(given)) for name, given in said.vectors]
    return Spelled(_keys(said.values.fields, said.values.codes), said.values.weights, bounds, vectors)


def encode(items: Spelled, table: Lookup, dim: int) -> NDArray[np.float32]:
    """float32[n, dim] in (−1, 1); zeros for items of which nothing is said that has a row."""
    sums = weighted_sums(table.lookup(items.keys), items.weights, items.bounds, dim)
    for places, given in items.vectors:
        sums += given @ table.lookup(places)
    encoded: NDArray[np.float32] = np.tanh(sums)
    return encoded


@njit(cache=True, nogil=True)
def weighted_sums(
    rows: NDArray[np.float32], weights: NDArray[np.float32], bounds: NDArray[np.int64], dim: int
) -> NDArray[np.float32]:
    """float32[n, dim]: for each item the sum of its rows float32[m, dim], each times its weight."""
    sums = np.zeros((bounds.shape[0] - 1, dim), dtype=np.float32)
    for item in range(sums.shape[0]):
        for at in range(bounds[item], bounds[item + 1]):
            for place in range(dim):
                sums[item, place] += weights[at] * rows[at, place]
    return sums


@njit(cache=True, nogil=True)
def _spread(
    slopes: NDArray[np.float32], weights: NDArray[np.float32], bounds: NDArray[np.int64]
) -> NDArray[np.float32]:
    rows = np.empty((weights.shape[0], slopes.shape[1]), dtype=np.float32)
    for item in range(slopes.shape[0]):
        for at in range(bounds[item], bounds[item + 1]):
            for place in range(slopes.shape[1]):
                rows[at, place] = weights[at] * slopes[item, place]
    return rows


def gradient_rows(items: Spelled, slopes: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32[m, dim]: the gradients of the rows `items.keys`, from those of the items' sums float32[n, dim]."""
    gradients: NDArray[np.float32] = _spread(slopes, items.weights, items.bounds)
    return gradients


@njit(cache=True, nogil=True)
def _keys(fields: NDArray[np.int32], codes: NDArray[np.int64]) -> NDArray[np.int64]:
    keys = np.empty(fields.shape[0], dtype=np.int64)
    for at in range(fields.shape[0]):
        keys[at] = mixed(fields[at], codes[at])
    return keys


def _places(name: str, size: int) -> NDArray[np.int64]:
    """int64[size]: the keys of the places of vectors of a name."""
    field = np.full(size, np.int64(key_of(name, "item vector")).astype(np.int32))
    keys: NDArray[np.int64] = _keys(field, np.arange(size, dtype=np.int64))
    return keys


def _scaled(given: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors [n, d] of one length, whatever scale they come in; zeros stay zeros."""
    lengths = np.linalg.norm(given, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = given * (_VECTOR_WEIGHT / np.maximum(lengths, np.finfo(np.float32).tiny))
    return scaled


def all_keys(items: Spelled, places: Sequence[int]) -> NDArray[np.int64]:
    """int64[m]: the rows that some of the items are encoded from."""
    keys = [items.keys[items.bounds[one] : items.bounds[one + 1]] for one in places]
    keys += [rows for rows, given in items.vectors if given[list(places)].any()]
    return np.concatenate(keys) if keys else np.empty(0, dtype=np.int64)
