"""Columns of times, in whatever form a log holds them, as milliseconds since the epoch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stream_reco.datasets.columns import to_float
from stream_reco.datasets.errors import shortened

EARLIEST_MS: Final = 631_152_000_000  # 1990-01-01: what lies before is seconds taken for milliseconds
_LATEST_GUESS_MS: Final = 4_102_444_800_000  # 2100-01-01
_MS_PER_UNIT: Final = {"s": 1000.0, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
UNITS: Final = (*_MS_PER_UNIT, "iso")
_SPACED_OFFSET: Final = re.compile(r" ([+-]\d\d:?\d\d)$")
_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
_NO_TIME: Final = np.iinfo(np.int64).min


class TimeUnitError(ValueError):
    """The unit of a time column was not given and cannot be inferred from its values."""


@dataclass(frozen=True)
class Bound:
    """What times an entering row may have: from 1990 to `now_ms + future_ms`; `now_ms=None` leaves the future open."""

    now_ms: int | None = None
    future_ms: int = 300_000

    def broken_by(self, times: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return bool[n]: which of times int64[n], ms, lie outside."""
        outside = times < EARLIEST_MS
        return outside if self.now_ms is None else outside | (times > self.now_ms + self.future_ms)


def to_milliseconds(column: Any, unit: str | None) -> NDArray[np.int64]:
    """Return int64[n] ms of an Arrow column of n times; values that are no times become the lowest int64.

    Columns that Arrow types as timestamps or dates know their unit. Numbers and text are read in `unit`; if it is
    None it is inferred from the values, or `TimeUnitError` says why it cannot be.
    """
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        to = pa.timestamp("ms", getattr(kind, "tz", None))
        return _filled(column.cast(to, safe=False).cast(pa.int64()), _NO_TIME)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        if unit == "iso":
            raise TimeUnitError(f"it holds numbers ({kind}), which are not ISO texts; give s, ms, us or ns")
        return _from_numbers(_numbers(column), unit)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind)):
        raise TimeUnitError(f"it is of type {kind}, which holds no times")
    return _from_text(column, unit)


def _numbers(column: Any) -> NDArray[Any]:
    if pa.types.is_floating(column.type):
        return _filled(column.cast(pa.float64()), np.nan)
    if pa.types.is_uint64(column.type):
        column = column.cast(pa.int64(), safe=False)
    return _filled(column.cast(pa.int64()), _NO_TIME)


def _filled(column: Any, missing: float) -> NDArray[Any]:
    filled: NDArray[Any] = column.fill_null(missing).to_numpy(zero_copy_only=False)
    return filled


def _from_text(column: Any, unit: str | None) -> NDArray[np.int64]:
    if unit != "iso":
        for kind in (pa.int64(), pa.float64()):
            try:
                return _from_numbers(_numbers(column.cast(pa.string()).cast(kind)), unit)
            except pa.ArrowInvalid:
                continue
    words = [word.decode("utf-8", "replace") if isinstance(word, bytes) else word for word in column.to_pylist()]
    numbers = np.array([to_float(word or "") for word in words], dtype=np.float64)
    if unit in _MS_PER_UNIT or (unit is None and np.isfinite(numbers).sum() * 2 > len(words)):
        return _from_numbers(numbers, unit)
    times = np.array([_iso(word) for word in words], dtype=np.int64)
    if unit is None and len(words) and (times == _NO_TIME).all():
        raise TimeUnitError(f"values such as {_some(words)} are neither numbers nor ISO 8601 times")
    return times


def _iso(word: str | None) -> int:
    try:
        at = datetime.fromisoformat(_SPACED_OFFSET.sub(r"\1", (word or "").strip().removesuffix(" UTC")))
    except ValueError:
        return _NO_TIME
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND


def _from_numbers(numbers: NDArray[Any], unit: str | None) -> NDArray[np.int64]:
    scale = _MS_PER_UNIT[unit or _guess(numbers)]
    approximate = numbers.astype(np.float64) * scale
    good = np.abs(approximate) < 2.0**52  # false for NaN; times beyond fail the bound anyhow and must not overflow
    times = np.full(len(numbers), _NO_TIME, dtype=np.int64)
    if numbers.dtype != np.int64:
        times[good] = np.rint(approximate[good])
    elif scale >= 1:
        times[good] = numbers[good] * int(scale)
    else:
        times[good] = numbers[good] // round(1 / scale)
    return times


def _guess(numbers: NDArray[Any]) -> str:
    """Infer the unit: the one in which most values lie between 1990 and 2100; the units' ranges do not overlap."""
    values = numbers[np.isfinite(numbers)] if numbers.dtype != np.int64 else numbers[numbers != _NO_TIME]
    hits = {
        unit: int(((values * scale >= EARLIEST_MS) & (values * scale < _LATEST_GUESS_MS)).sum())
        for unit, scale in _MS_PER_UNIT.items()
    }
    ranked = sorted(hits, key=hits.__getitem__, reverse=True)
    best, second = ranked[0], ranked[1]
    if not len(values):
        return "ms"
    if hits[best] * 2 < len(values):
        raise TimeUnitError(f"values such as {_some(values.tolist())} lie between 1990 and 2100 in no unit")
    if hits[second] * 10 > hits[best]:
        raise TimeUnitError(f"values such as {_some(values.tolist())} mix the units {best} and {second}")
    return best


def _some(values: Sequence[object]) -> str:
    return ", ".join(shortened(value, 30) for value in list(dict.fromkeys(values[:1000]))[:3])
