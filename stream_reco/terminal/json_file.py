"""Figures as a JSON file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream_reco.terminal.errors import Failure

JsonOption = Annotated[Path | None, typer.Option(help="Write the results to this file.", metavar="OUT")]


def check_writable(path: Path) -> None:
    """Raise `Failure` if the file cannot be written, before minutes of work; its contents are left unchanged."""
    try:
        with path.open("a"):
            pass
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror}; name another file with --json") from error


def write_json(path: Path, figures: dict[str, object]) -> None:
    """Write the figures, indented. Raises `Failure` with the figures in its message, so that they are not lost."""
    from orjson import OPT_INDENT_2, OPT_SERIALIZE_NUMPY, dumps

    text = dumps(figures, option=OPT_INDENT_2 | OPT_SERIALIZE_NUMPY) + b"\n"
    try:
        path.write_bytes(text)
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror}; the figures were: {text.decode()}") from error
