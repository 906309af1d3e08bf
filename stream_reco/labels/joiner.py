"""The join of impressions with actions in event time.

"Passes" means that the watermark is greater: an event at exactly the watermark is not late, so a deadline at the
watermark is not over yet. An action at exactly the deadline is within the window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stream_reco.events import Action, Event, Id, Impression, Retraction
from stream_reco.labels import rules
from stream_reco.labels.example import Example
from stream_reco.labels.groups import GroupKey, Order
from stream_reco.labels.memory import BEFORE_ALL, DEADLINE, END, FORGET, ORPHAN, PRESUMED, RESPONSE, WAITED, Memory
from stream_reco.labels.pending import Held, Shown
from stream_reco.labels.settings import DAY_MS, check_order, check_presumption, check_weights, check_window
from stream_reco.labels.state import pack, unpack
from stream_reco.labels.unprompted import taken_back, unprompted


class LabelJoiner:
    """Joins events into labelled examples; times in ms.

    `window_ms`: an impression waits so long for an action, and its label may be reversed for as long again.
    `order`: what makes a response tell on earlier impressions ("group": group_id and time, "slate": request_id and
    position; None: nothing does). `lateness_ms`: how far behind the highest event time the watermark stays.
    `action_weights`: weight by kind of action, 1 where not named, 0 ignores it. `positive_from`: kinds that are
    positive only from a value on. Without `keep_unprompted_features` an unprompted action is held, for as long as it
    can be retracted, without its features, and its retraction comes without. `presume_ms`: after so long without a
    label an impression is presumed negative (reason `immediate`) until an action reverses that; None: never. Raises
    ValueError where a setting makes no sense.
    """

    def __init__(
        self,
        window_ms: int = 14 * DAY_MS,
        order: Order = None,
        lateness_ms: int = 60_000,
        action_weights: Mapping[str, float] | None = None,
        positive_from: Mapping[str, float] | None = None,
        keep_unprompted_features: bool = True,
        presume_ms: int | None = None,
    ) -> None:
        check_window(window_ms, lateness_ms)
        check_presumption(presume_ms, window_ms)
        check_order(order)
        check_weights(action_weights or {}, positive_from or {})
        self.window_ms, self.order, self.lateness_ms = window_ms, order, lateness_ms
        self.action_weights, self.positive_from = dict(action_weights or {}), dict(positive_from or {})
        self.keep_unprompted_features = keep_unprompted_features
        self.presume_ms = presume_ms
        self._memory = Memory(window_ms, order, presume_ms)

    @property
    def pending(self) -> int:
        """Impressions without a label yet."""
        return self._memory.pending

    @property
    def duplicates(self) -> int:
        """Events whose id had come before."""
        return self._memory.duplicates

    @property
    def late(self) -> int:
        """Events that came behind the watermark; they were processed all the same."""
        return self._memory.late

    @property
    def orphans(self) -> int:
        """Retractions that found no action of theirs."""
        return self._memory.orphans

    @property
    def watermark(self) -> int | None:
        """The highest event time seen minus the lateness; None before the first event."""
        time = self._memory.stream_time
        return None if time == BEFORE_ALL else time - self.lateness_ms

    def seen(self, event_id: Id) -> bool:
        """Whether an event with this id came before and is still remembered."""
        return event_id in self._memory.remembered

    def expects_features(self, event: Event) -> bool:
        """Whether features given with this event would travel into an example.

        They do with an impression, and with an action that finds no open impression.
        """
        if event.event_id is not None and event.event_id in self._memory.remembered:
            return False
        if type(event) is Action:
            return self.weight(event) > 0 and self._find(event) is None
        return type(event) is Impression

    def process(self, events: Sequence[Event], features: Sequence[bytes | None] | None = None) -> list[Example]:
        """Take events as they come; return the examples that they make at once. Never moves time.

        `features` has one entry an event. Raises ValueError where it has not.
        """
        if features is None:
            features = [None] * len(events)
        elif len(features) != len(events):
            raise ValueError(f"{len(features)} features for {len(events)} events: give one each, None where unknown")
        out: list[Example] = []
        for event, moment in zip(events, features, strict=True):
            if not self._is_new(event):
                continue
            if type(event) is Impression:
                self._impression(event, moment, out)
            elif type(event) is Action:
                self._action(event, moment, out)
            else:
                self._memory.keep_id(event.event_id, event.timestamp)
                if type(event) is Retraction:
                    self._retraction(event, out)
        return out

    def advance(self, watermark: int) -> list[Example]:
        """Let event time pass up to `watermark`, from which the lateness is already taken; it never goes back."""
        memory = self._memory
        memory.advanced = watermark = max(watermark, memory.advanced)
        out: list[Example] = []
        while (entry := memory.calendar.pop_before(watermark)) is not None:
            time, kind, seq, due = entry
            if kind <= DEADLINE:
                self._label(kind, time, due, out)
            else:
                self._let_go(kind, seq, due, out)
        memory.remembered.expire(watermark)
        return out

    def forget_user(self, user_id: Id) -> None:
        """Drop all that is held about a user: what was pending or could be reversed gives no example any more.

        The ids of events stay, so that repeating them does not bring the user back. Takes time in proportion to all
        actions that are remembered.
        """
        self._memory.forget_user(user_id)

    def state(self) -> bytes:
        """Everything, settings included, so that `from_state` goes on as if nothing had happened."""
        settings = (
            self.window_ms, self.order, self.lateness_ms, self.action_weights, self.positive_from,
            self.keep_unprompted_features, self.presume_ms,
        )
        return pack(settings, self._memory.state())

    @classmethod
    def from_state(cls, data: bytes) -> LabelJoiner:
        """The inverse of `state`. Raises ValueError where `data` is no state, or one of another version."""
        settings, memory = unpack(data)
        joiner = cls(*settings)
        joiner._memory.recall(memory)
        return joiner

    def _is_new(self, event: Event) -> bool:
        memory = self._memory
        if event.event_id is not None and event.event_id in memory.remembered:
            memory.duplicates += 1
            return False
        memory.seq += 1
        if event.timestamp > memory.stream_time:
            memory.stream_time = event.timestamp
        if event.timestamp < memory.advanced:
            memory.late += 1
        return True

    def weight(self, event: Action) -> float:
        """The weight of an action; 0 where its kind is ignored or its value is below what counts as positive."""
        if self.positive_from:
            least = self.positive_from.get(event.action)
            if least is not None and (event.value is None or event.value < least):
                return 0.0
        return self.action_weights.get(event.action, 1.0)

    def _find(self, event: Action) -> Shown | None:
        life = 2 * self.window_ms
        return self._memory.open.find(event.user_id, event.item_id, event.request_id, event.timestamp, life)

    def _impression(self, event: Impression, features: bytes | None, out: list[Example]) -> None:
        memory = self._memory
        shown = Shown(
            seq=memory.seq,
            time=event.timestamp,
            user_id=event.user_id,
            item_id=event.item_id,
            request_id=event.request_id,
            position=event.position,
            group_id=event.group_id,
            context=event.context,
            features=features,
        )
        memory.add(shown)
        end = memory.end_of(shown)
        memory.keep_id(event.event_id, end)
        place = memory.groups.place(shown)
        if place is not None and (told := memory.groups.join(*place, shown)) is not None:
            memory.calendar.push(told[0], RESPONSE, shown.seq, (place[0], told[1]))
        if event.request_id is not None:
            waited = memory.waiting.take(event.user_id, event.item_id, event.request_id, end)
            if waited:
                self._attribute(shown, waited, out)

    def _action(self, event: Action, features: bytes | None, out: list[Example]) -> None:
        memory = self._memory
        weight = self.weight(event)
        if weight <= 0:
            memory.keep_id(event.event_id, event.timestamp)
            return
        action = Held(
            seq=memory.seq,
            time=event.timestamp,
            weight=weight,
            user_id=event.user_id,
            item_id=event.item_id,
            request_id=event.request_id,
            event_id=event.event_id,
            action=event.action,
            value=event.value,
            context=event.context,
            features=features,
        )
        if event.event_id in memory.retractions:
            time, _, user_id = memory.retractions.pop(event.event_id)
            action.retracted = time if user_id in (None, event.user_id) else None
        shown = self._find(event)
        if shown is not None:
            self._attribute(shown, [action], out)
        elif event.request_id is not None:
            memory.wait(action)
        else:
            self._unprompted(action, out)

    def _attribute(self, shown: Shown, actions: list[Held], out: list[Example]) -> None:
        memory = self._memory
        end = memory.end_of(shown)
        place = memory.groups.place(shown)
        for action in actions:
            action.dropped = True
            action.context = action.features = None  # those of the impression are the ones of the moment
            if action.retracted is not None and action.retracted > end:
                action.retracted = None
            if action.event_id is not None:
                memory.taken[action.event_id] = shown
                memory.keep_id(action.event_id, end)
            if place is not None and memory.groups.respond(*place, action.time):
                memory.calendar.push(action.time, RESPONSE, action.seq, place)
        memory.pending -= shown.label is None
        rules.act(shown, actions, shown.time + self.window_ms, out)
        memory.pending += shown.label is None

    def _unprompted(self, action: Held, out: list[Example]) -> None:
        out.append(unprompted(action))
        if action.event_id is None:
            return
        if not self.keep_unprompted_features:
            action.features = None
        action.live = True
        self._memory.keep_id(action.event_id, action.time + self.window_ms)
        self._memory.keep_retractable(action)
        if action.retracted is not None:
            self._retract_unprompted(action, action.retracted, out)

    def _retraction(self, event: Retraction, out: list[Example]) -> None:
        memory = self._memory
        taken = memory.taken.get(event.retracts)
        if taken is None:
            if event.retracts not in memory.retractions:
                memory.hold_retraction(event.retracts, (event.timestamp, memory.seq, event.user_id))
        elif event.user_id is not None and event.user_id != taken.user_id:
            memory.orphans += 1
        elif isinstance(taken, Shown):
            if event.timestamp <= memory.end_of(taken):
                rules.retract(taken, event.retracts, event.timestamp, taken.time + self.window_ms, out)
        elif taken.live:
            self._retract_unprompted(taken, event.timestamp, out)
        elif taken.retracted is None:
            taken.retracted = event.timestamp

    def _retract_unprompted(self, action: Held, time: int, out: list[Example]) -> None:
        if time <= action.time + self.window_ms:
            self._memory.forget(action)
            out.append(taken_back(action, time))

    def _label(self, kind: int, time: int, due: Any, out: list[Example]) -> None:
        """Do what gives or settles a label."""
        if kind == DEADLINE:
            self._mature(due, out)
        elif kind == PRESUMED:
            self._presume(due, time, out)
        elif kind == RESPONSE:
            self._passed_over(due, time, out)

    def _let_go(self, kind: int, seq: int, due: Any, out: list[Example]) -> None:
        """Forget what can change nothing any more."""
        memory = self._memory
        if kind == END:
            if not due.dropped:
                memory.remove(due)
        elif kind == WAITED:
            if not due.dropped:
                memory.waiting.remove(due)
                self._unprompted(due, out)
        elif kind == FORGET:
            memory.forget(due)
        elif kind == ORPHAN and due in memory.retractions and memory.retractions[due][1] == seq:
            del memory.retractions[due]
            memory.orphans += 1

    def _presume(self, shown: Shown, time: int, out: list[Example]) -> None:
        if shown.label is None and not shown.dropped:
            rules.presume(shown, time, out)
            self._memory.pending -= 1

    def _mature(self, shown: Shown, out: list[Example]) -> None:
        if shown.dropped:
            return
        memory = self._memory
        memory.pending -= shown.label is None
        rules.mature(shown, shown.time + self.window_ms, out)
        memory.calendar.push(memory.end_of(shown), END, shown.seq, shown)

    def _passed_over(self, place: tuple[GroupKey, int], time: int, out: list[Example]) -> None:
        for shown in self._memory.groups.passed_over(*place):
            rules.respond_later(shown, time, out)
            self._memory.pending -= 1
