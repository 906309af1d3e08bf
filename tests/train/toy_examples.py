"""Examples of worlds so small that what there is to learn from them is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.features.names import FEATURES
from stream_reco.model.inputs import Inputs
from stream_reco.model.served_by_torch import served_by_torch
from stream_reco.model.settings import ModelSettings
from stream_reco.model.zoo.settings import TwoTowerDcnSettings
from stream_reco.signals.settings import CONTEXT_FIELDS, RECENT
from stream_reco.train.batch import Labelled, training_batch
from stream_reco.train.predictions import predictions
from stream_reco.train.settings import TrainSettings
from stream_reco.train.trainer import Trainer

NOW = 1_600_000_000_000
SIZES = TwoTowerDcnSettings(item_dim=8, tower_dim=8, user_dim=8, context_dim=2, cross_rank=8, hidden=16)
MODEL = ModelSettings(settings=SIZES)
SETTINGS = TrainSettings(learning_rate=5e-3, row_learning_rate=0.2)


def example(
    user: int,
    items: Sequence[int],
    label: int = 1,
    *,
    rates: Sequence[float] | None = None,
    weight: float = 1.0,
    position: int = 0,
    dense: NDArray[np.float32] | None = None,
    history: Sequence[int] = (),
) -> Labelled:
    """An example whose first item is the one acted on, or not."""
    keys = np.zeros(RECENT, dtype=np.int64)
    keys[: len(history)] = history
    ages = np.where(np.arange(RECENT) < len(history), 0.5, -1.0).astype(np.float32)
    if dense is None:
        dense = np.zeros((len(items), len(FEATURES)), dtype=np.float32)
    inputs = Inputs(
        user,
        np.zeros(CONTEXT_FIELDS, dtype=np.int64),
        keys,
        ages,
        np.array(items, dtype=np.int64),
        dense,
        np.array(rates or [1.0] * len(items), dtype=np.float32),
    )
    return Labelled(inputs.to_bytes(), label, weight, NOW, position)


def learn(trainer: Trainer, examples: Sequence[Labelled], batch: int = 64, seed: int = 0) -> list[float]:
    """Losses of the steps over all examples."""
    rng = np.random.default_rng(seed)
    return [
        trainer.step(training_batch(examples[first : first + batch], rng)) for first in range(0, len(examples), batch)
    ]


def chances(trainer: Trainer, examples: Sequence[Labelled]) -> NDArray[np.float32]:
    """float32[candidates] of all examples, as they would be served."""
    return predictions(served_by_torch(trainer.averaged), training_batch(examples), trainer.tables)


def two_groups(count: int, rng: np.random.Generator) -> list[Labelled]:
    """Users 0–9 act on items 0–4, users 10–19 on items 5–9; negatives are drawn from all the other items."""
    examples = []
    for _ in range(count):
        user = int(rng.integers(20))
        liked = int(rng.integers(5)) + 5 * (user // 10)
        others = rng.choice([item for item in range(10) if item != liked], 4, replace=False)
        noise = rng.normal(size=(5, len(FEATURES))).astype(np.float32)
        examples.append(example(user, [liked, *others.tolist()], rates=[4 / 9] * 5, dense=noise))
    return examples
