"""What is passed over of features is in the metrics, told by a loop that was sent it."""

from __future__ import annotations

from stream_reco.embedded import Engine
from stream_reco.events import Event, ItemEvent, UserEvent
from stream_reco.metrics import REGISTRY

START = 1_700_000_000_000


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_misfits_and_refused_values_are_counted_by_side_and_name() -> None:
    events: list[Event] = [
        ItemEvent(item_id=item, timestamp=START, features={"odd price": item if item % 3 else "free"})
        for item in range(1, 10)
    ]
    events += [ItemEvent(item_id=99, timestamp=START, vector=[1e39, 1.0])]
    events += [
        UserEvent(user_id=user, timestamp=START, features={f"odd {user} {name}": "x" for name in range(300)})
        for user in range(5)
    ]
    with Engine() as engine:
        engine.ingest(events, strict=True)
        engine.sync()
    assert value("stream_reco_feature_misfits", side="item", feature="odd price") == 3.0
    assert value("stream_reco_features_refused", side="item") == 1.0
    assert value("stream_reco_features_refused", side="user") == 500.0
