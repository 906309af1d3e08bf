"""Memory stays flat while items, users and context values come and go."""

from __future__ import annotations

import numpy as np

from stream_reco.signals.history import Histories
from stream_reco.signals.settings import RECENT, SignalSettings
from stream_reco.signals.signals import Signals
from tests.signals.reference_signals import DAY

START = 1_600_000_000_000
EVENTS = 200_000
GAP = 10_000
SETTINGS = SignalSettings(item_idle_days=1.0, user_idle_days=1.0, history_days=1.0, context_values=64, pair_width=10)
_NOBODY = np.full(RECENT, -1, dtype=np.int32)
_NEVER = np.zeros(RECENT, dtype=np.int64)


def test_two_hundred_thousand_events_over_moving_crowds_stay_in_the_first_arrays() -> None:
    signals, histories = Signals(SETTINGS), Histories(SETTINGS)
    rng = np.random.default_rng(3)
    near = rng.integers(0, 60, (EVENTS, 2)).tolist()
    now, sizes = START, []
    for number, (to_item, to_user) in enumerate(near):
        now += GAP
        item, user = number // 40 + to_item, f"user {number // 50 + to_user}"
        context = {"session": number, "release": number // 4000, "device": to_item % 3}
        slot = signals.admit(item)
        signals.learn_context(context)
        row = histories.row_of(user)
        recent, times = (histories.items[row], histories.times[row]) if row >= 0 else (_NOBODY, _NEVER)
        signals.act(slot, recent, times, signals.coder.encode(context, now), now)
        histories.add(user, slot, now)
        if now // DAY != (now - GAP) // DAY:
            histories.evict(now)
            histories.forget_items(signals.evict(now))
            assert {int(slot) for slot in np.unique(histories.items) if slot >= 0} <= live_slots(signals)
            signals.drain()
            parts = [*signals.state().values(), *histories.state().values()]
            sizes.append(sum(part.nbytes for part in parts))
    assert len(sizes) == 23
    # A day brings 216 new items and 173 new users; what is idle for a day, and a day of rest, makes about three days.
    assert signals.catalogue.size < 1024
    assert len(signals.counts.items.stamps) == len(signals.catalogue.keys) == 1024
    assert len(histories.items) == 1024
    assert signals.coder.size <= 64 + 10
    assert max(sizes[4:]) < 1.25 * min(sizes[4:])
    # A field whose values change slowly is still counted, though it had 50 of them; one that never repeats is not.
    last = signals.coder.encode({"session": EVENTS - 1, "release": (EVENTS - 1) // 4000}, now).values
    assert last[0] == -1
    assert last[1] >= 0


def live_slots(signals: Signals) -> set[int]:
    return set(np.flatnonzero(signals.catalogue.live).tolist())
