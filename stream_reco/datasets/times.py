"""Columns of times, in whatever form a log holds them, as milliseconds since the epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stream_reco.datasets.columns import to_float
from stream_reco.datasets.errors import shortened
from stream_reco.datasets.time_texts import NO_TIME, iso_milliseconds, milliseconds_of

EARLIEST_MS: Final = 631_152_000_000  # 1990-01-01: what lies before is seconds taken for milliseconds
_LATEST_GUESS_MS: Final = 4_102_444_800_000  # 2100-01-01
_MS_PER_UNIT: Final = {"s": 1000.0, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
UNITS: Final = (*_MS_PER_UNIT, "iso")
ORDER_BASE_MS: Final = 946_684_800_000  # 2000-01-01: far enough back for 700 million rows
ORDER_STEP_MS: Final = 1000


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


def order_as_time(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return int64[n] ms for rows[n] of a file without times: a second apart, from 2000 on, in every file alike."""
    return ORDER_BASE_MS + rows * ORDER_STEP_MS


def to_milliseconds(column: Any, unit: str | None, time_format: str | None = None) -> NDArray[np.int64]:
    """Return int64[n] ms of an Arrow column of n times; values that are no times become the lowest int64.

    Columns that Arrow types as timestamps or dates know their unit. Numbers and text are read in `unit`; if it is
    None it is inferred from the values, or `TimeUnitError` says why it cannot be. Text is read by `time_format`, as of
    `datetime.strptime`, if it is given.
    """
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        to = pa.timestamp("ms", getattr(kind, "tz", None))
        return _filled(column.cast(to, safe=False).cast(pa.int64()), NO_TIME)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        if unit == "iso":
            raise TimeUnitError(f"it holds numbers ({kind}), which are not ISO texts; give s, ms, us or ns")
        return _from_numbers(_numbers(column), unit)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind)):
        raise TimeUnitError(f"it is of type {kind}, which holds no times")
    return _from_text(column, unit, time_format)


def _numbers(column: Any) -> NDArray[Any]:
    if pa.types.is_floating(column.type):
        return _filled(column.cast(pa.float64()), np.nan)
    if pa.types.is_uint64(column.type):
        column = column.cast(pa.int64(), safe=False)
    return _filled(column.cast(pa.int64()), NO_TIME)


def _filled(column: Any, missing: float) -> NDArray[Any]:
    filled: NDArray[Any] = column.fill_null(missing).to_numpy(zero_copy_only=False)
    return filled


def _from_text(column: Any, unit: str | None, time_format: str | None) -> NDArray[np.int64]:
    if time_format is None:
        if unit != "iso" and (numbers := _spelt_numbers(column)) is not None:
            return _from_numbers(numbers, unit)
        if unit in (None, "iso") and (times := iso_milliseconds(column)) is not None:
            return times
    encoded = column.dictionary_encode()
    words = [_decoded(word) for word in encoded.dictionary.to_pylist()]
    codes = encoded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
    values = np.append([to_float(word) for word in words], np.nan)[codes]
    by_number = unit in _MS_PER_UNIT or (unit is None and np.isfinite(values).sum() * 2 > len(values))
    if time_format is None and by_number:
        return _from_numbers(values, unit)
    times = np.append(milliseconds_of(words, time_format, iso_only=unit == "iso"), NO_TIME)
    if unit is None and len(words) and (times == NO_TIME).all():
        expected = (
            f"times by the format {time_format!r}"
            if time_format is not None
            else "numbers nor ISO 8601 times, nor of another form that says which part is the day"
        )
        raise TimeUnitError(f"values such as {_some(words)} are {'no' if time_format else 'neither'} {expected}")
    found: NDArray[np.int64] = times[codes]
    return found


def _spelt_numbers(column: Any) -> NDArray[Any] | None:
    for kind in (pa.int64(), pa.float64()):
        try:
            return _numbers(column.cast(pa.string()).cast(kind))
        except pa.ArrowInvalid:
            continue
    return None


def _decoded(word: str | bytes | None) -> str:
    return word.decode("utf-8", "replace") if isinstance(word, bytes) else word or ""


def _from_numbers(numbers: NDArray[Any], unit: str | None) -> NDArray[np.int64]:
    scale = _MS_PER_UNIT[unit or _guess(numbers)]
    approximate = numbers.astype(np.float64) * scale
    good = np.abs(approximate) < 2.0**52  # false for NaN; times beyond fail the bound anyhow and must not overflow
    times = np.full(len(numbers), NO_TIME, dtype=np.int64)
    if numbers.dtype != np.int64:
        times[good] = np.rint(approximate[good])
    elif scale >= 1:
        times[good] = numbers[good] * int(scale)
    else:
        times[good] = numbers[good] // round(1 / scale)
    return times


def _guess(numbers: NDArray[Any]) -> str:
    """Infer the unit: the one in which most values lie between 1990 and 2100; the units' ranges do not overlap."""
    values = numbers[np.isfinite(numbers)] if numbers.dtype != np.int64 else numbers[numbers != NO_TIME]
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
