"""All commands together, and how they end: 0 done, 1 failed, 2 wrong usage."""

from __future__ import annotations

import errno
import sys
from typing import Annotated

import typer

import stream_reco
from stream_reco.cli.commands.backup import backup, restore
from stream_reco.cli.commands.bench import bench
from stream_reco.cli.commands.cold_start import cold_start
from stream_reco.cli.commands.dead_letters import dead_letters
from stream_reco.cli.commands.demo import demo
from stream_reco.cli.commands.doctor import doctor
from stream_reco.cli.commands.export import export
from stream_reco.cli.commands.handover import handover
from stream_reco.cli.commands.ingest import ingest
from stream_reco.cli.commands.learn import learn
from stream_reco.cli.commands.models import models
from stream_reco.cli.commands.repair import repair
from stream_reco.cli.commands.replay import replay
from stream_reco.cli.commands.reproduce import reproduce
from stream_reco.cli.commands.second_shop import second_shop
from stream_reco.cli.commands.serve import serve
from stream_reco.cli.commands.simulate import simulate
from stream_reco.cli.commands.topics import topics
from stream_reco.cli.commands.transfer import transfer
from stream_reco.cli.commands.work import work
from stream_reco.terminal.errors import Failure
from stream_reco.terminal.printing import say

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

app = typer.Typer(
    help="A recommender that learns while people click.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    demo,
    serve,
    work,
    replay,
    ingest,
    backup,
    restore,
    transfer,
    export,
    topics,
    dead_letters,
    models,
    reproduce,
    repair,
    doctor,
    bench,
):
    app.command()(command)
# What `reproduce` runs; people would rather replay.
app.command("cold-start", hidden=True)(cold_start)
app.command(hidden=True)(handover)
app.command(hidden=True)(learn)
app.command("second-shop", hidden=True)(second_shop)
app.command(hidden=True)(simulate)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"stream-reco {stream_reco.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """The options before a command."""


def main() -> None:
    """Run the command line; what people did wrong is said in a sentence, without a traceback."""
    try:
        app()
    except Failure as failure:
        say(f"stream-reco: {failure}", err=True)
        sys.exit(failure.status)
    except BrokenPipeError:
        # Whoever read our output, such as `head`, has had enough.
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        # Wherever it was met: in a folder for temporary files, in the cache of kernels, in the output.
        sys.stderr.write(
            f"stream-reco: the disk is full: {error}. Free space there, or lift the quota, and start it again; what was"
            " acknowledged is safe\n"
        )
        sys.exit(1)
