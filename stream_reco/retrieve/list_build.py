"""Inverted lists of all rows of a matrix that changes meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np

from stream_reco.retrieve.exact_rows import ExactRows
from stream_reco.retrieve.inverted_lists import Centroids, InvertedLists

_AT_ONCE = 8192
"""Rows that are copied while nothing changes, 1 MB: a millisecond."""


def build_lists(rows: ExactRows, reading: Callable[[], AbstractContextManager[None]], seed: int) -> InvertedLists:
    """Lists of the rows there are at first; those that change meanwhile the caller puts or takes again.

    `reading` keeps the rows as they are while it is held, which is never for long.
    """
    with reading():
        count = len(rows)
        sample = rows.vectors[Centroids.sample_of(count, seed)]
    centroids = Centroids.of(count, sample, seed)
    lists = np.empty(count, np.int32)
    for first in range(0, count, _AT_ONCE):
        with reading():
            part = rows.vectors[first : min(first + _AT_ONCE, count)].copy()
        lists[first : first + len(part)] = centroids.nearest(part)
    # List after list, so that a search reads a list's pages one after the other.
    order = np.argsort(lists, kind="stable")
    built = InvertedLists(centroids, count)
    for first in range(0, count, _AT_ONCE):
        some = order[first : first + _AT_ONCE]
        with reading():
            part = rows.vectors[some]
        built.put(some, part, lists[some].astype(np.int64))
    return built
