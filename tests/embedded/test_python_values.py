"""`Engine.ingest`, `recommend` and `score` with what Python programs have: dictionaries, tables, NumPy, datetimes."""

from __future__ import annotations

import math
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from stream_reco.clock import ManualClock
from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.embedded.python_events import PythonEvents
from stream_reco.embedded.threads.service import EngineService
from stream_reco.events import Action, BadEvent, Impression, ItemEvent
from stream_reco.events.field_names import FieldWarning
from stream_reco.serve import request_validation
from stream_reco.serve.http.app import Api
from stream_reco.serve.http.server import HttpServer
from stream_reco.serve.refused import RefusedError
from stream_reco.serve.service import Accepted
from stream_reco.serve.settings import ServeSettings
from stream_reco.serve.slate.request import Request
from stream_reco.train.settings import TrainSettings
from tests.programs import environ


class Letter(str, Enum):  # noqa: UP042 - whose str() is another text
    C = "c"


NOW = 1_760_000_000_000
AT = datetime(2025, 10, 9, 7, 0, tzinfo=UTC)
MS = int(AT.timestamp() * 1000)
CLICK: dict[str, Any] = {"type": "action", "user_id": 1, "item_id": 2, "action": "click", "timestamp": MS}
SETTINGS = Settings(training=TrainSettings(wait_seconds=0.0), serve=ServeSettings(max_k=50, max_items=5))


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine(None, SETTINGS, clock=ManualClock(NOW)) as opened:
        yield opened


def converted(given: Any) -> list[Any]:
    batch = PythonEvents(given, NOW)
    assert batch.answer(_took(batch)).rejected == []
    return list(batch.events)


def _took(batch: PythonEvents) -> Accepted:
    return Accepted(len(batch.events), 0, [])


def test_dictionaries_and_events_may_be_mixed(engine: Engine) -> None:
    event = Action(user_id="a", item_id=2, action="buy", timestamp=MS)
    answer = engine.ingest([CLICK, event, {"type": "item", "item_id": "x", "features": {"kind": ("a", "b")}}])
    assert (answer.accepted, answer.rejected, answer.warnings) == (3, [], ())
    assert engine.stream_time == NOW, "the dictionary without a time is stamped with the present"
    assert engine.ingest(iter([CLICK | {"event_id": 1}] * 2)).duplicates == 1


@pytest.mark.parametrize(
    ("field", "value", "meant"),
    [
        ("user_id", np.int64(5), 5),
        ("user_id", np.uint8(5), 5),
        ("user_id", 5.0, 5),
        ("user_id", np.float64(5), 5),
        ("user_id", np.str_("five"), "five"),
        ("user_id", uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        ("value", np.float32(0.5), 0.5),
        ("value", Decimal("4.5"), 4.5),
        ("context", {"a": np.int64(3), "b": np.str_("x"), "c": np.bool_(True)}, {"a": 3, "b": "x", "c": True}),
        ("context", {"since": AT}, {"since": MS}),
        ("timestamp", AT, MS),
        ("timestamp", AT.replace(tzinfo=None), MS),
        ("timestamp", AT.astimezone(timezone(timedelta(hours=5, minutes=30))), MS),
        ("timestamp", date(2025, 10, 9), MS - 7 * 3_600_000),
        ("timestamp", np.datetime64("2025-10-09T07:00:00.000000999"), MS),
        ("timestamp", pd.Timestamp("2025-10-09 09:00:00", tz="Europe/Berlin"), MS),
        ("timestamp", pd.Timestamp("2025-10-09 07:00:00.000999"), MS),
        ("timestamp", np.int64(MS), MS),
        ("timestamp", float(MS), MS),
    ],
)
def test_values_become_what_they_stand_for(field: str, value: object, meant: object) -> None:
    (event,) = converted([CLICK | {field: value}])
    found = getattr(event, field)
    assert found == meant
    assert type(found) is type(meant)


def test_a_vector_may_be_an_array() -> None:
    (event,) = converted([{"type": "item", "item_id": 1, "timestamp": MS, "vector": np.array([1, 2.5], np.float32)}])
    assert event == ItemEvent(item_id=1, timestamp=MS, vector=[1.0, 2.5])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"user_id": None}, "id"),
        ({"user_id": math.nan}, "id"),
        ({"user_id": pd.NA}, "id"),
        ({"user_id": 2**53 + 2.0}, "id"),
        ({"user_id": np.datetime64("NaT")}, "id"),
        ({"timestamp": pd.NaT}, "timestamp"),
        ({"timestamp": "2025-10-09"}, "timestamp"),
        ({"timestamp": AT.replace(year=1980)}, "timestamp"),
        ({"value": math.nan}, "value"),
        ({"value": 1j}, "value"),
        ({"context": {"a": object()}}, "schema"),
        ({"context": {1: 2}}, "schema"),
        ({"context": {"a": {"b": {"c": {}}}}}, "schema"),
        ({"type": None}, "type"),
        ({"type": np.str_("item"), "item_id": []}, "id"),
    ],
)
def test_what_is_wrong_is_in_the_answer_or_raised(engine: Engine, changes: dict[str, Any], reason: str) -> None:
    bad = CLICK | changes
    good = Action(user_id=1, item_id=2, action="click", timestamp=MS)
    with pytest.raises(BadEvent, match=r"^event 2: ") as caught:
        engine.ingest([CLICK, good, bad, "no event", bad], strict=True)  # type: ignore[list-item]
    assert (caught.value.index, caught.value.reason) == (2, reason)
    assert engine.status()["events"] == 0, "strict takes all or nothing"
    answer = engine.ingest([CLICK, bad, good, None])  # type: ignore[list-item]
    assert answer.accepted == engine.status()["events"] == 2
    assert [(one.index, one.reason) for one in answer.rejected] == [(1, reason), (3, "type")]


def test_strict_also_raises_what_only_a_whole_engine_refuses(engine: Engine) -> None:
    future = Action(user_id=1, item_id=2, action="click", timestamp=NOW + 300_001)
    with pytest.raises(BadEvent, match="ahead of the clock") as caught:
        engine.ingest([CLICK, future], strict=True)
    assert caught.value.index == 1
    assert engine.ingest([CLICK], strict=True).accepted == 1


def test_one_event_is_no_batch(engine: Engine) -> None:
    for one in (CLICK, Action(user_id=1, item_id=2, action="click", timestamp=MS), "events", 5, None):
        with pytest.raises(TypeError, match=r"wrap it in \[ \]"):
            engine.ingest(one)  # type: ignore[arg-type]


def test_misspelt_fields_are_named(engine: Engine) -> None:
    item = {"type": "item", "item_id": 1, "availabel": False, "timestamp": MS}
    answer = engine.ingest([CLICK, item])
    assert answer.accepted == 2
    assert answer.warnings == (FieldWarning(1, "availabel", "available"),)
    many = engine.ingest([item | {"event_id": number} for number in range(150)])
    assert (len(many.warnings), many.warnings_more) == (100, 50)


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "type": ["action", "impression", "item", "action", None],
            "event_id": ["a", "b", None, "d", "e"],
            "user_id": [1.0, 2.0, math.nan, 4.0, 5.0],
            "item_id": ["x", "y", "z", "x", "x"],
            "action": ["click", None, None, "buy", "click"],
            "position": pd.array([None, 3, None, None, None], dtype="Int64"),
            "value": [math.nan, math.nan, math.nan, 9.5, math.nan],
            "context": [{"device": "phone"}, None, None, None, None],
            "timestamp": pd.to_datetime(["2025-10-09T07:00Z"] * 3 + [None, "2025-10-09T07:00Z"]),
            "session": [1, 2, 3, 4, 5],
        },
        index=[7, 7, 7, 7, 7],
    )


def test_a_table_of_pandas_has_a_row_an_event(engine: Engine) -> None:
    batch = PythonEvents(frame(), NOW)
    assert batch.events == [
        Action(user_id=1, item_id="x", action="click", timestamp=MS, event_id="a", context={"device": "phone"}),
        Impression(user_id=2, item_id="y", timestamp=MS, event_id="b", position=3),
        ItemEvent(item_id="z", timestamp=MS),
    ]
    answer = engine.ingest(frame())
    assert answer.accepted == 3
    assert [(one.index, one.reason) for one in answer.rejected] == [(3, "timestamp"), (4, "type")]
    assert answer.warnings == (FieldWarning(0, "session", None),), "once a column, not once a row"
    with pytest.raises(BadEvent, match="event 3: no timestamp"):
        engine.ingest(frame(), strict=True)


def test_rows_without_a_type_are_actions_and_clicks_where_nothing_is_said() -> None:
    times = pd.to_datetime(["2025-10-09 07:00:00"] * 2)
    plain = pd.DataFrame({"user_id": [1, 2], "item_id": ["x", "y"], "timestamp": times})
    assert [event.action for event in converted(plain)] == ["click", "click"]
    assert [event.action for event in converted(plain.assign(action=["buy", "view"]))] == ["buy", "view"]
    assert converted(plain.iloc[:0]) == []


def test_a_table_of_arrow_has_the_same_events() -> None:
    rows = frame().iloc[:3].drop(columns=["session"])
    table = pa.Table.from_pandas(rows, preserve_index=False)
    assert converted(table) == converted(rows) == converted(table.to_reader())


@hypothesis_settings(deadline=None, max_examples=100)
@given(
    user=st.one_of(st.integers(-(2**63), 2**63 - 1), st.text("aß🦊", min_size=1, max_size=9)),
    at=st.datetimes(datetime(1991, 1, 1), datetime(2025, 1, 1), timezones=st.just(UTC)),
    value=st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
)
def test_a_row_a_dictionary_and_an_event_are_the_same(user: int | str, at: datetime, value: float | None) -> None:
    made = Action(
        user_id=user,
        item_id=1,
        action="buy",
        timestamp=(at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1),
        value=value,
    )
    fields = {"type": "action", "user_id": user, "item_id": 1, "action": "buy", "timestamp": at, "value": value}
    assert converted([made]) == converted([fields]) == converted(pd.DataFrame([fields])) == [made]


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("recommend", {"user_id": "u", "k": 0}),
    ("recommend", {"user_id": "u", "k": 51}),
    ("recommend", {"user_id": "u", "k": "5"}),
    ("recommend", {"user_id": "u", "k": 2.5}),
    ("recommend", {"user_id": "u", "k": True}),
    ("recommend", {"user_id": None, "k": 5}),
    ("recommend", {"user_id": True, "k": 5}),
    ("recommend", {"user_id": "", "k": 5}),
    ("recommend", {"user_id": "ü" * 257, "k": 5}),
    ("recommend", {"user_id": "u", "k": 5, "exclude": [1] * 6}),
    ("recommend", {"user_id": "u", "k": 5, "exclude": [1, None]}),
    ("recommend", {"user_id": "u", "k": 5, "exclude": [1, "ü" * 257]}),
    ("recommend", {"user_id": "u", "k": 5, "exclude": "abc"}),
    ("recommend", {"user_id": "u", "k": 5, "context": [1]}),
    ("recommend", {"user_id": "u", "k": 5, "context": {"a": {"b": 1}}}),
    ("recommend", {"user_id": "u", "k": 5, "filters": ["kind"]}),
    ("recommend", {"user_id": "u", "k": 5, "filters": {"kind": {"a": {"b": 1}}}}),
    ("score", {"user_id": "u", "item_ids": [1] * 6}),
    ("score", {"user_id": "u", "item_ids": [None]}),
    ("score", {"user_id": "u", "item_ids": "abc"}),
    ("score", {"user_id": "u", "item_ids": [1], "context": {"a": []}}),
]


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[EngineService, httpx.Client]]:
    service = EngineService(lambda: Engine(None, SETTINGS))
    service.start()
    engine = service.opened.result(300)
    with HttpServer("127.0.0.1", 0) as server, httpx.Client(base_url=server.url, timeout=10) as client:
        server.start(Api(service, ManualClock(NOW), engine.settings.serve))
        yield service, client
    service.close()


def recommend_one(service: EngineService, **asked: Any) -> None:
    service.recommend_many([Request(**asked)])


@pytest.mark.parametrize(("route", "body"), REFUSED)
def test_python_is_refused_what_http_is_refused_in_the_same_words(
    served: tuple[EngineService, httpx.Client], engine: Engine, route: str, body: dict[str, Any]
) -> None:
    service, client = served
    over_http = client.post(f"/v1/{route}", json=body)
    assert over_http.status_code == 400
    asks = (getattr(engine, route), service.score if route == "score" else partial(recommend_one, service))
    for ask in asks:
        with pytest.raises(RefusedError) as caught:
            ask(**body)
        assert {"reason": caught.value.reason, "message": str(caught.value)} == over_http.json()["error"]


@pytest.mark.parametrize(
    ("route", "body"),
    [("recommend", {"user_id": "u", "k": 5, "exclude": [1, 2]}), ("score", {"user_id": "u", "item_ids": [1, 2]})],
)
def test_requests_are_checked_once(
    served: tuple[EngineService, httpx.Client],
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    route: str,
    body: dict[str, Any],
) -> None:
    """Where they enter: as they are decoded, or as Python gives them."""
    service, client = served
    passed: list[object] = []
    check = request_validation.checked

    def counted(wanted: request_validation.T, limits: ServeSettings) -> request_validation.T:
        passed.append(wanted)
        return check(wanted, limits)

    monkeypatch.setattr(request_validation, "checked", counted)
    for ask in (
        lambda: client.post(f"/v1/{route}", json=body).raise_for_status(),
        lambda: getattr(engine, route)(**body),
        lambda: service.score(**body) if route == "score" else recommend_one(service, **body),
    ):
        passed.clear()
        ask()
        assert len(passed) == 1


def test_many_requests_are_checked_too(engine: Engine) -> None:
    for ask in (engine.recommend_many, engine.recommend_async):
        with pytest.raises(RefusedError, match="k is 51"):
            ask([Request("u", 5), Request("u", 51)])
    with pytest.raises(RefusedError, match="now is 'today'"):
        engine.recommend("u", now="today")  # type: ignore[arg-type]


def test_requests_take_what_events_take(engine: Engine) -> None:
    engine.ingest([CLICK | {"user_id": 5, "item_id": item} for item in (1, 2, "c")])
    engine.sync()
    slate = engine.recommend(np.int64(7), np.int32(5), exclude=np.array([1]), context={"at": AT, "x": np.float64(2)})
    assert {one.item_id for one in slate.items} == {2, "c"}
    assert engine.recommend(7, 5.0, exclude=(1, 2.0), now=AT).items[0].item_id == "c"  # type: ignore[arg-type]
    texts = (np.str_("c"), Letter.C)
    assert [one.item_id for one in engine.recommend(texts[0], 5, exclude=texts).items] == [
        one.item_id for one in engine.recommend("c", 5, exclude=["c"]).items
    ]
    assert (engine.score(texts[1], texts) > 0).all()
    np.testing.assert_array_equal(engine.score(7, pd.Series([1, 2, 99])), engine.score(7, [1, 2, 99]))


def test_pandas_is_not_needed_by_those_who_have_no_table() -> None:
    code = "import sys; from stream_reco.embedded import Engine, python_events as p; "
    code += (
        f"assert len(p.PythonEvents([{CLICK}], 0).events) == 1; assert not {{'pandas', 'pyarrow'}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], env=environ(), check=True, timeout=120)
