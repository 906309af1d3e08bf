"""The events: five kinds of events as frozen structs, distinguished by the field `type`."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1
MAX_ID_BYTES = 512
MAX_TEXT = 4096
MAX_KEYS = 1024
MAX_LIST = 4096
MAX_POSITION = 2**31 - 1

Int64 = Annotated[int, Meta(ge=INT64_MIN, le=INT64_MAX)]
Id = Int64 | Annotated[str, Meta(min_length=1, max_length=MAX_ID_BYTES)]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]
Name = Annotated[str, Meta(min_length=1, max_length=MAX_ID_BYTES)]
Scalar = Text | Int64 | float | bool | None
Context = Annotated[dict[Name, Scalar], Meta(max_length=MAX_KEYS)]
FeatureValue = Scalar | Annotated[list[Scalar], Meta(max_length=MAX_LIST)]
Features = Annotated[dict[Name, FeatureValue], Meta(max_length=MAX_KEYS)]
Vector = Annotated[list[float], Meta(min_length=1, max_length=MAX_LIST)]
Position = Annotated[int, Meta(ge=0, le=MAX_POSITION)]
Probability = Annotated[float, Meta(gt=0.0, le=1.0)]


class _Base(Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True, gc=False):
    """What all kinds share. None of them can be part of a reference cycle, so the collector need not look at them."""


class Impression(_Base, frozen=True, kw_only=True, tag="impression"):
    """An item was shown to a user, `position` counted from the top, chosen with probability `propensity`."""

    user_id: Id
    item_id: Id
    timestamp: Int64
    event_id: Id | None = None
    request_id: Id | None = None
    position: Position | None = None
    group_id: Id | None = None
    propensity: Probability | None = None
    context: Context | None = None


class Action(_Base, frozen=True, kw_only=True, tag="action"):
    """A user did something with an item: `action` is its kind, `value` its size (price, seconds watched, stars).

    `context` is what was known before the action: in click-only streams no impression carries it.
    """

    user_id: Id
    item_id: Id
    action: Name
    timestamp: Int64
    event_id: Id | None = None
    request_id: Id | None = None
    group_id: Id | None = None
    value: float | None = None
    context: Context | None = None


class Retraction(_Base, frozen=True, kw_only=True, tag="retraction"):
    """The action whose `event_id` is `retracts` is taken back. `user_id` and `group_id` are for the key over Kafka."""

    retracts: Id
    timestamp: Int64
    event_id: Id | None = None
    user_id: Id | None = None
    group_id: Id | None = None


class ItemEvent(_Base, frozen=True, kw_only=True, tag="item"):
    """An item appeared or changed: what is given replaces what was there, null takes it away, the rest stays as it was.

    With `replace` nothing stays: what is not given is gone, and the item available. A new item is available.
    """

    item_id: Id
    timestamp: Int64
    event_id: Id | None = None
    features: Features = {}
    vector: Vector | UnsetType | None = UNSET
    available: bool | None = None
    """Whether it may be recommended; None leaves it."""
    replace: bool = False


class UserEvent(_Base, frozen=True, kw_only=True, tag="user"):
    """What is known of a user appeared or changed."""

    user_id: Id
    timestamp: Int64
    event_id: Id | None = None
    features: Features = {}


Event = Impression | Action | Retraction | ItemEvent | UserEvent

KINDS: dict[str, type[Event]] = {
    "impression": Impression,
    "action": Action,
    "retraction": Retraction,
    "item": ItemEvent,
    "user": UserEvent,
}
