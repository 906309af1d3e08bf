"""What a memory knows of delays, and the wait that follows from it for each new impression."""

from __future__ import annotations

from stream_reco.labels.label.pending import PendingAction, PendingImpression
from stream_reco.labels.memory.protocol import Memory


def wait_of(shown: PendingImpression, memory: Memory) -> int:
    """Time (ms) after which a new impression is presumed negative: by what is known now, at most its window."""
    progress, delays, bounds = memory.progress, memory.delays, memory.bounds
    delays.began_by(shown.time)
    wait = min(delays.wait(progress.stream_time, bounds), memory.windows.window_ms)
    # One that comes after its wait is presumed with what is due next, if it is not so old that a start would miss it.
    since = progress.presumed[0] - shown.time
    return max(wait, since) if since <= bounds.most_ms else wait


def note_delay(action: PendingAction, shown: PendingImpression, memory: Memory) -> None:
    """An action has found its impression: the first positive one of its kind says how long such actions take."""
    if not memory.windows.adaptive or action.weight <= 0 or action.time > memory.windows.deadline_of(shown):
        return
    if not any(before.action == action.action for before in shown.actions or ()):
        memory.delays.add(action.action, max(0, action.time - shown.time))
