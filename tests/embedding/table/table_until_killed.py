"""Run by test_table_files.py: saves of two tables onto one path are killed at random; a whole one must be left.

The parent forks, so that the many rounds pay for one start of Python. Arguments: a folder and a seed. Prints how often
the path had the file from before and how often the one that was being saved.
"""

import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

from stream_reco.embedding import EmbeddingTable

ROUNDS = 30


def filled(rows: int) -> EmbeddingTable:
    table = EmbeddingTable(32, "sgd")
    table.train_rows(np.arange(rows), 0)
    return table


def save_and_kill(table: EmbeddingTable, path: Path, seconds: float) -> None:
    child = os.fork()
    if child == 0:
        table.save(path)
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def main(folder: Path, seed: int) -> None:
    path, rng, found = folder / "table", np.random.default_rng(seed), Counter[str]()
    tables = [filled(60_000), filled(80_000)]
    tables[0].save(path)
    start = time.monotonic()
    tables[0].save(path)
    longest = 1.5 * (time.monotonic() - start)
    there = 0
    for number in range(20 * ROUNDS):
        if number >= ROUNDS and found["old"] and found["new"]:
            break
        # A machine that is busier or less so than at first kills all too early or too late.
        longest *= 1.0 if number < ROUNDS else 1.1 if found["old"] else 0.9
        save_and_kill(tables[1 - there], path, float(rng.uniform(0, longest)))
        rows = len(EmbeddingTable.load(path, mapped=bool(rng.random() < 0.5)))
        assert rows in (60_000, 80_000), rows
        is_new = rows == len(tables[1 - there])
        found["new" if is_new else "old"] += 1
        there = 1 - there if is_new else there
        found["drafts left"] += len(list(folder.iterdir())) - 1
    tables[0].save(path)
    assert [each.name for each in folder.iterdir()] == ["table"]
    sys.stdout.write(f"{dict(found)}\n")


main(Path(sys.argv[1]), int(sys.argv[2]))
