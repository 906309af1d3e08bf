"""Make the records of version 0.1.0 again, with the code of version 0.1.0.

    git worktree add ../v0.1.0 dcec3e9
    PYTHONPATH=$PWD/../v0.1.0:$PWD python tests/compatibility/write_0_1_0.py folder
    PYTHONPATH=$PWD/../v0.1.0:$PWD python tests/compatibility/write_0_1_0.py servers

The first folder of the path is the old release, whose `stream_reco` and `topologies` are used; the second one is this
checkout, for `tests.compatibility`. Both parts write into `tests/compatibility/v0_1_0/`.
"""

from __future__ import annotations

import importlib.util
import json
import lzma
import shutil
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.compatibility.folder_answers import (
    ROUNDS_BEFORE,
    ROUNDS_BEHIND,
    answers_of,
    continued,
    opened,
    state_of,
)
from tests.compatibility.shop import described, shop_events, time_of

RECORDS = Path(__file__).parent / "v0_1_0"


def write_folder() -> None:
    """A data folder with log records behind its only checkpoint, and what the old code answers from it."""
    RECORDS.mkdir(exist_ok=True)
    with TemporaryDirectory() as temporary:
        folder, asked, continuing = (Path(temporary) / name for name in ("data", "asked", "continued"))
        with opened(folder) as engine:
            engine.ingest([*described(), *shop_events(ROUNDS_BEFORE)])
            engine.forget("gone")
            engine.checkpoint()
            at_checkpoint = state_of(engine)
        with opened(folder) as engine:
            for number in range(ROUNDS_BEHIND):
                engine.ingest(shop_events(1, first=ROUNDS_BEFORE + number))
            engine.tick(time_of(ROUNDS_BEFORE + ROUNDS_BEHIND))
        for copy in (asked, continuing):
            shutil.copytree(folder, copy)
        with opened(asked) as engine:
            answers = {"at checkpoint": at_checkpoint, "at end": state_of(engine), "answers": answers_of(engine)}
        with opened(continuing) as engine:
            answers["continued"] = continued(engine)
        with tarfile.open(RECORDS / "data.tar.xz", "w:xz") as packed:
            packed.add(folder, "data")
    with lzma.open(RECORDS / "answers.json.xz", "wt") as file:
        json.dump(answers, file, indent=1, sort_keys=True)


if __name__ == "__main__":
    if importlib.util.find_spec("stream_reco.storage") is not None:
        sys.exit("this is a later release: put the folder of version 0.1.0 first into PYTHONPATH")
    {"folder": write_folder}[sys.argv[1]]()
