"""How much what content says depends on each feature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.content.log_odds import content_log_odds
from stream_reco.model.inputs import Batch
from stream_reco.model.lookup import Lookup
from stream_reco.signals.content.values import Values


def leanings(
    batch: Batch, tables: Mapping[str, Lookup], priors: NDArray[np.float32], hashes: NDArray[np.int32]
) -> NDArray[np.float32]:
    """float32[f]: by how much candidates move against each other, on the log-odds, without each of `hashes` int32[f].

    The mean over the batch of how far a candidate's change is from the mean change of its request: what all candidates
    of a request gain or lose alike orders nothing.
    """
    whole = content_log_odds(batch, tables, priors)
    if whole is None:
        return np.zeros(len(hashes), dtype=np.float32)
    found = np.zeros(len(hashes), dtype=np.float32)
    for place, field in enumerate(hashes.tolist()):
        present = np.count_nonzero(batch.said.fields == field) + np.count_nonzero(batch.profiles.fields == field)
        if present:
            rest = content_log_odds(_without(batch, field), tables, priors)
            means = np.zeros_like(whole.means) if rest is None else rest.means
            change = (whole.means - means).astype(np.float64)
            of_request = np.add.reduceat(change, batch.starts) / np.bincount(batch.owners)
            found[place] = np.abs(change - of_request[batch.owners]).mean()
    return found


def _without(batch: Batch, field: int) -> Batch:
    """The batch as if nobody had said anything of a feature."""
    profile_counts, profiles = _others(batch.profile_counts, batch.profiles, field)
    said_counts, said = _others(batch.said_counts, batch.said, field)
    return replace(batch, profile_counts=profile_counts, profiles=profiles, said_counts=said_counts, said=said)


def _others(counts: NDArray[np.int32], values: Values, field: int) -> tuple[NDArray[np.int32], Values]:
    if not len(counts):
        return counts, values
    kept = values.fields != field
    owners = np.repeat(np.arange(len(counts)), counts)
    left = np.bincount(owners[kept], minlength=len(counts)).astype(np.int32)
    return left, values.at(np.flatnonzero(kept))
