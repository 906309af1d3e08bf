"""Labels: joins impressions with actions in event time; matures, infers early, reverses."""

from stream_reco.labels.example import Example, Undone
from stream_reco.labels.joiner import LabelJoiner
from stream_reco.labels.settings import LabelSettings

__all__ = ["Example", "LabelJoiner", "LabelSettings", "Undone"]
