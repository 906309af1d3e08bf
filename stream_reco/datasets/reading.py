"""How a file is to be read: what its bytes, cells and lines stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stream_reco.events.settings import MISSING

ID_TYPES: Final = ("auto", "int", "text")


@dataclass(frozen=True)
class Reading:
    """What the file itself does not say. `None` leaves it to what is found in the file.

    `id_type`: one of `ID_TYPES`. `missing`: texts that stand for no value, besides the empty one. `encoding`: a name
    that Python knows; UTF-8 if it is None. `separator`: one character or more; with more than one there are no quotes.
    `time_format`: as of `datetime.strptime`. `order_is_time`: the file has no times, and its rows are a second apart.
    """

    id_type: str = "auto"
    missing: frozenset[str] = frozenset(MISSING)
    separator: str | None = None
    encoding: str | None = None
    time_format: str | None = None
    order_is_time: bool = False

    @property
    def is_of_tables(self) -> bool:
        """Whether it says anything that formats with fixed columns leave no choice of."""
        return self.separator is not None or self.time_format is not None or self.order_is_time

    def __post_init__(self) -> None:
        if self.id_type not in ID_TYPES:
            raise ValueError(f"unknown type of ids {self.id_type!r}: there are {', '.join(ID_TYPES)}")
        if self.separator is not None and (not self.separator or set(self.separator) & set('\r\n"')):
            raise ValueError(f"the separator {self.separator!r} is empty, or holds a quote or an end of line")


@dataclass(frozen=True)
class CellRules:
    """What the cells of one file mean. `typed`: the file itself says which type a column has (Parquet)."""

    typed: bool
    id_type: str
    missing: frozenset[str]

    @property
    def blank(self) -> frozenset[str]:
        """Texts that stand for no value in columns that are no ids; a typed file has nulls for that."""
        return frozenset() if self.typed else self.missing | {""}
