"""A log that a release without merges wrote: its item events replaced, those since are merged, at every restart."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from stream_reco.embedded import Engine
from stream_reco.embedded.journal import records
from stream_reco.events import Id, ItemEvent
from stream_reco.events.wire import encode_batch
from stream_reco.storage.event_log import EventLog
from tests.embedded.journal.recovery_world import NOW, opened


def described(engine: Engine) -> dict[Id, tuple[dict[str, Any] | None, bool]]:
    catalogue = engine.learner.state.signals.catalogue
    return {
        item: (catalogue.features[slot], bool(catalogue.available[slot]))
        for slot, item in enumerate(catalogue.ids)
        if item is not None
    }


def test_what_was_written_before_is_replayed_as_it_was_meant(tmp_path: Path) -> None:
    before = [
        ItemEvent(item_id="a", timestamp=NOW - 9, features={"kind": "tea", "price": 3}, available=False),
        ItemEvent(item_id="a", timestamp=NOW - 8, features={"price": 4}),
        ItemEvent(item_id="b", timestamp=NOW - 7, features={"kind": "mug"}, available=False),
        ItemEvent(item_id="a", timestamp=NOW - 9, features={"kind": "late"}),
    ]
    with closing(EventLog(tmp_path / "log")) as log:
        log.append(records.START, b"")
        log.append(records.EVENTS, encode_batch(before))
    wanted: dict[Id, Any] = {"a": ({"price": 4}, True), "b": ({"kind": "mug"}, False)}
    with opened(tmp_path) as engine:
        assert described(engine) == wanted
        engine.ingest(
            [
                ItemEvent(item_id="a", timestamp=NOW - 6, features={"kind": "pot"}),
                ItemEvent(item_id="b", timestamp=NOW - 5, features={"price": 1}),
            ]
        )
        wanted = {"a": ({"price": 4, "kind": "pot"}, True), "b": ({"kind": "mug", "price": 1}, False)}
        assert described(engine) == wanted
    for _ in range(2):  # from the log, then from a checkpoint and what came after it
        with opened(tmp_path) as engine:
            assert described(engine) == wanted
            engine.checkpoint()
            engine.ingest([ItemEvent(item_id="b", timestamp=NOW - 4, available=True)])
            wanted["b"] = ({"kind": "mug", "price": 1}, True)
            assert described(engine) == wanted
