"""Run by test_recovery.py: engines on one folder are killed at random; the last must end where an undisturbed one does.

The parent forks, so that the many rounds pay for one start of Python and of torch. It opens the folder itself only in
the end, for RocksDB cannot be used on after a fork. Whoever sends events knows only what was acknowledged, and sends
the rest again. Arguments: a folder, the number of rounds, and a seed.
Prints how often each thing was interrupted.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from stream_reco.storage import disk
from stream_reco.storage.event_log import LogBusyError
from tests.embedded.journal.recovery_world import Step, differences, do, opened, steps, whole_state

OPENING, STEPPING, CHECKPOINTING, SYNCING, DONE = b"o", b"s", b"c", b"y", b"d"
_DOING = {OPENING: "open", STEPPING: "step", CHECKPOINTING: "checkpoint", SYNCING: "sync", DONE: "end"}
_LONGEST_MS = {OPENING: 60.0, STEPPING: 25.0, CHECKPOINTING: 60.0, SYNCING: 5.0}
STEPS = 80
FILES = 19
"""A checkpoint syncs so many files and folders; before any of them a process may die."""


def work(folder: Path, left: list[Step], rng: np.random.Generator, promises: int) -> None:
    """What a server does until it is killed: tell what begins, do it, and acknowledge steps."""
    os.write(promises, OPENING)
    engine = opened(folder)
    for step in left:
        os.write(promises, STEPPING)
        do(engine, step)
        os.write(promises, b"+")
        if rng.random() < 0.2:
            os.write(promises, CHECKPOINTING)
            engine.checkpoint()
        if rng.random() < 0.3:
            os.write(promises, SYNCING)
            engine.sync()
    os.write(promises, DONE)
    _die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_before_file(countdown: int) -> None:
    real = disk.sync

    def sync(path: Path) -> None:
        nonlocal countdown
        countdown -= 1
        if countdown == 0:
            _die()
        real(path)

    disk.sync = sync


def run_and_kill(folder: Path, left: list[Step], rng: np.random.Generator) -> tuple[int, str]:
    """One round: the number of steps acknowledged, and what was interrupted."""
    target = (OPENING, STEPPING, CHECKPOINTING, SYNCING)[int(rng.choice(4, p=(0.2, 0.3, 0.4, 0.1)))]
    by_itself = target == CHECKPOINTING and rng.random() < 0.6
    pipe, promises = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(pipe)
        if by_itself:
            _die_before_file(int(rng.integers(1, 2 * FILES + 1)))
        work(folder, left, rng, promises)
    os.close(promises)
    told = b""
    if not by_itself:
        told = _wait_for(pipe, target, int(rng.integers(1, 4)))
        time.sleep(float(rng.uniform(0, _LONGEST_MS[target])) / 1000)
        os.kill(child, signal.SIGKILL)
    while piece := os.read(pipe, 65536):
        told += piece
    os.close(pipe)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the engine ended by itself, with status {status}"
    return told.count(b"+"), _DOING[told.replace(b"+", b"")[-1:]]


def _wait_for(pipe: int, target: bytes, times: int) -> bytes:
    told = b""
    while told.count(target) < (1 if target == OPENING else times) and DONE not in told:
        assert select.select([pipe], [], [], 60)[0], f"nothing happens after {told!r}"
        piece = os.read(pipe, 1)
        assert piece, f"the engine died after {told!r}"
        told += piece
    return told


def undisturbed(folder: Path | None, all_steps: list[Step]) -> dict[str, Any]:
    with opened(folder) as engine:
        for step in all_steps:
            do(engine, step)
        return whole_state(engine)


def assert_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """To the bit."""
    names = differences(found, expected)
    assert not names, [(name, found.get(name), expected.get(name)) for name in names]


def check_end(folder: Path, left: list[Step], recent: list[Step], expected: dict[str, Any]) -> None:
    """Do what is left; then all that was sent lately is sent once more, as if its acknowledgement had been lost."""
    with opened(folder) as killed:
        for step in left:
            do(killed, step)
        assert_equal(whole_state(killed), expected)
        for events in (step for step in recent if isinstance(step, list)):
            answer = killed.ingest(events)
            assert (answer.accepted, answer.duplicates) == (0, len(events)), answer
        assert_equal(whole_state(killed), expected)
    with opened(folder) as again:
        assert_equal(whole_state(again), expected)


def check_a_second_engine_is_refused(folder: Path) -> None:
    """While one process has the folder no other gets in; once it is killed the folder is free."""
    pipe, promises = os.pipe()
    child = os.fork()
    if child == 0:
        engine = opened(folder)
        os.write(promises, b"." if engine.status()["version"] else b"?")
        time.sleep(60)
    assert select.select([pipe], [], [], 60)[0]
    try:
        opened(folder)
    except LogBusyError as error:
        refusal = str(error)
    else:
        raise AssertionError("two processes have one folder")
    assert f"in use by process {child}" in refusal, refusal
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def run(folder: Path, seed: int, rounds: int) -> None:
    rng = np.random.default_rng(seed)
    all_steps = steps(seed, STEPS)
    # First, so that the children inherit compiled kernels and begin with the first event.
    expected = undisturbed(None, all_steps)
    assert expected["progress"]["events"] == sum(len(step) for step in all_steps if isinstance(step, list))
    acknowledged, interrupted = 0, Counter[str]()
    for _ in range(rounds):
        count, doing = run_and_kill(folder, all_steps[acknowledged:], rng)
        acknowledged += count
        interrupted[doing] += 1
    check_a_second_engine_is_refused(folder)
    check_end(folder, all_steps[acknowledged:], all_steps[-STEPS // 8 :], expected)
    sys.stdout.write(f"{rounds} rounds, {acknowledged} steps acknowledged, interrupted: {dict(interrupted)}\n")


run(Path(sys.argv[1]), int(sys.argv[3]), int(sys.argv[2]))
