"""Learning from labelled examples: one training step a batch, on rows of the tables and on the dense weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from stream_reco import metrics
from stream_reco.embedding import Adagrad, EmbeddingTable, after
from stream_reco.model.rows import Lookup, Rows, gather, table_dims
from stream_reco.model.settings import ModelSettings
from stream_reco.model.weights import load_weights, weights_of
from stream_reco.model.zoo.two_tower_dcn import Ranker
from stream_reco.signals.growing import Parts
from stream_reco.signals.settings import DAY_MS
from stream_reco.train.batch import (
    TrainingBatch,
    is_finite,
)
from stream_reco.train.delayed_feedback import LateShare, corrected
from stream_reco.train.losses import list_loss, opposite_loss
from stream_reco.train.settings import TrainSettings

_ROW_RANGE = 0.05
_IDLE_A_STEP = 1000


class Trainer:
    """The model that learns: its tables, its dense weights and their optimizer.

    Training is a function of the examples, of their order and of the random generators passed in: two trainers that
    are given the same end with the same bits, on one machine and with one number of torch threads.
    """

    def __init__(self, model: ModelSettings, settings: TrainSettings) -> None:
        self.settings = settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.ranker = Ranker(model)
        optimizer = Adagrad(lr=settings.row_learning_rate, initial_accumulator_value=0.1)
        budget = int(settings.table_megabytes * 1e6) or None
        seldom = after(settings.user_sightings) if settings.user_sightings > 1 else None
        self.tables = {
            name: EmbeddingTable(
                dim,
                optimizer,
                seldom if name == "user" else None,
                int(settings.row_idle_days * DAY_MS),
                name=name,
                init_scale=_ROW_RANGE,
                seed=settings.seed,
                budget_bytes=budget,
            )
            for name, dim in table_dims(model).items()
        }
        self._optimizer = torch.optim.Adam(self.ranker.parameters(), lr=settings.learning_rate, fused=True)
        self.averaged = deepcopy(self.ranker)
        """The ranker to publish: its weights are averages over the last steps, which are less noisy than the last."""
        self._weights = list(zip(self.averaged.parameters(), self.ranker.parameters(), strict=True))
        self._buffers = list(zip(self.averaged.buffers(), self.ranker.buffers(), strict=True))
        self._steps = 0
        self._late = LateShare()
        self.examples = 0
        """Examples trained on so far; sampled negatives are not counted."""

    def step(self, batch: TrainingBatch) -> float:
        """Train on one batch; returns the mean loss an example.

        A batch with a number that is not finite or absurdly large changes nothing; it is counted, and NaN returned.
        """
        if not is_finite(batch):
            metrics.TRAIN_REFUSED.inc()
            return math.nan
        with metrics.STEP_SECONDS.time():
            return self._step(batch)

    def _step(self, batch: TrainingBatch) -> float:
        self.ranker.train()
        self._admit(batch)
        # A few at a time, so that no step waits for many.
        self.evict(batch.now, _IDLE_A_STEP)
        rows = gather(batch.batch, self.tables, training=True)
        users = self.ranker.user_vectors(batch.batch, rows)
        logits = self.ranker(batch.batch, rows, users, batch.positions)
        loss = self._loss(self._corrected(batch, logits), rows, users, logits - batch.log_rates)
        self._optimizer.zero_grad(set_to_none=True)
        # A step that did not wait for a full batch must not weigh each of its examples more.
        (loss / self.settings.batch).backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._average()
        for name, gathered in rows.by_table().items():
            if gathered.rows.grad is not None:
                self.tables[name].apply_gradients(gathered.keys, gathered.rows.grad.numpy())
        count = len(batch.weights)
        mean = float(loss.detach()) / count
        self.examples += count
        metrics.TRAINED_EXAMPLES.labels("labelled").inc(count)
        metrics.TRAINED_EXAMPLES.labels("sampled").inc(len(batch.labels) - count)
        metrics.TRAIN_LOSS.labels("ranker").set(mean)
        return mean

    def _corrected(self, batch: TrainingBatch, logits: Tensor) -> TrainingBatch:
        """The batch with the weights that feedback which is late gives it."""
        self._late.add(batch.feedback, batch.weights.numpy())
        first = logits[torch.from_numpy(batch.batch.starts)]
        correction = self.settings.correction
        weights, undone = corrected(correction, batch.feedback, batch.weights, batch.undone, first, self._late.value)
        return replace(batch, weights=weights, undone=undone)

    def _average(self) -> None:
        self._steps += 1
        # The first steps are averaged over as many as there were.
        share = max(1.0 / self._steps, 1.0 / self.settings.average_steps)
        with torch.no_grad():
            for mean, weight in self._weights:
                mean.lerp_(weight, share)
            for copy, value in self._buffers:
                copy.copy_(value)

    def _admit(self, batch: TrainingBatch) -> None:
        """Give rows to what acted and what was acted on; a sampled negative alone earns no row."""
        self.tables["user"].train_rows(batch.batch.user_keys, batch.now)
        self.tables["item"].train_rows(batch.batch.item_keys[batch.batch.starts], batch.now)
        contexts = batch.batch.context_keys
        self.tables["context"].train_rows(contexts[contexts != 0], batch.now)

    def _loss(self, batch: TrainingBatch, rows: Rows, users: Tensor, logits: Tensor) -> Tensor:
        settings = self.settings
        owners = torch.from_numpy(batch.batch.owners)
        pointwise = functional.binary_cross_entropy_with_logits(logits, batch.labels, reduction="none")
        pointwise = pointwise * batch.weights[owners]
        sampled = torch.from_numpy(np.bincount(batch.batch.owners) > 1)
        listwise = (list_loss(batch.batch, logits) * batch.weights)[sampled].sum()
        # Beside a list the pointwise loss only calibrates; where there is no list it is all there is.
        alone = pointwise[~sampled[owners]].sum()
        loss = listwise + settings.odds_weight * pointwise.sum() + (1.0 - settings.odds_weight) * alone
        if bool(batch.undone.any()):
            loss = loss - (opposite_loss(batch, logits) * batch.undone)[~sampled].sum()
        return loss + settings.tower_weight * self._tower_loss(batch, rows, users)

    def _tower_loss(self, batch: TrainingBatch, rows: Rows, users: Tensor) -> Tensor:
        """Softmax of each positive against all candidates of the batch."""
        positive = batch.labels[batch.batch.starts] == 1
        if not bool(positive.any()):
            return torch.zeros(())
        targets = self.ranker.targets(rows.items.rows[rows.items.places[: len(batch.labels)]])
        losses = functional.cross_entropy(users @ targets.T, torch.from_numpy(batch.batch.starts), reduction="none")
        return (losses * batch.weights)[positive].sum()

    def evict(self, now: int, limit: int | None = None) -> None:
        """Let the rows go that were idle for too long, at most `limit` of each table."""
        for name, table in self.tables.items():
            metrics.TABLE_EVICTED.labels(name, "idle").inc(len(table.evict(now, limit)))

    def state(self) -> Parts:
        """Dense weights, optimizer and counters, for a checkpoint; the tables are saved on their own."""
        parts = {f"weights.{name}": value for name, value in weights_of(self.ranker).items()}
        parts |= {f"averaged.{name}": value for name, value in weights_of(self.averaged).items()}
        for number, entry in self._optimizer.state_dict()["state"].items():
            parts |= {f"adam.{number}.{name}": value.detach().numpy().copy() for name, value in entry.items()}
        progress = np.array([self.examples, self._steps], dtype=np.int64)
        return parts | {"progress": progress, "late": self._late.counts.copy()}

    def restore(self, parts: Parts, tables: dict[str, EmbeddingTable]) -> None:
        """Go on from what `state` gave and the tables saved then. Raises ValueError where the model has other sizes."""
        for prefix, ranker in (("weights.", self.ranker), ("averaged.", self.averaged)):
            load_weights(
                ranker, {name.removeprefix(prefix): value for name, value in parts.items() if name.startswith(prefix)}
            )
        _check_tables(tables, self.tables)
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in parts.items():
            if name.startswith("adam."):
                _, number, field = name.split(".")
                state.setdefault(int(number), {})[field] = torch.from_numpy(np.array(value))
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": state})
        self.tables = tables
        self.examples, self._steps = map(int, parts["progress"])
        self._late.counts = np.array(parts["late"])


def _check_tables(given: Mapping[str, EmbeddingTable], wanted: Mapping[str, EmbeddingTable]) -> None:
    """Raise ValueError where tables are not those of the settings; other learning rates are not told."""
    for name, table in wanted.items():
        ours, other = _kind(table), _kind(given[name]) if name in given else "none"
        if ours != other:
            raise ValueError(
                f"the table given as {name!r} is {other} instead of {ours}: it is of a model with other sizes, or of"
                " another version; start with a new data folder, or restore the model settings that it was trained with"
            )


def _kind(table: EmbeddingTable) -> str:
    return f"{table.name!r} with dim {table.dim} and {table.optimizer.name}"


def predictions(ranker: Ranker, batch: TrainingBatch, tables: Mapping[str, Lookup]) -> NDArray[np.float32]:
    """float32[n]: probabilities that a model gives the candidates of a batch, positions unknown.

    Where negatives were sampled they are the probabilities of the labels in the sample, to compare with those.
    """
    ranker.eval()
    with torch.no_grad():
        rows = gather(batch.batch, tables, training=False)
        logits = ranker(batch.batch, rows, ranker.user_vectors(batch.batch, rows)) - batch.log_rates
        result: NDArray[np.float32] = torch.sigmoid(logits).numpy()
    return result
