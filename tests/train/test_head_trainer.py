"""Heads alone: what they learn of worlds whose answer is known, and what is left of what is taken back."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stream_reco.model.heads import HEADS_TABLE, MOST_KINDS
from stream_reco.train.head_trainer import HeadTrainer, KindExample
from stream_reco.train.trainer import Trainer
from tests.train.toy_examples import MODEL, NOW, SETTINGS, example

CLICK, BUY = 0, 1


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def heads_of(*kinds: str) -> HeadTrainer:
    heads = HeadTrainer(Trainer(MODEL, SETTINGS), SETTINGS)
    for kind in kinds:
        heads.slots.slot_of(kind)
    return heads


def acted(item: int, mass: float, kinds: Iterable[tuple[int, float]] = (), value: float = 0.0) -> KindExample:
    values = [(BUY, value)] if value else []
    return KindExample(example(1, [item]).inputs, mass, list(kinds), values, NOW)


def learn(heads: HeadTrainer, examples: list[KindExample]) -> None:
    for first in range(0, len(examples), SETTINGS.batch):
        heads.learn(examples[first : first + SETTINGS.batch])


def said(heads: HeadTrainer, items: Iterable[int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """P(kind | acted) float32[n, kinds], and values float32[n, valued]."""
    trainer = heads._trainer  # noqa: SLF001 - it is given, not kept for others
    from stream_reco.model.inputs import Inputs, collate

    batch = collate([Inputs.from_bytes(example(1, [item]).inputs) for item in items])
    rows = torch.from_numpy(trainer.tables[HEADS_TABLE.name].lookup(batch.item_keys))
    with torch.no_grad():
        return heads.published.given_acted(heads.published.log_odds(trainer.bottom(batch), rows))
