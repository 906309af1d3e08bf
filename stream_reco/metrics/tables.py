"""Embedding tables: their rows and bytes, and what they lose or refuse."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

from stream_reco.metrics.registry import NEWEST, REGISTRY

TABLE_ROWS: Final = Gauge(
    "stream_reco_table_rows",
    "Rows that an embedding table holds.",
    ["table"],
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
TABLE_TOUCHED: Final = Gauge(
    "stream_reco_table_touched_rows",
    "Rows that the newest publication found changed since the one before.",
    ["table"],
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
TABLE_BYTES: Final = Gauge(
    "stream_reco_table_bytes",
    "Bytes an embedding table has allocated, slack and index included.",
    ["table"],
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
TABLE_EVICTED: Final = Counter(
    "stream_reco_table_evicted_rows_total",
    "Rows that left: idle for longer than the TTL, or for others where memory is bounded (`budget`).",
    ["table", "reason"],
    registry=REGISTRY,
)
TABLE_REFUSED: Final = Counter(
    "stream_reco_table_refused_gradients_total",
    "Gradients of an embedding table rejected because they were not finite or above 1e15; the row stays as it is.",
    ["table"],
    registry=REGISTRY,
)
