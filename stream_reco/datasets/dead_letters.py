"""Invalid rows of a file: counted by reason, with the first few of each kept as examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

EXAMPLES_PER_REASON = 5


@dataclass(frozen=True)
class RejectedRow:
    """One bad row: a short reason code, `<file name>:<line>` (from 1; in Parquet the row) and a message."""

    reason: str
    where: str
    text: str


@dataclass
class DeadLetters:
    """All bad rows of a log. `counts` maps the reason code to how many; `examples` are the first of each reason.

    `notes`: what people should know of the rows that are good.
    """

    counts: Counter[str] = field(default_factory=Counter)
    examples: list[RejectedRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        """How many rows were refused."""
        return self.counts.total()

    def add(self, reason: str, where: str, text: str) -> None:
        """Count one bad row."""
        if self.counts[reason] < EXAMPLES_PER_REASON:
            self.examples.append(RejectedRow(reason, where, text))
        self.counts[reason] += 1

    def add_rows(
        self, reason: str, name: str, count: int, line: Callable[[int], int], describe: Callable[[int], str]
    ) -> None:
        """Count many bad rows of one reason; `line(i)` and `describe(i)` are asked only for the few that are kept."""
        for i in range(min(count, max(0, EXAMPLES_PER_REASON - self.counts[reason]))):
            self.examples.append(RejectedRow(reason, f"{name}:{line(i)}", describe(i)))
        if count:
            self.counts[reason] += count
