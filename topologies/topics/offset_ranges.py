"""Sets of offsets that are mostly runs, such as `0-7,9`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_LAST = 2**63 - 1


@dataclass(frozen=True)
class Ranges:
    """Whole numbers from 0 on; `runs` are pairs (first, last), sorted, with a gap between each two."""

    runs: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, runs: Iterable[tuple[int, int]]) -> Ranges:
        """Of pairs (first, last) in any order, that may overlap."""
        joined: list[tuple[int, int]] = []
        for first, last in sorted(runs):
            if joined and first <= joined[-1][1] + 1:
                joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
            else:
                joined.append((first, last))
        return cls(tuple(joined))

    @classmethod
    def all_but(cls, missing: Iterable[int], last: int) -> Ranges:
        """All from 0 to `last` but those that are `missing`."""
        runs, first = [], 0
        for number in sorted(number for number in missing if number <= last):
            runs.append((first, number - 1))
            first = number + 1
        return cls.of(run for run in (*runs, (first, last)) if run[0] <= run[1])

    @classmethod
    def parse(cls, text: str) -> Ranges:
        """Of text such as `3`, `0-7,9` or `20-` (and all after it). Raises ValueError with a text for people."""
        runs = []
        for part in filter(None, (part.strip() for part in text.split(","))):
            first, dash, last = (side.strip() for side in part.partition("-"))
            if not first.isdecimal() or not (last.isdecimal() or not last):
                raise ValueError(f"{part!r} is no range of offsets: write 5, 3-7 or 20-, with commas between them")
            run = (int(first), int(last) if last else _LAST if dash else int(first))
            if run[1] < run[0]:
                raise ValueError(f"{part!r} ends before it begins")
            runs.append(run)
        return cls.of(runs)

    def __contains__(self, number: int) -> bool:
        return any(first <= number <= last for first, last in self.runs)

    def __str__(self) -> str:
        return ",".join(_shown(first, last) for first, last in self.runs)

    @property
    def last(self) -> int:
        """The greatest; -1 if it is empty."""
        return self.runs[-1][1] if self.runs else -1

    def first_missing(self, start: int) -> int:
        """The least number from `start` on that is not in it."""
        return next((last + 1 for first, last in self.runs if first <= start <= last), start)


def _shown(first: int, last: int) -> str:
    if last == _LAST:
        return f"{first}-"
    return str(first) if first == last else f"{first}-{last}"
