"""Metrics of ranking, probabilities and freshness; off-policy estimates."""

from stream_reco.measure.binary import BinaryMetrics, RollingBinaryMetrics
from stream_reco.measure.calibration import ReliabilityBin, expected_calibration_error, reliability
from stream_reco.measure.freshness import Freshness
from stream_reco.measure.off_policy import Estimate, doubly_robust, ips, slate_ips, slate_snips, snips
from stream_reco.measure.ranking import RankingMetrics, rank_of

__all__ = [
    "BinaryMetrics",
    "Estimate",
    "Freshness",
    "RankingMetrics",
    "ReliabilityBin",
    "RollingBinaryMetrics",
    "doubly_robust",
    "expected_calibration_error",
    "ips",
    "rank_of",
    "reliability",
    "slate_ips",
    "slate_snips",
    "snips",
]
