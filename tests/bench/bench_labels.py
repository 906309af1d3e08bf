"""How fast labels are joined, in memory and on disk: feed slates of ten, a third of them clicked, over several windows.

On disk the joiner commits after every batch. Two long runs, of about ten minutes each: over many windows, where memory
and files must stay level, and within one, until 20 million impressions wait.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stream_reco.events import Action, Event, Impression
from stream_reco.labels import LabelJoiner
from stream_reco.storage.rocksdb import RocksStore

_DAY_MS = 86_400_000
_WINDOW_MS = 14 * _DAY_MS
_SLATE = 10
_BATCH = 1000
_START_MS = 1_600_000_000_000


def run(
    events: int = 1_000_000, long: int = 20_000_000, waiting: int = 26_000_000, windows: float = 8.0, seed: int = 0
) -> dict[str, object]:
    """Join `events` events in memory and on disk over `windows` windows of 14 days, `long` events on disk over as many,
    and `waiting` events on disk within one; 0 leaves a run out.

    Reports events a second of one core's time (`events_per_second`) and by the wall clock, what is pending, bytes on
    disk, and the resident memory as the long run goes on. Events are made outside of what is timed.
    """
    folder = Path(tempfile.mkdtemp(prefix="stream-reco-bench-labels-"))
    try:
        in_memory = _joined(LabelJoiner(_WINDOW_MS, order="slate"), events, windows, seed)
        on_disk = _on_disk(folder / "short", events, windows, seed)
        figures: dict[str, object] = {"in_memory": in_memory, "on_disk": on_disk}
        if long:
            figures["on_disk_long"] = _on_disk(folder / "long", long, windows, seed)
        if waiting:
            figures["on_disk_waiting"] = _on_disk(folder / "waiting", waiting, 1.0, seed)
        return figures
    finally:
        shutil.rmtree(folder)


def _on_disk(folder: Path, events: int, windows: float, seed: int) -> dict[str, object]:
    store = RocksStore(folder)
    joiner = LabelJoiner(_WINDOW_MS, order="slate", store=store)
    figures = _joined(joiner, events, windows, seed)
    store.flush()
    figures["disk_bytes"] = sum(file.stat().st_size for file in folder.iterdir())
    store.close()
    return figures


def _joined(joiner: LabelJoiner, events: int, windows: float, seed: int) -> dict[str, object]:
    count = examples = pending = most_bytes = 0
    cpu = wall = 0.0
    resident: list[int] = []
    for batch in impressions_and_clicks(events, windows, seed):
        start, began = time.process_time(), time.perf_counter()
        examples += len(joiner.process(batch))
        examples += len(joiner.advance(batch[-1].timestamp - joiner.lateness_ms))
        if joiner.store is not None:
            joiner.commit(b"%d" % count)
        cpu, wall = cpu + time.process_time() - start, wall + time.perf_counter() - began
        count += len(batch)
        pending = max(pending, joiner.pending)
        if count // (events // 20) > len(resident):
            resident.append(_resident_megabytes())
            most_bytes = max(most_bytes, joiner.nbytes)
    return {
        "events": count,
        "events_per_second": round(count / cpu),
        "events_per_wall_second": round(count / wall),
        "examples": examples,
        "pending_at_most": pending,
        "bytes_at_most": most_bytes,
        "bytes_a_remembered_impression": round(most_bytes / max(1, 2 * pending)),
        "resident_megabytes_over_time": resident,
    }


def _resident_megabytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() >> 20


def impressions_and_clicks(count: int, windows: float, seed: int) -> Iterator[list[Event]]:
    """Slates of ten in batches of about a thousand events, `count` in all, over so many windows of 14 days."""
    rng = np.random.default_rng(seed)
    step = windows * _WINDOW_MS / (count / (_SLATE + 1 / 3))
    events: list[Event] = []
    for slate in range(int(count / (_SLATE + 1 / 3))):
        now = _START_MS + int(slate * step)
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
        if len(events) >= _BATCH:
            yield events
            events = []
    if events:
        yield events


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--long", type=int, default=20_000_000)
    parser.add_argument("--waiting", type=int, default=26_000_000)
    asked = parser.parse_args()
    print(json.dumps(run(asked.events, asked.long, asked.waiting), indent=1))  # noqa: T201 - a command's answer
