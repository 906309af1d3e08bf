"""Impressions and actions become examples, joined where they are: in the partition of their user or group."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec

from stream_reco import metrics
from stream_reco.events import BadEvent, Event, Impression, check_time
from stream_reco.labels import Example, LabelJoiner, LabelSettings, Watermarks, observe_example, observe_pending
from stream_reco.labels.memory.served_features import ServedFeatures
from stream_reco.measure.stages import observe_stage
from stream_reco.storage.rocksdb import Changes, RocksStore
from topologies.dead_letters.letter import dead_letter, encode_letter
from topologies.messages.keys import id_key
from topologies.messages.served_slate import ServedSlate, decode_slate
from topologies.messages.user_deletion import Deletion, decode_message
from topologies.partitions.processor import InputRecord, Output

_LOGGER = logging.getLogger(__name__)
_DEADLINES = 10_000
"""At most in one transaction."""
_PARTITION = 0
_encode = msgspec.json.Encoder().encode


class Labelling:
    """Joins the events of one partition with each other, and with the features that scorers have served.

    See `topologies.partitions.processor.Processor`.
    """

    def __init__(
        self,
        settings: LabelSettings,
        future_ms: int,
        topics: tuple[str, str],
        store: RocksStore,
        served: str | None = None,
    ) -> None:
        """`topics` are those of examples and of dead letters; events further ahead than `future_ms` are such.

        Records of the topic `served` are slates with their features.
        """
        self._joiner = LabelJoiner(**settings.of_joiner(), store=store)
        self._examples, self._dead_letters = topics
        self._served = served
        self._features = ServedFeatures(store, self._joiner.watermark)
        self._future_ms = future_ms
        self._marks = Watermarks(settings.lateness_ms)
        self._marks.assign(_PARTITION)
        self._stream_time = 0
        if (watermark := self._joiner.watermark) is not None:
            self._stream_time = watermark + settings.lateness_ms
            self._marks.observe(_PARTITION, self._stream_time, self._stream_time)

    @property
    def is_behind(self) -> bool:
        """Whether deadlines have passed that were not processed yet."""
        return self._joiner.is_behind

    def process(self, records: Sequence[InputRecord], now: int) -> list[Output]:
        """Join the events and slates; anything else becomes a dead letter."""
        outputs: list[Output] = []
        for record in records:
            try:
                if record.topic == self._served:
                    self._hold(decode_slate(record.value), now)
                else:
                    self._take(decode_message(record.value), now, outputs)
            except BadEvent as bad:
                outputs.append(self._dead(record, bad.reason, str(bad), now))
            except Exception as error:
                # One bad event must not stop those behind it.
                _LOGGER.exception("an event could not be joined: %s, offset %d", record.topic, record.offset)
                outputs.append(self._dead(record, "internal", repr(error), now))
        return outputs

    def _hold(self, slate: ServedSlate, now: int) -> None:
        check_time(slate, now, self._future_ms)
        for item in slate.items:
            self._features.hold(slate.user_id, slate.request_id, item.item_id, slate.timestamp, item.features)

    def _take(self, event: Event | Deletion, now: int, outputs: list[Output]) -> None:
        if isinstance(event, Deletion):
            self._joiner.forget_user(event.user_id)
            self._features.forget_user(event.user_id)
            return
        check_time(event, now, self._future_ms)
        late = self._joiner.late
        self._emit(self._joiner.process([event], [self._features_of(event)]), outputs, now)
        metrics.EVENTS_LATE.inc(self._joiner.late - late)
        self._marks.observe(_PARTITION, event.timestamp, now)
        self._stream_time = max(self._stream_time, event.timestamp)

    def _features_of(self, event: Event) -> bytes | None:
        """The features that an impression was served with; returned once."""
        if self._served is None or not isinstance(event, Impression) or event.request_id is None:
            return None
        features = self._features.of(event.user_id, event.request_id, event.item_id)
        if features is None or not self._joiner.expects_features(event):
            return None
        self._features.joined(event.user_id, event.request_id, event.item_id)
        return features

    def advance(self, now: int, *, caught_up: bool) -> list[Output]:
        """Let deadlines pass: by event time, and by the wall clock where no record is left to read."""
        if caught_up:
            self._marks.tick(now)
        outputs: list[Output] = []
        watermark = self._marks.of(_PARTITION)
        if watermark is not None:
            self._emit(self._joiner.advance(watermark, _DEADLINES), outputs, now)
            self._features.expire(watermark)
        return outputs

    def prepare(self) -> Changes:
        """What the next `commit` will write."""
        self._features.save()
        return self._joiner.prepare()

    def commit(self, position: bytes) -> None:
        """Make it durable."""
        self._joiner.commit_prepared(position)
        self._features.committed()
        observe_pending(self._joiner, self._stream_time)

    def close(self) -> None:
        """It uses nothing else."""

    def _emit(self, examples: list[Example], outputs: list[Output], now: int) -> None:
        for example in examples:
            observe_example(example, self._stream_time)
            if example.action is not None:
                observe_stage("example", example.label_time, now)
            outputs.append(Output(self._examples, id_key(example.user_id), _encode(example)))

    def _dead(self, record: InputRecord, reason: str, message: str, now: int) -> Output:
        metrics.EVENTS_REJECTED.labels(reason).inc()
        letter = dead_letter(record, reason, message, now)
        return Output(self._dead_letters, record.key, encode_letter(letter))
