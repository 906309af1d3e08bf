"""What a user is interested in, by the ids of the medoids' items."""

from __future__ import annotations

from stream_reco.interests import Medoids
from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.serve.slate.slate import Interest
from stream_reco.signals.catalogue import Catalogue


def user_interests(served: ServingState, medoids: Medoids) -> list[Interest]:
    """The medoids with the ids of their items, most important first."""
    with served.replica.reading():
        return interests_in(served.signals.catalogue, medoids)


def interests_in(catalogue: Catalogue, medoids: Medoids) -> list[Interest]:
    """The same in any catalogue; the caller sees to it that nobody changes it."""
    slots = catalogue.slots_of_keys(medoids.keys)
    found = [
        Interest(item, float(importance))
        for slot, importance in zip(slots, medoids.importance, strict=True)
        if slot >= 0 and (item := catalogue.ids[slot]) is not None
    ]
    return sorted(found, key=lambda one: -one.importance)
