"""What the HTTP API needs of the loop behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from stream_reco.events import Event, Id
from stream_reco.events.field_names import FieldWarning
from stream_reco.events.packed import EventBatch
from stream_reco.serve.feature_report import FeatureReport
from stream_reco.serve.slate.request import Request
from stream_reco.serve.slate.slate import Interest, Neighbour, ScoredItems, Slate
from stream_reco.serve.status import Status

STOPPING = "the server is stopping: send it again when it is back"
"""What callers are told in the meantime."""


class Rejection(msgspec.Struct, frozen=True):
    """An event that was rejected: its index in the batch, a short code, and a sentence for people."""

    index: int
    reason: str
    message: str


class Accepted(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of a batch: how many events are durable now, how many were duplicates, which were rejected.

    `rejected` describes the first hundred of them; `rejected_more` counts the others by reason, where there are any.
    `warnings` names fields that no event of that type has, at most a hundred, and `warnings_more` counts the further
    events with such fields. JSON leaves both out where there are none.
    """

    accepted: int
    duplicates: int
    rejected: Sequence[Rejection] = ()
    rejected_more: Mapping[str, int] = {}
    warnings: Sequence[FieldWarning] = ()
    warnings_more: int = 0

    @property
    def rejections(self) -> dict[str, int]:
        """How many events were rejected, by reason; described or not."""
        return dict(Counter(one.reason for one in self.rejected) + Counter(self.rejected_more))


class UnavailableError(RuntimeError):
    """The service cannot do it now: a full disk, an unavailable server (HTTP 503 with Retry-After)."""

    def __init__(self, reason: str, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after


class NotSetUpError(RuntimeError):
    """The service lacks a part that a setting would add (HTTP 501); the message names the setting."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class EventService(Protocol):
    """What takes events. Methods are called on the event loop's thread and must not block it for long."""

    @property
    def backlog(self) -> int:
        """Events that are durable but not yet learned from."""

    def ready(self) -> bool:
        """Whether it can answer; until then everything but health, metrics and status gets 503."""

    def taking_batch(self) -> AbstractContextManager[None]:
        """Held while a batch is decoded and made durable: what the service does in the background makes way."""

    def new_batch(self) -> EventBatch:
        """What decoded events are collected in for `accept`; called and filled on any thread."""

    def accept(self, events: Sequence[Event]) -> Awaitable[Accepted]:
        """Take decoded events; resolves once they are durable. Indexes of rejections count within `events`."""

    def forget(self, user_id: Id) -> Awaitable[None]:
        """Delete what is known of the user; resolves once the deletion is durable."""

    def status(self) -> Status:
        """The loop in figures, ready for JSON."""


class Service(EventService, Protocol):
    """The loop as the API sees it.

    What is computed (`slates`, `scores`, `similar`, `interests`, `features`) may be called on another thread than the
    event loop's, never two at once. Requests are valid: `serve.request_validation` has checked them as they were
    decoded.
    """

    def slates(self, requests: Sequence[Request]) -> Sequence[Slate]:
        """A slate for each request, all of one version; fails as a whole where one of them fails."""

    @property
    def objectives(self) -> Sequence[str]:
        """What requests may give weights to, as of the version served: kinds of actions and `kind.value`."""

    def scores(self, request: Request, item_ids: Sequence[Id]) -> ScoredItems:
        """Scores and probabilities by kind of action of `item_ids`, in their order."""

    def similar(self, item_id: Id, k: int) -> Sequence[Neighbour] | None:
        """The `k` items nearest to this one, nearest first; None if the item is unknown."""

    def interests(self, user_id: Id) -> Sequence[Interest]:
        """The user's interests, most important first; empty for an unknown user."""

    def features(self) -> FeatureReport:
        """What is known of the features of items and users."""
