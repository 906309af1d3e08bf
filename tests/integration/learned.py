"""What trainers have learned, as their checkpoints tell, beside one whom nothing has disturbed."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import merge

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from stream_reco.config import Settings
from stream_reco.events import Event, Id
from stream_reco.labels import Example
from stream_reco.learner.distributed_learner import DistributedLearner
from stream_reco.model.inputs import Inputs, collate
from stream_reco.model.rows import gather
from stream_reco.storage.checkpoint import CheckpointError
from tests.learner.two_streams import feed, learner_of
from topologies.trainer.checkpoints import Checkpoints, LoadedCheckpoint

Pair = tuple[Id, Id, int]
"""User, item and label."""


def newest(checkpoints: Checkpoints, known: str = "") -> LoadedCheckpoint | None:
    """The checkpoint that counts, if there is one and it is not the one called `known`."""
    try:
        return checkpoints.newest(known)
    except CheckpointError:
        return None  # what was listed has left meanwhile


def restored(found: LoadedCheckpoint, settings: Settings) -> DistributedLearner:
    """A learner as the checkpoint has it."""
    learner = learner_of(settings)
    learner.restore(found.parts)
    return learner


def learned(checkpoints: Checkpoints, settings: Settings, known: str = "") -> tuple[DistributedLearner, str] | None:
    """The learner of `newest` and the checkpoint's name; None also where it leaves while it is read."""
    try:
        return None if (found := newest(checkpoints, known)) is None else (restored(found, settings), found.name)
    except FileNotFoundError:
        return None


def undisturbed(events: Sequence[Event], examples: Sequence[Example], settings: Settings) -> DistributedLearner:
    """A learner that was given everything in the order of its time, an example before the event of its own time."""
    torch.set_num_threads(settings.training.threads)
    learner = learner_of(settings)
    labelled = sorted(((one.label_time, 0, number) for number, one in enumerate(examples)))
    happened = sorted(((one.timestamp, 1, number) for number, one in enumerate(events)))
    feed(learner, ((events if kind else examples)[number] for _, kind, number in merge(labelled, happened)))
    return learner


def pairs_of(examples: Sequence[Example], rng: np.random.Generator, most: int = 1500) -> list[Pair]:
    """As many positive as negative ones, drawn from all.

    Where no example is negative those are users with items that somebody else had.
    """
    by_label = [[one for one in examples if one.label == label] for label in (0, 1)]
    count = min(most, len(by_label[1]), len(by_label[0]) or most)
    negatives, positives = (
        [(one[number].user_id, one[number].item_id, label) for number in rng.choice(len(one), count, replace=False)]
        if one
        else []
        for label, one in enumerate(by_label)
    )
    if not negatives:
        others = rng.permutation(count)
        negatives = [(user, positives[other][1], 0) for (user, *_), other in zip(positives, others, strict=True)]
    return positives + negatives


def auc(learner: DistributedLearner, pairs: Sequence[Pair]) -> float:
    """How well it tells apart what was labelled 1 from the rest, with all that it knows at the end."""
    signals, present, now = learner.state.signals, learner.state.present, learner.state.stream_time
    context = signals.coder.encode(None, now)
    inputs = [
        Inputs.from_bytes(present.impression(user, signals.catalogue.slot_of(item), context, now))
        for user, item, _ in pairs
    ]
    model, tables = learner.queue.trainer.model, learner.queue.trainer.tables
    if model.network is not None:
        model.network.eval()
    with torch.no_grad():
        batch = collate(inputs)
        scores = model.score(batch, gather(model.fields, batch, tables, training=False)).numpy()
    return float(roc_auc_score([label for *_, label in pairs], scores))
