"""Which items are candidates of requests: all sources asked, by what is served and what is known of the users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.assemble import RequestState
from stream_reco.model.inputs import Inputs
from stream_reco.retrieve.passing_items import PassingItems
from stream_reco.retrieve.sources import CONTENT, Retriever
from stream_reco.serve.slate.excluded import excluded_slots
from stream_reco.serve.slate.request import Request, UserContext
from stream_reco.serve.slate.serving_state import ServingState

_NO_SLOTS = np.empty(0, dtype=np.int32)
Proposals = tuple[NDArray[np.int32], NDArray[np.int32]]
"""Slots int32[m] and the bits of their sources int32[m]."""


@dataclass(frozen=True)
class UnderstoodRequest:
    """A request in the numbers of the version that answers it."""

    request: Request
    user: UserContext
    state: RequestState
    inputs: Inputs
    """Without candidates."""
    passing: PassingItems | None
    """The available items that pass the request's filters, None without filters."""
    turn: NDArray[np.int32]
    """Which of the least shown are proposed to it."""


def find_candidates(
    served: ServingState,
    retriever: Retriever,
    asked: Sequence[UnderstoodRequest],
    requests: Any,
    *,
    keep_seen: bool,
) -> list[Proposals]:
    """For each request the slots of its candidates int32[n], and the bits of their sources int32[n].

    `requests` is what the model has read of them. With `keep_seen` the items that the user has acted on are among them.
    To be called inside `replica.reading()`.
    """
    found = []
    of_content = _of_content(served, retriever, asked)
    for one, proposals, slots in zip(asked, _near(served, retriever, asked, requests), of_content, strict=True):
        user, proposals = one.user, _with_content(proposals, slots)
        blocked = user.disliked if keep_seen else np.concatenate([user.disliked, user.seen])
        if one.request.exclude:
            blocked = np.concatenate([blocked, excluded_slots(served.signals.catalogue, one.request.exclude)])
        slots, sources = retriever.candidates(
            served.signals, one.state.recent, one.state.context, blocked, proposals, one.turn, one.passing
        )
        found.append((slots, sources))
    return found


def _near(
    served: ServingState, retriever: Retriever, asked: Sequence[UnderstoodRequest], requests: Any
) -> list[Proposals]:
    """Proposals over vectors for each request; none where the model gives no vectors."""
    if served.retrieves is None:
        return [(_NO_SLOTS, _NO_SLOTS)] * len(asked)
    slots_of = served.signals.catalogue.slots_of_keys
    directions = [served.index.directions_of(slots_of(one.user.medoids)) for one in asked]
    medoids = [found[found.any(axis=1)] for found in directions]
    users = served.retrieves.user_vectors(requests)
    catalogue = served.signals.catalogue
    everything = PassingItems(None, catalogue.available) if catalogue.unavailable else None
    allowed = [everything if one.passing is None else one.passing for one in asked]
    return retriever.near(served.index, users, medoids, allowed)


def _of_content(
    served: ServingState, retriever: Retriever, asked: Sequence[UnderstoodRequest]
) -> list[NDArray[np.int32]]:
    """Slots int32[m] for each request: of the values that it is expected to act on, and new ones like its medoids."""
    catalogue = served.signals.catalogue
    if not catalogue.content.says_anything:
        return [_NO_SLOTS] * len(asked)
    of_values = retriever.by_content.propose(
        catalogue.content,
        [one.inputs for one in asked],
        [one.state.recent for one in asked],
        [int(one.turn[0]) for one in asked],
        served.replica.tables,
        served.content_priors,
    )
    fresh = served.signals.trends.fresh
    new = fresh[fresh >= 0]
    medoids = [np.array(catalogue.slots_of_keys(one.user.medoids), dtype=np.int32) for one in asked]
    return [
        np.concatenate([slots, served.encoded.near(mine[mine >= 0], new, retriever.new_alike)])
        for slots, mine in zip(of_values, medoids, strict=True)
    ]


def _with_content(proposals: Proposals, slots: NDArray[np.int32]) -> Proposals:
    if not len(slots):
        return proposals
    bits = np.full(len(slots), CONTENT, dtype=np.int32)
    return np.concatenate([proposals[0], slots]), np.concatenate([proposals[1], bits])
