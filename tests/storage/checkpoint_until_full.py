"""Run by test_checkpoint.py on a small disk: write larger and larger checkpoints until they do not fit."""

import sys
from pathlib import Path

import numpy as np

from stream_reco.storage.checkpoint import CheckpointError, read_checkpoint, write_checkpoint


def main(folder: Path) -> None:
    written, size = 0, 1000
    try:
        while True:
            state = np.arange(size, dtype=np.int64)
            write_checkpoint(folder, written + 1, {"tables": {"x": state}, "labels": bytes(size)})
            written, size = written + 1, size * 2
    except CheckpointError as error:
        sys.stdout.write(f"{error}\n")
    assert written > 3, written
    kept = [f"checkpoint-{number:010d}" for number in (written - 1, written)]
    assert sorted(path.name for path in folder.iterdir()) == kept
    restored = read_checkpoint(folder)
    assert restored is not None
    assert (restored.position, restored.warnings) == (written, ())
    again = write_checkpoint(folder, written + 1, {"tables": {"x": state[:10]}})
    assert again.position == written + 1
    sys.stdout.write(f"kept {written}\n")


main(Path(sys.argv[1]))
