"""Run by test_table_files.py on a small disk: save a table that grows until it does not fit."""

import sys
from pathlib import Path

import numpy as np

from stream_reco.embedding import EmbeddingTable


def main(folder: Path) -> None:
    path = folder / "table"
    table, saves, before = EmbeddingTable(8, "sgd"), 0, b""
    try:
        while True:
            table.train_rows(np.arange(1000 << saves), 0)
            table.save(path)
            saves, before = saves + 1, path.read_bytes()
    except OSError as error:
        sys.stdout.write(f"{error}\n")
    assert saves > 2, saves
    assert [each.name for each in folder.iterdir()] == ["table"]
    assert path.read_bytes() == before
    assert len(EmbeddingTable.load(path)) == 1000 << saves - 1
    table.check_invariants()
    small = EmbeddingTable(8)
    small.save(path)
    assert len(EmbeddingTable.load(path)) == 0
    sys.stdout.write("kept\n")


main(Path(sys.argv[1]))
