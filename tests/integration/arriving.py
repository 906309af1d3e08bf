"""A log as it comes from senders who retry, over networks that reorder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stream_reco.events import Event


def disordered(log: Sequence[Event], seed: int) -> list[Event]:
    """Each event up to half of the lateness behind its place, and one in ten twice."""
    rng = np.random.default_rng(seed)
    twice = [event for event in log for _ in range(1 + int(rng.random() < 0.1))]
    order = np.argsort([event.timestamp + rng.integers(30_000) for event in twice], kind="stable")
    return [twice[at] for at in order]
