"""How one impression's label changes: every step appends the example that reports it.

The actions that hold, by their times, end in a run of one sign: its sign is the label, and its strongest action the
weight, so it does not matter how they came. Within the window that is all. Actions of the second window are held until
the deadline is past, whenever they come; a run that reaches back into the window has its weight from there.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile

from stream_reco.labels.label.example import Example, Undone
from stream_reco.labels.label.pending import PendingAction, PendingImpression

NEGATIVE_WEIGHT = 1.0
_FOR_WANT_OF_ACTION = ("window", "responded_later", "immediate")


def act(shown: PendingImpression, actions: Iterable[PendingAction], deadline: int, out: list[Example]) -> None:
    """Actions on the impression: one that has come, or all that had to wait, which then count by their times."""
    known, ready = _actions(shown), []
    for action in actions:
        known.append(action)
        if action.time <= deadline or shown.matured:
            ready.append(action)
    _replay(shown, ready, deadline, out)


def retract(shown: PendingImpression, event_id: int | str, time: int, deadline: int, out: list[Example]) -> None:
    """An action on the impression is taken back; a second time changes nothing."""
    for action in _actions(shown):
        if action.event_id == event_id:
            if action.retracted is None:
                action.retracted = time
                if action.live and not _turns_first(shown, time):
                    action.live = False
                    _settle(shown, action, _withdrawn_at(action), deadline, out)
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
        # What was taken back behind a negative action that was held is so after it.
        waited = [one for one in shown.actions if one.time > deadline or (one.live and one.retracted is not None)]
        _replay(shown, waited, deadline, out)


def _turns_first(shown: PendingImpression, time: int) -> bool:
    """Whether a negative action that is held, not after `time`, has the word before what happens at that time."""
    held = (one for one in _actions(shown) if not shown.matured and not one.live and one.retracted is None)
    return any(one.weight < 0 and one.time <= time for one in held)


def _actions(shown: PendingImpression) -> list[PendingAction]:
    """All actions that are kept."""
    if shown.actions is None:
        shown.actions = []
    # Releases up to 0.2.0 kept the strongest actions without an event_id apart.
    shown.actions += [action for action in (shown.within, shown.after) if action is not None]
    shown.within = shown.after = None
    return shown.actions


def _replay(shown: PendingImpression, actions: list[PendingAction], deadline: int, out: list[Example]) -> None:
    """Actions and their retractions in the order of their times, so that it does not matter how they came."""
    steps = [(action.time, 0, action.weight < 0, action.seq, action) for action in actions if not action.live]
    steps += [(_withdrawn_at(one), 1, one.weight < 0, one.seq, one) for one in actions if one.retracted is not None]
    if len(steps) > 1:
        steps.sort()
    for time, retracted, _, _, action in steps:
        action.live = not retracted
        if not retracted and shown.reason == "retraction":
            # An action that was held may be older than the retraction that makes it count.
            time = max(time, shown.label_time)
        _settle(shown, action, time, deadline, out)
    if len(_actions(shown)) > 1:
        _forget_outdone(shown, deadline)


def _settle(shown: PendingImpression, action: PendingAction, time: int, deadline: int, out: list[Example]) -> None:
    """Let the label be what the actions say, now that `action` has come or was taken back."""
    best = _deciding(shown, deadline)
    if best is None:
        _let_go(shown, action, time, out)
        return
    label, weight = int(best.weight > 0), abs(best.weight)
    late, was_late = best.time > deadline, shown.late
    first = "action" if label else "negative_action"
    if shown.label is None:
        _give(shown, best, label, weight, first, time, out)
    elif shown.label != label:
        _give(shown, best, label, weight, "reversal" if label else first, time, out)
    elif not label and weight <= shown.weight and shown.reason in _FOR_WANT_OF_ACTION:
        return  # it adds nothing to the negative that stands
    elif weight < shown.weight or (label and late and not was_late):
        # What gave the label is gone. An action after the deadline cannot stand in for one before it.
        _take_back(shown, action, time, out)
        _give(shown, best, label, weight, "reversal" if label else first, time, out)
    elif weight > shown.weight:
        _give(shown, best, label, weight, first, time, out)
    shown.late = late


def _let_go(shown: PendingImpression, action: PendingAction, time: int, out: list[Example]) -> None:
    """No action is left: a negative, of the weight of one that has none."""
    if shown.label == 0 and (shown.reason in _FOR_WANT_OF_ACTION or shown.weight == NEGATIVE_WEIGHT):
        return
    if shown.label == 0 and shown.weight > NEGATIVE_WEIGHT:
        _take_back(shown, action, time, out)
    _give(shown, action, 0, NEGATIVE_WEIGHT, "retraction", time, out)


def _take_back(shown: PendingImpression, action: PendingAction, time: int, out: list[Example]) -> None:
    """Flip the label, which is given again with less weight: an example can only add to a label, or undo it."""
    if shown.label == 0:
        _give(shown, action, 1, NEGATIVE_WEIGHT, "reversal", time, out)
    elif action.live and action.weight < 0:
        _give(shown, action, 0, -action.weight, "negative_action", time, out)
    else:
        _give(shown, action, 0, NEGATIVE_WEIGHT, "retraction", time, out)


def _deciding(shown: PendingImpression, deadline: int) -> PendingAction | None:
    """The strongest of the last run of one sign; one before the deadline if it has any."""
    live = [action for action in shown.actions or () if action.live]
    if not live:
        return None
    # Of two at one time the negative one is the last word.
    live.sort(key=lambda action: (action.time, action.weight < 0))
    negative = live[-1].weight < 0
    run = list(takewhile(lambda action: (action.weight < 0) == negative, reversed(live)))
    within = [action for action in run if action.time <= deadline]
    return max(reversed(within or run), key=lambda action: abs(action.weight))


def _forget_outdone(shown: PendingImpression, deadline: int) -> None:
    """Drop actions that nobody can retract where a later and stronger one of their sign can stand for them."""
    kept = _actions(shown)
    lasting = [action for action in kept if action.live and action.event_id is None]
    if len(lasting) > 1:
        shown.actions = [one for one in kept if not any(_outdoes(other, one, deadline) for other in lasting)]


def _outdoes(other: PendingAction, one: PendingAction, deadline: int) -> bool:
    if one.event_id is not None or not one.live or (one.time > deadline) != (other.time > deadline):
        return False
    if other.weight * one.weight < 0 or other.time < one.time or abs(other.weight) < abs(one.weight):
        return False
    equal = (other.time, abs(other.weight)) == (one.time, abs(one.weight))
    return other.seq < one.seq if equal else True


def _withdrawn_at(action: PendingAction) -> int:
    return action.time if action.retracted is None else max(action.retracted, action.time)


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
