"""Messages of version 0.1.0 are read from Kafka, and would be written as they were."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from stream_reco.events import BadEvent, encode
from stream_reco.learner.example_codec import decode_example
from tests.compatibility.recorded import read_json
from topologies.dead_letters.letter import decode_letter
from topologies.messages.served_slate import decode_slate
from topologies.messages.user_deletion import Deletion, decode_message, encode_deletion


@pytest.fixture(scope="module")
def messages() -> dict[str, list[bytes]]:
    """Values by topic, without its prefix."""
    found: dict[str, list[bytes]] = {}
    for topic, _, _, _, value in read_json("kafka")["messages"]:
        found.setdefault(topic.rpartition(".")[2], []).append(base64.b64decode(value or ""))
    return found


def read_again(data: bytes) -> bytes:
    """An event, or the deletion of a user, as it would be written today."""
    message = decode_message(data)
    return encode_deletion(message) if isinstance(message, Deletion) else encode(message)


def test_events_and_deletions(messages: dict[str, list[bytes]]) -> None:
    kinds, bad = set(), 0
    for data in messages["events"]:
        try:
            assert read_again(data) == data
            kinds.add(type(decode_message(data)).__name__)
        except BadEvent:
            bad += 1
    assert kinds == {"Impression", "Action", "Retraction", "ItemEvent", "UserEvent", "Deletion"}
    assert bad == len(messages["dead-letters"]) == 3


@pytest.mark.parametrize(
    ("topic", "decode"), [("examples", decode_example), ("served", decode_slate), ("dead-letters", decode_letter)]
)
def test_what_workers_and_scorers_wrote(
    topic: str, decode: Callable[[bytes], Any], messages: dict[str, list[bytes]]
) -> None:
    assert messages[topic]
    for data in messages[topic]:
        assert msgspec.json.encode(decode(data)) == data


def test_features_of_old_slates_are_learned_from(messages: dict[str, list[bytes]]) -> None:
    """Those of another release are left out of an example, and computed anew."""
    served = {item.features for data in messages["served"] for item in decode_slate(data).items}
    assert len(served) > 5
    example = decode_example(messages["examples"][0])
    for features in served:
        shown = msgspec.structs.replace(example, features=features)
        assert decode_example(msgspec.json.encode(shown)) == shown
