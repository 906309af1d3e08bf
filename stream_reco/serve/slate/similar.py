"""What is like an item, and what a user is interested in, by the served vectors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from stream_reco.events import Id
from stream_reco.interests import Medoids
from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.serve.slate.slate import Interest, Neighbour
from stream_reco.signals.catalogue import Catalogue
from stream_reco.signals.content.values import Values

_CHOSEN_FROM = 4
"""The k largest cosines are chosen among so many times k largest inner products: the index ranks by the latter."""
_VALUES_COMPARED, _ITEMS_OF_A_VALUE = 16, 100
"""Where there is no vector: items are compared that have one of so many of the item's rarest values, of each the newest
so many."""
_LEAST_DIVISOR = 1e-12
"""What the length of a zero vector is divided by in its place."""


def similar_items(served: ServingState, item_id: Id, k: int) -> list[Neighbour] | None:
    """At most k available items like an item, the largest cosine first; None if the item is not served.

    They are chosen among the 4 k with the largest inner products. An item without a trained vector is compared by what
    is said of it; there are none where nothing is.
    """
    with served.replica.reading():
        catalogue = served.signals.catalogue
        slot = catalogue.slot_of(item_id)
        if slot < 0:
            return None
        query = served.index.vectors_of(np.array([slot], dtype=np.int64))
        if not query.any():
            return _by_content(served, slot, k)
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


def _by_content(served: ServingState, slot: int, k: int) -> list[Neighbour]:
    """The k available items that have most in common with one by what is said of them: cosines of their values."""
    catalogue = served.signals.catalogue
    content = catalogue.content
    said = content.categories_of(np.array([slot], dtype=np.int32), words=True)
    rarest = sorted(said, key=lambda value: content.frequency(*value))[:_VALUES_COMPARED]
    found = dict.fromkeys(one for value in rarest for one in content.having(*value, _ITEMS_OF_A_VALUE))
    slots = np.array([slot, *(one for one in found if one != slot and catalogue.available[one])], dtype=np.int32)
    counts, values = content.read(slots, served.replica.watermark)
    own = {(field, code): weight for field, code, weight in _listed(values, 0, int(counts[0]))}
    cosines, end = [], int(counts[0])
    for count in counts[1:].tolist():
        theirs = list(_listed(values, end, end + count))
        end += count
        shared = sum(own.get((field, code), 0.0) * weight for field, code, weight in theirs)
        lengths = _length(own.values()) * _length(weight for _, _, weight in theirs)
        cosines.append(shared / max(lengths, _LEAST_DIVISOR))
    best = sorted(range(len(cosines)), key=lambda place: -cosines[place])[:k]
    near = [(catalogue.ids[slots[1 + place]], cosines[place]) for place in best if cosines[place] > 0.0]
    return [Neighbour(item, float(cosine)) for item, cosine in near if item is not None]


def _listed(values: Values, begin: int, end: int) -> Iterator[tuple[int, int, float]]:
    columns = (values.fields[begin:end].tolist(), values.codes[begin:end].tolist(), values.weights[begin:end].tolist())
    yield from zip(*columns, strict=True)


def _length(weights: Iterable[float]) -> float:
    return math.sqrt(sum(weight * weight for weight in weights))


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
