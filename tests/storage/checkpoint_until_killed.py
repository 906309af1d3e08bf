"""Run by test_checkpoint.py: children write checkpoints and are killed at random; one must always be whole.

The parent forks, so that the many rounds pay for one start of Python.
"""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from stream_reco.storage.checkpoint import Part, read_checkpoint, write_checkpoint

ROUNDS = 12


def state(position: int) -> dict[str, Part]:
    values = np.arange(position % 977 * 50, dtype=np.float32) + position
    return {"tables": {"user": values, "item": values[::2]}, "labels": position.to_bytes(8, "big") * 1000}


def check(folder: Path, promised: int) -> int:
    restored = read_checkpoint(folder)
    if restored is None:
        assert promised == 0
        return 0
    assert restored.warnings == ()
    assert restored.position >= promised, (restored.position, promised)
    expected = state(restored.position)
    assert restored.parts["labels"] == expected["labels"]
    found, wanted = restored.parts["tables"], expected["tables"]
    assert isinstance(found, dict)
    assert isinstance(wanted, dict)
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    return restored.position


def main(folder: Path, seed: int) -> None:
    rng, position = np.random.default_rng(seed), 0
    for _ in range(ROUNDS):
        pipe, promises = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(pipe)
            while True:
                position += 1
                write_checkpoint(folder, position, state(position))
                os.write(promises, position.to_bytes(8, "big"))
        os.close(promises)
        time.sleep(float(rng.uniform(0.0, 0.2)))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(pipe, "rb") as stream:
            promised = int.from_bytes(stream.read()[-8:], "big")
        position = check(folder, max(position, promised))
    sys.stdout.write(f"{ROUNDS} rounds, position {position}\n")


main(Path(sys.argv[1]), int(sys.argv[2]))
