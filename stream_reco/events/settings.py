"""Settings of what stands for an id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MISSING: Final = ("NULL", "null", "None", "none", r"\N", "nan", "NaN")


@dataclass(frozen=True)
class FileSettings:
    """What the cells of a file stand for, as events. Here, because servers read settings and never files."""

    missing: tuple[str, ...] = MISSING
    """Texts that stand for no value in a file, besides the empty one: such a cell is no id."""
