"""Logs as events: known public ones, any table, and our own schema; invalid rows become dead letters."""

from stream_reco.datasets.dead_letters import DeadLetters, RejectedRow
from stream_reco.datasets.errors import DatasetError
from stream_reco.datasets.json_lines import write_events
from stream_reco.datasets.load import FORMATS, load
from stream_reco.datasets.log import Log
from stream_reco.datasets.table import parse_columns

__all__ = ["FORMATS", "DatasetError", "DeadLetters", "Log", "RejectedRow", "load", "parse_columns", "write_events"]
