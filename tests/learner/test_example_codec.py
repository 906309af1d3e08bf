"""Examples as strangers may write them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from stream_reco.labels import Example, Undone
from stream_reco.learner.example_codec import BadExample, decode_example
from tests.learner.test_distributed_learner import BEFORE, OWN, PATIENT, unprompted
from tests.learner.two_streams import feed, learner_of

EXAMPLE = Example(
    user_id=-(2**63),
    item_id="ä",
    request_id="r",
    label=0,
    weight=1.0,
    reason="reversal",
    event_time=5,
    label_time=7,
    context={"device": "phone", "new": True},
    undoes=Undone("action", 1, 2.0, 6),
    position=3,
    value=0.5,
)


def changed(**fields: Any) -> bytes:
    return msgspec.json.encode({**msgspec.json.decode(msgspec.json.encode(EXAMPLE)), **fields})


def test_what_was_written_is_read() -> None:
    assert decode_example(msgspec.json.encode(EXAMPLE)) == EXAMPLE
    learner = learner_of(PATIENT)
    feed(learner, [*BEFORE, unprompted(OWN)])
    inputs = learner.queue.waiting[0].inputs
    with_features = msgspec.structs.replace(EXAMPLE, features=inputs)
    assert decode_example(msgspec.json.encode(with_features)).features == inputs


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "json"),
        (b"{", "json"),
        (b"\xff", "json"),
        (b"[]", "json"),
        (b"{}", "json"),
        (changed(weight="1"), "json"),
        (changed(user_id=""), "json"),
        (changed(item_id="ä" * 300), "id"),
        (changed(user_id=2**63), "json"),
        (changed(label=2), "label"),
        (changed(weight=-1.0), "weight"),
        (changed(event_time=-5), "timestamp"),
        (changed(label_time=2**60), "timestamp"),
        (changed(position=2**63), "position"),
        (changed(position=-2), "position"),
        (changed(features="no base64!"), "json"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(BadExample) as refused:
        decode_example(data)
    assert refused.value.reason == reason
    assert len(str(refused.value)) > 10


@pytest.mark.parametrize("features", [b"", b"x", msgspec.msgpack.encode([1, b"", b"", b"", b"", b"", b""])])
def test_features_of_another_release_are_left_out(features: bytes) -> None:
    example = msgspec.structs.replace(EXAMPLE, features=features)
    assert decode_example(msgspec.json.encode(example)) == EXAMPLE
