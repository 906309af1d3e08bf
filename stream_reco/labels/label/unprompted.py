"""Actions with no impression: each is an example of its own."""

from __future__ import annotations

from stream_reco.labels.label.example import Example, Undone
from stream_reco.labels.label.pending import PendingAction
from stream_reco.labels.label.rules import NEGATIVE_WEIGHT


def unprompted(action: PendingAction) -> Example:
    return _example(action, int(action.weight > 0), abs(action.weight), "unprompted", action.time, None)


def taken_back(action: PendingAction, time: int) -> Example:
    """The action's retraction at `time`."""
    time = max(time, action.time)
    if action.weight < 0:
        # Nobody acted, and nobody was shown it: nothing is left to learn but that the 0 was wrong.
        return _example(action, 1, 0.0, "reversal", time, Undone("unprompted", 0, -action.weight, action.time))
    undone = Undone("unprompted", 1, action.weight, action.time)
    return _example(action, 0, NEGATIVE_WEIGHT, "retraction", time, undone)


def _example(
    action: PendingAction, label: int, weight: float, reason: str, time: int, undoes: Undone | None
) -> Example:
    return Example(
        user_id=action.user_id,
        item_id=action.item_id,
        request_id=action.request_id,
        label=label,
        weight=weight,
        reason=reason,
        event_time=action.time,
        label_time=time,
        context=action.context,
        features=action.features,
        undoes=undoes,
        action=action.action,
        value=action.value,
    )
