"""The files of an experiment's page in docs/results: the page, its figures, its plot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stream_reco.terminal.errors import Failure
from stream_reco.terminal.printing import say


def write_page(
    out: Path, name: str, page_with: Callable[[str | None], str], figures: Any, picture: bytes | None
) -> list[Path]:
    """Write `name`.md, .json and .svg, and return the files.

    `page_with` gets the name of the plot, or None. Raises `Failure` where a file cannot be written.
    """
    contents = {
        f"{name}.md": page_with(f"{name}.svg" if picture else None).encode(),
        f"{name}.json": (json.dumps(figures, indent=1) + "\n").encode(),
    }
    if picture is None:
        say("no plot without matplotlib: pip install matplotlib", err=True)
    else:
        contents[f"{name}.svg"] = picture
    for file, content in contents.items():
        try:
            (out / file).write_bytes(content)
        except OSError as error:
            raise Failure(f"cannot write {out / file}: {error.strerror}; name another folder with --out") from error
    return [out / file for file in contents]
