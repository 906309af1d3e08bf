"""`stream-reco doctor`: whether this machine has what the loop needs, and what the settings are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream_reco.terminal.errors import Failure, Misuse
from stream_reco.terminal.log_options import ConfigOption
from stream_reco.terminal.printing import say, visible_lines

if TYPE_CHECKING:
    from stream_reco.cli.doctor.machine import Finding
    from stream_reco.config import Settings

_MARKS = {"good": ("✓", "green"), "warning": ("!", "yellow"), "bad": ("✗", "red")}


def doctor(
    settings: Annotated[bool, typer.Option("--settings", help="Print each setting and where it came from.")] = False,
    data: Annotated[Path | None, typer.Option(help="Also check this data folder.", metavar="DIR")] = None,
    config: ConfigOption = None,
) -> None:
    """Check this machine, and suggest a fix for each problem."""
    if settings:
        _print_settings(config)
        return
    from stream_reco.cli.doctor import machine

    findings = [machine.check_python(), machine.check_compiler(), *machine.check_packages(), machine.check_cores()]
    findings += [machine.check_cache_folder(), *([] if data is None else [machine.check_data_folder(data)])]
    findings += _checked_settings(config)
    _print_findings(findings)
    problems = sum(finding.state == "bad" for finding in findings)
    if problems:
        raise Failure("1 problem" if problems == 1 else f"{problems} problems")


def _checked_settings(config: Path | None) -> list[Finding]:
    from stream_reco.cli.doctor import machine, servers

    try:
        loaded = _settings(config)
    except Misuse as misuse:
        return [machine.Finding("bad", "settings", str(misuse))]
    findings = [
        machine.Finding("good", "settings", "are valid"),
        machine.check_port(loaded.serve.host, loaded.serve.port),
    ]
    if loaded.kafka.bootstrap:
        findings += servers.check_kafka(loaded)
    if loaded.redis.url:
        findings += servers.check_redis(loaded)
    return findings


def _settings(config: Path | None) -> Settings:
    from stream_reco.terminal.settings import settings_of

    return settings_of(config).settings


def _print_findings(findings: list[Finding]) -> None:
    from rich.text import Text

    from stream_reco.terminal.console import DataConsole

    console = DataConsole()
    for finding in findings:
        line = Text.assemble(_MARKS[finding.state], visible_lines(f" {finding.what}: {finding.text}"))
        console.print(line, soft_wrap=True)


def _print_settings(config: Path | None) -> None:
    from rich.table import Table

    from stream_reco.config import describe
    from stream_reco.terminal.console import DataConsole
    from stream_reco.terminal.settings import settings_of

    console = DataConsole()
    table = Table("setting", "value", "from", "variable", box=None, pad_edge=False)
    for line in describe(settings_of(config)):
        if console.is_terminal:
            table.add_row(line.key, line.value, str(line.origin), line.variable)
        else:
            say(f"{line.key} = {line.value}  # {line.origin}; {line.variable}")
    if console.is_terminal:
        console.print(table)
