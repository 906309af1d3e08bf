"""New items that were begun come before others of nearly the same odds, until they have their first impressions.

A few impressions decide nothing: what a look is worth grows with the looks before it, until there are enough (Frazier
and Powell 2010, "Paradoxes in learning and the marginal value of information"). So where places are short, most items
become known when those that lack least come first (shortest remaining time first; Schrage 1968).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_reco.serve.slate.exploration import Evidence

_MANY = 20
"""New items among the candidates from which places are short for them. Where there are fewer, each has the time to find
those who may like it, and is raised by the square of the ratio."""
_LEAST = 1e-7
"""Values are kept this far from 0 and 1 before their log-odds are taken."""


def shares_of_begun(evidence: Evidence, first_impressions: int) -> NDArray[np.float64]:
    """float64[n]: which share of its first impressions each candidate had that was begun; 0 of all others.

    Less where fewer than `_MANY` candidates lack any. An item that has had them all is known, as is one of which no
    impression was reported: where people send actions alone, who has few of them was not begun but is liked by few.
    """
    reported = evidence.impressions if evidence.reported is None else evidence.reported
    is_new = evidence.impressions < first_impressions
    short = min(1.0, np.count_nonzero(is_new) / _MANY) ** 2
    shares = np.where(is_new, reported * (short / first_impressions), 0.0).astype(np.float64, copy=False)
    if evidence.variances is not None:
        # Of an item whose content tells who likes it a look has less to tell.
        shares *= np.where(evidence.variances > 0.0, np.sqrt(np.minimum(evidence.variances, 1.0)), 1.0)
    return shares


def raised_odds(values: NDArray[np.float32], shares: NDArray[np.float64], completion: float) -> NDArray[np.float64]:
    """float64[n]: the log-odds of `values` float32[n], plus `completion` times `shares`, which `shares_of_begun` gave.

    With it candidates that were begun stand before others of nearly the same odds.
    """
    kept = np.clip(values.astype(np.float64), _LEAST, 1.0 - _LEAST)
    odds: NDArray[np.float64] = np.log(kept / (1.0 - kept)) + completion * shares
    return odds


def in_last_places(ordered: Sequence[int], begun: Sequence[int], odds: NDArray[np.float64]) -> list[int]:
    """`ordered` with the `begun`, best first, in its last places, as long as each has higher `odds` than who leaves.

    Nobody begun is among the ordered; `odds` float64[n] are of all candidates.
    """
    entering = 0
    for leaving, place in zip(reversed(ordered), begun, strict=False):
        if odds[place] <= odds[leaving]:
            break
        entering += 1
    return [*ordered[: len(ordered) - entering], *begun[:entering]]
