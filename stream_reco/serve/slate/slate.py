"""The answer to "what should this user see now?"."""

from __future__ import annotations

import msgspec

from stream_reco.events import Id


class SlateItem(msgspec.Struct, frozen=True):
    """One recommended item.

    `score` is a calibrated probability in 0..1, `source` names where the candidate came from, and `propensity` is the
    probability in (0, 1] with which this place got this item, given all that was known; 1 where nothing was drawn. It
    is to come back in the impression.
    """

    item_id: Id
    score: float
    source: str
    propensity: float


class Slate(msgspec.Struct, frozen=True):
    """The items for one request, best first but for explored ones, all scored by one version of the model.

    `request_id` is to come back in the impressions and actions that follow.
    """

    request_id: str
    version: int
    items: list[SlateItem]


class Neighbour(msgspec.Struct, frozen=True):
    """An item like another one; `score` is their similarity, greater is nearer."""

    item_id: Id
    score: float


class Interest(msgspec.Struct, frozen=True):
    """One cluster of a user's recent actions: its medoid and its importance."""

    item_id: Id
    importance: float
