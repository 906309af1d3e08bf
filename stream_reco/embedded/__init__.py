"""The whole loop in one process, durable on local disk."""

from stream_reco.embedded.engine import Engine, Ingested, Observer

__all__ = ["Engine", "Ingested", "Observer"]
