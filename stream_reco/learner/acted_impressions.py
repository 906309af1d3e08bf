"""Which kinds of actions an impression has had: what heads learn from.

A label says that an impression was acted on, and by the first or the strongest action at that. Of weaker ones that come
later there is no example, so they are taken from the events themselves, of which every learner sees all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from msgspec import Struct

from stream_reco.events import Action, Id
from stream_reco.labels import Example
from stream_reco.labels.label.kinds import ActionKinds
from stream_reco.train.head_trainer import KindExample
from stream_reco.train.kind_slots import NO_SLOT, KindSlots

MOST_IMPRESSIONS = 20_000
"""Impressions that are remembered, those acted on last: some 15 MB. Kinds that come later than that are lost."""
MOST_OF_ONE_KIND = 1_000
"""While there is one kind: enough to see the second one come."""

_MOST_EARLY = 10_000
_EARLY_MS = 600_000
"""So many actions that have no such impression yet are held, and for so long: labels may be behind the events."""


class KnownAction(NamedTuple):
    """An action on an impression."""

    kind: str
    time: int
    value: float
    """0 where it has none, or one that is not above 0."""


class ActedImpression(Struct, array_like=True):
    """The newest impression of an item for a user that was acted on; `counts` unless its label was taken back."""

    request_id: Id | None
    shown_at: int
    inputs: bytes
    actions: list[KnownAction]
    counts: bool = True


class EarlyAction(NamedTuple):
    """An action of which no label has come yet."""

    request_id: Id | None
    action: KnownAction


Acted = list[tuple[Id, Id, ActedImpression]]
Early = list[tuple[Id, Id, list[EarlyAction]]]


class ActedImpressions:
    """Turns labels and actions into `KindExample`s, in whatever order the two come.

    Its state is a function of what it is given, in that order. Times in ms.
    """

    def __init__(self, slots: KindSlots, kinds: ActionKinds, window_ms: int) -> None:
        """`slots` numbers kinds; an action more than `window_ms` after its impression is not about it."""
        self._slots, self._kinds, self._window_ms = slots, kinds, window_ms
        self._acted: dict[tuple[Id, Id], ActedImpression] = {}
        self._early: dict[tuple[Id, Id], list[EarlyAction]] = {}

    def __len__(self) -> int:
        return len(self._acted)

    def concerns(self, example: Example) -> bool:
        """Whether `labelled` has any use for an example; else it need not have features."""
        if example.action is None:
            return False
        if example.label == 0:
            return example.undoes is not None and example.undoes.label == 1
        return example.reason == "unprompted" or not example.is_unprompted

    def labelled(self, example: Example) -> list[KindExample]:
        """What a label that `concerns` heads tells them; the example has features."""
        if example.is_unprompted:
            sign = 1 if example.label == 1 else -1
            known = [_action_of(example)]
            return [self._example(example.features or b"", sign, known, known, example.label_time, sign)]
        acted = self._acted.get((example.user_id, example.item_id))
        if acted is not None and (acted.request_id, acted.shown_at) != (example.request_id, example.event_time):
            acted = None
        if example.label == 1:
            return self._positive(example, acted)
        if acted is None or not acted.counts:
            return []
        acted.counts = False
        return [self._whole(acted, -1, example.label_time)]

    def acted(self, event: Action) -> list[KindExample]:
        """What a positive action tells, once its impression is known to be acted on."""
        acted, known = self._found(event), _known(event.action, event.timestamp, event.value)
        if acted is None:
            self._hold((event.user_id, event.item_id), EarlyAction(event.request_id, known))
            return []
        return self._added(acted, known)

    def withdrawn(self, event: Action) -> list[KindExample]:
        """What it tells that a positive action is taken back; where it was the last, the label says it."""
        acted = self._found(event)
        known = _known(event.action, event.timestamp, event.value)
        if acted is None or known not in acted.actions:
            early = self._early.get((event.user_id, event.item_id), [])
            early[:] = [one for one in early if one.action != known]
            return []
        acted.actions.remove(known)
        if not acted.counts:
            return []
        gone = [] if any(one.kind == known.kind for one in acted.actions) else [known]
        return self._unless_empty(self._example(acted.inputs, 0, gone, [known], event.timestamp, -1))

    def of_user(self, user_id: Id) -> Iterator[tuple[Id, ActedImpression]]:
        """What of a user is remembered, by item."""
        return ((key[1], one) for key, one in self._acted.items() if key[0] == user_id)

    def forget_user(self, user_id: Id) -> None:
        """Delete what is known of a user."""
        self._acted = {key: acted for key, acted in self._acted.items() if key[0] != user_id}
        self._early = {key: early for key, early in self._early.items() if key[0] != user_id}

    def turn_back(self, time: int) -> None:
        """The clock was wrong: what was shown later than `time` was shown then."""
        for acted in self._acted.values():
            acted.shown_at = min(acted.shown_at, time)

    def state(self) -> tuple[Acted, Early]:
        """For a checkpoint."""
        acted = [(*key, one) for key, one in self._acted.items()]
        return acted, [(*key, some) for key, some in self._early.items()]

    def recall(self, acted: Acted, early: Early) -> None:
        """The inverse of `state`."""
        self._acted = {(user_id, item_id): one for user_id, item_id, one in acted}
        self._early = {(user_id, item_id): some for user_id, item_id, some in early}

    def _positive(self, example: Example, acted: ActedImpression | None) -> list[KindExample]:
        known = _action_of(example)
        if self._kinds.sign(_event_of(example)) <= 0:
            return []  # a weaker negative action is about to be given in place of a stronger one
        if acted is None:
            return [self._whole(self._remember(example, known), 1, example.label_time)]
        # Of a kind that is known the example may be given again, at another time than the action's.
        added = [] if any(one.kind == known.kind for one in acted.actions) else self._added(acted, known)
        if acted.counts:
            return added
        acted.counts = True
        return [self._whole(acted, 1, example.label_time)]

    def _remember(self, example: Example, known: KnownAction) -> ActedImpression:
        """A new impression that was acted on, with what of it came before its label."""
        acted = ActedImpression(example.request_id, example.event_time, example.features or b"", [])
        key = example.user_id, example.item_id
        for request_id, early in self._early.pop(key, ()):
            differs = None not in (request_id, acted.request_id) and request_id != acted.request_id
            if not differs and acted.shown_at <= early.time:
                acted.actions.append(early)
        if all(one.kind != known.kind for one in acted.actions):
            acted.actions.append(known)
        self._acted.pop(key, None)
        self._acted[key] = acted
        most = MOST_IMPRESSIONS if len(self._slots.kinds) > 1 else MOST_OF_ONE_KIND
        if len(self._acted) > most:
            del self._acted[next(iter(self._acted))]
        return acted

    def _hold(self, key: tuple[Id, Id], early: EarlyAction) -> None:
        held = self._early.pop(key, [])
        self._early[key] = [*held, early]  # last again, so that the first are the oldest
        while len(self._early) > _MOST_EARLY or self._is_over(early.action.time):
            del self._early[next(iter(self._early))]

    def _is_over(self, now: int) -> bool:
        first = next(iter(self._early.values()))
        return not first or first[-1].action.time < now - _EARLY_MS

    def _found(self, event: Action) -> ActedImpression | None:
        acted = self._acted.get((event.user_id, event.item_id))
        if acted is None or event.timestamp - acted.shown_at > self._window_ms:
            return None
        asked = event.request_id, acted.request_id
        return None if None not in asked and asked[0] != asked[1] else acted

    def _added(self, acted: ActedImpression, known: KnownAction) -> list[KindExample]:
        if any((one.kind, one.time) == (known.kind, known.time) for one in acted.actions):
            return []  # the event of an example that was here before, or the other way round
        new = [] if any(one.kind == known.kind for one in acted.actions) else [known]
        acted.actions.append(known)
        if not acted.counts:
            return []
        return self._unless_empty(self._example(acted.inputs, 0, new, [known], known.time, 1))

    def _whole(self, acted: ActedImpression, sign: int, time: int) -> KindExample:
        first = {one.kind: one for one in reversed(acted.actions)}
        return self._example(acted.inputs, sign, list(first.values()), acted.actions, time, sign)

    def _example(
        self,
        inputs: bytes,
        mass: int,
        kinds: list[KnownAction],
        worth: list[KnownAction],
        time: int,
        sign: int,
    ) -> KindExample:
        slots = [self._slots.slot_of(one.kind) for one in kinds]
        values = [(self._slots.slot_of(one.kind), sign * one.value) for one in worth if one.value > 0]
        return KindExample(
            inputs,
            float(mass),
            [(slot, float(sign)) for slot in slots if slot != NO_SLOT],
            [(slot, value) for slot, value in values if slot != NO_SLOT],
            time,
        )

    def _unless_empty(self, example: KindExample) -> list[KindExample]:
        return [example] if example.kinds or example.values else []


def _action_of(example: Example) -> KnownAction:
    return _known(example.action or "", example.label_time, example.value)


def _known(kind: str, time: int, value: float | None) -> KnownAction:
    return KnownAction(kind, time, max(value or 0.0, 0.0))


def _event_of(example: Example) -> Action:
    return Action(
        user_id=example.user_id,
        item_id=example.item_id,
        action=example.action or "",
        timestamp=example.label_time,
        value=example.value,
    )
