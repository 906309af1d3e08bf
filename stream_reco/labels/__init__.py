"""Labels: joins impressions with actions in event time; matures, infers early, reverses."""

from stream_reco.labels.joiner import LabelJoiner
from stream_reco.labels.label.example import Example, Undone
from stream_reco.labels.label.kinds import ActionKinds, KindSettings
from stream_reco.labels.observe import observe_example, observe_pending
from stream_reco.labels.oracle import Final, OracleJoiner, final_labels
from stream_reco.labels.settings import LabelSettings
from stream_reco.labels.watermarks import Partition, Watermarks, WatermarksState

__all__ = [
    "ActionKinds",
    "Example",
    "Final",
    "KindSettings",
    "LabelJoiner",
    "LabelSettings",
    "OracleJoiner",
    "Partition",
    "Undone",
    "Watermarks",
    "WatermarksState",
    "final_labels",
    "observe_example",
    "observe_pending",
]
