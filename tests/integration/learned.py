"""What trainers have learned, as their checkpoints tell."""

from __future__ import annotations

from stream_reco.config import Settings
from stream_reco.learner.example_learner import ExampleLearner
from stream_reco.train.checkpoint import CheckpointError
from tests.learner.two_streams import learner_of
from topologies.training_checkpoints import Checkpoints, Found


def newest(checkpoints: Checkpoints, known: str = "") -> Found | None:
    """The checkpoint that counts, if there is one and it is not the one called `known`."""
    try:
        return checkpoints.newest(known)
    except CheckpointError:
        return None  # what was listed has left meanwhile


def restored(found: Found, settings: Settings) -> ExampleLearner:
    """A learner as the checkpoint has it."""
    learner = learner_of(settings)
    learner.restore(found.parts)
    return learner
