"""How benchmarks take times: in turns, so that a busy moment of the machine falls on all that are compared."""

import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Action = Callable[[], object]


def warm(size: int) -> None:
    """Touch so many bytes of memory and give them back. A virtual machine asks its host for memory that was not touched
    before, or long ago, 4 KB at a time, which takes up to twenty times what the system itself takes.
    """
    memory = np.empty(size, np.uint8)
    memory[::4096] = 1


def recurring(run: Callable[[], NDArray[np.float64]]) -> NDArray[np.float64]:
    """What each step of a run takes, where three runs take the same steps: the least of the three. Where the work
    pauses all of them do, and where the machine pauses hardly ever all of them.
    """
    taken: NDArray[np.float64] = np.min([run() for _ in range(3)], axis=0)
    return taken


def in_turns(actions: Mapping[str, Action], runs: int, warmed: int = 0) -> dict[str, float]:
    """Median wall seconds of each, over `runs` rounds after one that does not count, each time with so many bytes of
    warm memory.
    """
    taken: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(runs + 1):
        for name, action in actions.items():
            warm(warmed)
            start = time.perf_counter()
            action()
            taken[name].append(time.perf_counter() - start)
    return {name: float(np.median(seconds[1:])) for name, seconds in taken.items()}


def seconds(action: Action, runs: int = 5) -> float:
    """Median wall seconds of `runs` calls after one that does not count."""
    return in_turns({"": action}, runs)[""]
