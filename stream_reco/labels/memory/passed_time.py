"""What time alone does to an impression in a store, where it is not written down."""

from __future__ import annotations

from stream_reco.labels.label import rules
from stream_reco.labels.label.pending import PendingImpression
from stream_reco.labels.memory.presumptions import presumed_at
from stream_reco.labels.memory.protocol import DEADLINE, PRESUMED, LabelWindows, Reached


def let_time_pass(shown: PendingImpression, windows: LabelWindows, reached: Reached, presumed: Reached) -> None:
    """Presume an impression negative, and let it mature, as it was by the time that the stream has reached.

    `presumed`: how far those with a wait of their own are.
    """
    deadline, seq = windows.deadline_of(shown), shown.seq
    if shown.label is None:
        wait_ends, until = presumed_at(shown), presumed
        if wait_ends is None and windows.presume_ms is not None:
            wait_ends, until = (shown.time + windows.presume_ms, PRESUMED, seq), reached
        if wait_ends is not None and wait_ends < until:
            rules.presume(shown, wait_ends[0], [])
    if not shown.matured and (deadline, DEADLINE, seq) < reached:
        rules.mature(shown, deadline, [])
