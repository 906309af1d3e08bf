"""After the kernels of features are warm, whatever is said of whom compiles nothing."""

from __future__ import annotations

from typing import Any

from stream_reco.cli.server.warm_up_content import warm_up_content
from stream_reco.embedded import Engine
from stream_reco.events import Action, Event, Impression, ItemEvent, UserEvent
from stream_reco.events.schema import Features
from stream_reco.model.content import erasure, pairs, regression
from stream_reco.model.encoder import encoding, item_codes
from stream_reco.serve.slate import alike_pairs
from stream_reco.signals.content import entries, values

TIME = 1_700_000_000_000
KERNELS: list[Any] = [
    entries.replace_entries,
    entries.newest_slots,
    values._read,
    pairs._pairs,
    regression._sums,
    regression._contrasts,
    regression._learn,
    erasure._own_keys,
    encoding.weighted_sums,
    encoding._spread,
    encoding._keys,
    item_codes.cosines,
    alike_pairs._pairs_by_words,
    alike_pairs._near_in_bits,
]


def test_what_follows_compiles_nothing() -> None:
    warm_up_content()
    before = [set(kernel.signatures) for kernel in KERNELS]
    assert all(before)
    said: Features = {"kind": "a", "price": 3.5, "title": "four words or more", "since": "2024-02-03", "new": True}
    events: list[Event] = [
        ItemEvent(item_id=item, timestamp=TIME, features={**said, "tags": ["x", str(item)]}) for item in range(9)
    ]
    events.append(UserEvent(user_id="u", timestamp=TIME, features={"likes": "a", "age": 30}))
    events += [Impression(user_id="u", item_id=item, timestamp=TIME + item) for item in range(9)]
    # Two people on different items, so that there is something to learn who belongs together against.
    events += [
        Action(user_id="uv"[one % 2], item_id=one % 8, action="click", timestamp=TIME + 60_000 * one)
        for one in range(1, 40)
    ]
    with Engine() as engine:
        engine.ingest(events, strict=True)
        engine.finish()
        engine.sync()
        assert engine.learner.queue.trainer.encoder.learned > 0
        engine.recommend("u", 3, filters={"kind": "a"})
        engine.similar(1, 3)
        engine.features()
        engine.forget("u")
    assert [set(kernel.signatures) for kernel in KERNELS] == before
