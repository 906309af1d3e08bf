"""Logs as events: known public ones, any table, and our own schema; invalid rows become dead letters."""

from stream_reco.datasets.dead_letters import DeadLetters, RejectedRow
from stream_reco.datasets.errors import DatasetError
from stream_reco.datasets.json_lines import write_events
from stream_reco.datasets.load import FORMATS, load
from stream_reco.datasets.log import Log
from stream_reco.datasets.reading import ID_TYPES, Reading
from stream_reco.datasets.table import parse_columns

__all__ = [
    "FORMATS",
    "ID_TYPES",
    "DatasetError",
    "DeadLetters",
    "Log",
    "Reading",
    "RejectedRow",
    "load",
    "parse_columns",
    "write_events",
]
