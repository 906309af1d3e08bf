"""A brute-force join over the complete log: slow, but no order of arrival can confuse it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from stream_reco.events import Action, Event, Id, Impression, Retraction
from stream_reco.labels import Example

Row = tuple[Id, Id, Id | None, int, float, str, int, int, tuple[str, int, float, int] | None]
"""user, item, request, label, weight, reason, event time, label time, what is undone."""


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
    """An action and when it was retracted."""

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
    events: Sequence[Event], window: int, order: str | None = None, weights: dict[str, float] | None = None
) -> list[Row]:
    """All examples of a log whose actions without request_id come after their impressions."""
    log = distinct(events)
    cases = [Case(event) for event in log if isinstance(event, Impression)]
    rows: list[Row] = []
    for taken in _actions(log, weights or {}):
        case = _case_of(taken.event, cases, window)
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
            taken.append(Taken(event, weights.get(event.action, 1.0), retracted))
    return taken


def _case_of(action: Action, cases: list[Case], window: int) -> Case | None:
    fitting = [
        case
        for case in cases
        if (case.event.user_id, case.event.item_id) == (action.user_id, action.item_id)
        and case.event.timestamp + 2 * window >= action.timestamp
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
    rows: list[Row] = [(*who, 1, taken.weight, "unprompted", now, now, None)]
    if taken.retracted is not None and taken.retracted <= now + window:
        rows.append((*who, 0, 1.0, "retraction", now, max(taken.retracted, now), ("unprompted", 1, taken.weight, now)))
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
        within = [taken.weight for taken in live if taken.event.timestamp <= deadline]
        after = [taken.weight for taken in live if taken.event.timestamp > deadline] if over else []
        lapsed, prompt = prompt and not within, bool(within)
        for reason, label, weight in _steps(held, max(within or after, default=0.0), phase, lapsed):
            rose = held is not None and held[1] == label == 1
            given = weight - held[2] if held is not None and rose else weight
            rows.append((*who, label, given, reason, case.event.timestamp, time, None if rose else held))
            held = (reason, label, weight, time)
    return rows


def _steps(
    held: tuple[str, int, float, int] | None, best: float, phase: int, lapsed: bool
) -> list[tuple[str, int, float]]:
    """The labels that follow on what is held, where the strongest live action weighs `best` (0: there is none).

    `lapsed`: the last action within the window was taken back, so that only later ones can be left.
    """
    if held is None:
        if best:
            return [("action", 1, best)]
        return [("responded_later" if phase == 2 else "window", 0, 1.0)] if phase >= 2 else []
    if held[1] == 0:
        return [("reversal", 1, best)] if best else []
    if best > held[2] and not lapsed:
        return [("action", 1, best)]
    if best < held[2] or lapsed:
        return [("retraction", 0, 1.0)] + ([("reversal", 1, best)] if best else [])
    return []
