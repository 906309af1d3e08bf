"""Active time noted by one process and followed by another, against the one that was noted."""

from __future__ import annotations

import numpy as np
import pytest

from stream_reco.serve.replica.shared_active_time import REACHED, SILENCES, ActiveTimeNotes, FollowedActiveTime
from stream_reco.signals.active_time import ActiveTime
from stream_reco.signals.settings import DAY_MS, HOUR_MS

START = 1_760_000_000_000


class Notes(dict[str, bytes]):
    """Notes in memory; may be away."""

    away = False

    def read(self, name: str) -> bytes | None:
        if self.away:
            raise OSError("away")
        return self.get(name)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_followed_is_what_was_noted(seed: int) -> None:
    rng, ours, kept, now = np.random.default_rng(seed), ActiveTime(), Notes(), START
    notes, followed, silences = ActiveTimeNotes(ours), FollowedActiveTime(kept.read), 0
    for _ in range(400):
        now += int(rng.choice([0, 1_000, HOUR_MS, 3 * HOUR_MS, 5 * DAY_MS], p=[0.2, 0.6, 0.1, 0.05, 0.05]))
        if rng.random() < 0.02:
            ours.turn_back(now := now - 2 * DAY_MS)
        ours.reach(now)
        if rng.random() < 0.3:
            continue
        said = notes.changed()
        assert not notes.is_behind
        silences += SILENCES in said
        kept |= said
        theirs = followed()
        assert theirs.state() == ours.state()
        for later, span in ((0, DAY_MS), (HOUR_MS, HOUR_MS), (9 * DAY_MS, 30 * DAY_MS)):
            assert theirs.earliest(now + later, span) == ours.earliest(now + later, span)
    assert 10 < silences < 100, "they are noted where one has come, and else not"


def test_what_cannot_be_read_is_as_it_was_last() -> None:
    ours, kept = ActiveTime(), Notes()
    followed = FollowedActiveTime(kept.read)
    assert followed().state() == ActiveTime().state()
    ours.reach(START)
    ours.reach(START + DAY_MS)
    kept |= ActiveTimeNotes(ours).changed()
    assert followed().state() == ours.state()
    before = ours.state()
    ours.reach(START + 3 * DAY_MS)
    kept |= ActiveTimeNotes(ours).changed()
    kept.away = True
    assert followed().state() == before
    kept.away, kept[REACHED] = False, b"\xc1"
    assert followed().state() == before
