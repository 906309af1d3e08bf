"""The loaders of public logs, on small files of the same form, and on the real ones where they are."""

from __future__ import annotations

import gzip
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_reco.datasets import DatasetError, load
from stream_reco.events import Action, Event, Impression, ItemEvent, UserEvent, validate

T = 1_507_000_000_000
Context = dict[str, str | int | float | bool | None]


@pytest.fixture
def real_logs() -> Path:
    folder = os.environ.get("STREAM_RECO_DATA")
    if not folder:
        pytest.skip("STREAM_RECO_DATA names no folder with the real logs")
    return Path(folder)


def globo_row(**changes: Any) -> dict[str, Any]:
    row = {
        "user_id": 59,
        "session_id": 1506826329267796,
        "session_start": T - 5000,
        "session_size": 2,
        "click_article_id": 234853,
        "click_timestamp": T,
        "click_environment": 4,
        "click_deviceGroup": 3,
        "click_os": 2,
        "click_country": 1,
        "click_region": 21,
        "click_referrer_type": 7,
        "src_hour": 0,
    }
    return row | changes


def test_globo_clicks_carry_what_was_known_before_and_nothing_of_the_future(tmp_path: Path) -> None:
    rows = [globo_row(click_timestamp=T + 1, user_id=60), globo_row(session_size=99), globo_row(click_timestamp=5)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "clicks.parquet")
    log = load(tmp_path / "clicks.parquet", "globo")
    context: Context = {
        "environment": "4",
        "deviceGroup": "3",
        "os": "2",
        "country": "1",
        "region": "21",
        "referrer_type": "7",
        "session_start": T - 5000,
    }
    first, second = log
    assert first == Action(
        user_id=59, item_id=234853, action="click", timestamp=T, event_id=first.event_id, context=context
    )
    assert first.event_id != second.event_id
    assert log.dead_letters.counts == {"timestamp": 1}


def test_globo_needs_its_columns(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([{"user_id": 1, "article": 2}]), tmp_path / "clicks.parquet")
    with pytest.raises(DatasetError, match=r"'click_article_id'.*Its columns are: 'user_id', 'article'"):
        load(tmp_path / "clicks.parquet", "globo")


def test_movielens_folder_has_ratings_films_and_people(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text(
        "user_id,item_id,rating,timestamp\n7,1,5,1507000009\n7,2,3,1507000005\n8,2,4,1507000007\n"
    )
    (tmp_path / "items.csv.gz").write_bytes(
        gzip.compress(
            b"item_id,movie_title,release_year,class\n1,Toy Story,1995,Animation Children's\n2,?,unknown,Drama\n"
        )
    )
    (tmp_path / "users.csv").write_text("user_id,age,zip_code\n7,24,02139\n8,53,T8H1N\n9,1,\n")
    events = list(load(tmp_path, "movielens"))
    first = 1_507_000_005_000
    assert events[:2] == [
        ItemEvent(
            item_id=1,
            timestamp=first,
            event_id=events[0].event_id,
            features={"title": "Toy Story", "year": 1995, "genre": ["Animation", "Children's"]},
        ),
        ItemEvent(item_id=2, timestamp=first, event_id=events[1].event_id, features={"title": "?", "genre": ["Drama"]}),
    ]
    assert events[2] == UserEvent(
        user_id=7, timestamp=first, event_id=events[2].event_id, features={"age": 24, "zip_code": "02139"}
    )
    assert len({event.event_id for event in events}) == len(events)
    assert [(event.user_id, event.timestamp) for event in events if isinstance(event, UserEvent)] == [
        (7, first),
        (9, first),
        (8, first + 2000),
    ]
    ratings = [event for event in events if isinstance(event, Action)]
    assert [(e.action, e.user_id, e.item_id, e.value) for e in ratings] == [
        ("rating", 7, 2, 3.0),
        ("rating", 8, 2, 4.0),
        ("rating", 7, 1, 5.0),
    ]


def test_movielens_in_its_other_forms(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,2,4.5,1507000000\n")
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n2,Up (2009),Adventure|Film-Noir\n")
    film, rating = load(tmp_path / "ratings.csv", "movielens")
    assert isinstance(film, ItemEvent)
    assert film.features == {"title": "Up (2009)", "genre": ["Adventure", "Film-Noir"]}
    assert isinstance(rating, Action)
    assert rating.value == 4.5
    old = tmp_path / "old"
    old.mkdir()
    (old / "u.data").write_text("196\t242\t3\t881250949\n186\t302\t3\t891717742\n")
    assert [(e.user_id, e.timestamp) for e in load(old, "movielens") if isinstance(e, Action)] == [
        (196, 881_250_949_000),
        (186, 891_717_742_000),
    ]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no ratings in it"):
        load(tmp_path / "empty", "movielens")


def test_talkingdata_installs_are_delayed_actions_on_their_impression(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text(
        "ip,app,device,os,channel,click_time,attributed_time,is_attributed\n"
        "5,9,1,19,178,2017-11-06 16:00:01,2017-11-06 20:00:01,1\n"
        "6,9,1,19,178,2017-11-06 16:00:00,,0\n"
        "7,9,1,19,178,2017-11-06 16:00:02,,1\n"
        ",9,1,19,178,2017-11-06 16:00:02,2017-11-06 20:00:01,1\n"
    )
    log = load(tmp_path / "clicks.csv", "talkingdata")
    at = 1_509_984_000_000
    context: Context = {"device": "1", "os": "19", "channel": "178"}
    clicks: list[Event] = [
        Impression(
            user_id=user,
            item_id=9,
            timestamp=at + later,
            event_id=log[place].event_id,
            request_id=log[place].event_id,
            context=context,
        )
        for place, (user, later) in enumerate(((6, 0), (5, 1000), (7, 2000)))
    ]
    install = Action(
        user_id=5,
        item_id=9,
        action="install",
        timestamp=at + 1000 + 4 * 3_600_000,
        event_id=f"{log[1].event_id}:install",
        request_id=log[1].event_id,
        context=context,
    )
    assert list(log) == [*clicks, install]
    assert log.dead_letters.counts == {"id": 1, "timestamp": 1}


def test_open_bandit_has_propensities_positions_clicks_and_items_by_campaign(tmp_path: Path) -> None:
    rows = [
        {
            "policy": "bts",
            "campaign": campaign,
            "timestamp": T * 1000 + row,
            "item_id": 3,
            "position": row + 1,
            "click": row,
            "propensity_score": 0.25 if row < 2 else 7.0,
            **{f"user_feature_{i}": f"{i}{'abcdef' * 5}" for i in range(4)},
        }
        for row, campaign in enumerate(["men", "all", "all"])
    ]
    table = pa.Table.from_pylist(rows)
    stamped = table.column("timestamp").cast(pa.timestamp("us", "UTC"))
    pq.write_table(table.set_column(2, "timestamp", stamped), tmp_path / "impressions.parquet")
    (tmp_path / "item_context_men.csv").write_text("item_id,item_feature_0,item_feature_1\n3,0.5,abc\n,1.0,abc\n")
    log = load(tmp_path, "openbandit")
    item, first, second, click = log
    assert item == ItemEvent(
        item_id="men-3",
        timestamp=T,
        event_id=item.event_id,
        features={"item_feature_0": 0.5, "item_feature_1": "abc"},
    )
    assert isinstance(first, Impression)
    assert (first.user_id, first.item_id, first.position, first.propensity) == (
        "0abcdefa-1abcdefa-2abcdefa-3abcdefa",
        "men-3",
        1,
        0.25,
    )
    assert isinstance(second, Impression)
    assert second.item_id == "all-3"
    assert isinstance(click, Action)
    assert (click.item_id, click.request_id, click.timestamp) == ("all-3", second.request_id, T)
    assert log.dead_letters.counts == {"value": 1, "id": 1}


@pytest.mark.data
def test_the_real_globo_log(real_logs: Path) -> None:
    log = load(real_logs / "globo_clicks.parquet", "globo")
    assert len(log) == 1_518_889
    assert not log.dead_letters.counts
    head = list(log[:300_000])
    assert len({event.event_id for event in head}) == 300_000
    for event in head[::1000]:
        validate(event)
    assert (log.times[1:] >= log.times[:-1]).all()


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "format_name", "kinds"),
    [
        ("ml100k", "movielens", {Action: 100_000, ItemEvent: 1682, UserEvent: 943}),
        ("talkingdata_clicks.csv.gz", "talkingdata", {Impression: 100_000, Action: 227}),
        ("open_bandit", "openbandit", {Impression: 40_000, Action: 195, ItemEvent: 114}),
    ],
)
def test_the_other_real_logs(real_logs: Path, name: str, format_name: str, kinds: dict[type, int]) -> None:
    log = load(real_logs / name, format_name)
    events = list(log)
    assert Counter(type(event) for event in events) == kinds
    assert len({event.event_id for event in events}) == len(events)
    assert not log.dead_letters.counts
    for event in events[::100]:
        validate(event)
