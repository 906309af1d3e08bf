"""The command `stream-reco`. Commands import heavy packages themselves, so that help is quick."""

from stream_reco.cli.process import run

__all__ = ["run"]
