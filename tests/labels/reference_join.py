"""A brute-force join over the complete log: slow, but no order of arrival can confuse it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from stream_reco.events import Action, Event, Id, Impression, Retraction
from stream_reco.labels import Example

Row = tuple[Id, Id, Id | None, int, float, str, int, int, tuple[str, int, float, int] | None]
"""user, item, request, label, weight, reason, event time, label time, what is undone."""

NEGATIVE = ("hide", "report", "skip")
FOR_WANT_OF_ACTION = ("window", "responded_later")


def row(example: Example) -> Row:
    undone = example.undoes
    return (
        example.user_id,
        example.item_id,
        example.request_id,
        example.label,
        example.weight,
        example.reason,
        example.event_time,
        example.label_time,
        None if undone is None else (undone.reason, undone.label, undone.weight, undone.label_time),
    )


def rows(examples: Iterable[Example]) -> Counter[Row]:
    return Counter(map(row, examples))


@dataclass
class Taken:
    """An action and when it was retracted; its weight is below 0 where it is negative."""

    event: Action
    weight: float
    retracted: int | None


@dataclass
class Case:
    """An impression and the actions on it."""

    event: Impression
    actions: list[Taken] = field(default_factory=list)


def distinct(events: Sequence[Event]) -> list[Event]:
    """The events without the repetitions of an event_id."""
    seen: set[Id] = set()
    kept = []
    for event in events:
        if event.event_id is None or event.event_id not in seen:
            kept.append(event)
        if event.event_id is not None:
            seen.add(event.event_id)
    return kept


def reference_join(
    events: Sequence[Event],
    window: int,
    order: str | None = None,
    weights: dict[str, float] | None = None,
    windows: dict[str, int] | None = None,
) -> list[Row]:
    """All examples of a log whose actions without request_id come after their impressions.

    `windows`: how long after an impression an action of a kind is about it, where that is not two windows.
    """
    log = distinct(events)
    cases = [Case(event) for event in log if isinstance(event, Impression)]
    rows: list[Row] = []
    for taken in _actions(log, weights or {}):
        case = _case_of(taken.event, cases, (windows or {}).get(taken.event.action, 2 * window))
        if case is None:
            rows += _unprompted(taken, window)
        else:
            case.actions.append(taken)
    for case in cases:
        rows += _timeline(case, window, _response(case, cases, order, window))
    return rows


def _actions(log: list[Event], weights: dict[str, float]) -> list[Taken]:
    retractions: dict[Id, int] = {}
    for event in log:
        if isinstance(event, Retraction):
            retractions.setdefault(event.retracts, event.timestamp)
    taken = []
    for event in log:
        if isinstance(event, Action) and weights.get(event.action, 1.0) > 0:
            retracted = None if event.event_id is None else retractions.get(event.event_id)
            sign = -1 if event.action in NEGATIVE else 1
            taken.append(Taken(event, sign * weights.get(event.action, 1.0), retracted))
    return taken


def _case_of(action: Action, cases: list[Case], life: int) -> Case | None:
    fitting = [
        case
        for case in cases
        if (case.event.user_id, case.event.item_id) == (action.user_id, action.item_id)
        and case.event.timestamp + life >= action.timestamp
        and (action.request_id is None or action.request_id == case.event.request_id)
    ]
    before = [case for case in fitting if case.event.timestamp <= action.timestamp]
    if before:
        return max(reversed(before), key=lambda case: case.event.timestamp)
    return min(fitting, key=lambda case: case.event.timestamp) if fitting and action.request_id is not None else None


def _unprompted(taken: Taken, window: int) -> list[Row]:
    event = taken.event
    now = event.timestamp
    who = (event.user_id, event.item_id, event.request_id)
    label, weight = int(taken.weight > 0), abs(taken.weight)
    rows: list[Row] = [(*who, label, weight, "unprompted", now, now, None)]
    if taken.retracted is not None and taken.retracted <= now + window:
        undone, time = ("unprompted", label, weight, now), max(taken.retracted, now)
        rows.append(
            (*who, 0, 1.0, "retraction", now, time, undone) if label else (*who, 1, 0.0, "reversal", now, time, undone)
        )
    return rows


def _rank(case: Case, order: str | None) -> tuple[object, int] | None:
    event = case.event
    if order == "group" and event.group_id is not None:
        return event.group_id, event.timestamp
    if order == "slate" and event.request_id is not None and event.position is not None:
        return (event.user_id, event.request_id), event.position
    return None


def _response(case: Case, cases: list[Case], order: str | None, window: int) -> int | None:
    """The time of the earliest response to a later impression of the same group, up to the deadline."""
    mine = _rank(case, order)
    if mine is None:
        return None
    times = []
    for other in cases:
        theirs = _rank(other, order)
        if theirs is not None and theirs[0] == mine[0] and theirs[1] > mine[1]:
            times += [taken.event.timestamp for taken in other.actions]
    first = min(times, default=None)
    return first if first is not None and first <= case.event.timestamp + window else None


def _points(case: Case, window: int, response: int | None) -> list[tuple[int, int, int]]:
    """(time, phase, which action) of all that happens: phases are actions, retractions, response, deadline."""
    deadline = case.event.timestamp + window
    points = [(deadline, 3, 0)] + ([(response, 2, 0)] if response is not None else [])
    for at, taken in enumerate(case.actions):
        points.append((taken.event.timestamp, 0, at))
        if taken.retracted is not None and taken.retracted <= deadline + window:
            points.append((max(taken.retracted, taken.event.timestamp), 1, at))
    return sorted(points)


def _timeline(case: Case, window: int, response: int | None) -> list[Row]:
    """Walk through the times at which something happens; wherever what holds has changed, there is an example."""
    deadline = case.event.timestamp + window
    who = (case.event.user_id, case.event.item_id, case.event.request_id)
    rows: list[Row] = []
    live: list[Taken] = []
    held: tuple[str, int, float, int] | None = None
    over = prompt = False
    for time, phase, at in _points(case, window, response):
        if phase == 0:
            live.append(case.actions[at])
        elif phase == 1:
            live.remove(case.actions[at])
        over = over or phase == 3
        run = _last_run([taken for taken in live if over or taken.event.timestamp <= deadline])
        within = [taken for taken in run if taken.event.timestamp <= deadline]
        best = max((taken.weight for taken in within or run), key=abs, default=0.0)
        lapsed, prompt = prompt and not within, bool(within) if run else prompt
        came = case.actions[at].weight if phase == 0 else 0.0
        for reason, label, weight in _steps(held, best, phase, lapsed, came):
            rose = held is not None and held[1] == label
            given = weight - held[2] if held is not None and rose else weight
            rows.append((*who, label, given, reason, case.event.timestamp, time, None if rose else held))
            held = (reason, label, weight, time)
    return rows


def _last_run(live: list[Taken]) -> list[Taken]:
    """The actions after the last one of the other sign; of two at one time the negative one is the later."""
    run: list[Taken] = []
    for taken in sorted(live, key=lambda taken: (taken.event.timestamp, taken.weight < 0)):
        if run and run[-1].weight * taken.weight < 0:
            run = []
        run.append(taken)
    return run


def _steps(
    held: tuple[str, int, float, int] | None, best: float, phase: int, lapsed: bool, came: float
) -> list[tuple[str, int, float]]:
    """The labels that follow on what is held, where `best` is what the deciding action weighs (0: there is none).

    `lapsed`: the last action within the window is gone, so that only later ones can be left. `came` is the weight of
    the action that has come, if any.
    """
    if best:
        label, weight = int(best > 0), abs(best)
        reason = "action" if label else "negative_action"
        if held is None:
            return [(reason, label, weight)]
        if held[1] != label:
            return [("reversal" if label else reason, label, weight)]
        if label and (weight < held[2] or lapsed):
            gone = ("negative_action", 0, -came) if came < 0 else ("retraction", 0, 1.0)
            return [gone, ("reversal", 1, weight)]
        if not label and weight < held[2]:
            stands = held[0] in FOR_WANT_OF_ACTION
            return [] if stands else [("reversal", 1, 1.0), ("negative_action", 0, weight)]
        return [(reason, label, weight)] if weight > held[2] else []
    if held is None:
        return [("responded_later" if phase == 2 else "window", 0, 1.0)] if phase >= 2 else []
    if held[1] == 1:
        return [("retraction", 0, 1.0)]
    if held[2] == 1.0:
        return []
    return [("reversal", 1, 1.0)] * (held[2] > 1.0) + [("retraction", 0, 1.0)]
