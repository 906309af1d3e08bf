"""Ward clusters of a user's recent actions, their medoids and importance (PinnerSage)."""

from stream_reco.interests.clusters import importance, medoids
from stream_reco.interests.settings import InterestSettings
from stream_reco.interests.store import Interests, Medoids, draw
from stream_reco.interests.ward import cut, ward_linkage

__all__ = ["InterestSettings", "Interests", "Medoids", "cut", "draw", "importance", "medoids", "ward_linkage"]
