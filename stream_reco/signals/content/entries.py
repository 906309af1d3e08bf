"""The values of items, one item's behind the other, and for each category and word the items that have it.

An inverted index in arrays: each value that any item has is in a cell of an open-addressed table, from which the
entries of the items that have it are chained both ways, so that a million items may have one value, or a value each,
and to put an item in or take it out takes as long as it has values.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.signals.content.kinds import Kind

MOST_COUNTED = 127
"""What int8 holds: a word that is there more often weighs no more, and no feature has so many categories."""
NOT_LISTED, _END = -2, -1
"""Instead of a newer entry: of a number or a time; of the newest of its value. `_END` is behind the oldest as well."""
_FREE = -1
"""Number of no feature."""
_NUMBER, _TIME, _TEXT = int(Kind.NUMBER), int(Kind.TIME), int(Kind.TEXT)
_GOLDEN, _MULTIPLIER = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_HALF, _UPPER = np.uint64(32), np.uint64(20)


class Entries(NamedTuple):
    """Entries of several items or users, each in a slot of its own."""

    starts: NDArray[np.int64]
    """int64[slots]"""
    lengths: NDArray[np.int32]
    """int32[slots]"""
    fields: NDArray[np.int16]
    """int16[entries]: number of the feature."""
    codes: NDArray[np.int64]
    """int64[entries]: what is said, as `encoded` gives it."""
    counts: NDArray[np.int8]
    """int8[entries]: of a category how many its feature has; of a word how often it is there, as `counted_words` says,
    up to `MOST_COUNTED`; of all else 1."""


class Links(NamedTuple):
    """Chains of the entries that say the same, from the newest to the oldest."""

    slots: NDArray[np.int32]
    """int32[entries]"""
    older: NDArray[np.int32]
    newer: NDArray[np.int32]


class ValueCells(NamedTuple):
    """The values that items have, each in a cell; there are twice as many cells as values, and a power of two."""

    fields: NDArray[np.int16]
    """int16[cells]"""
    codes: NDArray[np.int64]
    """int64[cells]"""
    items: NDArray[np.int32]
    """int32[cells]: how many items have the value now; a cell of which it is 0 goes when cells are added."""
    newest: NDArray[np.int32]
    """int32[cells]: the entry of the item that got it last."""


class FieldCounts(NamedTuple):
    """What `FeatureFields` counts, by number of the feature."""

    kinds: NDArray[np.int8]
    present: NDArray[np.int64]
    distinct: NDArray[np.int64]


def empty_cells(count: int) -> ValueCells:
    """So many cells without a value; `count` is a power of two."""
    fields = np.full(count, _FREE, dtype=np.int16)
    return ValueCells(fields, np.zeros(count, np.int64), np.zeros(count, np.int32), np.zeros(count, np.int32))


@njit(cache=True, nogil=True)
def cell_of(fields: NDArray[np.int16], codes: NDArray[np.int64], field: int, code: int) -> int:
    """The cell of a value, or the free one where it belongs."""
    z = (np.uint64(code) + np.uint64(field) * _GOLDEN) * _MULTIPLIER
    at = np.int64((z ^ (z >> _HALF)) >> _UPPER) & (codes.shape[0] - 1)
    while fields[at] != _FREE and (codes[at] != code or fields[at] != field):
        at = (at + 1) & (codes.shape[0] - 1)
    return int(at)


@njit(cache=True, nogil=True)
def write_entries(entries: Entries, kinds: NDArray[np.int8], given: NDArray[np.int64], start: int) -> None:
    """Write int64[n, 3] of `encoded` to the entries from `start` on."""
    for place in range(given.shape[0]):
        field, count = given[place, 0], given[place, 2]
        entries.fields[start + place], entries.codes[start + place] = field, given[place, 1]
        if kinds[field] not in (_TEXT, _NUMBER, _TIME):
            count = 0
            for other in range(given.shape[0]):
                count += given[other, 0] == field
        entries.counts[start + place] = min(max(count, -MOST_COUNTED), MOST_COUNTED)


@njit(cache=True, nogil=True)
def _count_present(entries: Entries, present: NDArray[np.int64], start: int, end: int, by: int) -> None:
    for at in range(start, end):
        if at == start or entries.fields[at] != entries.fields[at - 1]:
            present[entries.fields[at]] += by


@njit(cache=True, nogil=True)
def _set_run(entries: Entries, present: NDArray[np.int64], slot: int, start: int, end: int) -> None:
    """Have the entries of an item be those from `start` to `end`, and count its features."""
    first = entries.starts[slot]
    _count_present(entries, present, first, first + entries.lengths[slot], -1)
    _count_present(entries, present, start, end, 1)
    entries.starts[slot], entries.lengths[slot] = start, end - start


@njit(cache=True, nogil=True)
def _chain(entries: Entries, links: Links, cells: ValueCells, distinct: NDArray[np.int64], at: int) -> int:
    """Make an entry the newest of its value; returns how many cells that has taken."""
    field, code = entries.fields[at], entries.codes[at]
    cell = cell_of(cells.fields, cells.codes, field, code)
    taken = int(cells.fields[cell] == _FREE)
    cells.fields[cell], cells.codes[cell] = field, code
    links.older[at], links.newer[at] = _END, _END
    if cells.items[cell] > 0:
        links.older[at] = cells.newest[cell]
        links.newer[cells.newest[cell]] = at
    else:
        distinct[field] += 1
    cells.newest[cell] = at
    cells.items[cell] += 1
    return taken


@njit(cache=True, nogil=True)
def _count_value(entries: Entries, cells: ValueCells, distinct: NDArray[np.int64], at: int, by: int) -> int:
    """Count an entry, or with `by` −1 no longer, where none are chained; returns how many cells that has taken."""
    field, code = entries.fields[at], entries.codes[at]
    cell = cell_of(cells.fields, cells.codes, field, code)
    taken = int(cells.fields[cell] == _FREE)
    cells.fields[cell], cells.codes[cell] = field, code
    before = cells.items[cell]
    cells.items[cell] = before + by
    distinct[field] += (before + by > 0) - (before > 0)
    return taken


@njit(cache=True, nogil=True)
def _count_values(
    entries: Entries, cells: ValueCells, counts: FieldCounts, old: tuple[int, int], new: tuple[int, int]
) -> int:
    """Count the entries between two places and no longer those between two others; returns how many cells it took."""
    taken = 0
    for at in range(new[0], new[1]):
        if counts.kinds[entries.fields[at]] not in (_NUMBER, _TIME):
            taken += _count_value(entries, cells, counts.distinct, at, 1)
    for at in range(old[0], old[1]):
        if counts.kinds[entries.fields[at]] not in (_NUMBER, _TIME):
            taken += _count_value(entries, cells, counts.distinct, at, -1)
    return taken


@njit(cache=True, nogil=True)
def _unchain(entries: Entries, links: Links, cells: ValueCells, distinct: NDArray[np.int64], at: int) -> None:
    cell = cell_of(cells.fields, cells.codes, entries.fields[at], entries.codes[at])
    older, newer = links.older[at], links.newer[at]
    if older != _END:
        links.newer[older] = newer
    if newer != _END:
        links.older[newer] = older
    else:
        cells.newest[cell] = older
    cells.items[cell] -= 1
    if cells.items[cell] == 0:
        distinct[entries.fields[at]] -= 1


@njit(cache=True, nogil=True)
def _take_place(entries: Entries, links: Links, cells: ValueCells, before: int, at: int) -> None:
    """Put an entry where the one `before` stood that says the same of the same item."""
    older, newer = links.older[before], links.newer[before]
    links.older[at], links.newer[at], links.newer[before] = older, newer, NOT_LISTED
    if older != _END:
        links.newer[older] = at
    if newer != _END:
        links.older[newer] = at
    else:
        cells.newest[cell_of(cells.fields, cells.codes, entries.fields[at], entries.codes[at])] = at


@njit(cache=True, nogil=True)
def _same_before(entries: Entries, links: Links, at: int, start: int, end: int) -> int:
    """The chained entry from `start` to `end` that says what the one `at` says, −1 if there is none."""
    for before in range(start, end):
        if (
            entries.codes[before] == entries.codes[at]
            and entries.fields[before] == entries.fields[at]
            and links.newer[before] != NOT_LISTED
        ):
            return before
    return -1


@njit(cache=True, nogil=True)
def replace_entries(
    plain_entries: tuple[NDArray[Any], ...],
    plain_links: tuple[NDArray[Any], ...],
    plain_cells: tuple[NDArray[Any], ...],
    plain_counts: tuple[NDArray[Any], ...],
    given: NDArray[np.int64],
    slot: int,
    run: tuple[int, int],
) -> int:
    """Have an item say what `given` int64[n, 3] does, and nothing else; `run` has the first of n free entries, and n.

    With nothing given it says what the entries of the run say already. Returns how many cells that has taken; there
    must be 2 · n more than are taken. Who has said the same keeps its place among the items that do. Without `Links`
    items are counted, and not chained.
    """
    entries, links = Entries(*plain_entries), Links(*plain_links)
    cells, counts = ValueCells(*plain_cells), FieldCounts(*plain_counts)
    start, end, taken = run[0], run[0] + run[1], 0
    first = entries.starts[slot]
    last = first + entries.lengths[slot]
    if given.shape[0]:
        write_entries(entries, counts.kinds, given, start)
    _set_run(entries, counts.present, slot, start, end)
    if not links.slots.shape[0]:
        return int(_count_values(entries, cells, counts, (first, last), (start, end)))
    for at in range(start, end):
        links.slots[at], kind = slot, counts.kinds[entries.fields[at]]
        if kind in (_NUMBER, _TIME):
            links.older[at], links.newer[at] = _END, NOT_LISTED
            continue
        before = _same_before(entries, links, at, first, last)
        if before < 0:
            taken += _chain(entries, links, cells, counts.distinct, at)
        else:
            _take_place(entries, links, cells, before, at)
    for at in range(first, last):
        if links.newer[at] != NOT_LISTED:
            _unchain(entries, links, cells, counts.distinct, at)
    return int(taken)


@njit(cache=True, nogil=True)
def take_runs(
    plain_entries: tuple[NDArray[Any], ...],
    plain_links: tuple[NDArray[Any], ...],
    plain_cells: tuple[NDArray[Any], ...],
    plain_counts: tuple[NDArray[Any], ...],
    slots: NDArray[np.int64],
    runs: tuple[NDArray[np.int64], NDArray[np.int32]],
) -> int:
    """`replace_entries` for items `slots` int64[n] of which nothing is known yet, and whose entries are written.

    `runs` are where those begin, int64[n], and how many each has, int32[n].
    """
    nothing, taken = np.empty((0, 3), np.int64), 0
    for place in range(slots.shape[0]):
        run = (runs[0][place], runs[1][place])
        taken += replace_entries(plain_entries, plain_links, plain_cells, plain_counts, nothing, slots[place], run)
    return int(taken)


@njit(cache=True, nogil=True)
def move_cells(plain_old: tuple[NDArray[Any], ...], plain_new: tuple[NDArray[Any], ...]) -> int:
    """Take the values that any item has over into empty cells; returns how many there are."""
    old, new, taken = ValueCells(*plain_old), ValueCells(*plain_new), 0
    for cell in range(old.items.shape[0]):
        if old.items[cell] > 0:
            at = cell_of(new.fields, new.codes, old.fields[cell], old.codes[cell])
            new.fields[at], new.codes[at] = old.fields[cell], old.codes[cell]
            new.items[at], new.newest[at] = old.items[cell], old.newest[cell]
            taken += 1
    return taken


@njit(cache=True, nogil=True)
def newest_slots(
    plain_links: tuple[NDArray[Any], ...],
    plain_cells: tuple[NDArray[Any], ...],
    value: tuple[int, int],
    count: int,
    skipped: int = 0,
) -> NDArray[np.int32]:
    """int32[≤ count]: items that have a value (feature, code), those first that got it last, behind `skipped` ones."""
    links, cells = Links(*plain_links), ValueCells(*plain_cells)
    cell = cell_of(cells.fields, cells.codes, value[0], value[1])
    found = np.empty(max(0, min(count, cells.items[cell] - skipped)), np.int32)
    at = cells.newest[cell]
    if found.shape[0] > 0:
        for _ in range(skipped):
            at = links.older[at]
    for place in range(found.shape[0]):
        found[place] = links.slots[at]
        at = links.older[at]
    return found
