"""Impressions and actions become examples, joined where they are: in the partition of their user or group."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec

from stream_reco import metrics
from stream_reco.events import BadEvent, Event, check_time
from stream_reco.labels import Example, LabelJoiner, LabelSettings, Watermarks, observe_example, observe_pending
from stream_reco.labels.store import Changes, Store
from topologies.dead_letters import dead_letter, encode_letter
from topologies.deletions import Deletion, decode_message
from topologies.freshness import observe_stage
from topologies.keys import id_key
from topologies.role import Output, Record

_LOGGER = logging.getLogger(__name__)
_AT_ONCE = 10_000
"""Deadlines that pass in one transaction."""
_PARTITION = 0
_encode = msgspec.json.Encoder().encode


class Labelling:
    """Joins the events of one partition; see `topologies.role.Processor`."""

    def __init__(self, settings: LabelSettings, future_ms: int, topics: tuple[str, str], store: Store) -> None:
        """`topics` are those of examples and of dead letters; events further ahead than `future_ms` are such."""
        self._joiner = LabelJoiner(**settings.of_joiner(), store=store)
        self._examples, self._dead_letters = topics
        self._future_ms = future_ms
        self._marks = Watermarks(settings.lateness_ms)
        self._marks.assign(_PARTITION)
        self._stream_time = 0
        if (watermark := self._joiner.watermark) is not None:
            self._stream_time = watermark + settings.lateness_ms
            self._marks.observe(_PARTITION, self._stream_time, self._stream_time)

    @property
    def is_behind(self) -> bool:
        """Whether deadlines have passed that nobody has looked at yet."""
        return self._joiner.is_behind

    def process(self, records: Sequence[Record], now: int) -> list[Output]:
        """Join what was read; what is no event becomes a dead letter."""
        outputs: list[Output] = []
        for record in records:
            try:
                event = decode_message(record.value)
                if isinstance(event, Deletion):
                    self._joiner.forget_user(event.user_id)
                    continue
                check_time(event, now, self._future_ms)
                self._take(event, now, outputs)
            except BadEvent as bad:
                outputs.append(self._dead(record, bad.reason, str(bad), now))
            except Exception as error:
                # What one event does wrong must not stop those behind it.
                _LOGGER.exception("an event could not be joined: %s, offset %d", record.topic, record.offset)
                outputs.append(self._dead(record, "internal", repr(error), now))
        return outputs

    def _take(self, event: Event, now: int, outputs: list[Output]) -> None:
        late = self._joiner.late
        self._tell(self._joiner.process([event]), outputs, now)
        metrics.EVENTS_LATE.inc(self._joiner.late - late)
        self._marks.observe(_PARTITION, event.timestamp, now)
        self._stream_time = max(self._stream_time, event.timestamp)

    def advance(self, now: int, *, caught_up: bool) -> list[Output]:
        """Let deadlines pass: by the events' own times, and by the clock's where nothing waits to be read."""
        if caught_up:
            self._marks.tick(now)
        outputs: list[Output] = []
        watermark = self._marks.of(_PARTITION)
        if watermark is not None:
            self._tell(self._joiner.advance(watermark, _AT_ONCE), outputs, now)
        return outputs

    def prepare(self) -> Changes:
        """What the next `commit` will write."""
        return self._joiner.prepare()

    def commit(self, position: bytes) -> None:
        """Make it last."""
        self._joiner.commit_prepared(position)
        observe_pending(self._joiner, self._stream_time)

    def close(self) -> None:
        """It uses nothing else."""

    def _tell(self, examples: list[Example], outputs: list[Output], now: int) -> None:
        for example in examples:
            observe_example(example, self._stream_time)
            if example.action is not None:
                observe_stage("example", example.label_time, now)
            outputs.append(Output(self._examples, id_key(example.user_id), _encode(example)))

    def _dead(self, record: Record, reason: str, message: str, now: int) -> Output:
        metrics.EVENTS_REJECTED.labels(reason).inc()
        letter = dead_letter(record, reason, message, now)
        return Output(self._dead_letters, record.key, encode_letter(letter))
