"""The replica of a model: it takes publications of that model alone, and their weights into its serving form."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stream_reco.model.registry import FORMER_NAMES
from stream_reco.model.served import ServedModel
from stream_reco.model.served_heads import FollowedModel, ServedHeads
from stream_reco.model.spec import settings_digest
from stream_reco.sync import Follower, Precision, Publication, Replica


def model_replica(
    model: ServedModel,
    followers: Mapping[str, Follower] | None = None,
    applied: Callable[[Publication], None] = lambda _: None,
    precision: Precision = "float32",
    heads: ServedHeads | None = None,
) -> Replica:
    """Follows publications of `model`; those of another one, or of other sizes, are refused and the reason logged.

    followers, applied, precision: as `Replica` takes them; "dense" is the model's and its `heads`', which the
    caller has where it reads them.
    """
    heads = ServedHeads(model.bottom_dim) if heads is None else heads
    return Replica(
        model.name,
        {"dense": FollowedModel(model, heads), **(followers or {})},
        applied=applied,
        precision=precision,
        settings=settings_digest(model),
        former_names=FORMER_NAMES.get(model.name, frozenset()),
    )
