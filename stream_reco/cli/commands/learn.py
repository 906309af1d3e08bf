"""`stream-reco learn`: a real log, evaluated and learned from, without serving.

It is what `stream-reco reproduce collisions` runs, once for each log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stream_reco.clock import SystemClock
from stream_reco.terminal.json_file import JsonOption, check_writable, write_json
from stream_reco.terminal.log_options import ConfigOption, FormatOption, LimitOption, LogChoice, LogPath, WarmUpOption
from stream_reco.terminal.settings import loop_settings
from stream_reco.terminal.signals import INTERRUPTED, stopping

if TYPE_CHECKING:
    import threading

    from stream_reco.config import Settings
    from stream_reco.datasets import Log


def learn(
    path: LogPath,
    format: FormatOption,  # noqa: A002 - the option's name
    limit: LimitOption = None,
    warm_up: WarmUpOption = None,
    hash_bits: Annotated[
        list[int] | None,
        typer.Option(min=0, max=62, help="Also train with users and items hashed into 2^N rows each.", metavar="N"),
    ] = None,
    other_seed: Annotated[
        list[int] | None, typer.Option(help="Also train from another seed of weights and rows.", metavar="N")
    ] = None,
    json: JsonOption = None,
    config: ConfigOption = None,
) -> None:
    """Stream a real log through the learning half of the loop; nothing is served.

    Each batch of examples is predicted by the model so far, and learned from after. Several models can be trained in
    parallel, on the same batches.
    """
    if json is not None:
        check_writable(json)
    with stopping() as stop:
        settings = loop_settings(config, {}, format)
        log = LogChoice(path, format).read(SystemClock().now_ms(), settings.serve.future_seconds)[:limit]
        first = len(log) // 3 if warm_up is None else warm_up
        figures = _run(log, settings, first, hash_bits or [], other_seed or [], stop)
    arguments = {"log": log.name, "format": format.value, "limit": limit, "warm_up": first}
    if json is not None:
        write_json(json, arguments | figures)


def _run(
    log: Log, settings: Settings, warm_up: int, hash_bits: list[int], seeds: list[int], stop: threading.Event
) -> dict[str, object]:
    from stream_reco.experiments.collisions.train_variants import LearnRun
    from stream_reco.experiments.replay.view import replay_view
    from stream_reco.terminal.console import DataConsole

    run = LearnRun(settings, len(log), warm_up, hash_bits, seeds)
    with replay_view(DataConsole(), run.tally, len(log)) as view:

        def watch() -> None:
            view.update()
            if stop.is_set():
                raise typer.Exit(INTERRUPTED)

        run.learn(log, watch)
    return run.report(log)
