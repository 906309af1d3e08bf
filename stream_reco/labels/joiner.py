"""The join of impressions with actions in event time.

"Passes" means that the watermark is greater: an event at exactly the watermark is not late, so a deadline at the
watermark is not over yet. An action at exactly the deadline is within the window.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import closing

from stream_reco import metrics
from stream_reco.events import Action, Event, Id, Impression, Retraction
from stream_reco.labels.joiner_state import JoinerState
from stream_reco.labels.label import rules
from stream_reco.labels.label.delays import AdaptiveWait
from stream_reco.labels.label.example import Example
from stream_reco.labels.label.kinds import ActionKinds, KindSettings, Sign
from stream_reco.labels.label.pending import PendingAction, PendingImpression, action_of, impression_of
from stream_reco.labels.label.unprompted import taken_back, unprompted
from stream_reco.labels.memory.groups import GroupKey, Order, place_of
from stream_reco.labels.memory.in_memory import InMemory
from stream_reco.labels.memory.on_disk import OnDisk
from stream_reco.labels.memory.protocol import DEADLINE, END, PRESUMED, WAITED, Due, LabelWindows, Memory
from stream_reco.labels.memory.retracted import retracted
from stream_reco.labels.memory.waits import note_delay, wait_of
from stream_reco.labels.settings import DAY_MS, check_kind_windows, check_order, check_presumption, check_window
from stream_reco.storage.rocksdb import Changes, RocksStore


class LabelJoiner(JoinerState):
    """Joins events into labelled examples; times in ms.

    `window_ms`: how long an impression waits for an action; its label may be reversed for as long again.
    `order`: what makes a response label earlier impressions ("group": group_id and time, "slate": request_id and
    position; None: nothing does). `lateness_ms`: how far behind the highest event time the watermark stays.
    `kinds`, `action_weights`, `positive_from`, `value_units`: see `ActionKinds`. Without `keep_unprompted_features` an
    unprompted action is held, for as long as it can be retracted, without its features, and its retraction as well.
    `presume_ms`: an impression without a label for this time is presumed negative (reason `immediate`) until an action
    reverses that; None: never. `adaptive`: each has a wait of its own instead, by which half of the actions of the most
    frequent positive kind come. It is judged by stream time, for what is late reverses it all the same. `store`: keeps
    the state rather than the main memory, and is read at the start; changes are in it from `commit` on. Raises
    ValueError where a setting makes no sense or is not the one that the store has.
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
        value_units: Mapping[str, float] | None = None,
        store: RocksStore | None = None,
        kinds: Mapping[str, KindSettings] | None = None,
        adaptive: AdaptiveWait | None = None,
    ) -> None:
        check_window(window_ms, lateness_ms)
        check_presumption(presume_ms, window_ms, adaptive=adaptive is not None)
        check_order(order)
        check_kind_windows(kinds or {}, window_ms)
        self.window_ms, self.order, self.presume_ms = window_ms, order, presume_ms
        self._kinds = ActionKinds(kinds, action_weights, positive_from, value_units)
        self.keep_unprompted_features = keep_unprompted_features
        self.store = store
        windows = LabelWindows(window_ms, presume_ms, adaptive is not None)
        self.is_behind = False
        """Whether the last `advance` had to stop at its limit."""
        bounds = AdaptiveWait() if adaptive is None else adaptive
        memory: Memory
        memory = InMemory(windows, order, bounds) if store is None else OnDisk(store, windows, order, bounds)
        super().__init__(memory, lateness_ms)

    def seen_among(self, event_ids: Collection[Id]) -> set[Id]:
        """Those of the ids that are `seen`; faster than one by one, and for any thread."""
        return self._memory.seen_among(event_ids)

    def expects_features(self, event: Event) -> bool:
        """Whether features given with this event would travel into an example.

        They do with an impression, and with an action that finds no open impression.
        """
        if event.event_id is not None and self._memory.seen(event.event_id):
            return False
        if type(event) is Action:
            return self.sign(event) != 0 and self._find(event) is None
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
        for event, given in zip(events, features, strict=True):
            if not self._is_new(event):
                continue
            if type(event) is Impression:
                self._impression(event, given, out)
            elif type(event) is Action:
                self._action(event, given, out)
            else:
                self._memory.keep_id(event.event_id, event.timestamp)
                if type(event) is Retraction:
                    self._retraction(event, out)
        return out

    def advance(self, watermark: int, limit: int | None = None) -> list[Example]:
        """Let event time pass up to `watermark`, from which the lateness is already taken; it never goes back.

        With `limit` it stops after that many entries: where time has jumped far, call it again while `is_behind`,
        committing in between.
        """
        memory = self._memory
        progress = memory.progress
        progress.advanced = max(watermark, progress.advanced)
        out: list[Example] = []
        self.is_behind = False
        with closing(memory.due(progress.advanced, progress.advanced + self.lateness_ms)) as entries:
            for count, entry in enumerate(entries, start=1):
                self._fall_due(entry, out)
                if count == limit:
                    self.is_behind = True
                    break
        return out

    def commit(self, position: bytes) -> Changes:
        """Write all changes to the store, together with `position`, which says how far the input was read.

        Returns the changes as key/value records, from which `RocksStore.apply` makes the same store elsewhere.
        Raises ValueError without a store, StoreError where it cannot be written.
        """
        return self._on_disk().commit(position)

    def prepare(self) -> Changes:
        """What `commit` would write, without the position, for a caller that makes it durable elsewhere first.

        `commit_prepared` follows, with nothing in between, or joiner and store are given up. Raises ValueError without.
        """
        return self._on_disk().prepare()

    def commit_prepared(self, position: bytes) -> None:
        """Commit what `prepare` returned, with `position`. Raises StoreError where it cannot be written."""
        self._on_disk().commit_prepared(position)

    def _on_disk(self) -> OnDisk:
        if not isinstance(self._memory, OnDisk):
            raise ValueError("without a store there is nowhere to commit to: pass store=RocksStore(folder)")
        return self._memory

    def forget_user(self, user_id: Id) -> None:
        """Delete a user's impressions and actions, in time proportional to all remembered; the ids of events stay."""
        self._memory.forget_user(user_id)

    def turn_back(self, time: int) -> int:
        """Let the stream be at `time` (ms) again, and what is later be of that time: the clock was wrong.

        What was labelled stays labelled; what waits does so for its full window. Returns how many impressions were
        later. To be called between two calls of `advance`. Raises ValueError without a store, StoreError where it
        cannot be written.
        """
        memory = self._on_disk()
        later = memory.turn_back(time, time - self.lateness_ms)
        self._memory = OnDisk(memory.store, memory.windows, memory.order, memory.bounds)
        return later

    def _is_new(self, event: Event) -> bool:
        progress = self._memory.progress
        if event.event_id is not None and self._memory.seen(event.event_id):
            progress.duplicates += 1
            return False
        progress.seq += 1
        progress.stream_time = max(progress.stream_time, event.timestamp)
        progress.late += event.timestamp < progress.advanced
        return True

    def weight(self, event: Action) -> float:
        """The weight of a positive action; 0 where it is none."""
        return self._kinds.weight(event)

    def sign(self, event: Action) -> Sign:
        """1 for a positive action, -1 for a negative one, 0 for one that is ignored."""
        return self._kinds.sign(event)

    def retracted(self, event: Action | Retraction) -> Action | None:
        """The action that a retraction takes back, or the given one if its retraction came first; before `process`."""
        return retracted(self._memory, event)

    def _find(self, event: Action) -> PendingImpression | None:
        life = self._kinds.window_ms(event.action) or 2 * self.window_ms
        return self._memory.find(event.user_id, event.item_id, event.request_id, event.timestamp, life)

    def _impression(self, event: Impression, features: bytes | None, out: list[Example]) -> None:
        memory = self._memory
        shown = impression_of(event, memory.progress.seq, features)
        if memory.windows.adaptive:
            shown.wait = wait_of(shown, memory)
        memory.add(shown)
        memory.progress.pending += 1
        memory.keep_id(event.event_id, memory.windows.end_of(shown))
        place = place_of(shown, self.order)
        if place is not None and (response := memory.join(*place, shown)) is not None:
            memory.response_falls_due(response[0], shown.seq, place[0], response[1])
        if event.request_id is not None:
            waited = memory.waited_for(shown)
            if waited:
                self._attribute(shown, waited, out)

    def _action(self, event: Action, features: bytes | None, out: list[Example]) -> None:
        memory = self._memory
        weight = self._kinds.signed_weight(event)
        if weight == 0:
            memory.keep_id(event.event_id, event.timestamp)
            return
        action = action_of(event, memory.progress.seq, weight, features, self._kinds.window_ms(event.action))
        if (retracted := memory.take_retraction(event.event_id)) is not None:
            action.retracted = retracted[0] if retracted[1] in (None, event.user_id) else None
        shown = self._find(event)
        if shown is not None:
            self._attribute(shown, [action], out)
        elif event.request_id is not None:
            memory.wait(action)
        else:
            self._unprompted(action, out)

    def _attribute(self, shown: PendingImpression, actions: list[PendingAction], out: list[Example]) -> None:
        memory = self._memory
        end = memory.windows.end_of(shown)
        place = place_of(shown, self.order)
        for action in actions:
            action.dropped = True
            action.features = None  # the example takes those of the impression, as its context
            if action.retracted is not None and action.retracted > end:
                action.retracted = None
            note_delay(action, shown, memory)
            memory.attribute(action, shown)
            if place is not None and memory.respond(*place, action.time):
                memory.response_falls_due(action.time, action.seq, *place)
        memory.progress.pending -= shown.label is None
        rules.act(shown, actions, memory.windows.deadline_of(shown), out)
        memory.progress.pending += shown.label is None
        memory.changed(shown)

    def _unprompted(self, action: PendingAction, out: list[Example]) -> None:
        out.append(unprompted(action))
        if action.event_id is None:
            return
        if not self.keep_unprompted_features:
            action.features = None
        action.live = True
        self._memory.keep_retractable(action)
        if action.retracted is not None:
            self._retract_unprompted(action, action.retracted, out)

    def _retraction(self, event: Retraction, out: list[Example]) -> None:
        memory = self._memory
        taken = memory.taken(event.retracts)
        if taken is None:
            memory.hold_retraction(event.retracts, event.timestamp, event.user_id)
        elif event.user_id is not None and event.user_id != taken.user_id:
            memory.progress.orphans += 1
            metrics.ORPHANS.labels("retraction").inc()
        elif isinstance(taken, PendingImpression):
            if event.timestamp <= memory.windows.end_of(taken):
                rules.retract(taken, event.retracts, event.timestamp, memory.windows.deadline_of(taken), out)
                memory.changed(taken)
        elif taken.live:
            self._retract_unprompted(taken, event.timestamp, out)
        elif taken.retracted is None:
            memory.retract_waiting(taken, event.timestamp)

    def _retract_unprompted(self, action: PendingAction, time: int, out: list[Example]) -> None:
        if time <= action.time + self.window_ms:
            self._memory.forget(action)
            out.append(taken_back(action, time))

    def _fall_due(self, entry: Due, out: list[Example]) -> None:
        time, kind, _, due = entry
        if kind == DEADLINE:
            self._mature(due, out)
        elif kind == END:
            self._memory.remove(due)
        elif kind == PRESUMED:
            self._presume(due, time, out)
        elif kind == WAITED:
            self._unprompted(due, out)
        else:
            self._passed_over(due, time, out)

    def _presume(self, shown: PendingImpression, time: int, out: list[Example]) -> None:
        if shown.label is None:
            rules.presume(shown, time, out)
            self._memory.progress.pending -= 1

    def _mature(self, shown: PendingImpression, out: list[Example]) -> None:
        memory = self._memory
        if shown.matured:
            return  # a stream that was turned back passes its deadline again
        memory.progress.pending -= shown.label is None
        held = shown.actions is not None
        rules.mature(shown, memory.windows.deadline_of(shown), out)
        if held:
            memory.changed(shown)
        memory.matured(shown)

    def _passed_over(self, place: tuple[GroupKey, int], time: int, out: list[Example]) -> None:
        memory = self._memory
        for shown in memory.passed_over(*place):
            rules.respond_later(shown, time, out)
            memory.progress.pending -= 1
            memory.changed(shown)
