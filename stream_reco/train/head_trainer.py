"""Learning what kind an action is, and what it is worth, from whatever was acted on.

The shared bottom and rows are read as they are: many more impressions than actions teach them, and no head may pull
what says P(acted) its way. Towers, intercepts and each item's own log-odds are learned here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_reco import metrics
from stream_reco.model.dense_layers import sigmoid
from stream_reco.model.heads import (
    HEADS,
    HEADS_TABLE,
    MOST_KINDS,
    VALUE,
    Heads,
    bottom_dim_of,
    log_odds_of,
)
from stream_reco.model.inputs import Batch
from stream_reco.signals.growing import Parts
from stream_reco.train.batch import Labelled, is_finite, training_batch
from stream_reco.train.dense_adam import DenseAdam
from stream_reco.train.dense_kernels import move_towards
from stream_reco.train.head_quality import HeadQuality
from stream_reco.train.intercept import Intercept
from stream_reco.train.kind_slots import KindSlots
from stream_reco.train.settings import TrainSettings
from stream_reco.train.trainer import Trainer

Floats: TypeAlias = NDArray[np.float32]
_LARGEST_VALUE = 100.0
"""Times the mean value of its kind that one value counts at most: a misplaced decimal point must not teach prices."""
_VALUES = 1_000.0
"""Of the values, about so many of the newest say what their mean is."""
_FASTER = 3.0
"""Times the learning rate of the model, for towers: they begin at zero, and see a small share of the examples."""
_AVERAGED_STEPS = 20
"""Steps over which heads are averaged at most. They take a step where the model takes a hundred, and would lag."""
_HALF = 0.5
"""Actions that a head begins with, of a kind and of all others: the estimate of Krichevsky and Trofimov (1981)."""


class KindExample(msgspec.Struct, frozen=True, array_like=True):
    """What became known of something that was acted on; taken back where numbers are negative."""

    inputs: bytes
    """`Inputs.to_bytes`, of which the first candidate counts."""
    mass: float
    """1 where it is acted on first, 0 where more is learned of it."""
    kinds: list[tuple[int, float]]
    """Slots of kinds that came, each with 1."""
    values: list[tuple[int, float]]
    """Slots of kinds whose actions carried a value above 0, and these."""
    time: int
    """ms"""


class HeadTrainer:
    """Trains heads on the bottom that a `Trainer` publishes.

    A head of a kind is a negative once for whatever is acted on, and a positive once the kind has come, which takes
    the negative back: m · softplus(z) − y · z with mass m = 1 at first and y = 1 later sums to the logistic loss of the
    last label, as "undo" does for impressions. A value head is learned by the same loss with m = 1 + v, y = v.
    """

    def __init__(self, trainer: Trainer, settings: TrainSettings) -> None:
        self._trainer, self._settings = trainer, settings
        self.slots = KindSlots()
        dim = bottom_dim_of(trainer.model)
        self.heads, self.published = Heads(dim, settings.seed), Heads(dim, settings.seed)
        """Averages over the last steps, as those of the model are."""
        self._intercepts = [Intercept() for _ in range(HEADS)]
        self._optimizer = DenseAdam(self.heads.towers.weights.flat)
        self._values_seen = np.zeros(MOST_KINDS)
        self.acted = 0.0
        """How much was acted on so far."""
        self.steps = 0
        self.learned = 0
        """Calls of `learn` in this process: after each there may be something new to publish."""
        self.quality = HeadQuality()

    def learn(self, examples: Sequence[KindExample]) -> None:
        """Take one step."""
        self.learned += 1
        self._discover(examples)
        mass = sum(one.mass for one in examples)
        if not self.heads.active:
            self.acted += mass
            self._share_names()
            return
        batch = training_batch(
            [Labelled(one.inputs, 0, 1.0, one.time, 0) for one in examples], needs=self._trainer.model.needs
        )
        if not is_finite(batch):
            metrics.TRAIN_REFUSED.inc()
            return
        masses, positives = self._targets(examples)
        self._begin()
        self.acted += mass
        self._step(batch.batch, masses, positives, np.array([one.mass for one in examples]), batch.now)

    def _discover(self, examples: Sequence[KindExample]) -> None:
        self.heads.kinds = tuple(self.slots.kinds)
        for one in examples:
            for slot, value in one.values:
                if value > 0:
                    self.heads.valued[slot] = True
        # Whoever sees that heads are active looks items up: a publication or checkpoint of both has the rows too.
        if self.heads.active and HEADS_TABLE.name not in self._trainer.tables:
            self._trainer.add_table(HEADS_TABLE)

    def _begin(self) -> None:
        """Start the intercepts of heads that are new where what was acted on so far says."""
        before = max(self.acted, 0.0)
        for slot in range(len(self.heads.kinds)):
            intercept = self._intercepts[slot]
            if not intercept.information:
                # All that was acted on before there were two kinds was of the first.
                rare = _HALF / (before + 2 * _HALF)
                _start(intercept, log_odds_of(rare if slot else 1.0 - rare))
        for slot in np.flatnonzero(self.heads.valued).tolist():
            intercept = self._intercepts[MOST_KINDS + slot]
            if not intercept.information:
                _start(intercept, float(-np.logaddexp(0.0, -self._intercepts[slot].log_odds)))

    def _targets(self, examples: Sequence[KindExample]) -> tuple[Floats, Floats]:
        """Masses m and positives y, float32[g, HEADS] each."""
        self._rescale(examples)
        masses = np.repeat(np.array([[one.mass] for one in examples], dtype=np.float32), HEADS, axis=1)
        positives = np.zeros_like(masses)
        for row, one in enumerate(examples):
            for slot, count in one.kinds:
                positives[row, slot] += count
            for slot, value in one.values:
                relative = float(np.clip(value / self.heads.scales[slot], -_LARGEST_VALUE, _LARGEST_VALUE))
                positives[row, MOST_KINDS + slot] += relative
                masses[row, MOST_KINDS + slot] += relative
        return masses, positives

    def _rescale(self, examples: Sequence[KindExample]) -> None:
        """Follow the mean value of each kind; what its head says stays as it is."""
        for slot, value in (pair for one in examples for pair in one.values):
            if value <= 0:
                continue
            seen = self._values_seen[slot]
            self._values_seen[slot] = min(seen + 1.0, _VALUES)
            before = self.heads.scales[slot]
            near = min(value, _LARGEST_VALUE * before) if seen else value
            self.heads.scales[slot] = before + (near - before) / self._values_seen[slot]
            intercept = self._intercepts[MOST_KINDS + slot]
            if intercept.information:
                smaller = float(np.log(before / self.heads.scales[slot]))
                intercept.log_odds += smaller
                intercept.averaged += smaller

    def _step(self, batch: Batch, masses: Floats, positives: Floats, mass: NDArray[np.float64], now: int) -> None:
        trainer, used = self._trainer, self.heads.used
        masses, positives = masses[:, used], positives[:, used]
        table = trainer.tables[HEADS_TABLE.name]
        table.train_rows(batch.item_keys, now)
        bottom = trainer.bottom(batch)
        rows = table.lookup(batch.item_keys)
        self.heads.intercepts = np.array([one.value for one in self._intercepts])
        self._share_names()
        self._measure(bottom, rows, positives.astype(np.float64), mass)
        odds = self.heads.forward(bottom, rows)
        chances = sigmoid(odds.values)
        losses = masses * np.logaddexp(np.float32(0.0), odds.values) - positives * odds.values
        of_rows = self.heads.learn(bottom, odds, masses * chances - positives, self._optimizer.gradients)
        self._optimizer.step(_FASTER * self._settings.learning_rate)
        table.apply_gradients(batch.item_keys, of_rows)
        self._learn_intercepts(chances.astype(np.float64), masses, positives)
        self.steps += 1
        self._average()
        metrics.TRAIN_LOSS.labels("heads").set(float(losses.sum()) / len(masses))

    def _learn_intercepts(self, chances: NDArray[np.float64], masses: Floats, positives: Floats) -> None:
        columns = zip(chances.T, positives.astype(np.float64).T, masses.astype(np.float64).T, strict=True)
        for head, (chance, positive, mass) in zip(self.heads.used.tolist(), columns, strict=True):
            self._intercepts[head].learn(chance, positive, mass)

    def _average(self) -> None:
        # The first steps are averaged over as many as there were.
        share = max(1.0 / self.steps, 1.0 / min(_AVERAGED_STEPS, self._settings.average_steps))
        for intercept in self._intercepts:
            intercept.average(share)
        move_towards(self.published.towers.weights.flat.vector, self.heads.towers.weights.flat.vector, share)
        self._share_names()

    def _share_names(self) -> None:
        """Let the heads to publish have what is not averaged, and the averages that are kept elsewhere."""
        published = self.published
        published.kinds, published.valued = self.heads.kinds, self.heads.valued.copy()
        published.scales = self.heads.scales.copy()
        published.intercepts = np.array([one.published for one in self._intercepts])

    def _measure(self, bottom: Floats, rows: Floats, positives: NDArray[np.float64], mass: NDArray[np.float64]) -> None:
        """Compare what is about to be learned with what the heads to publish say of it."""
        odds = self.published.log_odds(bottom, rows).astype(np.float64)
        self.quality.add(self.heads.used, odds, positives, mass)

    def observe(self) -> None:
        """Update the metrics."""
        for slot, kind in enumerate(self.heads.kinds if self.heads.active else ()):
            self.quality.observe(kind, slot, is_value=False)
            if self.heads.valued[slot]:
                self.quality.observe(f"{kind}{VALUE}", MOST_KINDS + slot, is_value=True)

    def state(self) -> Parts:
        """For a checkpoint; the rows are in a table of the trainer's."""
        parts: Parts = {
            "kinds": np.frombuffer(msgspec.json.encode(self.slots.kinds), dtype=np.uint8),
            "valued": self.heads.valued.astype(np.uint8),
            "scales": self.heads.scales.copy(),
            "values_seen": self._values_seen.copy(),
            # A kind has its slot from its first action on, and is learned with the next step.
            "progress": np.array([self.acted, self.steps, len(self.heads.kinds)]),
            "intercepts": np.stack([one.state() for one in self._intercepts]),
            "quality": self.quality.sums.copy(),
        }
        for prefix, heads in (("towers", self.heads), ("averaged", self.published)):
            parts |= {f"{prefix}.{name}": value for name, value in heads.towers.weights.state().items()}
        return parts | self._optimizer.state()

    def restore(self, parts: Parts) -> None:
        """The inverse of `state`. Raises ValueError where the model's bottom has another size."""
        for prefix, heads in (("towers.", self.heads), ("averaged.", self.published)):
            heads.towers.weights.load({n.removeprefix(prefix): v for n, v in parts.items() if n.startswith(prefix)})
        self.slots.kinds[:] = msgspec.json.decode(parts["kinds"].tobytes(), type=list[str])
        self.heads.valued = np.array(parts["valued"], dtype=np.bool_)
        self.heads.scales, self._values_seen = np.array(parts["scales"]), np.array(parts["values_seen"])
        acted, steps, learned = parts["progress"].tolist()
        self.acted, self.steps, self.heads.kinds = acted, int(steps), tuple(self.slots.kinds[: int(learned)])
        for intercept, kept in zip(self._intercepts, parts["intercepts"], strict=True):
            intercept.restore(kept)
        self.quality.sums = np.array(parts["quality"])
        self._optimizer.restore(parts)
        self._share_names()


def _start(intercept: Intercept, log_odds: float) -> None:
    intercept.log_odds = intercept.averaged = log_odds
    intercept.begin()
