"""What training takes of an example: how much of its label, how much of the one that it undoes."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from xxhash import xxh3_64_intdigest

from stream_reco.labels import Example
from stream_reco.train.delayed_feedback import Feedback

_PRESUMED = "immediate"


@dataclass(frozen=True)
class ExampleWeight:
    """`weight` of the label, `undone` of the opposite one, `rate` at which negatives of its kind are kept."""

    weight: float
    undone: float = 0.0
    feedback: Feedback = Feedback.CERTAIN
    rate: float = 1.0

    @property
    def teaches(self) -> bool:
        """Whether there is anything to learn from it."""
        return self.weight > 0.0 or self.undone > 0.0


def weigh(example: Example, presumes: bool, negative_rate: float, seed: int) -> ExampleWeight:
    """The share of one example; `presumes`: impressions without an action are presumed negative.

    Negatives of a share `negative_rate` of the impressions are kept. In such a sample log-odds are those of all
    impressions minus log rate (He et al., ADKDD 2014, §6.3), so the rate goes with every example of an impression,
    positives included. A negative that was dropped is not undone either.
    """
    undoes = example.undoes
    if example.is_unprompted:
        # There was no impression: nobody was shown it and passed it over. A negative action that is taken back leaves
        # nothing to learn, and what was learned of it goes.
        return ExampleWeight(example.weight, undoes.weight if undoes is not None and undoes.label == 0 else 0.0)
    keeps = negative_rate >= 1.0 or _chance(example, seed) < negative_rate
    weight = example.weight if example.label == 1 or keeps else 0.0
    undone = undoes.weight if undoes and (undoes.label == 1 or keeps) else 0.0
    return ExampleWeight(weight, undone, _feedback(example) if presumes else Feedback.CERTAIN, negative_rate)


def _feedback(example: Example) -> Feedback:
    if example.undoes is not None:
        return Feedback.LATE if example.undoes.reason == _PRESUMED else Feedback.CERTAIN
    if example.reason == _PRESUMED:
        return Feedback.PRESUMED
    return Feedback.IN_TIME if example.reason == "action" else Feedback.CERTAIN


def _chance(example: Example, seed: int) -> float:
    """Uniform in [0, 1), always the same for one impression, so that what undoes its negative knows of it."""
    return xxh3_64_intdigest(msgspec.msgpack.encode(example.shown), seed & (2**64 - 1)) / 2.0**64
