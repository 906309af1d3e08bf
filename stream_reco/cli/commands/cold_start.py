"""`stream-reco cold-start`: a log, each action ranked among all items before it is learned from.

It is what `stream-reco reproduce cold_start` runs, with content and without it.
"""

from __future__ import annotations

from stream_reco.clock import SystemClock
from stream_reco.experiments.cold_start.experiment import run_cold_start
from stream_reco.terminal.json_file import JsonOption, check_writable, write_json
from stream_reco.terminal.log_options import (
    ConfigOption,
    Format,
    FormatOption,
    LimitOption,
    LogChoice,
    LogPath,
    WarmUpOption,
)
from stream_reco.terminal.printing import say
from stream_reco.terminal.progress import progress_lines
from stream_reco.terminal.settings import loop_settings
from stream_reco.terminal.signals import stopping


def cold_start(
    path: LogPath,
    format: FormatOption,  # noqa: A002 - the option's name
    limit: LimitOption = None,
    warm_up: WarmUpOption = None,
    json: JsonOption = None,
    config: ConfigOption = None,
) -> None:
    """Rank each action among all items before it is learned from; of Open Bandit estimate what policies would earn.

    --warm-up counts actions here.
    """
    if json is not None:
        check_writable(json)
    with stopping() as stop:
        settings = loop_settings(config, {}, format)
        log = LogChoice(path, format).read(SystemClock().now_ms(), settings.serve.future_seconds)[:limit]
        watch = progress_lines(stop, len(log), "events")
        first = len(log) // 3 if warm_up is None else warm_up
        figures = run_cold_start(log, settings, first, watch, bandit=format is Format.openbandit)
    say(f"{figures['evaluated']:,} evaluated in {figures['seconds']:,.0f} s")
    if json is not None:
        write_json(json, {"log": log.name, "format": format.value, "limit": limit, "warm_up": first} | figures)
