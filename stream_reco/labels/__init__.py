"""Labels: joins impressions with actions in event time; matures, infers early, reverses."""

from stream_reco.labels.example import Example, Undone
from stream_reco.labels.joiner import LabelJoiner
from stream_reco.labels.oracle import Final, OracleJoiner, final_labels
from stream_reco.labels.settings import LabelSettings

__all__ = ["Example", "Final", "LabelJoiner", "LabelSettings", "OracleJoiner", "Undone", "final_labels"]
