"""Load a log: from a path and a format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from stream_reco.datasets import globo, json_lines, movielens, open_bandit, table, talkingdata
from stream_reco.datasets.errors import DatasetError
from stream_reco.datasets.log import Log
from stream_reco.datasets.read import AS_IT_IS
from stream_reco.datasets.reading import Reading
from stream_reco.datasets.times import UNITS, Bound

_PLAIN: Final[dict[str, Callable[[Path, Bound, Reading], Log]]] = {
    "globo": globo.load,
    "movielens": movielens.load,
    "talkingdata": talkingdata.load,
    "openbandit": open_bandit.load,
    "events": json_lines.load,
}
FORMATS: Final = (*_PLAIN, "table")


def load(
    path: Path | str,
    format: str,  # noqa: A002 - the name that the command line has
    *,
    columns: Mapping[str, str] | None = None,
    time_unit: str | None = None,
    now_ms: int | None = None,
    future_ms: int = 300_000,
    reading: Reading = AS_IT_IS,
) -> Log:
    """Read a log of one of `FORMATS` as events in time order; bad rows become its `dead_letters`.

    `columns` (role → column, see `parse_columns`), `time_unit` (s, ms, us, ns, iso; None: inferred from the values) and
    what `reading` says of separators and times are for `table` only. Rows later than `now_ms + future_ms` are bad;
    `now_ms=None` leaves the future open. Raises `DatasetError` for a file that is not such a log, `ValueError` for
    arguments that make no sense.
    """
    path = Path(path)
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}: there are {', '.join(FORMATS)}")
    if time_unit is not None and time_unit not in UNITS:
        raise ValueError(f"unknown time unit {time_unit!r}: there are {', '.join(UNITS)}")
    bound = Bound(now_ms, future_ms)
    if format == "table":
        return table.load(path, bound, reading, columns, time_unit)
    if columns is not None or time_unit is not None or reading.is_of_tables:
        why = f"the format {format} has fixed columns and units"
        what = "--columns, --time-unit, --time-format, --order-is-time and --separator are for --format table"
        raise DatasetError(path, what, why, "Leave them out.")
    return _PLAIN[format](path, bound, reading)
