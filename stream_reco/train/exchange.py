"""Several trainers of one model: what each of them learned since they last met, and the model that all of it makes.

What a trainer did to a number since then is kept as a map, x → kept · x + added. Rows and weights were moved (kept is
1); a running average, such as Adam's moments, forgot as much as its steps forget and took its own share in. The maps
of all trainers are applied one after another, in the order of the log that carries them, to what all had when they
last met. So every trainer ends with the same numbers, each gradient is in them once, and an average is what one
trainer had made of the same steps, one trainer's behind the other's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_reco.embedding import RowChanges, RowDeltas
from stream_reco.signals.growing import Parts
from stream_reco.train.trainer import Trainer

_BETAS = {"exp_avg": 0.9, "exp_avg_sq": 0.999}
"""What a step leaves of Adam's moments, by the end of their names."""
_AVERAGES = ("mean", "variance", "counts")
"""Ends of the names of running averages among the weights; they forget a hundredth a batch."""
_BATCHES = 100
_WEIGHTS, _AVERAGED = "weights.", "averaged."


@dataclass(frozen=True)
class ModelDeltas:
    """What one trainer learned."""

    examples: int
    """Learned from."""
    steps: int
    tables: tuple[RowDeltas, ...]
    dense: Mapping[str, tuple[float, NDArray[np.float32]]]
    """By name: what is kept of a number, in [0, 1], and what is added to it."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was learned."""
        return not self.steps and all(table.is_empty for table in self.tables)


class ModelExchange:
    """Keeps account of what one trainer learns, from when it is made and from each `merge`.

    Each has its own intercept, share of late positives, calibration and heads: few numbers, which a sample of the users
    tells as well. ValueError where the optimizer of a table keeps what is no sum.
    """

    def __init__(self, trainer: Trainer, number: int = 0, count: int = 1) -> None:
        """`number`: which of `count` trainers it is; the averages that 0 publishes are what all have.

        Tables that `trainer.restore` or `trainer.add_table` bring later are not shared.
        """
        self._trainer, self._publishes = trainer, number == 0
        self._share = np.float32(share_of(count))
        self._changes = {name: RowChanges(table) for name, table in trainer.tables.items() if name != _ALONE}
        self._met = _dense_of(trainer)
        self._steps, self._examples = trainer.steps, trainer.examples

    def deltas(self) -> ModelDeltas:
        """What was learned so far; it goes on being kept."""
        tables = tuple(changes.deltas() for changes in self._changes.values())
        steps = self._trainer.steps - self._steps
        dense = {}
        if steps:
            dense = {name: self._map(name, value, steps) for name, value in self._own().items()}
        return ModelDeltas(self._trainer.examples - self._examples, steps, tables, dense)

    def _own(self) -> Parts:
        """What this trainer says something of."""
        found = _dense_of(self._trainer)
        return {name: value for name, value in found.items() if self._publishes or not name.startswith(_AVERAGED)}

    def _map(self, name: str, value: NDArray[np.float32], steps: int) -> tuple[float, NDArray[np.float32]]:
        before = self._met.get(name)
        if before is None:
            before = np.zeros_like(value)
        kept = _kept(name, self._steps, steps)
        added = value - np.float32(kept) * before
        moves = name.startswith(_WEIGHTS) and name.removeprefix(_WEIGHTS) not in self._trainer.counted
        return kept, (added * self._share if moves else added).astype(np.float32)

    def merge(self, all_deltas: Sequence[ModelDeltas], now: int) -> None:
        """Become what all learned, in this order, at event time `now` (ms); own `deltas` are among them.

        The order matters only for what leaves, for averages, and for the last bits of sums.
        """
        trainer = self._trainer
        for name, changes in self._changes.items():
            changes.merge([table for one in all_deltas for table in one.tables if table.name == name], now)
        self._steps, self._examples = trainer.steps, trainer.examples
        if not any(one.dense for one in all_deltas):
            return
        met = self._met
        for one in all_deltas:
            met = _moved(met, one.dense)
        copied = {f"{_AVERAGED}{name}": met[f"{_WEIGHTS}{name}"] for name in trainer.counted}
        trainer.restore_dense({**trainer.state(), **met, **copied})
        self._met = met


_ALONE = "heads"
"""The table of what is learned by kind of action, which needs dense weights of its own."""


def _dense_of(trainer: Trainer) -> Parts:
    """Weights, their averages and Adam's moments: float32 arrays by name."""
    copied = {f"{_AVERAGED}{name}" for name in trainer.counted}
    return {
        name: np.asarray(value)
        for name, value in trainer.state().items()
        if value.dtype == np.float32 and name.startswith((_WEIGHTS, _AVERAGED, "adam.")) and name not in copied
    }


def _moved(met: Parts, dense: Mapping[str, tuple[float, NDArray[np.float32]]]) -> Parts:
    moved = dict(met)
    for name, (kept, added) in dense.items():
        before = met.get(name)
        moved[name] = added if before is None else (np.float32(kept) * before + added).astype(np.float32)
    return moved


def share_of(count: int) -> float:
    """How much of each trainer's steps on the dense weights is taken, where `count` of them took theirs at once.

    Adam's steps are as long whatever a batch says, so that four trainers who do not know of each other go four times as
    far in what they agree on. So weights are averaged; rows, whose steps Adagrad shortens by all that came, are not.
    """
    return 1.0 / count


def _kept(name: str, before: int, steps: int) -> float:
    """What `steps` leave of a number that `before` steps had made."""
    last = name.rpartition(".")[2]
    if name.startswith("adam."):
        return float(_BETAS.get(last, 1.0) ** steps)
    if name.startswith(_AVERAGED):
        return 0.0
    return _of_average(before, steps, _BATCHES) if last in _AVERAGES else 1.0


def _of_average(before: int, steps: int, most: int) -> float:
    """What is kept where each step has a share of 1 / min(its number, `most`)."""
    even = min(max(most - before, 0), steps)
    first = before / (before + even) if even else 1.0
    return float(first * (1.0 - 1.0 / most) ** (steps - even))
