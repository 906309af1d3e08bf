"""Users and items come and go for ever; what the engine keeps is bounded by those who are there."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from stream_reco.clock import ManualClock
from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.events import Action, Event, Impression, ItemEvent, Retraction, UserEvent
from stream_reco.interests.settings import InterestSettings
from stream_reco.labels.memory.on_disk import OnDisk
from stream_reco.labels.settings import LabelSettings
from stream_reco.model.settings import ModelSettings
from stream_reco.model.zoo.settings import TwoTowerDcnSettings
from stream_reco.signals.settings import SignalSettings
from stream_reco.train.settings import TrainSettings

DAY = 86_400_000
START = 20_000 * DAY
WARM, DAYS = 6, 14
"""Days until the first have left and their places are used again; all days."""
ARRIVALS, STAY, EVENTS = 12, 2, 240
"""New users and items a day, days that they stay, events a day."""
SHORT = Settings(
    labels=LabelSettings(window_days=0.2),
    signals=SignalSettings(item_idle_days=1.5, user_idle_days=1.5, history_days=1.5, history_length=30),
    interests=InterestSettings(history_days=1.5),
    model=ModelSettings(
        settings=TwoTowerDcnSettings(item_dim=4, tower_dim=4, user_dim=4, context_dim=4, cross_rank=4, hidden=8)
    ),
    training=TrainSettings(row_idle_days=1.5, checkpoint_events=300),
)
Sizes = dict[str, float]


def events_of(day: int, rng: np.random.Generator) -> Iterator[Event]:
    """A day in order of time, with all kinds of events."""
    for number in range(EVENTS):
        time = START + day * DAY + number * (DAY // EVENTS)
        here = day * ARRIVALS + rng.integers(ARRIVALS * STAY, size=2)
        user, item, name = f"u{here[0]}", int(here[1]) - 2**62, f"{day}-{number}"
        kind, request = rng.random(), f"{day}-{number // 8}-{user}"
        context: dict[str, str | int | float | bool | None] = {"campaign": f"c{day * 3 + number % 5}"}
        if kind < 0.4:
            yield Impression(
                user_id=user,
                item_id=item,
                timestamp=time,
                event_id=name,
                request_id=request,
                position=number % 8,
                context=context,
            )
        elif kind < 0.9:
            yield Action(
                user_id=user,
                item_id=item,
                action="click",
                timestamp=time,
                event_id=name,
                context=context,
                request_id=request if number % 2 else None,
            )
        elif kind < 0.94:
            yield Retraction(retracts=f"{day}-{number - int(rng.integers(-3, 30))}", timestamp=time, event_id=name)
        elif kind < 0.98:
            # What a shop lists stays for good: always the same few.
            listed = f"listed{number % 3}"
            yield ItemEvent(item_id=listed, timestamp=time, event_id=name, features={"day": day}, available=False)
        else:
            yield UserEvent(user_id=user, timestamp=time, event_id=name, features={"day": day})


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def records_of(memory: OnDisk) -> dict[str, int]:
    """By the letter that their keys begin with, of what was committed."""
    return dict.fromkeys("dghinsvxy", 0) | Counter(key[:1].decode() for key, _ in memory.store.scan(b"a", b"z"))


def sizes_of(engine: Engine, folder: Path) -> Sizes:
    learner, memory = engine.learner, engine.learner.joiner._memory
    signals, histories, replica = learner.state.signals, learner.state.histories, engine.publishing.served.replica
    tables, log = learner.queue.trainer.tables, engine.journaled._journal._log
    assert log is not None
    assert isinstance(memory, OnDisk)
    gc.collect()
    return {
        **{f"rows of {name}": table._store.top for name, table in tables.items()},
        **{f"bytes of {name}": table.nbytes for name, table in tables.items()},
        **{f"replica's rows of {name}": table._store.top for name, table in replica.tables.items()},
        "items": signals.catalogue.size,
        "bytes of signals": sum(array.nbytes for array in signals.state().values()),
        "context values": signals.coder.size,
        "users": len(histories._ids),
        "older actions": sum(len(times) for _, times, _ in histories._older._actions.values()),
        "interests": len(learner.interests),
        "bytes of interests": learner.interests.nbytes,
        **{f"records of labels {kind}": count for kind, count in records_of(memory).items()},
        "impressions in memory": len(memory._loaded) + len(memory._timeline.fresh),
        "waiting actions": sum(1 for _ in memory._unsettled.waiting),
        "near": len(memory._unsettled.calendar),
        "retractions": len(memory._unsettled.retractions),
        "waiting examples": len(learner.queue.waiting),
        "accepted ids": len(engine.journaled.deduplicator._accepted),
        "replica's items": engine.publishing.served.signals.catalogue.size,
        "records of the log": log.last - log.first + 1,
        "bytes of checkpoints": bytes_in(folder / "checkpoints"),
        "checkpoints": sum(1 for _ in (folder / "checkpoints").glob("*")),
        "objects": len(gc.get_objects()),
    }


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Sizes], list[int]]:
    """The sizes at the end of each day, and the memory of the process in bytes."""
    folder, rng, process = tmp_path_factory.mktemp("world"), np.random.default_rng(3), psutil.Process()
    sizes: list[Sizes] = []
    resident: list[int] = []
    with Engine(folder, SHORT, clock=ManualClock(START + 2 * DAYS * DAY)) as engine:
        for day in range(DAYS):
            events = list(events_of(day, rng))
            for first in range(0, EVENTS, 20):
                assert engine.ingest(events[first : first + 20]).accepted == 20
                if first % 60 == 0:
                    engine.sync()
                    engine.recommend(f"u{day * ARRIVALS + 3}", 10)
            sizes.append(sizes_of(engine, folder))
            resident.append(process.memory_info().rss)
        assert engine.status()["events"] == DAYS * EVENTS
    return sizes, resident


def test_everything_that_is_kept_stays_flat(measured: tuple[list[Sizes], list[int]]) -> None:
    days, _ = measured
    for name in days[0]:
        before, after = (max(day[name] for day in part) for part in (days[WARM : WARM + 4], days[-4:]))
        assert after <= 1.2 * before + 12, f"{name}: {[day[name] for day in days]}"


def test_what_is_kept_is_what_is_there(measured: tuple[list[Sizes], list[int]]) -> None:
    """In 14 days 180 users and items came; no more than the arrivals of a few days are there at any time."""
    last = measured[0][-1]
    a_few_days = ARRIVALS * (STAY + 4)
    for name in ("rows of user", "rows of item", "items", "users", "interests", "replica's items"):
        assert ARRIVALS < last[name] <= a_few_days, name
    assert last["context values"] <= 40
    assert last["records of labels h"] <= 3 * EVENTS
    for name in ("records of labels i", "records of labels v", "records of labels g", "waiting actions", "retractions"):
        assert last[name] < EVENTS, name


def test_the_process_does_not_grow(measured: tuple[list[Sizes], list[int]]) -> None:
    _, resident = measured
    grown = resident[-1] - resident[WARM]
    assert grown < 25_000_000, f"{grown:,} bytes in {DAYS - WARM} days: {resident}"
