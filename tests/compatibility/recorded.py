"""What version 0.1.0 left behind, unpacked."""

from __future__ import annotations

import json
import lzma
import tarfile
from pathlib import Path
from typing import Any

RECORDS = Path(__file__).parent / "v0_1_0"


def unpack(name: str, folder: Path) -> None:
    """The archive of that name into a folder."""
    with tarfile.open(RECORDS / f"{name}.tar.xz") as packed:
        # Python 3.11 has filters from 3.11.4 on.
        if hasattr(tarfile, "data_filter"):
            packed.extractall(folder, filter="data")
        else:
            packed.extractall(folder)


def read_json(name: str) -> Any:
    """What was written down under that name."""
    with lzma.open(RECORDS / f"{name}.json.xz", "rt") as file:
        return json.load(file)
