"""Labels given with knowledge of the future: the bound against which the cost of delayed labels is measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stream_reco.events import Event, Id, Impression
from stream_reco.labels.joiner import LabelJoiner
from stream_reco.labels.label.example import Example
from stream_reco.labels.settings import DAY_MS, LabelSettings

_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class Final:
    """The last label of an impression, its weight in all and the time of what decided it, ms."""

    label: int
    weight: float
    time: int


def final_labels(events: Iterable[Event], settings: LabelSettings) -> dict[Id, Final]:
    """By `event_id`, in their order, the label that each impression of a complete log ends with.

    It is the same under every policy. Impressions without an id, and repetitions of one, have none.
    """
    joiner = LabelJoiner(**_waiting(settings))
    finals: dict[Id, Final] = {}
    shown: list[Id] = []
    last = 0
    for chunk in _chunks(events):
        names: list[bytes | None] = []
        for event in chunk:
            last = max(last, event.timestamp)
            name = event.event_id if isinstance(event, Impression) else None
            names.append(None if name is None else b"%d" % len(shown))
            shown += [] if name is None else [name]
        # Features travel with an impression to its labels, whatever they are.
        _settle(joiner.process(chunk, names), shown, finals)
        _settle(joiner.advance(last - settings.lateness_ms), shown, finals)
    _settle(joiner.advance(last + 2 * settings.window_ms + DAY_MS), shown, finals)
    return {name: finals[name] for name in shown if name in finals}


def _settle(examples: list[Example], shown: list[Id], finals: dict[Id, Final]) -> None:
    for example in examples:
        if example.features is None:
            continue
        name = shown[int(example.features)]
        # A label that undoes nothing is the first, or what a stronger action adds.
        before = finals[name].weight if name in finals and example.undoes is None else 0.0
        finals[name] = Final(example.label, before + example.weight, example.label_time)


def _chunks(events: Iterable[Event]) -> Iterable[list[Event]]:
    chunk: list[Event] = []
    for event in events:
        chunk.append(event)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


class OracleJoiner(LabelJoiner):
    """Gives every impression its final label as soon as it is shown, and no other after that.

    Impressions that `finals` does not know, and all without an `event_id`, get no label. What has no impression is
    labelled as ever. It lives in memory only.
    """

    def __init__(self, finals: Mapping[Id, Final], settings: LabelSettings) -> None:
        super().__init__(**_waiting(settings))
        self._finals = finals

    def process(self, events: Sequence[Event], features: Sequence[bytes | None] | None = None) -> list[Example]:
        """Take events; return the labels of the impressions among them. Raises ValueError as `LabelJoiner` does."""
        out: list[Example] = []
        for place, event in enumerate(events):
            given = None if features is None else features[place]
            name = event.event_id if isinstance(event, Impression) else None
            final = None if name is None or self.seen(name) else self._finals.get(name)
            out += _unprompted(super().process([event], [given]))
            if isinstance(event, Impression) and final is not None:
                out.append(_example(event, final, given))
        return out

    def advance(self, watermark: int, limit: int | None = None) -> list[Example]:
        """Let time pass: only actions that waited for an impression become examples."""
        return _unprompted(super().advance(watermark, limit))


def _waiting(settings: LabelSettings) -> dict[str, Any]:
    """What a joiner takes of settings where nothing is inferred and nothing presumed."""
    return replace(settings, policy="conclusive").of_joiner()


def _unprompted(examples: list[Example]) -> list[Example]:
    return [example for example in examples if example.is_unprompted]


def _example(shown: Impression, final: Final, features: bytes | None) -> Example:
    return Example(
        user_id=shown.user_id,
        item_id=shown.item_id,
        request_id=shown.request_id,
        label=final.label,
        weight=final.weight,
        reason="action" if final.label else "window",
        event_time=shown.timestamp,
        label_time=final.time,
        context=shown.context,
        features=features,
        position=shown.position,
    )
