"""How benchmarks take times: in turns, so that a busy moment of the machine falls on all that are compared."""

import time
from collections.abc import Callable, Mapping

import numpy as np

Action = Callable[[], object]


def in_turns(actions: Mapping[str, Action], runs: int) -> dict[str, float]:
    """Median wall seconds of each, over `runs` rounds after one that does not count: it pays for fresh memory."""
    taken: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(runs + 1):
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            taken[name].append(time.perf_counter() - start)
    return {name: float(np.median(seconds[1:])) for name, seconds in taken.items()}


def seconds(action: Action, runs: int = 5) -> float:
    """Median wall seconds of `runs` calls after one that does not count."""
    return in_turns({"": action}, runs)[""]
