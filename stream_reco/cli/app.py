"""All commands together, and how they end: 0 done, 1 failed, 2 wrong usage."""

from __future__ import annotations

import sys

import typer

from stream_reco.cli.bench import bench
from stream_reco.cli.dead_letters import dead_letters
from stream_reco.cli.demo import demo
from stream_reco.cli.doctor import doctor
from stream_reco.cli.ingest import ingest
from stream_reco.cli.learn import learn
from stream_reco.cli.replay import replay
from stream_reco.cli.reproduce import reproduce
from stream_reco.cli.serve import serve
from stream_reco.cli.topics import topics
from stream_reco.cli.work import work
from stream_reco.terminal.errors import Failure

app = typer.Typer(
    help="A recommender that learns while people click.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo, serve, work, replay, ingest, topics, dead_letters, reproduce, doctor, bench):
    app.command()(command)
# What `reproduce` runs; people would rather replay.
app.command(hidden=True)(learn)


@app.callback()
def _commands() -> None:
    """Without a callback a single command would be no command of its own."""


def main() -> None:
    """Run the command line; what people did wrong is said in a sentence, without a traceback."""
    try:
        app()
    except Failure as failure:
        sys.stderr.write(f"stream-reco: {failure}\n")
        sys.exit(failure.status)
    except BrokenPipeError:
        # Whoever read our output, such as `head`, has had enough.
        sys.stderr.close()
        sys.exit(1)
