"""The command `stream-reco`. Nothing heavy is imported before a command needs it, so that help comes at once."""

from stream_reco.cli.process import run

__all__ = ["run"]
