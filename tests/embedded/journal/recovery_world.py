"""A stream with everything in it, cut into steps, and the whole state that it must end in: for tests of recovery."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
from safetensors.numpy import load_file

from stream_reco.clock import ManualClock
from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.embedded.checkpoint_parts import parts_of
from stream_reco.embedded.learner import Learner
from stream_reco.embedding.kernels import index as scalars
from stream_reco.events import Action, Event, Id, Impression, ItemEvent, Retraction, UserEvent
from stream_reco.events.schema import Features, FeatureValue
from stream_reco.labels.settings import LabelSettings
from stream_reco.model.settings import ModelSettings
from stream_reco.model.zoo.settings import TwoTowerDcnSettings
from stream_reco.signals.settings import SignalSettings
from stream_reco.storage.checkpoint import Part
from stream_reco.train.settings import TrainSettings
from tests.labels.memory.whole_memory import whole_memory

NOW = 1_760_000_000_000
MINUTE = 60_000
DAY = 86_400_000
Step = list[Event] | int | str
"""A batch to ingest, a time to tick to, or a user to forget. Doing a step twice must be the same as doing it once."""

SETTINGS = Settings(
    labels=LabelSettings(window_days=0.5, policy="early", negative_rate=0.7),
    signals=SignalSettings(item_idle_days=1.5, user_idle_days=1.5),
    model=ModelSettings(
        settings=TwoTowerDcnSettings(item_dim=4, tower_dim=4, user_dim=4, context_dim=4, cross_rank=4, hidden=8)
    ),
    training=TrainSettings(batch=16, checkpoint_events=130, row_idle_days=1.5),
)
AS_VARIABLES = {
    "LABELS_POLICY": "early",
    "SIGNALS_ITEM_IDLE_DAYS": "1.5",
    "SIGNALS_USER_IDLE_DAYS": "1.5",
    "MODEL_ITEM_DIM": "4",
    "MODEL_TOWER_DIM": "4",
    "MODEL_USER_DIM": "4",
    "MODEL_CONTEXT_DIM": "4",
    "MODEL_CROSS_RANK": "4",
    "MODEL_HIDDEN": "8",
    "TRAINING_BATCH": "16",
    "TRAINING_ROW_IDLE_DAYS": "1.5",
}
"""`SETTINGS` as environment variables, but for the window, negatives and checkpoints."""
_PASSING = {"touched", "touched_values", "marks", "changed", "bits", "tombstones", "default_touched"}
"""What depends on when was published, as it should."""


def opened(folder: Path | None, settings: Settings = SETTINGS, accept_loss: bool = False) -> Engine:
    return Engine(folder, settings, clock=ManualClock(NOW), accept_loss=accept_loss)


def steps(seed: int, count: int) -> list[Step]:
    """`count` steps over some days; users and items come and go, so that rows and slots are freed and used again."""
    rng = np.random.default_rng(seed)
    return [_step(rng, number, NOW - 4 * DAY + number * (4 * DAY // count)) for number in range(count)]


def do(engine: Engine, step: Step) -> None:
    """One step, ending with nothing that waits for a later one: a restart may fall between any two."""
    if isinstance(step, list):
        engine.ingest(step)
    elif isinstance(step, int):
        engine.tick(step)
        engine.sync()
    else:
        engine.forget(step)


def _step(rng: np.random.Generator, number: int, start: int) -> Step:
    kind = rng.random()
    if kind < 0.08:
        return start
    if kind < 0.2:
        return _user(rng, start)
    return [_event(rng, f"{number}-{place}", start + place * MINUTE) for place in range(int(rng.integers(1, 25)))]


def _user(rng: np.random.Generator, time: int) -> str:
    return f"user{time // (DAY // 2) * 4 + int(rng.integers(8))}"


def _event(rng: np.random.Generator, name: str, time: int) -> Event:
    time -= int(rng.integers(0, 20)) * MINUTE * int(rng.random() < 0.2)
    user = _user(rng, time)
    drawn = time // (DAY // 2) * 5 + int(rng.integers(12))
    item: Id = drawn - 2**62 if drawn % 3 else f"item{drawn}"
    request = f"r{time // (10 * MINUTE)}-{user}"
    context: dict[str, str | int | float | bool | None] = {"device": f"d{drawn % 4}", "new": bool(drawn % 2)}
    kind = rng.random()
    if kind < 0.4:
        return Impression(
            user_id=user,
            item_id=item,
            timestamp=time,
            event_id=name,
            request_id=request,
            position=drawn % 5,
            context=context,
        )
    if kind < 0.9:
        known = request if rng.random() < 0.5 else None
        return Action(
            user_id=user,
            item_id=item,
            action="buy" if drawn % 4 else "click",
            value=float(drawn % 7),
            timestamp=time,
            event_id=name,
            request_id=known,
            context=context,
        )
    if kind < 0.94:
        earlier = name.split("-")[0]
        return Retraction(retracts=f"{earlier}-{int(rng.integers(20))}", timestamp=time, event_id=name, user_id=user)
    if kind < 0.98:
        return ItemEvent(
            item_id=item, timestamp=time, event_id=name, features=_said_of_item(drawn, time), available=drawn % 2 == 0
        )
    return UserEvent(user_id=user, timestamp=time, event_id=name, features=_said_of_user(drawn, time))


def _said_of_item(drawn: int, time: int) -> Features:
    """A number, categories, a time; from the second day on a category that becomes a text, and values of another kind
    than they had."""
    late = time > NOW - 3 * DAY
    kind: FeatureValue = f"k{drawn % 3}" if late and drawn % 5 == 0 else drawn % 3
    title = f"the long title of number {drawn % 5}" if late and drawn % 2 else f"number {drawn % 5}"
    return {"kind": kind, "genre": [f"g{drawn % 4}", f"g{drawn % 3}"], "title": title, "out": "2025-10-01"}


def _said_of_user(drawn: int, time: int) -> Features:
    """The same, and what is taken away."""
    late = time > NOW - 3 * DAY
    likes: FeatureValue = f"g{drawn % 4}" if drawn % 3 else None
    motto = f"what I like is number {drawn % 3}" if late and drawn % 2 else "none"
    return {"age": str(drawn) if late and drawn % 5 == 0 else drawn % 90, "likes": likes, "motto": motto}


def whole_state(engine: Engine) -> dict[str, Any]:
    """Everything that is learned, in a form that can be compared; what only says what is published is left out."""
    return state_of(engine.learner)


def state_of(learner: Learner) -> dict[str, Any]:
    """The same of a learner without an engine."""
    remembered = whole_memory(learner.joiner)
    parts: dict[str, Any] = {f"labels.{name}": value for name, value in remembered.items()}
    whole = compared(parts_of(learner))
    parts |= {name: value for name, value in whole.items() if name.split(".")[-1] not in _PASSING}
    for table in learner.queue.trainer.tables.values():
        parts[f"tables.{table.name}.head"][scalars.TOUCHED] = 0
        keys = table.keys()
        order = np.argsort(keys)
        parts[f"keys.{table.name}"] = keys[order]
        parts[f"vectors.{table.name}"] = table.lookup(keys[order])
    return parts


def compared(parts: Mapping[str, Part]) -> dict[str, Any]:
    """Parts of a checkpoint in a form that can be compared; of those that are folders only the tables."""
    found: dict[str, Any] = {}
    for name, part in parts.items():
        if isinstance(part, bytes):
            found[name] = msgspec.msgpack.decode(part)
        elif isinstance(part, dict):
            found |= {f"{name}.{key}": value for key, value in part.items()}
        elif name == "tables":
            with TemporaryDirectory() as folder:
                part(Path(folder) / name)
                for file in (Path(folder) / name).iterdir():
                    arrays = load_file(file).items()
                    found |= {f"{name}.{file.stem}.{key}": np.array(value) for key, value in arrays if "gap" not in key}
    return found


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Names of the parts that are not equal to the bit."""
    names = sorted(one.keys() | other.keys())
    return [name for name in names if name not in one or name not in other or not _same(one[name], other[name])]


def _same(one: object, other: object) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    return type(one) is type(other) and one == other
