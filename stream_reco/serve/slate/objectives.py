"""What an item is worth to a shop: the sum of weight × probability over kinds of actions, and of weight × value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stream_reco.events.field_names import nearest, shortened
from stream_reco.model.served_heads import KindHeads, KindPredictions
from stream_reco.serve.refused import RefusedError


def known_objectives(heads: KindHeads, declared: Mapping[str, float]) -> list[str]:
    """What requests may weigh: kinds seen so far, `kind.value` of those with values, and what the settings weigh."""
    return [*heads.names, *(name for name in declared if name not in heads.names)]


def check_objectives(given: Mapping[str, float], known: Sequence[str]) -> None:
    """Raise RefusedError for a name that is not `known`."""
    for name in given:
        if name not in known:
            near = nearest(name, known)
            meant = "" if near is None else f"did you mean {near!r}? "
            there = f"known are {', '.join(known)}" if known else "no action has come yet"
            raise RefusedError(
                "objectives",
                f"unknown objective {shortened(name)!r}: {meant}{there}; a kind is known from its first positive"
                " action on, or by slate.objectives",
            )


def worth(objectives: Mapping[str, float], said: KindPredictions) -> NDArray[np.float32] | None:
    """float32[n]: the worth of candidates; None where nothing is known yet of any objective."""
    columns = said.columns()
    parts = [columns[name] * np.float32(weight) for name, weight in objectives.items() if name in columns]
    if not parts:
        return None
    total: NDArray[np.float32] = np.sum(parts, axis=0, dtype=np.float32)
    return total


def as_probabilities(acted: NDArray[np.float32], worth: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32[n] in 0..1, in the order of `worth`: P(acted) times the worth of an action, of 1 for the one worth most.

    So what is made for probabilities goes on to work: exploration, fatigue, diversity. Where actions are worth the
    same on all candidates these are the probabilities `acted` float32[n].
    """
    each = worth / np.maximum(acted, np.finfo(np.float32).tiny)
    most = each.max(initial=0.0)
    if not most > 0.0:
        return acted
    values: NDArray[np.float32] = acted * (each / most)
    return values
