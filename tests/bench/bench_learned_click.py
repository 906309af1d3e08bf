"""What learning a click takes, by part: a log through the loop as a replay learns it, without slates.

    python -m tests.bench.bench_learned_click $STREAM_RECO_DATA/globo_clicks.parquet [--limit 15000] [--whole] [--serve]

Processor time of the learning thread, each part without those that it calls; `--whole` measures no parts, which costs
some µs each; `--serve` publishes and measures as a server does that is sent clicks as fast as it learns. Of another
checkout: the same file, by its path, with PYTHONPATH set to the checkout.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from stream_reco.config import Settings
from stream_reco.datasets import load
from stream_reco.embedded import Engine
from stream_reco.events import Event
from stream_reco.experiments.replay.tally import ReplayTally
from stream_reco.measure.progressive import MOST_MEASURED

WARM_UP = 2_000
"""Clicks that are learned before time is taken."""
_INTERVAL_MS = 60_000
"""Stream time between two publications, as in a replay."""
_AT_ONCE = 64
"""Clicks in one call at most."""
_A_SECOND = 1_000
"""Clicks between two publications of a server that is sent clicks as fast as it learns."""
_ROOM = 8_192
PARTS = (
    ("training step", "stream_reco.train.trainer:Trainer.step"),
    ("its gradients", "stream_reco.train.gradients:Compiled.of"),
    ("its dense weights", "stream_reco.train.gradients:Compiled.step"),
    ("examples put together", "stream_reco.learner.example_queue:training_batch"),
    ("predicted by the served version", "stream_reco.embedded.evaluation:evaluate_before_training"),
    ("features", "stream_reco.train.feature_builder:FeatureBuilder.action"),
    ("negatives", "stream_reco.train.negative_sampler:NegativeSampler.sample"),
    ("interests", "stream_reco.embedded.learner:Learner._cluster"),
    ("slots and contexts", "stream_reco.learner.stream_state:StreamState.admit"),
    ("counters", "stream_reco.learner.stream_state:StreamState.count"),
    ("trends", "stream_reco.learner.stream_state:StreamState.pass_time"),
    ("labels and deadlines", "stream_reco.embedded.learner:Learner._label"),
    ("checks of the events", "stream_reco.embedded.journal.journaled_learner:valid_events"),
    ("publications", "stream_reco.embedded.engine:Engine.sync"),
    ("everything else", "stream_reco.embedded.engine:Engine.ingest"),
)
"""Name of a part, and `module:function` or `module:class.method` that does it."""


class SelfTimes:
    """Processor time of functions by part, without that of other parts that they call."""

    def __init__(self) -> None:
        self.nanoseconds: dict[str, int] = {}
        self._inner: list[int] = []

    @contextmanager
    def of(self, parts: Sequence[tuple[str, str]]) -> Iterator[None]:
        """Measure these parts, of this process, meanwhile."""
        replaced = []
        for part, place in parts:
            module, _, path = place.partition(":")
            *owners, name = path.split(".")
            owner: Any = import_module(module)
            for one in owners:
                owner = getattr(owner, one)
            replaced.append((owner, name, getattr(owner, name)))
            setattr(owner, name, self._timed(part, getattr(owner, name)))
        try:
            yield
        finally:
            for owner, name, function in replaced:
                setattr(owner, name, function)

    def _timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        self.nanoseconds[part] = 0

        def timed(*args: Any, **named: Any) -> Any:
            self._inner.append(0)
            start = time.thread_time_ns()
            try:
                return function(*args, **named)
            finally:
                spent = time.thread_time_ns() - start
                self.nanoseconds[part] += spent - self._inner.pop()
                if self._inner:
                    self._inner[-1] += spent

        return timed


def learn_as_served(engine: Engine, events: Sequence[Event]) -> None:
    """Ingest events a second's worth at a time, and publish after each."""
    for first in range(0, len(events), _A_SECOND):
        engine.ingest(events[first : first + _A_SECOND])
        engine.sync()


def learn(engine: Engine, events: Sequence[Event]) -> None:
    """Ingest events a few at a time, and publish after each interval of their time."""
    due, waiting = events[0].timestamp + _INTERVAL_MS, list[Event]()
    for event in events:
        if event.timestamp >= due or len(waiting) == _AT_ONCE:
            engine.ingest(waiting)
            waiting = []
        if event.timestamp >= due:
            engine.sync()
            due += ((event.timestamp - due) // _INTERVAL_MS + 1) * _INTERVAL_MS
        waiting.append(event)
    engine.ingest(waiting)


def run(
    events: Sequence[Event],
    warm_up: int = WARM_UP,
    parts: Sequence[tuple[str, str]] = PARTS,
    *,
    serves: bool = False,
) -> dict[str, float]:
    """µs of processor time an event after the `warm_up`, by part and all together."""
    torch.set_num_threads(1)
    times = SelfTimes()
    measuring: dict[str, Any] = {"most_measured": MOST_MEASURED} if serves else {}
    with Engine(None, Settings(), observer=ReplayTally(), **measuring) as engine:
        engine.ingest(list(events[:warm_up]))
        engine.sync()
        with times.of(parts):
            start = time.thread_time_ns()
            (learn_as_served if serves else learn)(engine, events[warm_up:])
            whole = time.thread_time_ns() - start
    each = 1e3 * (len(events) - warm_up)
    return {part: spent / each for part, spent in times.nanoseconds.items()} | {"all of it": whole / each}


def main() -> None:
    """Print a table as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--limit", type=int, default=15_000)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--serve", action="store_true")
    given = parser.parse_args()
    log = load(given.file, "globo")[: given.limit]
    events = [event for batch in log.batches(_ROOM) for event in batch]
    found = run(events, parts=() if given.whole else PARTS, serves=given.serve)
    sys.stdout.write(json.dumps({name: round(spent, 1) for name, spent in found.items()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
