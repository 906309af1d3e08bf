"""Run by test_table_files.py: what saving and loading take, and what a table does that cannot grow, under real limits.

A limit on the address space counts everything: own memory, what is mapped, what is only reserved.
"""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from stream_reco.embedding import EmbeddingTable

ROWS, DIM = 800_000, 32
MIB = 1 << 20
TTL = 1000


def status(field: str) -> int:
    """Bytes of a line of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{field}:"))


@contextmanager
def at_most(more: int) -> Iterator[None]:
    """While this lasts the process cannot have more than so many bytes beyond what it has."""
    resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + more, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def save_and_load(path: Path) -> None:
    table = EmbeddingTable(DIM, "adagrad", ttl_ms=TTL)
    table.train_rows(np.arange(ROWS), 0)
    size = table.nbytes
    assert size > 200 * MIB
    with at_most(8 * MIB):
        table.save(path)
    sys.stdout.write("saved\n")
    before = status("RssAnon")
    # Each slab reserves 2 MiB more than it uses, to lie on huge pages.
    with at_most(path.stat().st_size + size + size // 3):
        copied = EmbeddingTable.load(path)
    assert status("RssAnon") - before < size + size // 20
    np.testing.assert_array_equal(copied.lookup(np.arange(100)), table.lookup(np.arange(100)))
    sys.stdout.write("loaded\n")
    before = status("RssAnon")
    with at_most(path.stat().st_size + 32 * MIB):
        mapped = EmbeddingTable.load(path, mapped=True)
        mapped.lookup(np.arange(0, ROWS, 7))
    assert status("RssAnon") - before < 8 * MIB
    sys.stdout.write("mapped\n")
    for spare in (MIB, size // 2, path.stat().st_size + 2 * MIB, path.stat().st_size + size // 2):
        with at_most(spare):
            told = rejected_gradients(path)
        assert "no memory to load the table in" in told, told
        assert "mapped=True" in told, told
    sys.stdout.write("told that it cannot be loaded\n")


def rejected_gradients(path: Path) -> str:
    try:
        EmbeddingTable.load(path)
    except MemoryError as error:
        return str(error)
    raise AssertionError("it was loaded")


def fill(table: EmbeddingTable) -> None:
    start = table.train_rows(np.arange(100), 0)
    keys = np.arange(1000)
    gradients = np.ones((len(keys), DIM), np.float32)
    told = ""
    with at_most(64 * MIB):
        try:
            for first in range(0, 100 * ROWS, 10_000):
                table.train_rows(np.arange(first, first + 10_000), 0)
        except MemoryError as error:
            told = str(error)
        assert "evict rows" in told, told
        vectors = table.lookup(keys)
        table.apply_gradients(keys, gradients)
        assert (table.lookup(keys) < vectors).all()
        np.testing.assert_array_equal(table.train_rows(np.arange(100), 0), start)
    table.check_invariants()
    sys.stdout.write("full\n")
    with at_most(4 * MIB):
        gone = table.evict(TTL + 1, limit=50_000)
        assert len(gone) == 50_000
        assert len(np.unique(table.train_rows(-1 - gone, TTL))) == 50_000
    table.check_invariants()
    table.train_rows(np.arange(-300_000, 0), TTL)
    table.check_invariants()


def main(folder: Path) -> None:
    save_and_load(folder / "table")
    fill(EmbeddingTable(DIM, "adagrad", ttl_ms=TTL))
    sys.stdout.write("goes on\n")


main(Path(sys.argv[1]))
