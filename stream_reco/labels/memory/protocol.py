"""The joiner's memory, as it needs it: in the main memory or on disk."""

from __future__ import annotations

from collections.abc import Collection, Generator
from typing import Any, Protocol

from msgspec import Struct

from stream_reco.events import Id
from stream_reco.labels.label.delays import ActionDelays, AdaptiveWait
from stream_reco.labels.label.pending import PendingAction, PendingImpression
from stream_reco.labels.memory.groups import GroupKey
from stream_reco.labels.settings import DAY_MS

BEFORE_ALL, NEVER = -(2**62), 2**63 - 1

# What falls due at one time does so in this order: a response at the deadline still counts.
RESPONSE, PRESUMED, DEADLINE, END, WAITED, FORGET, ORPHAN = range(7)

Reached = tuple[int, int, int]
"""Time (ms), kind and seq of the entry that is or will be next; what is less has been."""
Due = tuple[int, int, int, Any]
"""Time (ms), kind, seq and what is due, which depends on the kind: an impression, an action, an event_id, or a group
and a rank in it."""


class StreamProgress(Struct, array_like=True):
    """How far the stream has come (ms), and what was counted on the way."""

    stream_time: int = BEFORE_ALL
    advanced: int = BEFORE_ALL
    seq: int = 0
    pending: int = 0
    duplicates: int = 0
    late: int = 0
    orphans: int = 0
    presumed: Reached = (BEFORE_ALL, -1, -1)
    """What has a wait of its own is presumed negative up to here."""

    def id_until(self, until: int) -> int:
        """How long an event id is kept (ms) that matters `until`: a day from now at least."""
        return max(until, self.stream_time + DAY_MS, self.advanced + DAY_MS)


class LabelWindows(Struct, frozen=True, array_like=True):
    """Length of the label window, and time until an impression is presumed negative (None: never); ms.

    `adaptive`: each impression has a wait of its own.
    """

    window_ms: int
    presume_ms: int | None = None
    adaptive: bool = False

    @property
    def presumes(self) -> bool:
        """Whether an impression may be presumed negative."""
        return self.adaptive or self.presume_ms is not None

    def deadline_of(self, shown: PendingImpression) -> int:
        """The last time at which an action is within the window."""
        return shown.time + self.window_ms

    def end_of(self, shown: PendingImpression) -> int:
        """The last time at which the label of an impression can change."""
        return shown.time + 2 * self.window_ms

    def horizon(self, progress: StreamProgress) -> int:
        """Impressions before this time (ms) are over."""
        return progress.advanced - 2 * self.window_ms

    def is_retractable(self, action: PendingAction, progress: StreamProgress) -> bool:
        """Whether an action without an impression can still be taken back: for one window."""
        return action.time + self.window_ms >= progress.advanced


class Memory(Protocol):
    """Impressions, actions and ids, each until it can change nothing any more.

    A returned impression is the only object for it until the next `commit`; a caller that changes it calls `changed`.
    """

    windows: LabelWindows
    progress: StreamProgress
    delays: ActionDelays
    bounds: AdaptiveWait

    def seen(self, event_id: Id) -> bool:
        """Whether an event with this id came before and is still remembered."""
        ...

    def seen_among(self, event_ids: Collection[Id]) -> set[Id]:
        """Those of the ids that are `seen`; other threads may ask, too."""
        ...

    def keep_id(self, event_id: Id | None, until: int) -> None:
        """Remember an id until the watermark is past `until`, and a day of stream time at least; once an id."""
        ...

    def add(self, shown: PendingImpression) -> None:
        """Remember a new impression; it will fall due."""
        ...

    def find(self, user_id: Id, item_id: Id, request_id: Id | None, time: int, life: int) -> PendingImpression | None:
        """The impression that an action at `time` is about, at most `life` ms before it."""
        ...

    def changed(self, shown: PendingImpression) -> None:
        """The label or the actions of an impression have changed."""
        ...

    def matured(self, shown: PendingImpression) -> None:
        """The deadline of an impression is past."""
        ...

    def remove(self, shown: PendingImpression) -> None:
        """The label of an impression can no longer change."""
        ...

    def join(self, key: GroupKey, rank: int, shown: PendingImpression) -> tuple[int, int] | None:
        """Add an impression to its group; (time, rank) of the earliest response to a later one, if there is any."""
        ...

    def respond(self, key: GroupKey, rank: int, time: int) -> bool:
        """Note a response at `time` to the impression at `rank`; return whether it says anything new."""
        ...

    def response_falls_due(self, time: int, seq: int, key: GroupKey, rank: int) -> None:
        """Once `time` is past, the impressions of the group before `rank` were passed over."""
        ...

    def passed_over(self, key: GroupKey, rank: int) -> list[PendingImpression]:
        """Take out of the group the impressions before `rank`; return those without a label."""
        ...

    def attribute(self, action: PendingAction, shown: PendingImpression) -> None:
        """An action is about this impression, which its retraction will ask for."""
        ...

    def taken(self, event_id: Id) -> PendingImpression | PendingAction | None:
        """The impression that an action was attributed to, or the action itself where it waits or stands alone."""
        ...

    def wait(self, action: PendingAction) -> None:
        """Hold an action until its impression comes or its own time is past."""
        ...

    def waited_for(self, shown: PendingImpression) -> list[PendingAction]:
        """Take out the actions that waited for this impression."""
        ...

    def retract_waiting(self, action: PendingAction, time: int) -> None:
        """An action that waits is taken back."""
        ...

    def keep_retractable(self, action: PendingAction) -> None:
        """Hold an action without an impression for as long as it can be retracted: one window."""
        ...

    def forget(self, action: PendingAction) -> None:
        """It can no longer be retracted."""
        ...

    def hold_retraction(self, event_id: Id, time: int, user_id: Id | None) -> None:
        """Hold a retraction until its own time is past, for its action may still come; the first of an id counts."""
        ...

    def held_retraction(self, event_id: Id | None) -> tuple[int, Id | None] | None:
        """The retraction (time, user) that came before this action, which stays held."""
        ...

    def take_retraction(self, event_id: Id | None) -> tuple[int, Id | None] | None:
        """Take out the retraction (time, user) that came before this action."""
        ...

    def due(self, watermark: int, presumed: int) -> Generator[Due, None, None]:
        """What falls due before `watermark`, in the order of (time, kind, seq); what is added meanwhile too.

        First what has a wait of its own, which is presumed negative where that ends before `presumed`.
        Of the kinds RESPONSE, PRESUMED, DEADLINE, END and WAITED; the others concern the memory alone.
        """
        ...

    def of_user(self, user_id: Id) -> list[PendingImpression]:
        """All impressions of a user that are held."""
        ...

    def forget_user(self, user_id: Id) -> None:
        """Delete everything about a user, except the ids of events."""
        ...

    def oldest(self) -> int | None:
        """Time (ms) of the oldest impression whose deadline is not past."""
        ...

    @property
    def nbytes(self) -> int:
        """About how many bytes it takes, in the main memory or on disk."""
        ...

    @property
    def uncommitted(self) -> int:
        """About how many records the next `commit` will write."""
        ...
