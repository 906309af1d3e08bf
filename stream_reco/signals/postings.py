"""Which codes each slot has, and which slots have each code: an inverted index that is always up to date.

The lists of slots are made at once, sorted by code and slot. What a slot got since stands in a short log behind them,
and what it has lost is found out when it is read; when the log is full, the lists are made again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.signals.growing import capacity_for, grown

Codes = NDArray[np.int32]
Slots = NDArray[np.int32]
Mask = NDArray[np.bool_]
_SHORTEST_LOG, _LOG_SHARE = 1024, 64
"""The log has room for that many codes, and for one in so many of those in the lists: a request reads it whole."""


@njit(cache=True, nogil=True)
def _count_codes(at: Codes, members: Codes, counts: Codes) -> None:
    """Add to `counts` int32[codes] how many slots have each."""
    for slot in range(at.shape[0]):
        if at[slot] >= 0:
            counts[at[slot]] += 1
            continue
        place = ~at[slot]
        while members[place] >= 0:
            counts[members[place]] += 1
            place += 1
        counts[~members[place]] += 1


@njit(cache=True, nogil=True)
def _list_slots(at: Codes, members: Codes, ends: Codes, listed: Slots) -> None:
    """Fill the lists from their ends, which become their starts."""
    for slot in range(at.shape[0] - 1, -1, -1):
        if at[slot] >= 0:
            ends[at[slot]] -= 1
            listed[ends[at[slot]]] = slot
            continue
        place, last = ~at[slot], False
        while not last:
            last = members[place] < 0
            code = ~members[place] if last else members[place]
            ends[code] -= 1
            listed[ends[code]] = slot
            place += 1


@njit(cache=True, nogil=True)
def _has(at: Codes, members: Codes, slot: int, code: int) -> bool:
    if at[slot] >= 0:
        return bool(at[slot] == code)
    place = ~at[slot]
    while members[place] >= 0:
        if members[place] == code:
            return True
        place += 1
    return bool(~members[place] == code)


@njit(cache=True, nogil=True)
def _slots_of(
    at: Codes, members: Codes, codes: Codes, most: int, starts: Codes, listed: Slots, log: NDArray[np.int32]
) -> Slots:
    """int32[≤ most]: slots that have one of the ascending codes, by the lists and by the log, in no order."""
    found, size = np.empty(most, np.int32), 0
    for code in codes:
        if code + 1 >= starts.shape[0]:
            break  # it came after the lists were made
        for place in range(starts[code], starts[code + 1]):
            if _has(at, members, listed[place], code):
                found[size] = listed[place]
                size += 1
    for entry in range(log.shape[0]):
        code, slot = log[entry, 0], log[entry, 1]
        place = np.searchsorted(codes, code)
        if place < codes.shape[0] and codes[place] == code and _has(at, members, slot, code):
            found[size] = slot
            size += 1
    return found[:size]


@njit(cache=True, nogil=True)
def _any_wanted(at: Codes, members: Codes, wanted: Mask) -> Mask:
    """bool[slots]: whether one of a slot's codes is wanted."""
    found = np.zeros(at.shape[0], dtype=np.bool_)
    for slot in range(at.shape[0]):
        if at[slot] >= 0:
            found[slot] = wanted[at[slot]]
            continue
        place = ~at[slot]
        while members[place] >= 0 and not wanted[members[place]]:
            place += 1
        found[slot] = wanted[members[place] if members[place] >= 0 else ~members[place]]
    return found


@njit(cache=True, nogil=True)
def _codes_of(at: Codes, members: Codes, slots: Slots) -> tuple[Codes, NDArray[np.int64]]:
    """The codes of the slots, one slot's behind the other's, and where each slot's begin."""
    firsts, size = np.empty(slots.shape[0], np.int64), 0
    for turn, slot in enumerate(slots):
        firsts[turn] = size
        size += 1
        if at[slot] < 0:
            place = ~at[slot]
            while members[place] >= 0:
                size += 1
                place += 1
    codes = np.empty(size, np.int32)
    for turn, slot in enumerate(slots):
        to = firsts[turn]
        if at[slot] >= 0:
            codes[to] = at[slot]
            continue
        place = ~at[slot]
        while members[place] >= 0:
            codes[to] = members[place]
            to, place = to + 1, place + 1
        codes[to] = ~members[place]
    return codes, firsts


class Postings:
    """Each slot has one code or more. Any number of threads may ask while nobody changes anything."""

    def __init__(self, at: Codes, members: Codes, codes: int) -> None:
        """`at` int32[slots]: the slot's only code, or ~ of where its codes begin in `members`, the last of them as ~.

        There are so many `codes` as yet, and 0 is the code of slots behind the last.
        """
        self._at, self._members, self._written = at, members, len(members)
        self.counts: NDArray[np.int32] = np.zeros(codes, dtype=np.int32)
        """int32[≥ codes]: how many slots have each code."""
        _count_codes(at, members, self.counts)
        self.links = int(self.counts.sum())
        """Pairs of a slot and a code."""
        self._make_lists()

    def __len__(self) -> int:
        """Slots that were ever set, or more."""
        return len(self._at)

    @property
    def written(self) -> int:
        """Members, with those that no slot has any more."""
        return self._written

    def _make_lists(self) -> None:
        ends = np.cumsum(self.counts, dtype=np.int32)
        self._starts = np.append(ends, ends[-1:])
        self._listed: Slots = np.empty(int(ends[-1]) if len(ends) else 0, dtype=np.int32)
        _list_slots(self._at, self._members, self._starts, self._listed)
        self._log = np.empty((max(_SHORTEST_LOG, len(self._listed) // _LOG_SHARE), 2), dtype=np.int32)
        self._logged, self._changed = 0, False

    def set(self, slot: int, codes: list[int]) -> None:
        """Have a slot have these distinct codes, at least one, and no others."""
        if slot >= len(self._at):
            before = len(self._at)
            self._at = grown(self._at, capacity_for(slot + 1, before), 0)
            self.counts[0] += len(self._at) - before
            self.links += len(self._at) - before
            self._make_lists()
        held = self.codes_of(slot)
        if held == codes:
            return
        self._changed = True
        if max(codes) >= len(self.counts):
            self.counts = grown(self.counts, capacity_for(max(codes) + 1, len(self.counts)), 0)
        self._write(slot, codes, len(held))
        self.links += len(codes) - len(held)
        for code in held:
            self.counts[code] -= 1
        for code in codes:
            self.counts[code] += 1
        self._note(slot, [code for code in codes if code not in held])

    def codes_of(self, slot: int) -> list[int]:
        """The codes that a slot has."""
        place = int(self._at[slot])
        if place >= 0:
            return [place]
        codes = list[int]()
        while (code := int(self._members[~place + len(codes)])) >= 0:
            codes.append(code)
        return [*codes, ~code]

    def _write(self, slot: int, codes: Sequence[int], held: int) -> None:
        if len(codes) == 1:
            self._at[slot] = codes[0]
            return
        start = ~int(self._at[slot])
        if start < 0 or len(codes) > held:
            start, self._written = self._written, self._written + len(codes)
            if self._written > len(self._members):
                self._members = grown(self._members, capacity_for(self._written, len(self._members)), 0)
            self._at[slot] = ~start
        self._members[start : start + len(codes)] = [*codes[:-1], ~codes[-1]]

    def _note(self, slot: int, codes: Sequence[int]) -> None:
        """Remember the codes that a slot got."""
        if self._logged + len(codes) > len(self._log):
            self._make_lists()
            return
        for code in codes:
            self._log[self._logged] = code, slot
            self._logged += 1

    def count(self, codes: Codes) -> int:
        """How many slots have the codes; one that has several of them counts for each."""
        return int(self.counts[codes].sum())

    def slots_of(self, codes: Codes) -> Slots:
        """int32[n], ascending: the slots that have one of the ascending codes. Not to be written to."""
        if len(codes) == 1 and not self._changed:
            return self._listed[self._starts[codes[0]] : self._starts[codes[0] + 1]]
        log = self._log[: self._logged]
        # What the log has the lists may have as well: a slot may get back what it had.
        most = self.count(codes) + len(log)
        found = np.sort(_slots_of(self._at, self._members, codes, most, self._starts, self._listed, log))
        return found[np.append(True, found[1:] != found[:-1])] if len(found) else found

    def with_any(self, wanted: Mask) -> Mask:
        """bool[slots]: which have a wanted code; `wanted` bool[codes]."""
        found: Mask = _any_wanted(self._at, self._members, wanted)
        return found

    def where(self, slots: Slots, is_wanted: Callable[[Codes], Mask]) -> Mask:
        """bool[n]: which of these slots have a wanted code."""
        if not self._written:
            return is_wanted(self._at[slots])
        codes, firsts = _codes_of(self._at, self._members, slots)
        found: Mask = np.logical_or.reduceat(is_wanted(codes), firsts)
        return found
