"""How one impression's label changes: every step appends the example that reports it.

Within the window the strongest live action gives the label. Only where there is none may actions of the second window
reverse the negative, and they are held until the deadline is past, whenever they come.
"""

from __future__ import annotations

from collections.abc import Iterable

from stream_reco.labels.label.example import Example, Undone
from stream_reco.labels.label.pending import PendingAction, PendingImpression

NEGATIVE_WEIGHT = 1.0


def act(shown: PendingImpression, actions: Iterable[PendingAction], deadline: int, out: list[Example]) -> None:
    """Actions on the impression: one that has come, or all that had to wait, which then count by their times."""
    ready = []
    for action in actions:
        held = action.time > deadline and not shown.matured
        if held or action.event_id is not None:
            if shown.actions is None:
                shown.actions = []
            shown.actions.append(action)
        if not held:
            ready.append(action)
    _replay(shown, ready, deadline, out)


def retract(shown: PendingImpression, event_id: int | str, time: int, deadline: int, out: list[Example]) -> None:
    """An action on the impression is taken back; a second time changes nothing."""
    for action in shown.actions or ():
        if action.event_id == event_id:
            if action.retracted is None:
                action.retracted = time
                if action.time <= deadline or shown.matured:
                    _withdraw(shown, action, deadline, out)
            return


def respond_later(shown: PendingImpression, time: int, out: list[Example]) -> None:
    """A later impression got a response: this one was passed over."""
    if shown.label is None:
        # A slate's impressions may be logged after the click; no label is older than what it labels.
        _give(shown, None, 0, NEGATIVE_WEIGHT, "responded_later", max(time, shown.time), out)


def presume(shown: PendingImpression, time: int, out: list[Example]) -> None:
    """There is no action yet: a negative, until there is one."""
    _give(shown, None, 0, NEGATIVE_WEIGHT, "immediate", time, out)


def mature(shown: PendingImpression, deadline: int, out: list[Example]) -> None:
    """The deadline is past: without a label this is a negative, and what came after the deadline may reverse it."""
    shown.matured = True
    if shown.label is None:
        _give(shown, None, 0, NEGATIVE_WEIGHT, "window", deadline, out)
    if shown.actions:
        held = [action for action in shown.actions if action.time > deadline]
        shown.actions = [action for action in shown.actions if action.event_id is not None]
        _replay(shown, held, deadline, out)


def _replay(shown: PendingImpression, actions: list[PendingAction], deadline: int, out: list[Example]) -> None:
    """Actions and their retractions in the order of their times, so that it does not matter how they came."""
    steps = [(action.time, 0, action.seq, action) for action in actions]
    steps += [(_withdrawn_at(action), 1, action.seq, action) for action in actions if action.retracted is not None]
    if len(steps) > 1:
        steps.sort()
    for _, retracted, _, action in steps:
        if retracted:
            _withdraw(shown, action, deadline, out)
        else:
            _apply(shown, action, deadline, out)


def _apply(shown: PendingImpression, action: PendingAction, deadline: int, out: list[Example]) -> None:
    action.live = True
    late = action.time > deadline
    if action.event_id is None:
        _keep_strongest(shown, action, late)
    if shown.label != 1:
        shown.late = late
        # An action that was held may be older than the retraction that makes it count.
        time = max(action.time, shown.label_time) if shown.reason == "retraction" else action.time
        _give(shown, action, 1, action.weight, "action" if shown.label is None else "reversal", time, out)
    elif not late or shown.late:
        shown.late = late
        if action.weight > shown.weight:
            _give(shown, action, 1, action.weight, "action", action.time, out)


def _keep_strongest(shown: PendingImpression, action: PendingAction, late: bool) -> None:
    if late:
        if shown.after is None or action.weight > shown.after.weight:
            shown.after = action
    elif shown.within is None or action.weight > shown.within.weight:
        shown.within = action


def _withdraw(shown: PendingImpression, action: PendingAction, deadline: int, out: list[Example]) -> None:
    action.live = False
    best = _strongest(shown, deadline)
    if shown.label != 1 or (best is not None and _upholds(shown, best, deadline)):
        return
    time = _withdrawn_at(action)
    _give(shown, action, 0, NEGATIVE_WEIGHT, "retraction", time, out)
    if best is not None:
        shown.late = best.time > deadline
        _give(shown, best, 1, best.weight, "reversal", time, out)


def _upholds(shown: PendingImpression, best: PendingAction, deadline: int) -> bool:
    """Whether what is left gives the same label; an action after the deadline cannot stand in for one before it."""
    return best.weight >= shown.weight and shown.late == (best.time > deadline)


def _withdrawn_at(action: PendingAction) -> int:
    return action.time if action.retracted is None else max(action.retracted, action.time)


def _strongest(shown: PendingImpression, deadline: int) -> PendingAction | None:
    live = [action for action in shown.actions or () if action.live]
    within = [action for action in live if action.time <= deadline] + ([shown.within] if shown.within else [])
    after = [action for action in live if action.time > deadline] + ([shown.after] if shown.after else [])
    return max(within or after, key=lambda action: action.weight, default=None)


def _give(
    shown: PendingImpression,
    action: PendingAction | None,
    label: int,
    weight: float,
    reason: str,
    time: int,
    out: list[Example],
) -> None:
    """Make `label` with `weight` in all the label that holds: a flip undoes the old label, else the rest is given."""
    flips = shown.label is not None and shown.label != label
    given = weight if flips or shown.label is None else weight - shown.weight
    undoes = None
    if flips and shown.label is not None:
        undoes = Undone(shown.reason, shown.label, shown.weight, shown.label_time)
    shown.label, shown.weight, shown.reason, shown.label_time = label, weight, reason, time
    out.append(
        Example(
            user_id=shown.user_id,
            item_id=shown.item_id,
            request_id=shown.request_id,
            label=label,
            weight=given,
            reason=reason,
            event_time=shown.time,
            label_time=time,
            context=shown.context,
            features=shown.features,
            undoes=undoes,
            position=shown.position,
            action=action.action if action else None,
            value=action.value if action else None,
        )
    )
