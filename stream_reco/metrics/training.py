"""The trainer: time, examples, loss, and who leads."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from stream_reco.metrics.registry import FAST, NEWEST, REGISTRY, SLOW

LEARN_SECONDS: Final = Histogram(
    "stream_reco_learn_seconds",
    "Seconds to take one micro-batch of events through labels, signals and training.",
    buckets=SLOW,
    registry=REGISTRY,
)
STEP_SECONDS: Final = Histogram(
    "stream_reco_train_step_seconds",
    "Seconds of one training step: lookup, forward, backward, update.",
    buckets=FAST,
    registry=REGISTRY,
)
TRAINED_EXAMPLES: Final = Counter(
    "stream_reco_trained_examples_total",
    "Examples the trainer stepped on, by origin: labelled, or a negative it sampled.",
    ["origin"],
    registry=REGISTRY,
)
TRAIN_LOSS: Final = Gauge(
    "stream_reco_train_loss",
    "Mean loss of the latest training step, by part of the model (nats an example).",
    ["part"],
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
TRAIN_REFUSED: Final = Counter(
    "stream_reco_train_refused_batches_total",
    "Batches skipped because a number in them was not finite or absurdly large.",
    registry=REGISTRY,
)
TRAINER_EPOCH: Final = Gauge(
    "stream_reco_trainer_epoch",
    "Epoch in which this process leads the training; 0 where another one does.",
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
