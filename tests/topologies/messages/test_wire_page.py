"""docs/wire.md, held to the structs and topics that it describes."""

from __future__ import annotations

import re
from dataclasses import replace

import msgspec
import pytest

from stream_reco.config.servers import KafkaSettings
from stream_reco.labels.label.example import Example, Undone
from stream_reco.sync.wire import Header
from tests.pages import ROOT, bare, page
from topologies.dead_letters.letter import DeadLetter
from topologies.messages.served_slate import ServedItem, ServedSlate
from topologies.messages.user_deletion import Deletion
from topologies.topics.declaration import Topic, declared_topics
from topologies.topics.registry import DeclaredKey, RedrivenOffsets

WIRE = page("docs/wire.md")


@pytest.mark.parametrize(
    ("heading", "structs"),
    [
        ("field of a deletion", [Deletion]),
        ("field of an example", [Example]),
        ("field of what it undoes", [Undone]),
        ("field of a slate", [ServedSlate]),
        ("field of an item of it", [ServedItem]),
        ("field of a dead letter", [DeadLetter]),
        ("field of a publication", [Header]),
        ("field of a note", [DeclaredKey, RedrivenOffsets]),
    ],
)
def test_every_field_is_described(heading: str, structs: list[type[msgspec.Struct]]) -> None:
    listed = [bare(row[0]) for row in WIRE.table(heading)]
    assert listed == [field for struct in structs for field in struct.__struct_fields__]


def test_what_may_be_null_is_said() -> None:
    for heading, struct in (
        ("field of an example", Example),
        ("field of a dead letter", DeadLetter),
        ("field of a publication", Header),
    ):
        nullable = {bare(name) for name, kind, _ in WIRE.table(heading) if kind.endswith("or null")}
        hints = {field.name: field.type for field in msgspec.structs.fields(struct)}
        assert nullable == {name for name, hint in hints.items() if type(None) in getattr(hint, "__args__", ())}


def test_every_topic_is_described() -> None:
    kafka = KafkaSettings(partitions=5, events_days=3, examples_days=4)
    topics = list(declared_topics(kafka, partitions=7))
    listed = {bare(row[0]): row for row in WIRE.table("topic")}
    assert list(listed) == [topic.name for topic in topics]
    for topic in topics:
        _, partitions, key, kept, _ = listed[topic.name]
        assert bare(key) == topic.key
        assert partitions == _partitions(topic), topic.name
        assert kept == _kept(kafka, topic), topic.name


def _partitions(topic: Topic) -> str:
    if topic.partitions == 7:
        return "beside the events"
    return "`kafka.partitions`" if topic.partitions == 5 else str(topic.partitions)


def _kept(kafka: KafkaSettings, topic: Topic) -> str:
    if topic.retention_ms is None:
        return "compacted"
    names = {kafka.events_days: "`kafka.events_days`", kafka.examples_days: "`kafka.examples_days`"}
    days = topic.retention_ms / 86_400_000
    return names.get(days, f"{days:g} days")


def test_every_key_in_redis_is_described() -> None:
    package = ROOT / "stream_reco"
    sources = [source for room in ("sync/redis", "redis") for source in (package / room).glob("*.py")]
    text = "\n".join(source.read_text(encoding="utf-8") for source in sources)
    written = set(re.findall(r'f"(?:\{tag\}|\{prefix\}|\{\{\{prefix\}\}\}):(\w+)[:"]', text))
    assert len(written) > 5
    assert {bare(row[0]).split(":")[1] for row in WIRE.table("redis key")} == written


def test_other_topics_would_be_found() -> None:
    other = declared_topics(replace(KafkaSettings(), prefix="other"))
    assert not {bare(row[0]) for row in WIRE.table("topic")} & {topic.name for topic in other}
