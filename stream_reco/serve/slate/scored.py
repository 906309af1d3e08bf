"""What the served version says of candidates: that they are acted on, by kind, and what that is worth to the shop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.content.log_odds import content_log_odds
from stream_reco.model.dense_layers import sigmoid
from stream_reco.model.inputs import Batch
from stream_reco.model.served_heads import HEADS_TABLE, KindPredictions
from stream_reco.serve.slate.objectives import as_probabilities, worth
from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.serve.slate.slate import ScoredItems

_NO_SCORES = np.empty(0, dtype=np.float32)


class Scored(NamedTuple):
    """What is said of the n candidates of a request."""

    acted: NDArray[np.float32]
    """float32[n]: probabilities that the user acts on each."""
    kinds: KindPredictions
    worth: NDArray[np.float32] | None
    """float32[n]: by the request's objectives; None without."""
    variances: NDArray[np.float32] | None = None
    """float32[n]: of what content says, on the log-odds; None where it says nothing."""

    @property
    def scores(self) -> NDArray[np.float32]:
        """float32[n]: what is answered."""
        return self.acted if self.worth is None else self.worth

    @property
    def ordering(self) -> NDArray[np.float32]:
        """float32[n] in 0..1: what slates are ordered by."""
        return self.acted if self.worth is None else as_probabilities(self.acted, self.worth)

    def columns(self, among: NDArray[np.bool_]) -> ScoredItems:
        """The candidates as those `among` bool[m] items, n of them; zeros for the others."""

        def spread(column: NDArray[np.float32]) -> NDArray[np.float32]:
            found = np.zeros(len(among), dtype=np.float32)
            found[among] = column
            return found

        kinds = self.kinds
        return ScoredItems(
            spread(self.scores),
            {kind: spread(column) for kind, column in zip(kinds.kinds, kinds.probabilities.T, strict=True)},
            {kind: spread(column) for kind, column in zip(kinds.valued, kinds.values.T, strict=True)},
        )


def score_candidates(
    served: ServingState, requests: Any, batch: Batch, objectives: Sequence[Mapping[str, float]]
) -> list[Scored]:
    """For each request of a batch what is said of its candidates, by its `objectives`, empty where it has none.

    `requests` is what the served model has read of them. To be called inside `replica.reading()`, where there is a
    candidate at all.
    """
    heads, tables, kind_odds = served.heads, served.replica.tables, None
    odds, bottom = served.scoring.score(requests, batch, tables, bottom=heads.active)
    odds = odds + np.float32(served.shift)
    said = content_log_odds(batch, tables, served.content_priors)
    if said is not None:
        odds += said.means
    acted = sigmoid(odds)
    if bottom is not None:
        kind_odds = heads.log_odds(bottom, tables[HEADS_TABLE.name].lookup(batch.item_keys))
    everything = heads.predict(acted, kind_odds)
    found = []
    for bounds, weights in zip(pairwise([*batch.starts.tolist(), len(acted)]), objectives, strict=True):
        kinds = everything.of(slice(*bounds))
        spread = None if said is None else said.variances[slice(*bounds)]
        found.append(Scored(acted[slice(*bounds)], kinds, worth(weights, kinds) if weights else None, spread))
    return found


def nothing_scored(served: ServingState) -> Scored:
    """What is said where there is no candidate."""
    return Scored(_NO_SCORES, served.heads.predict(_NO_SCORES, None), None)


def by_kind(scored: Scored, places: Sequence[int]) -> Iterator[tuple[float, dict[str, float], dict[str, float]]]:
    """Of the candidates at `places` their scores, probabilities by kind, and values by kind."""
    kinds = scored.kinds
    chances, values = kinds.probabilities[places].tolist(), kinds.values[places].tolist()
    for score, each, bring in zip(scored.scores[places].tolist(), chances, values, strict=True):
        yield score, dict(zip(kinds.kinds, each, strict=True)), dict(zip(kinds.valued, bring, strict=True))
