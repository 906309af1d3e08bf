"""Candidates by what items are said to be: those with the values that content expects this user to act on.

An item of one value alone is scored for each value that may be asked for; the inverted index has the items of the best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.content.log_odds import content_log_odds
from stream_reco.model.inputs import Inputs, collate
from stream_reco.model.lookup import Lookup
from stream_reco.signals.content.items import ItemContent
from stream_reco.signals.content.values import Values

_VALUES = 6
"""Values whose items are proposed: fewer would be one taste, more would leave each too few items."""
_SEEDS = 8
"""Newest items of the user whose values are asked for."""
_MOST_ASKED = 400
"""Values that are scored for one request at most."""


class _Askable(NamedTuple):
    """Values that items have, one behind the other."""

    fields: NDArray[np.int16]
    """int16[v]: numbers of the features."""
    codes: NDArray[np.int64]


class ContentSource:
    """Proposes the newest items of each value, and others of it in turn."""

    def __init__(self, quota: int) -> None:
        """`quota`: items proposed for a request."""
        self._quota = quota

    def propose(
        self,
        content: ItemContent,
        requests: Sequence[Inputs],
        recent: Sequence[NDArray[np.int32]],
        turns: Sequence[int],
        tables: Mapping[str, Lookup],
        priors: NDArray[np.float32],
    ) -> list[NDArray[np.int32]]:
        """For each request slots int32[m] of items, those of the best value first.

        `requests` have no candidates; `recent` are the slots int32[r] of each user's newest items, `turns` the numbers
        of the requests among all.
        """
        nothing = np.empty(0, dtype=np.int32)
        if not self._quota or not content.fields.everyone:
            return [nothing] * len(requests)
        asked = [self._askable(content, one, mine) for one, mine in zip(requests, recent, strict=True)]
        batch = collate([_of_values(content, one, mine) for one, mine in zip(requests, asked, strict=True)])
        said = content_log_odds(batch, tables, priors)
        if said is None:
            return [nothing] * len(requests)
        bounds = pairwise([*batch.starts.tolist(), len(said.means)])
        return [
            self._items(content, mine, said.means[slice(*bound)], turn)
            for mine, bound, turn in zip(asked, bounds, turns, strict=True)
        ]

    def _askable(self, content: ItemContent, request: Inputs, recent: NDArray[np.int32]) -> _Askable:
        """Values of features that have few, of what the user acted on, and those that say what is said of the user."""
        common = content.common_values
        own = content.categories_of(recent[recent >= 0][:_SEEDS])
        codes = set(request.profile.codes.tolist())
        equal = [(field, code) for field in content.category_fields for code in codes if content.frequency(field, code)]
        found = list(dict.fromkeys([*equal, *own, *common]))[:_MOST_ASKED]
        return _Askable(
            np.array([field for field, _ in found], dtype=np.int16),
            np.array([code for _, code in found], dtype=np.int64),
        )

    def _items(self, content: ItemContent, asked: _Askable, odds: NDArray[np.float32], turn: int) -> NDArray[np.int32]:
        best = np.argsort(-odds, kind="stable")[:_VALUES]
        share = -(-self._quota // max(len(best), 1))
        found: dict[int, None] = {}
        for place in best.tolist():
            field, code = int(asked.fields[place]), int(asked.codes[place])
            newest = content.having(field, code, share // 2)
            in_turn = content.in_turn(field, code, share - len(newest), turn, len(newest))
            found |= dict.fromkeys([*newest, *in_turn])
        return np.array(list(found)[: self._quota], dtype=np.int32)


def _of_values(content: ItemContent, request: Inputs, asked: _Askable) -> Inputs:
    """A request whose candidates are items of one value each."""
    count = len(asked.codes)
    hashes = content.fields.hashes[asked.fields]
    return replace(
        request,
        item_keys=np.zeros(count, dtype=np.int64),
        dense=np.zeros((count, 0), dtype=np.float32),
        rates=np.ones(count, dtype=np.float32),
        counts=np.ones(count, dtype=np.int32),
        said=Values(hashes, asked.codes, np.ones(count, dtype=np.float32)),
    )
