"""A log through the learning half of the loop: each batch is predicted, counted, and learned from after, by several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stream_reco.config import Settings
from stream_reco.datasets import Log
from stream_reco.embedded.learner import Learner
from stream_reco.experiments.collisions.hash import sharing
from stream_reco.experiments.collisions.hashed_table import HASHED, ParallelTrainers, hash_ids
from stream_reco.experiments.collisions.plan import WINDOWS
from stream_reco.experiments.replay.report import commit_of, passed_over, peak_rss_bytes, plain
from stream_reco.experiments.replay.tally import ReplayTally
from stream_reco.learner.progressive_evaluation import evaluate_before_training
from stream_reco.measure import BinaryMetrics
from stream_reco.train.batch import TrainingBatch
from stream_reco.train.trainer import Trainer

_CHUNK = 8192
_BINS = 1 << 16
"""Of scores: what is compared differs by less than the thousandth that fewer would cost."""


@dataclass(frozen=True)
class Variant:
    """What is learned beside the others: users and items in 2^`hash_bits` rows each (None: a row each), from `seed`.

    The seed is of weights and rows at first; negatives are drawn once, for all.
    """

    hash_bits: int | None
    seed: int


@dataclass
class VariantRun:
    """One trainer and how good its predictions were, over all that counts and in each of `WINDOWS` parts."""

    variant: Variant
    trainer: Trainer
    quality: BinaryMetrics = field(default_factory=lambda: BinaryMetrics(_BINS))
    windows: list[BinaryMetrics] = field(default_factory=lambda: [BinaryMetrics(_BINS) for _ in range(WINDOWS)])


class LearnRun:
    """One pass in which all trainers are given the very same batches.

    Predictions of what is learned in the first `warm_up` of `total` events count in their windows alone.
    """

    def __init__(self, settings: Settings, total: int, warm_up: int, hash_bits: list[int], seeds: list[int]) -> None:
        """Beside the collisionless one of the settings: hashed ones of these sizes, collisionless ones of `seeds`."""
        torch.set_num_threads(settings.training.threads)
        self.tally = ReplayTally()
        self._learner = Learner(settings)
        self._total, self._warm_up = total, warm_up
        own = settings.training.seed
        variants = [*(Variant(bits, own) for bits in hash_bits), *(Variant(None, seed) for seed in seeds)]
        others = [VariantRun(variant, _trainer(settings, variant)) for variant in variants]
        first = ParallelTrainers(settings.model, settings.training, [pupil.trainer for pupil in others])
        self.pupils = [VariantRun(Variant(None, own), first), *others]
        self._learner.queue.trainer = first
        self._learner.queue.watch = self._batch
        self._ids: dict[str, set[int]] = {name: set() for name in HASHED}

    def learn(self, log: Log, watch: Callable[[], None] = lambda: None) -> None:
        """Learn from a whole log; `watch` is called after every event."""

        def between() -> None:
            self.tally.events += 1
            watch()

        failed_before = passed_over()
        for events in log.batches(_CHUNK):
            with self.tally.stage("ingest"):
                self._learner.learn(events, between)
        self._learner.finish()
        self.tally.dead_letters.update(log.dead_letters.counts)
        if failed := passed_over() - failed_before:
            self.tally.dead_letters["internal"] += failed

    def _batch(self, batch: TrainingBatch) -> None:
        inputs, events = batch.batch, self._learner.state.events
        self._ids["user"].update(inputs.user_keys.tolist())
        self._ids["item"].update(inputs.item_keys[inputs.starts].tolist())
        window = min(WINDOWS - 1, max(0, events - 1) * WINDOWS // max(1, self._total))
        for number, pupil in enumerate(self.pupils):
            counts = [pupil.windows[window], *([pupil.quality] if events > self._warm_up else [])]
            seen = _Seen(counts, self.tally if number == 0 else None)
            evaluate_before_training(seen, batch, pupil.trainer.averaged, pupil.trainer.tables)

    def report(self, log: Log) -> dict[str, object]:
        """The figures: at the top those of the collisionless trainer, in "variants" of all, it first."""
        seconds = self.tally.elapsed
        variants = [self._variant(pupil) for pupil in self.pupils]
        ends = [max(0, -(-len(log) * (number + 1) // WINDOWS) - 1) for number in range(WINDOWS)]
        return {
            "events": self.tally.events,
            "evaluated": self.pupils[0].quality.count,
            **self.pupils[0].quality.as_dict(),
            "negatives": "sampled" if self.tally.sampled else "shown",
            "examples": self._learner.queue.examples,
            "window_ends": [int(log.times[end]) for end in ends] if len(log) else [],
            "variants": variants,
            "seconds": round(seconds, 3),
            "events_per_second": round(self.tally.events / max(seconds, 1e-9), 1),
            "peak_rss_bytes": peak_rss_bytes(),
            "dead_letters": dict(self.tally.dead_letters),
            **commit_of(Path(__file__).parent),
            "settings": plain(self._learner.settings),
        }

    def _variant(self, pupil: VariantRun) -> dict[str, object]:
        bits = pupil.variant.hash_bits
        return {
            "hash_bits": bits,
            "seed": pupil.variant.seed,
            **pupil.quality.as_dict(),
            "windows": [{"count": one.count, **one.as_dict()} for one in pupil.windows],
            "tables": {name: self._table(pupil, name) for name in HASHED},
        }

    def _table(self, pupil: VariantRun, name: str) -> dict[str, object]:
        """Ids that were trained, the rows they have had, how many of them shared one; rows and bytes at the end."""
        table, bits = pupil.trainer.tables[name], pupil.variant.hash_bits
        shared = sharing(self._ids[name], None if bits is None else 1 << bits)
        return {
            "ids": shared.ids,
            "rows": shared.rows,
            "shared": shared.shared,
            "live": len(table),
            "bytes": table.nbytes,
        }


@dataclass(frozen=True)
class _Seen:
    """Where the predictions of one batch are counted."""

    counts: list[BinaryMetrics]
    tally: ReplayTally | None

    def examples(
        self, labels: NDArray[np.float32], predictions: NDArray[np.float32], weights: NDArray[np.float32], sampled: bool
    ) -> None:
        """Count float32[n] examples that a trainer is about to learn from."""
        for one in self.counts:
            one.add(predictions, labels, weights)
        if self.tally is not None:
            self.tally.examples(labels, predictions, weights, sampled)


def _trainer(settings: Settings, variant: Variant) -> Trainer:
    trainer = Trainer(settings.model, replace(settings.training, seed=variant.seed))
    if variant.hash_bits is not None:
        hash_ids(trainer, variant.hash_bits)
    return trainer
