"""What cells stand for: ids decide for themselves or are of one type, some texts are none, times have many forms."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.datasets import DatasetError, Log, Reading, load
from stream_reco.datasets.time_texts import NO_TIME, milliseconds_of
from stream_reco.events import Action

T = 1_507_000_000_000
COLUMNS = {"user": "u", "item": "i", "timestamp": "t"}


def read(path: Path, users: list[str], **options: Any) -> Log:
    path.write_text("u,i,t\n" + "".join(f'"{user}",1,{T}\n' for user in users))
    return load(path, "table", columns=COLUMNS, **options)


def users_of(log: Log) -> list[int | str]:
    return [event.user_id for event in log if isinstance(event, Action)]


def test_one_odd_cell_changes_no_other_id_and_is_named_once(tmp_path: Path) -> None:
    users = [str(number) for number in range(1000)]
    log = read(tmp_path / "a.csv", [*users, "guest", "103.0", "guest"])
    assert users_of(log) == [*range(1000), "guest", "103.0", "guest"]
    (note,) = log.dead_letters.notes
    assert note == (
        "a.csv: ids in u are of two types, 1,000 integers and 3 texts such as 'guest'; 5 and '5' are different ids:"
        " --id-type int or text makes all of one type"
    )
    for plain in (users, ["a", "b", "007"]):
        assert read(tmp_path / "a.csv", plain).dead_letters.notes == []


@pytest.mark.parametrize(
    ("id_type", "users"),
    [
        ("auto", [5, "007", "103.0", "guest", 2**63 - 1, str(2**63), " 8 "]),
        ("text", ["5", "007", "103.0", "guest", str(2**63 - 1), str(2**63), " 8 "]),
        ("int", [5, 7, 103, 2**63 - 1, 8]),
    ],
)
def test_ids_of_one_type(tmp_path: Path, id_type: str, users: list[int | str]) -> None:
    cells = ["5", "007", "103.0", "guest", str(2**63 - 1), str(2**63), " 8 "]
    log = read(tmp_path / "a.csv", cells, reading=Reading(id_type=id_type))
    assert users_of(log) == users
    assert len(log.dead_letters) == len(cells) - len(users)
    if id_type == "int":
        first = log.dead_letters.examples[0]
        assert (first.where, first.text) == ("a.csv:5", "u is 'guest', which is no 64-bit integer (--id-type int)")
    assert len(log.dead_letters.notes) == (id_type == "auto")


@pytest.mark.parametrize(
    ("column", "id_type", "users"),
    [
        (pa.array([5, 6]), "text", ["5", "6"]),
        (pa.array([5.0, None]), "text", ["5"]),
        (pa.array(["5", "x"]), "int", [5]),
        (pa.array(["5", "x"]), "auto", ["5", "x"]),
        (pa.array(["nan", "None"]), "auto", []),
    ],
)
def test_ids_of_parquet_keep_their_type_unless_one_is_asked_for(
    tmp_path: Path, column: Any, id_type: str, users: list[int | str]
) -> None:
    pq.write_table(pa.table({"u": column, "i": [1, 2], "t": [T, T]}), tmp_path / "a.parquet")
    log = load(tmp_path / "a.parquet", "table", columns=COLUMNS, reading=Reading(id_type=id_type))
    assert users_of(log) == users
    assert log.dead_letters.notes == []


def test_texts_that_stand_for_nothing_are_no_ids(tmp_path: Path) -> None:
    nothing = ["", "NULL", "null", "None", "none", r"\N", "nan", "NaN"]
    log = read(tmp_path / "a.csv", [*nothing, "5", "NULLs"])
    assert users_of(log) == [5, "NULLs"]
    assert log.dead_letters.counts == {"id": len(nothing)}
    mine = read(tmp_path / "a.csv", ["", "NULL", "-"], reading=Reading(missing=frozenset({"-"})))
    assert users_of(mine) == ["NULL"]


def test_a_missing_cell_is_no_value_anywhere_else(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"u,i,t,r,v,c\n1,2,{T},NULL,None,\\N\n1,2,{T},r1,2,x\n")
    columns = {**COLUMNS, "request_id": "r", "value": "v", "context": "c"}
    first, second = load(tmp_path / "a.csv", "table", columns=columns)
    assert isinstance(first, Action)
    assert isinstance(second, Action)
    assert (first.request_id, first.value, first.context) == (None, None, {"c": None})
    assert (second.request_id, second.value, second.context) == ("r1", 2.0, {"c": "x"})


def at(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 1000  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("cell", "time"),
    [
        ("31.12.2019", at(2019, 12, 31)),
        ("1.2.2019 03:04", at(2019, 2, 1, 3, 4)),
        ("31.12.2019 23:59:58.250", at(2019, 12, 31, 23, 59, 58) + 250),
        ("Tue, 10 Oct 2000 13:55:36 -0700", at(2000, 10, 10, 20, 55, 36)),
        ("10 Oct 2000 13:55:36 GMT", at(2000, 10, 10, 13, 55, 36)),
        ("10/Oct/2000:13:55:36 -0700", at(2000, 10, 10, 20, 55, 36)),
        ("[10/Oct/2000:13:55:36 +0000]", at(2000, 10, 10, 13, 55, 36)),
        ("2019-12-31T23:59:59+01:00", at(2019, 12, 31, 22, 59, 59)),
    ],
)
def test_forms_of_times_that_can_be_read_in_one_way_alone(tmp_path: Path, cell: str, time: int) -> None:
    (tmp_path / "a.csv").write_text(f'u,i,t\n1,2,"{cell}"\n1,3,"{cell}"\n')
    log = load(tmp_path / "a.csv", "table", columns=COLUMNS)
    assert log.times.tolist() == [time, time]


@pytest.mark.parametrize(
    ("time_format", "cell", "time"),
    [
        ("%m/%d/%Y %I:%M:%S %p", "12/31/2019 11:59:59 PM", at(2019, 12, 31, 23, 59, 59)),
        ("%d.%m.%Y", "31.12.2019", at(2019, 12, 31)),
        ("%d/%m/%Y %H:%M %z", "01/02/2019 00:30 +0100", at(2019, 1, 31, 23, 30)),
        ("%Y%m%d", "20191231", at(2019, 12, 31)),
    ],
)
def test_times_by_a_format(tmp_path: Path, time_format: str, cell: str, time: int) -> None:
    (tmp_path / "a.csv").write_text(f"u,i,t\n1,2,{cell}\n1,2,soon\n")
    log = load(tmp_path / "a.csv", "table", columns=COLUMNS, reading=Reading(time_format=time_format))
    assert log.times.tolist() == [time]
    assert [letter.where for letter in log.dead_letters.examples] == ["a.csv:3"]


def test_a_day_that_may_be_a_month_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("u,i,t\n1,2,12/31/2019 11:59:59 PM\n")
    with pytest.raises(DatasetError, match=r"neither numbers nor.*--time-format, such as '%m/%d/%Y %I:%M:%S %p'"):
        load(tmp_path / "a.csv", "table", columns=COLUMNS)
    with pytest.raises(DatasetError, match=r"no times by the format '%d\.%m\.%Y'"):
        load(tmp_path / "a.csv", "table", columns=COLUMNS, reading=Reading(time_format="%d.%m.%Y"))


@settings(max_examples=60, deadline=None)
@given(
    moment=st.datetimes(datetime(1970, 1, 1), datetime(2099, 1, 1), timezones=st.timezones()).map(
        lambda moment: moment.replace(microsecond=0, fold=0)
    )
)
def test_what_the_standard_library_writes_is_read_back(moment: datetime) -> None:
    moment = moment.astimezone(UTC)
    forms = [
        format_datetime(moment),
        format_datetime(moment, usegmt=True),
        moment.strftime("[%d/%b/%Y:%H:%M:%S %z]"),
        moment.strftime("%d.%m.%Y %H:%M:%S"),
        moment.isoformat(),
    ]
    assert set(milliseconds_of(forms, None).tolist()) == {round(moment.timestamp()) * 1000}


@pytest.mark.parametrize(
    "word", ["", "soon", "32.12.2019", "10/Okt/2000:13:55:36 -0700", "1 Jan 2000 00:00:00 CET", "03/04/2019", "1.2.19"]
)
def test_what_is_no_time_is_none(word: str) -> None:
    assert milliseconds_of([word], None).tolist() == [NO_TIME]


def test_rows_without_times_are_a_second_apart_and_bad_ones_leave_their_place(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("u,i\na,1\n,2\nb\nc,3\n\nd,4\n")
    columns = {"user": "u", "item": "i"}
    log = load(tmp_path / "a.csv", "table", columns=columns, reading=Reading(order_is_time=True), now_ms=T)
    base = at(2000, 1, 1)
    assert [(event.user_id, event.timestamp) for event in log if isinstance(event, Action)] == [
        ("a", base),
        ("c", base + 3000),
        ("d", base + 4000),
    ]
    pq.write_table(pa.table({"u": ["a", None, "c"], "i": [1, 2, 3]}), tmp_path / "a.parquet")
    log = load(tmp_path / "a.parquet", "table", columns=columns, reading=Reading(order_is_time=True))
    assert log.times.tolist() == [base, base + 2000]
