"""Labelling with slates, record by record: which features find their impression, and when they leave."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from stream_reco import metrics
from stream_reco.events import BadEvent, Event, Impression, ItemEvent, encode
from stream_reco.labels import Example, LabelSettings
from stream_reco.labels.settings import DAY_MS
from stream_reco.learner.example_codec import decode_example
from stream_reco.model.inputs import Inputs
from stream_reco.serve.slate.slate_features import SlateFeatures
from stream_reco.signals.content.values import Values
from stream_reco.storage.rocksdb import RocksStore
from stream_reco.train.batch import Labelled, training_batch
from tests.integration.served_log import features_of, messages_of, shown_slate
from topologies.messages.served_slate import decode_slate
from topologies.messages.user_deletion import Deletion, encode_deletion
from topologies.processors.labelling import Labelling

NOW = 1_700_000_000_000
HOUR_MS = 3_600_000


@dataclass
class Message:
    topic: str
    value: bytes
    key: bytes | None = None
    partition: int = 0
    offset: int = 0
    timestamp: int = 0


class Partition:
    """A store and the processor on it; each step is committed."""

    def __init__(self, folder: Path, served: str | None = "served") -> None:
        self.store = RocksStore(folder)
        self._made = served
        self.begin()

    def begin(self) -> None:
        """A processor that knows only what is in the store."""
        settings = LabelSettings(window_days=1)
        self.labelling = Labelling(settings, 300_000, ("examples", "letters"), self.store, self._made)

    def take(self, *messages: Message) -> list[Example]:
        now = NOW + 30 * DAY_MS
        outputs = self.labelling.process(messages, now) + self.labelling.advance(now, caught_up=False)
        assert {output.topic for output in outputs} <= {"examples"}
        self.labelling.prepare()
        self.labelling.commit(b"")
        return [msgspec.json.decode(output.value, type=Example) for output in outputs]

    def held(self) -> int:
        """Records in the store that are about served features."""
        return sum(len(self.store.everything(letter)) for letter in (b"f", b"z"))


@pytest.fixture
def partition(tmp_path: Path) -> Iterator[Partition]:
    made = Partition(tmp_path / "store")
    with closing(made.store):
        yield made


def served(user: int, request: str, now: int = NOW, items: tuple[str, ...] = ("a", "b")) -> Message:
    ((key, value),) = messages_of([shown_slate(user, request, now, items)])
    return Message("served", value, key)


def event(event: Event | Deletion) -> Message:
    return Message("events", encode_deletion(event) if isinstance(event, Deletion) else encode(event))


def shown(user: int, request: str | None, item: str = "a", at: int = NOW, name: str | None = None) -> Message:
    return event(Impression(user_id=user, item_id=item, timestamp=at, request_id=request, event_id=name))


def time(at: int) -> Message:
    return event(ItemEvent(item_id="i", timestamp=at + 60_000))


def outcomes() -> dict[str, float]:
    names = ("joined", "late", "expired")
    return {name: _count(name) for name in names}


def _count(outcome: str) -> float:
    return metrics.REGISTRY.get_sample_value("stream_reco_served_features_total", {"outcome": outcome}) or 0.0


def gained(before: dict[str, float]) -> dict[str, float]:
    return {name: count - before[name] for name, count in outcomes().items() if count != before[name]}


def test_each_impression_gets_its_own_and_only_once(partition: Partition) -> None:
    before = outcomes()
    partition.take(served(1, "r"), served(2, "r"))
    partition.begin()
    partition.take(shown(1, "r", name="x"), shown(1, "r", name="x"), shown(1, "r", "b"), shown(2, "r"), shown(3, "r"))
    partition.take(shown(1, "r", name="y"))
    examples = partition.take(time(NOW + 2 * DAY_MS))
    wanted = features_of([shown_slate(user, "r", NOW, ("a", "b")) for user in (1, 2)])
    found = [((one.user_id, one.request_id, one.item_id), one.features) for one in examples]
    expected = [(1, "r", "a"), (1, "r", "b"), (2, "r", "a")]
    assert found == [*((key, wanted[key]) for key in expected), ((3, "r", "a"), None), ((1, "r", "a"), None)]
    assert gained(before) == {"joined": 3, "expired": 1}


def test_what_comes_after_its_impression_is_counted_and_not_kept(partition: Partition) -> None:
    before = outcomes()
    partition.take(shown(1, "r"))
    partition.take(served(1, "r", items=("a",)))
    assert gained(before) == {"late": 1}
    assert partition.held() == 0


def test_what_is_not_asked_for_leaves_after_a_day_also_from_the_disk(partition: Partition) -> None:
    before = outcomes()
    partition.take(*(served(1, f"r{number}", NOW + number * HOUR_MS) for number in range(30)))
    assert partition.held() == 60 + 30
    partition.take(time(NOW + DAY_MS + 10 * HOUR_MS))
    # Ten hours have passed wholly, and of those the last may stay for the rest of its hour.
    assert partition.held() in {3 * 20, 3 * 19}
    partition.begin()
    partition.take(shown(1, "r9", at=NOW + DAY_MS), shown(1, "r29", at=NOW + DAY_MS))
    partition.take(served(1, "older", NOW + 5 * HOUR_MS))
    partition.take(time(NOW + 10 * DAY_MS), time(NOW + 10 * DAY_MS))
    partition.take(time(NOW + 10 * DAY_MS))
    assert partition.held() == 0
    assert gained(before) == {"joined": 1, "expired": 61}


def test_a_deleted_user_leaves_no_features(partition: Partition) -> None:
    partition.take(served(1, "r"), served(2, "r"))
    partition.take(served(1, "new"), event(Deletion(user_id=1, timestamp=NOW)))
    partition.take(shown(1, "r"), shown(1, "new"), shown(2, "r"))
    examples = partition.take(time(NOW + 2 * DAY_MS))
    assert {(one.user_id, one.request_id) for one in examples if one.features} == {(2, "r")}


def test_without_the_topic_nothing_is_kept(tmp_path: Path) -> None:
    partition = Partition(tmp_path / "store", served=None)
    with closing(partition.store):
        before = outcomes()
        partition.take(shown(1, "r"), shown(1, None))
        assert [one.features for one in partition.take(time(NOW + 2 * DAY_MS))] == [None, None]
        assert gained(before) == {}


def with_content(weight: float = 0.5) -> SlateFeatures:
    """A slate of two items; of the user two things are said, of the second item one."""
    slate = shown_slate(1, "r", NOW, ["a", "b"])
    two, one = (np.arange(count, dtype=np.int64) for count in (2, 1))
    inputs = replace(
        slate.inputs,
        profile=Values(two.astype(np.int32), two, np.full(2, 0.25, dtype=np.float32)),
        counts=np.array([0, 1], dtype=np.int32),
        said=Values(one.astype(np.int32), one, np.full(1, weight, dtype=np.float32)),
    )
    return replace(slate, inputs=inputs)


def test_what_is_said_of_users_and_items_travels_with_the_example(partition: Partition) -> None:
    ((key, value),) = messages_of([with_content()])
    examples = partition.take(
        Message("served", value, key), shown(1, "r", "a"), shown(1, "r", "b"), time(NOW + 2 * DAY_MS)
    )
    of_item = {example.item_id: decode_example(msgspec.json.encode(example)).features or b"" for example in examples}
    read = {item: Inputs.from_bytes(features) for item, features in of_item.items()}
    assert sorted(read) == ["a", "b"]
    assert [read[item].said.weights.tolist() for item in ("a", "b")] == [[], [0.5]]
    assert [read[item].profile.codes.tolist() for item in ("a", "b")] == [[0, 1], [0, 1]]
    batch = training_batch([Labelled(of_item[item], 1, 1.0, NOW, 0) for item in ("a", "b")]).batch
    assert (batch.profile_counts.tolist(), batch.said_counts.tolist()) == ([2, 2], [0, 1])


def test_content_that_is_not_finite_is_refused() -> None:
    ((_, value),) = messages_of([with_content(float("nan"))])
    with pytest.raises(BadEvent, match="not finite"):
        decode_slate(value)
