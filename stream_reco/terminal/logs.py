"""The log of processes that run until they are stopped."""

from __future__ import annotations

import logging

from stream_reco.terminal.printing import visible_lines


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return visible_lines(super().format(record))


def log_to_stderr() -> None:
    """Log everything from INFO on to standard error; control characters in what is logged are escaped."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.INFO)
