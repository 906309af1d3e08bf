"""The question "what should this user see now?", and what is known of the user at that moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream_reco.events import Id
from stream_reco.signals.content.values import NO_VALUES, Values
from stream_reco.signals.context import ContextValue
from stream_reco.signals.dislikes import NOTHING_DISLIKED
from stream_reco.signals.exposures import NOTHING_SHOWN, Exposure


@dataclass(frozen=True)
class Request:
    """One question to the scorer."""

    user_id: Id
    k: int = 10
    now: int | None = None
    """Event time in ms; None: stream time."""
    context: Mapping[str, ContextValue] | None = None
    exclude: Sequence[Id] = ()
    filters: Mapping[str, object] | None = field(default=None)
    """Item feature → a condition on it, all of which must hold: the grammar of `stream_reco.retrieve.filters`."""
    objectives: Mapping[str, float] | None = None
    """Kind of action, or `kind.value` → its weight in the score; None: as the settings say."""


@dataclass(frozen=True)
class UserContext:
    """A user as of now: unlike everything else that a scorer reads, this is never frozen between two versions.

    Slots are the trainer's; a replica that is behind ignores those it does not know yet.
    """

    user_key: int
    recent: NDArray[np.int32]
    """int32[RECENT], newest first, −1 behind the last."""
    times: NDArray[np.int64]
    """int64[RECENT], ms."""
    seen: NDArray[np.int32]
    """int32[n]: every item that the user is known to have taken a positive action on."""
    medoids: NDArray[np.int64]
    """int64[m]: item keys of the interests drawn for this request."""
    shown: Exposure = NOTHING_SHOWN
    """What the user was shown and has not acted on since; items that are not known yet are no candidates either."""
    disliked: NDArray[np.int32] = field(default_factory=NOTHING_DISLIKED.copy)
    """int32[d]: items that the user took a negative action on, those of the newest actions first."""
    profile: Values = NO_VALUES
    """What is said of the user."""
