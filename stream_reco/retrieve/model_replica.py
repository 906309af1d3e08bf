"""The replica of a model: it takes publications of that model alone, and their weights into its network."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stream_reco.model.registry import FORMER_NAMES
from stream_reco.model.spec import Model, settings_digest
from stream_reco.model.weights import FollowedWeights
from stream_reco.sync import Follower, Precision, Publication, Replica


def model_replica(
    model: Model,
    followers: Mapping[str, Follower] | None = None,
    applied: Callable[[Publication], None] = lambda _: None,
    precision: Precision = "float32",
) -> Replica:
    """Follows publications of `model`; those of another one, or of other sizes, are refused and the reason logged.

    followers, applied, precision: as `Replica` takes them; "dense" is the model's own.
    """
    return Replica(
        model.name,
        {"dense": FollowedWeights(model.network), **(followers or {})},
        applied=applied,
        precision=precision,
        settings=settings_digest(model),
        former_names=FORMER_NAMES.get(model.name, frozenset()),
    )
