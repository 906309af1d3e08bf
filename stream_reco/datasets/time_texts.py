"""Texts of times: ISO 8601, `31.12.2019 23:59`, RFC 2822, those of Apache's logs, and whatever a format describes.

A text without a zone is UTC. `03/04/2019` is not guessed: half the world reads it the other way round.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

NO_TIME: Final = np.iinfo(np.int64).min
_SPACED_OFFSET: Final = re.compile(r" ([+-]\d\d:?\d\d)$")
_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
# Zones of other names than these are not known to the standard library, which takes them for UTC.
_RFC_2822: Final = re.compile(
    r"([A-Za-z]{3}, *)?\d{1,2} [A-Za-z]{3} \d{4} \d\d:\d\d(:\d\d)? ([+-]\d{4}|GMT|UTC?|Z|[ECMP][SD]T)( \(.*\))?$",
    re.ASCII,
)
_DOTTED: Final = re.compile(
    r"(\d{1,2})\.(\d{1,2})\.(\d{4})(?:,? +(\d{1,2}):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?)?$", re.ASCII
)
_APACHE: Final = re.compile(r"\[?(\d\d/[A-Za-z]{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\]?$", re.ASCII)


def iso_milliseconds(column: Any) -> NDArray[np.int64] | None:
    """Return int64[n] ms of an Arrow column in which every cell is such an ISO text as most logs have, else None.

    That is all with a zone or all without one, and to the microsecond at most.
    """
    if column.null_count:
        return None
    text = column.cast(pa.string())
    for zone in (None, "UTC"):
        try:
            times = text.cast(pa.timestamp("us", zone)).cast(pa.int64())
        except pa.ArrowInvalid:
            continue
        found: NDArray[np.int64] = times.to_numpy(zero_copy_only=False) // 1000
        return found
    return None


def milliseconds_of(words: list[str], time_format: str | None, *, iso_only: bool = False) -> NDArray[np.int64]:
    """Return int64[n] ms of texts, `NO_TIME` where one is none; `time_format` is as of `datetime.strptime`."""
    if time_format is not None:
        return _all(words, lambda word: datetime.strptime(word, time_format))
    return _all(words, _iso if iso_only else _any_form)


def _all(words: list[str], read: Callable[[str], datetime]) -> NDArray[np.int64]:
    times = np.full(len(words), NO_TIME, dtype=np.int64)
    for place, word in enumerate(words):
        try:
            at = read(word.strip())
            times[place] = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND
        except (ValueError, OverflowError):
            continue
    return times


def _iso(word: str) -> datetime:
    return datetime.fromisoformat(_SPACED_OFFSET.sub(r"\1", word.removesuffix(" UTC")))


def _any_form(word: str) -> datetime:
    if dotted := _DOTTED.match(word):
        day, month, year, hour, minute, second, fraction = (part or "0" for part in dotted.groups())
        clock = int(hour), int(minute), int(second), int(fraction.ljust(6, "0"))
        return datetime(int(year), int(month), int(day), *clock)
    if apache := _APACHE.match(word):
        return datetime.strptime(apache[1], "%d/%b/%Y:%H:%M:%S %z")
    if _RFC_2822.match(word):
        return parsedate_to_datetime(word)
    return _iso(word)
