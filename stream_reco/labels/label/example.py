"""What the joiner returns: labelled examples, and what a later one undoes."""

from __future__ import annotations

from msgspec import Struct

from stream_reco.events import Id

ShownKey = tuple[Id, Id, Id | None, int]
"""User, item, request and time (ms) of an impression."""


class Undone(Struct, frozen=True, gc=False):
    """The label that an example undoes, as it was last given; `weight` is the sum over what was given for it."""

    reason: str
    label: int
    weight: float
    label_time: int


class Example(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One labelled example.

    `label` is the label that now holds. `reason` is `action`, `negative_action`, `window`, `responded_later`,
    `immediate` (presumed negative, until an action says otherwise), `reversal`, `retraction` or `unprompted` (by an
    action without an impression, whose sign is the label). `event_time` is the time of the
    impression (of the action, where there was none), `label_time` that of what decided the label; both in ms.
    `features` are the bytes that came with the impression or unprompted action.
    """

    user_id: Id
    item_id: Id
    request_id: Id | None = None
    label: int
    weight: float
    reason: str
    event_time: int
    label_time: int
    context: dict[str, str | int | float | bool | None] | None = None
    features: bytes | None = None
    undoes: Undone | None = None
    position: int | None = None
    action: str | None = None
    value: float | None = None

    @property
    def shown(self) -> ShownKey:
        """What identifies its impression."""
        return self.user_id, self.item_id, self.request_id, self.event_time

    @property
    def is_unprompted(self) -> bool:
        """Whether it is of an action that had no impression, or of that action's retraction."""
        return "unprompted" in (self.reason, self.undoes.reason if self.undoes else "")
