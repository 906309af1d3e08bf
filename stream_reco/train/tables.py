"""The tables of a trainer: made as a model specifies them, and checked where they come from a checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from stream_reco.embedding import Adagrad, EmbeddingTable, after
from stream_reco.model.fields import FIRST_ACCUMULATOR, TableSpec
from stream_reco.signals.settings import DAY_MS
from stream_reco.train.settings import TrainSettings

_LOGGER = logging.getLogger(__name__)


def new_table(spec: TableSpec, settings: TrainSettings) -> EmbeddingTable:
    """An empty table."""
    optimizer = spec.optimizer or Adagrad(lr=settings.row_learning_rate, initial_accumulator_value=FIRST_ACCUMULATOR)
    admission = spec.admission
    if admission is None and spec.per_user and settings.user_sightings > 1:
        admission = after(settings.user_sightings)
    return EmbeddingTable(
        spec.dim,
        optimizer,
        admission,
        int(settings.row_idle_days * DAY_MS) if spec.ttl_ms is None else spec.ttl_ms,
        name=spec.name,
        init_scale=spec.init_scale,
        seed=settings.seed,
        budget_bytes=int(settings.table_megabytes * 1e6) or spec.most_bytes,
    )


def check_tables(given: Mapping[str, EmbeddingTable], wanted: Mapping[str, EmbeddingTable]) -> None:
    """Raise ValueError where tables are not those of the settings; other learning rates are not reported."""
    for name, table in wanted.items():
        ours, other = _kind(table), _kind(given[name]) if name in given else "none"
        if ours != other:
            raise ValueError(
                f"the table given as {name!r} is {other} instead of {ours}: it is of a model with other sizes, or of"
                " another version; start with a new data folder, or restore the model settings that it was trained with"
            )


def warn_of_optimizers(specs: Sequence[TableSpec], kept: Mapping[str, EmbeddingTable]) -> None:
    """Warn where a model asks for another optimizer than its rows were created with; who calls compares the trainer's.

    Rows hold what their optimizer has summed up, so they go on with it.
    """
    for spec in specs:
        created_with = kept[spec.name].optimizer
        if spec.optimizer is not None and created_with != spec.optimizer:
            _LOGGER.warning(
                "the settings ask for %s in the table %r, but it was created with %s, which stays in force: start with"
                " a new data folder to change it",
                spec.optimizer,
                spec.name,
                created_with,
            )


def _kind(table: EmbeddingTable) -> str:
    return f"{table.name!r} with dim {table.dim} and {table.optimizer.name}"
