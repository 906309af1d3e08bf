"""Run by test_recovery.py: engines on one folder are killed at random; the last must end where an undisturbed one does.

The parent forks, so that the many rounds pay for one start of Python and of torch. Whoever sends events knows only what
was acknowledged, and sends the rest again. Prints the rounds and how often each thing was interrupted.
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

from tests.embedded.recovery_world import Step, differences, do, opened, steps, whole_state

OPENING, STEPPING, CHECKPOINTING, SYNCING, DONE = b"o", b"s", b"c", b"y", b"d"
_DOING = {OPENING: "open", STEPPING: "step", CHECKPOINTING: "checkpoint", SYNCING: "sync", DONE: "end"}
_LONGEST_MS = {OPENING: 250.0, STEPPING: 30.0, CHECKPOINTING: 40.0, SYNCING: 10.0}
STEPS = 70


def work(folder: Path, left: list[Step], seed: int, promises: int) -> None:
    """What a server does until it is killed: tell what begins, do it, and acknowledge steps."""
    rng = np.random.default_rng(seed)
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
    time.sleep(60)


def run_and_kill(folder: Path, left: list[Step], rng: np.random.Generator) -> tuple[int, str]:
    """One round: the number of steps acknowledged, and what was interrupted."""
    pipe, promises = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(pipe)
        work(folder, left, int(rng.integers(2**31)), promises)
    os.close(promises)
    target = (OPENING, STEPPING, CHECKPOINTING, SYNCING)[int(rng.choice(4, p=(0.2, 0.4, 0.3, 0.1)))]
    told = _wait_for(pipe, target, int(rng.integers(1, 7)))
    time.sleep(float(rng.uniform(0, _LONGEST_MS[target])) / 1000)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the engine ended by itself, with status {status}"
    while piece := os.read(pipe, 65536):
        told += piece
    os.close(pipe)
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


def main(folder: Path, seed: int, rounds: int) -> None:
    rng = np.random.default_rng(seed)
    all_steps = steps(seed, STEPS)
    # First, so that the children inherit compiled kernels and begin with the first event.
    expected = undisturbed(None, all_steps)
    assert expected["progress"]["events"] == sum(len(step) for step in all_steps if isinstance(step, list))
    acknowledged, interrupted = 0, Counter[str]()
    for _ in range(rounds):
        count, doing = run_and_kill(folder / "killed", all_steps[acknowledged:], rng)
        acknowledged += count
        interrupted[doing] += 1
    with opened(folder / "killed") as killed:
        for step in all_steps[acknowledged:]:
            do(killed, step)
        assert differences(whole_state(killed), expected) == []
    with opened(folder / "killed") as again:
        assert differences(whole_state(again), expected) == []
    assert differences(undisturbed(folder / "calm", all_steps), expected) == []
    sys.stdout.write(f"{rounds} rounds, {acknowledged} steps acknowledged, interrupted: {dict(interrupted)}\n")


main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
