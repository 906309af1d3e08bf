"""The whole loop in one process, durable on local disk."""

from stream_reco.embedded.engine import Engine, Ingested
from stream_reco.embedded.evaluation import ImpressionSink
from stream_reco.learner.progressive_evaluation import EvaluationSink

__all__ = ["Engine", "EvaluationSink", "ImpressionSink", "Ingested"]
