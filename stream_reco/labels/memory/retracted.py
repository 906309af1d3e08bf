"""Which action a retraction takes back, for those who have counted it."""

from __future__ import annotations

from stream_reco.events import Action, Retraction
from stream_reco.labels.label.pending import PendingAction, PendingImpression
from stream_reco.labels.memory.protocol import Memory


def retracted(memory: Memory, event: Action | Retraction) -> Action | None:
    """The action that a retraction takes back, where it comes in time and is the first to do so.

    Of an action: itself, where a retraction of it is held that came before it.
    """
    if isinstance(event, Action):
        held = memory.held_retraction(event.event_id)
        return event if held is not None and held[1] in (None, event.user_id) else None
    taken = memory.taken(event.retracts)
    if taken is None or event.user_id not in (None, taken.user_id):
        return None
    if isinstance(taken, PendingImpression):
        of_id = (action for action in taken.actions or () if action.event_id == event.retracts)
        action, until = next(of_id, None), memory.windows.end_of(taken)
    else:
        # One that waits for its impression is not live yet, and can be taken back for as long as it waits.
        action, until = taken, taken.time + memory.windows.window_ms if taken.live else event.timestamp
    if action is None or action.retracted is not None or event.timestamp > until:
        return None
    return _as_event(action, taken)


def _as_event(action: PendingAction, taken: PendingAction | PendingImpression) -> Action:
    """The action as it came, without its group; user and item are those of what it was about."""
    return Action(
        user_id=taken.user_id,
        item_id=taken.item_id,
        action=action.action,
        timestamp=action.time,
        event_id=action.event_id,
        request_id=action.request_id,
        value=action.value,
        context=action.context,
    )
