"""Flips bits of, cuts, empties and deletes every file of a data folder, and opens what is left, for real.

`python -m tests.embedded.journal.damage` tries thousands of cases and prints the table of docs/results/damage.md;
test_damage.py tries some of each. A case is the same state, recovered with a warning, or refused with what to do;
whatever else it is, is a defect.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from stream_reco.embedded.journal.journaled_learner import JournaledLearner
from stream_reco.embedded.journal.recovery import Storage
from stream_reco.storage.checkpoint import CheckpointError
from stream_reco.storage.event_log import LogError
from stream_reco.storage.rocksdb import StoreError
from tests.embedded.journal.recovery_world import SETTINGS, differences, do, opened, state_of, steps

State = dict[str, Any]
Kind = Literal["flip", "cut", "empty", "delete"]
KINDS: tuple[Kind, ...] = ("flip", "cut", "empty", "delete")
OUTCOMES = ("same", "recovered", "refused", "silent")
REMEDIES = ("--accept-loss", "estore the folder from a copy", "move it away", "permissions")
RARELY = replace(SETTINGS, training=replace(SETTINGS.training, checkpoint_events=10**9, batch=128, wait_seconds=1e9))
"""No checkpoint but those that are asked for, and few training steps: what is read back matters here, not learning."""
SMALL = 700
"""Bytes up to which a file is damaged at every byte."""
_SECTOR = 4096
_FRAME, _WAL_HEADER = 24 + 4096, 32
"""Of SQLite's write-ahead log: bytes of a frame of one page, and of the header before the first."""


@dataclass(frozen=True)
class Damage:
    """What is done to one file: its `bit` flipped at byte `at`, or everything from `at` on cut off."""

    file: Path
    kind: Kind
    at: int = 0
    bit: int = 0

    def do(self, folder: Path) -> None:
        path = folder / self.file
        if self.kind == "delete":
            path.unlink()
            return
        # In place, so that all names of the file see it.
        with path.open("r+b") as file:
            if self.kind != "flip":
                file.truncate(self.at)
                return
            file.seek(self.at)
            (byte,) = file.read(1)
            file.seek(self.at)
            file.write(bytes([byte ^ 1 << self.bit]))


@dataclass(frozen=True)
class World:
    """A data folder as `kill -9` leaves it, and the state that it holds."""

    folder: Path
    state: State
    position: int


def make_world(folder: Path) -> World:
    """Some hundred events, a checkpoint, more events, another checkpoint, and more in the write-ahead log."""
    live = folder / "live"
    stream = steps(7, 100)[56:76]
    with opened(live, RARELY) as engine:
        for number, step in enumerate(stream[:17], 1):
            do(engine, step)
            if number in (10, 14):
                engine.checkpoint()
    # The log's main file has what came before the closing, its write-ahead log the rest.
    with opened(live, RARELY) as engine:
        for step in stream[17:]:
            do(engine, step)
        copy(live, folder / "killed")
        return World(folder / "killed", state_of(engine.learner), engine.journaled.position)


def copy(source: Path, target: Path) -> None:
    """Copy a folder; files that were one under two names stay one."""
    copies: dict[int, Path] = {}
    for path in sorted(source.rglob("*")):
        to = target / path.relative_to(source)
        to.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            to.mkdir(exist_ok=True)
        elif (known := copies.setdefault(path.stat().st_ino, to)) is to:
            shutil.copyfile(path, to)
        else:
            os.link(known, to)


def damages(world: World, each: int, rng: np.random.Generator, small: int = SMALL) -> Iterator[Damage]:
    """Every byte of small files, structured and `each` drawn places of larger ones; all emptied and deleted."""
    for path in sorted(path for path in world.folder.rglob("*") if path.is_file()):
        file, size = path.relative_to(world.folder), path.stat().st_size
        yield Damage(file, "delete")
        if not size:
            continue
        yield Damage(file, "empty")
        places = range(size) if size <= small else _places(path, size, each, rng)
        for at in places:
            yield Damage(file, "flip", at, int(rng.integers(8)))
        for at in places:
            yield Damage(file, "cut", at)


def _places(path: Path, size: int, each: int, rng: np.random.Generator) -> list[int]:
    drawn = rng.integers(0, size, size=each).tolist()
    begins = [0, 1, 7, 8, 15, 16, 18, 19, 20, 23, 24, 28, 31, 39, 47, 52, 56, 59, 60, 63, 68, 71, 92, 99]
    structured = [*begins[: each + 2], size - 1, size - 2]
    step, begin = (_FRAME, _WAL_HEADER) if path.name.endswith("-wal") else (_SECTOR, 0)
    borders = np.arange(begin, size, step)
    if len(borders) > each:
        borders = rng.choice(borders, size=each, replace=False)
    structured += [at + offset for at in borders.tolist() for offset in (0, 8, 16, 24)]
    return sorted({at for at in (*drawn, *structured) if 0 <= at < size})


def in_turns(cases: list[Damage], rng: np.random.Generator) -> list[Damage]:
    """The cases in a drawn order, in which all kinds of files and of damage come in turns."""
    rounds: Counter[tuple[str, str]] = Counter()
    order: list[tuple[int, Damage]] = []
    for at in rng.permutation(len(cases)).tolist():
        key = family(cases[at].file), cases[at].kind
        rounds[key] += 1
        order.append((rounds[key], cases[at]))
    return [case for _, case in sorted(order, key=lambda pair: pair[0])]


@contextmanager
def warnings() -> Iterator[list[str]]:
    """What is logged as a warning or worse meanwhile."""
    found: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    logger, handler = logging.getLogger("stream_reco"), Handler(logging.WARNING)
    propagated, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagated


def outcome_of(world: World, damage: Damage, scratch: Path) -> tuple[str, str]:
    """One of OUTCOMES, and what was said; an error that is none of the documented ones is raised."""
    folder = scratch / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    copy(world.folder, folder)
    damage.do(folder)
    with warnings() as said:
        try:
            same = _opens_as(folder, world)
        except (LogError, CheckpointError, StoreError) as error:
            if not any(remedy in str(error) for remedy in REMEDIES):
                raise AssertionError(f"{damage}: it is not said what to do") from error
            _go_on(folder, world, damage, str(error))
            return "refused", str(error)
    if not same:
        return "silent", f"{damage}: {said}"
    return ("recovered" if said else "same"), "; ".join(said)


def _opens_as(folder: Path, world: World) -> bool:
    with closing(Storage(folder)) as storage:
        journaled = JournaledLearner(storage, RARELY)
        # One record more: that of this start.
        return journaled.position == world.position + 1 and not differences(state_of(journaled.learner), world.state)


def _go_on(folder: Path, world: World, damage: Damage, error: str) -> None:
    """Where the refusal offers it, the loss can be accepted: positions go on, and the next start is clean."""
    if "--accept-loss" not in error:
        return
    with closing(Storage(folder, accept_loss=True)) as storage:
        journaled = JournaledLearner(storage, RARELY)
        assert journaled.position > world.position, f"{damage}: positions went back to {journaled.position}"
        state = state_of(journaled.learner)
    with warnings() as said, closing(Storage(folder)) as storage:
        assert not differences(state_of(JournaledLearner(storage, RARELY).learner), state), damage
    assert not said, f"{damage}: the next start says {said}"


def family(file: Path) -> str:
    """What the table calls a file."""
    if file.parts[0] == "labels" or "labels" in file.parts[:-1]:
        owner = "labels/" if file.parts[0] == "labels" else "checkpoints/*/labels/"
        return f"{owner}*.sst" if file.suffix == ".sst" else f"{owner} (others)"
    if file.parts[0] == "checkpoints":
        return f"checkpoints/*/{'tables/' if 'tables' in file.parts else ''}" + (
            file.name if file.name == "manifest.json" else f"*{file.suffix}"
        )
    return file.as_posix()


def table(found: Counter[tuple[str, str]]) -> str:
    """Cases by file and outcome, in Markdown."""
    lines = ["| file | cases | same state | recovered and warned | refused, with what to do | silent |"]
    lines.append("|---|---|---|---|---|---|")
    for name in [*sorted({name for name, _ in found}), ""]:
        counts = [
            sum(n for (file, out), n in found.items() if out == wanted and name in ("", file)) for wanted in OUTCOMES
        ]
        cells = " | ".join(f"{count:,}" for count in (sum(counts), *counts))
        lines.append(f"| {f'`{name}`' if name else 'all'} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table; a case that is silent, or an error without a remedy, ends it with a traceback."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--each", type=int, default=12, help="drawn places in a large file")
    arguments.add_argument("--small", type=int, default=SMALL, help="bytes up to which every byte is damaged")
    arguments.add_argument("--cases", type=int, help="try this many, of all kinds of files in turns; all by default")
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    found: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as scratch:
        world = make_world(Path(scratch))
        rng = np.random.default_rng(given.seed)
        for damage in in_turns(list(damages(world, given.each, rng, given.small)), rng)[: given.cases]:
            outcome, said = outcome_of(world, damage, Path(scratch))
            found[family(damage.file), outcome] += 1
            if outcome == "silent":
                sys.stderr.write(f"{said}\n")
    sys.stdout.write(f"{table(found)}\n")
    if any(outcome == "silent" for _, outcome in found):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
