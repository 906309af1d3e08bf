"""`python -m stream_reco.cli` is `stream-reco`."""

from stream_reco.cli.process import run

run()
