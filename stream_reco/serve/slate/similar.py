"""What is like an item, and what a user is interested in, by the served vectors."""

from __future__ import annotations

import numpy as np

from stream_reco.events import Id
from stream_reco.interests import Medoids
from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.serve.slate.slate import Interest, Neighbour
from stream_reco.signals.catalogue import Catalogue

_CHOSEN_FROM = 4
"""The k largest cosines are chosen among so many times k largest inner products: the index ranks by the latter."""
_LEAST_DIVISOR = 1e-12
"""What the length of a zero vector is divided by in its place."""


def similar_items(served: ServingState, item_id: Id, k: int) -> list[Neighbour] | None:
    """At most k available items like an item, the largest cosine first; None if the item is not served.

    They are chosen among the 4 k with the largest inner products. An item without a trained vector has no neighbours
    yet.
    """
    with served.replica.reading():
        catalogue = served.signals.catalogue
        slot = catalogue.slot_of(item_id)
        if slot < 0:
            return None
        query = served.index.vectors_of(np.array([slot], dtype=np.int64))
        if not query.any():
            return []
        allowed = catalogue.available if catalogue.unavailable else None
        slots, _ = served.index.search(query, _CHOSEN_FROM * k + 1, allowed)
        near = [int(one) for one in slots[0] if one >= 0 and one != slot]
        vectors = served.index.vectors_of(np.array(near, dtype=np.int64))
        norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
        cosines = (vectors @ query[0]) / np.maximum(norms, _LEAST_DIVISOR)
        best = np.argsort(-cosines, kind="stable")[:k]
        return [
            Neighbour(item, float(cosines[place])) for place in best if (item := catalogue.ids[near[place]]) is not None
        ]


def user_interests(served: ServingState, medoids: Medoids) -> list[Interest]:
    """The medoids with the ids of their items, most important first."""
    with served.replica.reading():
        return interests_in(served.signals.catalogue, medoids)


def interests_in(catalogue: Catalogue, medoids: Medoids) -> list[Interest]:
    """The same in any catalogue; the caller sees to it that nobody changes it."""
    slots = catalogue.slots_of_keys(medoids.keys.tolist())
    found = [
        Interest(item, float(importance))
        for slot, importance in zip(slots, medoids.importance, strict=True)
        if slot >= 0 and (item := catalogue.ids[slot]) is not None
    ]
    return sorted(found, key=lambda one: -one.importance)
