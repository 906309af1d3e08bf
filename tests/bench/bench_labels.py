"""How fast labels are joined in memory: feed slates of ten, a third of them clicked, over several windows."""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Iterator

import numpy as np

from stream_reco.events import Action, Event, Impression
from stream_reco.labels import LabelJoiner

_WINDOW_MS = 600_000
_SLATE = 10
_BATCH = 1000


def run(events: int = 1_000_000, seed: int = 0) -> dict[str, object]:
    """Join `events` events in batches with `advance` after each; report events a second of one core's time.

    The events are made beforehand and span about eight windows, so that what is held stays level while they pass.
    """
    batches = list(_batches(events, seed))
    joiner = LabelJoiner(_WINDOW_MS, order="slate", lateness_ms=5_000)
    examples = pending = 0
    start, wall = time.process_time(), time.perf_counter()
    for batch in batches:
        examples += len(joiner.process(batch))
        examples += len(joiner.advance(batch[-1].timestamp - joiner.lateness_ms))
        pending = max(pending, joiner.pending)
    seconds, wall = time.process_time() - start, time.perf_counter() - wall
    count = sum(map(len, batches))
    start = time.perf_counter()
    state = joiner.state()
    return {
        "events": count,
        "events_per_second": round(count / seconds),
        "events_per_wall_second": round(count / wall),
        "examples": examples,
        "pending_at_most": pending,
        "state_bytes": len(state),
        "state_seconds": round(time.perf_counter() - start, 3),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _batches(count: int, seed: int) -> Iterator[list[Event]]:
    rng = np.random.default_rng(seed)
    step = 8 * _WINDOW_MS / (count / (_SLATE + 1 / 3))
    events: list[Event] = []
    for slate in range(int(count / (_SLATE + 1 / 3))):
        now = 1_600_000_000_000 + int(slate * step)
        user = int(rng.integers(100_000))
        items = rng.integers(50_000, size=_SLATE).tolist()
        request = f"r{slate}"
        for position, item in enumerate(items):
            events.append(
                Impression(
                    user_id=user,
                    item_id=item,
                    timestamp=now,
                    event_id=f"{request}:{position}",
                    request_id=request,
                    position=position,
                )
            )
        if slate % 3 == 0:
            at = int(rng.integers(_SLATE))
            events.append(
                Action(
                    user_id=user,
                    item_id=items[at],
                    action="click",
                    timestamp=now + 1,
                    event_id=f"{request}:c",
                    request_id=request,
                )
            )
    for at in range(0, len(events), _BATCH):
        yield events[at : at + _BATCH]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    print(json.dumps(run(parser.parse_args().events), indent=1))  # noqa: T201 - a command's answer
