"""Signals and histories of a few items and users, moved the way the loop moves them."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_reco.model.features.kernels import feature_matrix
from stream_reco.signals.context import Context, ContextValue
from stream_reco.signals.dislikes import Dislikes
from stream_reco.signals.exposures import Exposures
from stream_reco.signals.history import Histories
from stream_reco.signals.item_updates import Statement
from stream_reco.signals.settings import RECENT, SignalSettings
from stream_reco.signals.signals import Signals

START = 1_600_000_000_000
ITEMS = 7
USERS = 3
_GAPS = (0, 1, 999, 61_000, 299_999, 300_000, 3_600_000, 13 * 3_600_000, 86_400_000, 20 * 86_400_000)


Kind = Literal["act", "show", "describe", "dislike"]


def said_of(item: int) -> dict[str, object]:
    """What "describe" says of an item; of item 0 nothing."""
    return {"kind": item % 3, "tags": [item % 2, "all"], "none": None} if item else {}


class Happening(NamedTuple):
    """One event of a small world."""

    kind: Kind
    user: int
    item: int
    time: int
    context: dict[str, ContextValue]


class SmallLoop:
    """What the trainer's side keeps for the features."""

    def __init__(self) -> None:
        self.signals = Signals(SignalSettings())
        self.histories = Histories(SignalSettings())
        self.exposures = Exposures(SignalSettings())
        self.dislikes = Dislikes(SignalSettings())

    def take(self, one: Happening) -> None:
        signals = self.signals
        slot = signals.admit(one.item)
        if one.kind == "show":
            signals.show(slot, one.time)
            self.exposures.add(one.user, slot, one.time)
        elif one.kind == "describe":
            signals.describe(one.item, Statement(one.time, said_of(one.item), True))
        elif one.kind == "dislike":
            self.dislikes.add(one.user, slot, one.time)
        else:
            signals.learn_context(one.context)
            context = signals.coder.encode(one.context, one.time)
            signals.act(slot, *self.recent(one.user), context, one.time)
            self.histories.add(one.user, slot, one.time)
            self.exposures.acted(one.user, slot)

    def recent(self, user: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        row = self.histories.row_of(user)
        if row < 0:
            return np.full(RECENT, -1, np.int32), np.zeros(RECENT, np.int64)
        return self.histories.items[row].copy(), self.histories.times[row].copy()

    def context(self, context: dict[str, ContextValue], now: int) -> Context:
        return self.signals.coder.encode(context, now)

    def slots(self) -> NDArray[np.int32]:
        return np.arange(self.signals.catalogue.size, dtype=np.int32)

    def features(self, user: int, context: dict[str, ContextValue], now: int) -> NDArray[np.float32]:
        """float32[items, columns] of every item known, in the order in which they came."""
        (recent, times), shown, disliked = self.recent(user), self.exposures.of(user), self.dislikes.of(user)
        return feature_matrix(
            self.signals, recent, times, self.context(context, now), now, self.slots(), shown, disliked
        )


contexts: st.SearchStrategy[dict[str, ContextValue]] = st.fixed_dictionaries(
    {},
    optional={
        "device": st.sampled_from(["phone", "desk", "tv"]),
        "country": st.integers(1, 4),
        "guest": st.booleans(),
        "started": st.integers(START - 10**9, START + 10**9),
        "born": st.integers(START - 10**12 + 10**11, START),
    },
)


@st.composite
def logs(draw: st.DrawFn, least: int = 0, most: int = 60) -> list[Happening]:
    """Events by time, here and there one up to an hour late."""
    now = START
    log = []
    for _ in range(draw(st.integers(least, most))):
        now += draw(st.sampled_from(_GAPS))
        late = draw(st.sampled_from((0, 0, 0, 0, 0, 1_000, 250_000, 3_600_000)))
        kind: Kind = draw(st.sampled_from(("act", "act", "act", "show", "describe", "dislike")))
        log.append(
            Happening(
                kind, draw(st.integers(0, USERS - 1)), draw(st.integers(0, ITEMS - 1)), now - late, draw(contexts)
            )
        )
    return log
