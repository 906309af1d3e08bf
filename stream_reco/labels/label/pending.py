"""What the joiner holds: impressions whose label can still change, and actions that wait or can be taken back."""

from __future__ import annotations

from msgspec import Struct

from stream_reco.events import Action, Id, Impression

Context = dict[str, str | int | float | bool | None]


class PendingAction(Struct, gc=False, array_like=True):
    """An action: one that waits for its impression, that can still be retracted, or that decides about its label.

    `weight` is below 0 where it is negative; `window` how long after its impression it is about it (ms; None: as long
    as any). `live` says that it counts for the label now, `retracted` is the time of its retraction, `dropped` that the
    calendar must pass over it.
    """

    seq: int
    time: int
    weight: float
    user_id: Id
    item_id: Id
    request_id: Id | None
    event_id: Id | None
    action: str
    value: float | None
    context: Context | None
    features: bytes | None
    retracted: int | None = None
    live: bool = False
    dropped: bool = False
    window: int | None = None


class PendingImpression(Struct, gc=False, array_like=True):
    """An impression and its label so far (None: pending).

    `weight` is what was given for the present label in all; `late` says that an action after the deadline gave it.
    `actions` has those that can still be retracted, those that are held, and of the others those that may still decide.
    `within` and `after` are actions that an earlier release kept apart. `wait`: after so long without an action it is
    presumed negative (ms; None: as all are, or never).
    """

    seq: int
    time: int
    user_id: Id
    item_id: Id
    request_id: Id | None
    position: int | None
    group_id: Id | None
    context: Context | None
    features: bytes | None
    label: int | None = None
    weight: float = 0.0
    reason: str = ""
    label_time: int = 0
    matured: bool = False
    dropped: bool = False
    late: bool = False
    within: PendingAction | None = None
    after: PendingAction | None = None
    actions: list[PendingAction] | None = None
    wait: int | None = None


def impression_of(event: Impression, seq: int, features: bytes | None) -> PendingImpression:
    """A new impression, which waits for its label."""
    return PendingImpression(
        seq=seq,
        time=event.timestamp,
        user_id=event.user_id,
        item_id=event.item_id,
        request_id=event.request_id,
        position=event.position,
        group_id=event.group_id,
        context=event.context,
        features=features,
    )


def action_of(
    event: Action, seq: int, weight: float, features: bytes | None, window: int | None = None
) -> PendingAction:
    """A new action of a weight other than 0."""
    return PendingAction(
        seq=seq,
        time=event.timestamp,
        weight=weight,
        user_id=event.user_id,
        item_id=event.item_id,
        request_id=event.request_id,
        event_id=event.event_id,
        action=event.action,
        value=event.value,
        context=event.context,
        features=features,
        window=window,
    )
