"""What a data folder knows of users, items and events, as lines of JSON: for people who ask, and for other programs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
from msgspec import UNSET

from stream_reco.clock import SystemClock
from stream_reco.config import Settings
from stream_reco.embedded.journal import records
from stream_reco.embedded.journal.recovery import Storage, recover
from stream_reco.embedded.learner import Learner
from stream_reco.events import Id, ItemEvent, decode_batch, encode, key_of
from stream_reco.events.schema import Context, FeatureValue
from stream_reco.serve.slate.interests import interests_in
from stream_reco.serve.slate.slate import Interest
from stream_reco.signals.history import NO_ITEM
from stream_reco.storage.backup import back_up, log_of

_ENCODER = msgspec.json.Encoder()


class HistoryEntry(msgspec.Struct, frozen=True):
    """An action that is remembered of a user."""

    item_id: Id
    timestamp: int


class KindOfAction(msgspec.Struct, frozen=True):
    """An action of a kind; the value is 0 where it had none."""

    action: str
    timestamp: int
    value: float


class PassedOver(msgspec.Struct, frozen=True):
    """An item that was shown to a user, who has not acted on it since."""

    item_id: Id
    times: int
    timestamp: int
    """When last, ms."""


class AwaitedLabel(msgspec.Struct, frozen=True):
    """An impression that waits for its label, or whose label may change."""

    item_id: Id
    timestamp: int
    label: int | None
    request_id: Id | None = None
    context: Context | None = None


class ActedOn(msgspec.Struct, frozen=True):
    """An impression of which heads may still learn what more was done with it."""

    item_id: Id
    timestamp: int
    actions: list[KindOfAction]


class Stated(msgspec.Struct, frozen=True):
    """What was said of a user last about one feature; null where it was taken away."""

    feature: str
    value: FeatureValue
    timestamp: int


class KnownUser(msgspec.Struct, frozen=True):
    """All that is kept of a user, but for the events in the log, and for coefficients of the content model: their keys
    are hashes."""

    user_id: Id
    history: list[HistoryEntry]
    """Positive actions, newest first."""
    disliked: list[HistoryEntry]
    """Negative actions, newest first: their items are not shown to the user."""
    interests: list[Interest]
    impressions: list[AwaitedLabel]
    row: list[float]
    """The user's row in the model, empty where there is none."""
    passed_over: list[PassedOver]
    """That shown longest ago first."""
    acted_on: list[ActedOn]
    """Impressions by the first action on them, the newest last."""
    profile: list[Stated]
    """In the order in which the features were stated first."""


@contextmanager
def learner_of(folder: Path, settings: Settings) -> Iterator[Learner]:
    """The learner of a data folder as it is now, whether or not a server writes, out of a temporary backup.

    Raises what `back_up` and `recover` raise.
    """
    with tempfile.TemporaryDirectory(prefix="stream-reco-export-") as scratch:
        copy = Path(scratch) / "copy"
        back_up(folder, copy, SystemClock().now_ms())
        storage = Storage(copy)
        try:
            yield recover(storage, settings)[0]
        finally:
            storage.close()


def users_of(learner: Learner, user_id: Id | None = None) -> Iterator[bytes]:
    """A line for each user who has done or was shown anything, or was described, or for the one given."""
    kept = learner.state.histories, learner.state.dislikes, learner.state.exposures, learner.state.profiles
    everybody = dict.fromkeys(user for one in kept for user in one.users())
    for one in everybody if user_id is None else [user_id]:
        yield _ENCODER.encode(_user(learner, one))


def items_of(learner: Learner) -> Iterator[bytes]:
    """A line for each item: an `item` event with what the shop said of it last, or only that there is one."""
    catalogue = learner.state.signals.catalogue
    for slot, item_id in enumerate(catalogue.ids):
        if item_id is not None:
            time = int(catalogue.described[slot] or learner.state.signals.counts.items.stamps[slot])
            features, available = catalogue.features[slot] or {}, bool(catalogue.available[slot])
            vector = catalogue.content.vectors.of(slot)
            yield encode(
                ItemEvent(
                    item_id=item_id,
                    timestamp=time,
                    features=features,
                    vector=UNSET if vector is None else vector,
                    available=available,
                )
            )


def events_of(folder: Path, user_id: Id | None = None) -> Iterator[bytes]:
    """A line for each event that the log of a data folder still holds, in their order; of one user where given."""
    with tempfile.TemporaryDirectory(prefix="stream-reco-export-") as scratch, log_of(folder, Path(scratch)) as log:
        for record in log.read(log.first - 1):
            for event in decode_batch(record.payload) if record.kind == records.EVENTS else ():
                if user_id is None or getattr(event, "user_id", None) == user_id:
                    yield encode(event)


def _user(learner: Learner, user_id: Id) -> KnownUser:
    medoids = learner.interests.medoids(user_id, learner.state.stream_time)
    return KnownUser(
        user_id,
        list(_history(learner, user_id)),
        list(_named(learner, ((slot, time) for time, slot in learner.state.dislikes.actions(user_id)))),
        interests_in(learner.state.signals.catalogue, medoids),
        [
            AwaitedLabel(one.item_id, one.time, one.label, one.request_id, one.context)
            for one in learner.joiner.of_user(user_id)
        ],
        _row(learner, user_id),
        list(_passed_over(learner, user_id)),
        [
            ActedOn(item_id, one.shown_at, [KindOfAction(*action) for action in one.actions])
            for item_id, one in learner.queue.heads.acted.of_user(user_id)
        ],
        [Stated(name, value, time) for name, (time, value) in learner.state.profiles.statements(user_id).items()],
    )


def _passed_over(learner: Learner, user_id: Id) -> Iterator[PassedOver]:
    ids, shown = learner.state.signals.catalogue.ids, learner.state.exposures.of(user_id)
    for slot, times, last in zip(*(column.tolist() for column in shown), strict=True):
        item_id = ids[slot]
        if item_id is not None:
            yield PassedOver(item_id, times, last)


def _history(learner: Learner, user_id: Id) -> Iterator[HistoryEntry]:
    histories = learner.state.histories
    row = histories.row_of(user_id)
    if row >= 0:
        yield from _named(learner, zip(*(array.tolist() for array in histories.whole(row, 0)), strict=True))


def _named(learner: Learner, actions: Iterable[tuple[int, int]]) -> Iterator[HistoryEntry]:
    """Entries of item slots and times (ms), by the items' ids."""
    ids = learner.state.signals.catalogue.ids
    for slot, time in actions:
        item_id = None if slot == NO_ITEM else ids[slot]
        if item_id is not None:
            yield HistoryEntry(item_id, time)


def _row(learner: Learner, user_id: Id) -> list[float]:
    trainer, key = learner.queue.trainer, np.array([key_of(user_id, "user")], dtype=np.int64)
    tables = [trainer.tables[spec.name] for spec in trainer.model.tables if spec.per_user]
    # Rows that are not there are read as zeros.
    return [value for table in tables for row in table.lookup(key) if row.any() for value in row.tolist()]
