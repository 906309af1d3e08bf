"""What the code knows, as files that start, configure and watch it must name it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import typer
from platformdirs import user_cache_path

from stream_reco.cli.app import app
from stream_reco.config import ConfigError, Settings, load
from stream_reco.serve.http.auth import Guard, UnprotectedBindError
from stream_reco.serve.http.openapi import openapi
from stream_reco.serve.settings import ServeSettings
from topologies.process.metrics_server import LIVE, METRICS

PREFIX = "STREAM_RECO_"


def command_problems(arguments: Sequence[str]) -> Iterator[str]:
    """What the command line has against these arguments."""
    if not arguments:
        yield "no command is given"
        return
    group: Any = typer.main.get_command(app)
    if arguments[0] not in group.commands:
        yield f"there is no command {arguments[0]!r}"
        return
    try:
        group.commands[arguments[0]].make_context(arguments[0], list(arguments[1:]))
    except typer.Exit:
        yield f"{' '.join(arguments)} does nothing but help"
    except Exception as error:
        yield f"{' '.join(arguments)}: {error}"


def settings_of(environment: Mapping[str, str]) -> Settings:
    """The settings that this environment gives. Raises ConfigError."""
    return load(None, environment).settings


def environment_problems(environment: Mapping[str, str], arguments: Sequence[str]) -> Iterator[str]:
    """What the settings have against these variables, for a process that is started with these arguments."""
    try:
        settings = settings_of(environment)
    except ConfigError as error:
        yield from error.problems
        return
    if not settings.kafka.bootstrap:
        yield "kafka.bootstrap is not set"
    if arguments[0] == "serve":
        try:
            Guard(settings.serve)
        except UnprotectedBindError as error:
            yield str(error)
    if arguments[:1] != ["topics"] and arguments[:2] != ["work", "labelling"] and not settings.redis.url:
        yield "redis.url is not set"
    if arguments[:2] == ["work", "training"] and not settings.training.checkpoint_dir:
        yield "training.checkpoint_dir is not set"


def probe_problems(port: int, path: str, arguments: Sequence[str], settings: Settings) -> Iterator[str]:
    """What is wrong with asking a process that was started with these arguments there."""
    if arguments[0] == "serve":
        if port != settings.serve.port:
            yield f"a scorer listens on port {settings.serve.port}, not on {port}"
        if path not in json.loads(openapi(ServeSettings()))["paths"]:
            yield f"the API has no {path}"
    else:
        if port != settings.work.metrics_port:
            yield f"a worker's metrics are on port {settings.work.metrics_port}, not on {port}"
        if path not in (METRICS, LIVE):
            yield f"a worker has no {path}"


def folders(dockerfile: str, environment: Mapping[str, str], arguments: Sequence[str]) -> dict[str, Path]:
    """The folders that such a process writes to in an image made by `dockerfile`, by what they are for."""
    environment = _image_variables(dockerfile) | dict(environment)
    kept = {name: value for name, value in environment.items() if not name.startswith(PREFIX)}
    with patch.dict(os.environ, kept, clear=True):
        found = {"compiled kernels": user_cache_path("stream-reco")}
        settings = settings_of({name: value for name, value in environment.items() if name.startswith(PREFIX)})
        if arguments[0] == "work" and arguments[1] != "training":
            found["state"] = settings.state.path
        if arguments[0] == "work":
            # Faust makes one where the process is started.
            found["empty folder"] = Path(re.findall(r"^WORKDIR (.*)$", dockerfile, re.MULTILINE)[-1])
        if arguments[:2] == ["work", "training"]:
            found["checkpoints"] = Path(settings.training.checkpoint_dir or "no folder")
    return found


def _image_variables(dockerfile: str) -> dict[str, str]:
    """What the last stage of a Dockerfile sets with ENV."""
    stage = dockerfile.replace("\\\n", " ").rpartition("\nFROM ")[2]
    lines = [line for line in stage.splitlines() if line.startswith("ENV ")]
    return dict(part.split("=", 1) for line in lines for part in re.split(r"\s+", line.removeprefix("ENV ").strip()))
