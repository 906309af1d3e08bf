"""Any table as a log: ids, times and numbers as MEANINGS has them, and errors that say what to do."""

from __future__ import annotations

import csv
import gzip
import io
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.datasets import DatasetError, Log, load, parse_columns
from stream_reco.events import Action, BadEvent, check_time, is_canonical_integer, validate

COLUMNS = {"user": "u", "item": "i", "timestamp": "t"}
T = 1_507_000_000_000


def table(path: Path, text: str | bytes, **options: Any) -> Log:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load(path, "table", **{"columns": COLUMNS, **options})


def parquet(path: Path, cells: dict[str, Any], **options: Any) -> Log:
    pq.write_table(pa.table(cells), path)
    return load(path, "table", **{"columns": COLUMNS, **options})


def actions(log: Log) -> list[Action]:
    events = [event for event in log if isinstance(event, Action)]
    assert len(events) == len(log)
    return events


def test_rows_are_actions_in_order_of_time_and_ties_keep_the_order_of_the_file(tmp_path: Path) -> None:
    log = table(tmp_path / "a.csv", f"u,i,t\n3,a,{T + 5}\n1,b,{T}\n2,c,{T + 5}\n4,d,{T}\n")
    assert [(e.user_id, e.item_id, e.timestamp) for e in actions(log)] == [
        (1, "b", T),
        (4, "d", T),
        (3, "a", T + 5),
        (2, "c", T + 5),
    ]
    assert len({e.event_id for e in log}) == 4
    assert {e.action for e in actions(log)} == {"click"}


def test_extreme_integer_ids_survive_and_an_odd_value_is_text_by_itself(tmp_path: Path) -> None:
    low, high = -(2**63), 2**63 - 1
    log = table(tmp_path / "a.csv", f"u,i,t\n{low},{high},{T}\n{2**53 + 1},{2**63},{T}\n-7,007,{T}\n")
    assert [(e.user_id, e.item_id) for e in actions(log)] == [(low, high), (2**53 + 1, str(2**63)), (-7, "007")]


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    log = parquet(tmp_path / "a.parquet", {"u": ["5", "6"], "i": [2**53 + 1, -1], "t": [T, T]})
    assert [(e.user_id, e.item_id) for e in actions(log)] == [("5", 2**53 + 1), ("6", -1)]


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint64(), pa.int64(), pa.dictionary(pa.int32(), pa.int64())])
def test_parquet_integers_of_any_width_are_integers(tmp_path: Path, kind: Any) -> None:
    ids = (
        pa.array([7, None]).cast(kind) if not pa.types.is_dictionary(kind) else pa.array([7, None]).dictionary_encode()
    )
    log = parquet(tmp_path / "a.parquet", {"u": ids, "i": [1, 2], "t": [T, T]})
    assert [e.user_id for e in actions(log)] == [7]
    assert log.dead_letters.counts == {"id": 1}


def test_parquet_floats_are_ids_only_where_they_are_exact(tmp_path: Path) -> None:
    floats = [1.0, float("nan"), 2.5, 2.0**53, float("inf"), -3.0]
    log = parquet(tmp_path / "a.parquet", {"u": floats, "i": range(6), "t": [T] * 6})
    assert [e.user_id for e in actions(log)] == [1, -3]
    assert log.dead_letters.counts == {"id": 4}


def test_unsigned_ids_beyond_int64_are_bad_not_negative(tmp_path: Path) -> None:
    users = pa.array([2**63, 2**63 - 1], type=pa.uint64())
    log = parquet(tmp_path / "a.parquet", {"u": users, "i": [1, 1], "t": [T, T]})
    assert [e.user_id for e in actions(log)] == [2**63 - 1]


def test_bad_ids_are_dead_letters_and_good_odd_ones_are_not(tmp_path: Path) -> None:
    rows = [
        ("", "a"),
        ("nan", "a"),
        ("u", ""),
        ("u" * 512, "🦔"),
        ("u" * 513, "a"),
        ("é" * 257, "a"),
        ("🦔" * 128, "a b"),
    ]
    text = "u,i,t\n" + "".join(f"{u},{i},{T}\n" for u, i in rows)
    log = table(tmp_path / "a.csv", text)
    assert [(e.user_id, e.item_id) for e in actions(log)] == [("u" * 512, "🦔"), ("🦔" * 128, "a b")]
    assert log.dead_letters.counts == {"id": 5}
    assert {letter.where for letter in log.dead_letters.examples} == {f"a.csv:{line}" for line in (2, 3, 4, 6, 7)}


def test_a_missing_id_does_not_make_integers_text(tmp_path: Path) -> None:
    log = table(tmp_path / "a.csv", f"u,i,t\n1,2,{T}\n,3,{T}\nNaN,4,{T}\n")
    assert [(e.user_id, e.item_id) for e in actions(log)] == [(1, 2)]
    assert log.dead_letters.counts == {"id": 2}


def test_bytes_that_are_not_utf8_spoil_their_row_alone(tmp_path: Path) -> None:
    log = table(tmp_path / "a.csv", b"u,i,t\nok,1,%d\n\xff\xfe,1,%d\nok,2,%d\n" % (T, T, T))
    assert [e.item_id for e in actions(log)] == [1, 2]
    assert log.dead_letters.counts == {"encoding": 1}
    (letter,) = log.dead_letters.examples
    assert letter.where == "a.csv:3"
    assert "u is b'\\xff\\xfe', which is not UTF-8: name the file's encoding with --encoding" in letter.text


@pytest.mark.parametrize(
    ("unit", "cells"),
    [
        ("s", ["1507000000", "1507000001"]),
        ("s", ["1507000000.0", "1507000001.0"]),
        ("ms", ["1507000000000", "1507000001000"]),
        ("us", ["1507000000000000", "1507000001000999"]),
        ("iso", ["2017-10-03T03:06:40Z", "2017-10-03T03:06:41Z"]),
        ("iso", ["2017-10-03 03:06:40", "2017-10-03 05:06:41.000+02:00"]),
        ("iso", ["2017-10-03 03:06:40 +0000", "2017-10-03 05:06:41 +02:00"]),
        ("iso", ["2017-10-03 03:06:40 UTC", "2017-10-03T03:06:41.000000999"]),
    ],
)
@pytest.mark.parametrize("given_unit", [True, False])
def test_units_are_read_and_told(tmp_path: Path, unit: str, cells: Sequence[str], given_unit: bool) -> None:
    text = "u,i,t\n" + "".join(f"1,2,{cell}\n" for cell in cells)
    log = table(tmp_path / "a.csv", text, time_unit=unit if given_unit else None)
    assert [e.timestamp for e in log] == [T, T + 1000]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([T, T + 1000], pa.timestamp("ms")),
        pa.array([T * 1000, T * 1000 + 1_000_999], pa.timestamp("us", "UTC")),
        pa.array([T * 10**6, (T + 1000) * 10**6], pa.timestamp("ns", "Europe/Berlin")),
        pa.array([T // 1000, T // 1000 + 1], pa.timestamp("s")),
        pa.array([T / 1000, T / 1000 + 1], pa.float64()),
        pa.array([T * 10**6, (T + 1000) * 10**6], pa.int64()),
        pa.array(["2017-10-03T03:06:40", "2017-10-03T03:06:41"]),
    ],
)
def test_parquet_times_of_any_type(tmp_path: Path, column: Any) -> None:
    log = parquet(tmp_path / "a.parquet", {"u": [1, 2], "i": [1, 2], "t": column})
    assert [e.timestamp for e in log] == [T, T + 1000]


def test_dates_are_midnights(tmp_path: Path) -> None:
    log = parquet(tmp_path / "a.parquet", {"u": [1], "i": [1], "t": pa.array([17442], pa.date32())})
    assert [e.timestamp for e in log] == [int(datetime(2017, 10, 3, tzinfo=UTC).timestamp() * 1000)]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["1507000000", "1507000000000"], "mix the units"),
        (["17", "18"], "in no unit"),
        (["20171003", "20171004"], "in no unit"),
        (["03/10/2017", "04/10/2017"], "neither numbers nor ISO"),
    ],
)
def test_a_unit_that_cannot_be_told_is_asked_for(tmp_path: Path, cells: Sequence[str], said: str) -> None:
    with pytest.raises(DatasetError, match=said) as caught:
        table(tmp_path / "a.csv", "u,i,t\n" + "".join(f"1,2,{cell}\n" for cell in cells))
    assert "--time-unit s|ms|us|iso" in str(caught.value)
    assert "a.csv" in str(caught.value)


def test_single_bad_times_are_dead_letters(tmp_path: Path) -> None:
    good = "".join(f"1,{row},{T + row}\n" for row in range(20))
    log = table(tmp_path / "a.csv", f"u,i,t\n1,2,\n1,2,soon\n1,2,nan\n1,2,1e300\n1,2,-5\n{good}", time_unit="ms")
    assert log.dead_letters.counts == {"timestamp": 5}
    assert [e.timestamp for e in log] == [T + row for row in range(20)]
    assert len(table(tmp_path / "b.csv", f"u,i,t\n1,2,\n1,2,soon\n1,2,nan\n1,2,1e300\n1,2,-5\n{good}")) == 20


def test_seconds_taken_for_milliseconds_are_all_dead(tmp_path: Path) -> None:
    log = table(tmp_path / "a.csv", "u,i,t\n1,2,1507000000\n", time_unit="ms")
    assert len(log) == 0
    assert list(log) == []
    assert log.dead_letters.counts == {"timestamp": 1}


@pytest.mark.parametrize("at", [631_151_999_999, 631_152_000_000, T + 300_000, T + 300_001])
def test_the_bounds_of_time_are_those_of_the_edge(tmp_path: Path, at: int) -> None:
    log = table(tmp_path / "a.csv", f"u,i,t\n1,2,{at}\n", time_unit="ms", now_ms=T)
    assert len(log) + len(log.dead_letters) == 1
    if len(log):
        check_time(log[0], T, 300_000)
    else:
        assert log.dead_letters.counts == {"timestamp": 1}
        with pytest.raises(BadEvent):
            check_time(Action(user_id=1, item_id=2, action="click", timestamp=at), T, 300_000)


def test_values_actions_requests_and_context(tmp_path: Path) -> None:
    text = f"u,i,t,a,v,r,d,n,x\n1,2,{T},buy,1.5,r1,phone,3,1.5\n1,3,{T + 1},view,,,,,\n"
    columns = parse_columns("user=u,item=i,timestamp=t,action=a,value=v,request_id=r,context=d+n+x")
    first, second = actions(table(tmp_path / "a.csv", text, columns=columns))
    assert first == Action(
        user_id=1,
        item_id=2,
        timestamp=T,
        event_id=first.event_id,
        action="buy",
        value=1.5,
        request_id="r1",
        context={"d": "phone", "n": 3, "x": 1.5},
    )
    assert (second.value, second.request_id, second.context) == (None, None, {"d": None, "n": None, "x": None})


def test_values_that_are_no_finite_numbers_and_missing_actions_are_dead(tmp_path: Path) -> None:
    columns = {**COLUMNS, "value": "v", "action": "a"}
    cells = [
        ("1", "buy"),
        ("nan", "buy"),
        ("inf", "buy"),
        ("-inf", "buy"),
        ("much", "buy"),
        ("2", ""),
        ("1e400", "buy"),
    ]
    log = table(tmp_path / "a.csv", "u,i,t,v,a\n" + "".join(f"1,2,{T},{v},{a}\n" for v, a in cells), columns=columns)
    assert [e.value for e in actions(log)] == [1.0]
    assert log.dead_letters.counts == {"value": 5, "schema": 1}


def test_a_files_own_event_ids_come_before_made_ones(tmp_path: Path) -> None:
    log = table(tmp_path / "a.csv", f"u,i,t,e\n1,2,{T},77\n1,2,{T},\n", columns={**COLUMNS, "event_id": "e"})
    first, second = log
    assert first.event_id == 77
    assert isinstance(second.event_id, str)
    assert len(second.event_id) == 32


@pytest.mark.parametrize(
    ("name", "separator"), [("a.csv", ","), ("a.tsv", "\t"), ("a.csv", ";"), ("a.txt", "|"), ("log", "\t")]
)
def test_separators_gzip_and_byte_order_marks(tmp_path: Path, name: str, separator: str) -> None:
    text = f"\ufeffu,i,t\r\n1,x,{T}\r\n".replace(",", separator).encode()
    assert [e.item_id for e in actions(table(tmp_path / name, text))] == ["x"]
    assert [e.item_id for e in actions(table(tmp_path / f"{name}.gz", gzip.compress(text)))] == ["x"]


def test_rows_with_missing_or_surplus_cells_are_dead_and_the_others_keep_their_numbers(tmp_path: Path) -> None:
    log = table(tmp_path / "a.csv", f'u,i,t\n1,2\n1,"a\nb",{T}\n1,2,3,4\n5,6,{T}\n')
    assert log.dead_letters.counts == {"schema": 2}
    assert [e.item_id for e in actions(log)] == ["a\nb", 6]
    assert [letter.where for letter in log.dead_letters.examples] == ["a.csv:2", "a.csv:5"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"u,i,t\n", "no rows"),
        ("a.csv", b"user,item,ts\n1,2,3\n", "Its columns are: 'user', 'item', 'ts'"),
        ("a.parquet", b"u,i,t\n1,2,3\n", "not Parquet"),
        ("a.csv.gz", b"u,i,t\n1,2,3\n", "not gzip"),
        ("a.csv.gz", gzip.compress(b"u,i,t\n" + b"1,2,3\n" * 9999, mtime=0)[:60], "truncated"),
        ("a.parquet", b"PAR1 and nothing more", "truncated"),
        ("a.csv", b"\x00\x01\x02\x03" * 99, "neither text"),
        ("a.csv", "u,i,t\n1,2,3\n".encode("utf-16"), "UTF-8"),
        ("a.csv", b"\xff\xfa,i,t\n1,2,3\n", "UTF-8"),
        ("a.csv", b"u,u,i,t\n1,1,2,3\n", "two columns"),
        ("a.csv", b"u,i,t\n1,2\n3\n", "no row is like its header, the first: 2 cells instead of 3"),
        ("a.csv", b"[" + b'"x",' * 99_999, "field larger than field limit"),
    ],
)
def test_hopeless_files_are_named_with_a_reason(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    with pytest.raises(DatasetError, match=said) as caught:
        table(tmp_path / name, content)
    assert str(tmp_path / name) in str(caught.value)


def test_parquet_called_csv_and_cut_parquet(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"content is Parquet.*Rename"):
        parquet(tmp_path / "a.csv", {"u": [1], "i": [1], "t": [T]})
    parquet(tmp_path / "whole.parquet", {"u": list(range(999)), "i": [1] * 999, "t": [T] * 999})
    whole = (tmp_path / "whole.parquet").read_bytes()
    with pytest.raises(DatasetError, match="truncated"):
        table(tmp_path / "cut.parquet", whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match=r"no column 'i', 't'.*'a', 'u'"):
        parquet(tmp_path / "b.parquet", {"a": [1], "u": [1]})


def test_files_that_are_not_there_and_folders(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file"):
        load(tmp_path / "none.csv", "table", columns=COLUMNS)
    with pytest.raises(DatasetError, match="folder"):
        load(tmp_path, "table", columns=COLUMNS)


@pytest.mark.parametrize("column", [pa.array([True]), pa.array([[1]]), pa.array([T], pa.timestamp("ms"))])
def test_columns_of_types_that_hold_no_ids(tmp_path: Path, column: Any) -> None:
    with pytest.raises(DatasetError, match="cannot read 'u' as user_id"):
        parquet(tmp_path / "a.parquet", {"u": column, "i": [1], "t": [T]})


@pytest.mark.parametrize(
    ("column", "users"),
    [
        (pa.array(["a", "b"], pa.string_view()), ["a", "b"]),
        (pa.array([b"a", b"b"], pa.large_binary()), ["a", "b"]),
        (pa.array([5, 2**53 + 1], pa.decimal128(38, 0)), [5, 2**53 + 1]),
        (pa.array([5, 2**63], pa.decimal128(38, 0)), ["5", str(2**63)]),
        (pa.nulls(2), []),
    ],
)
def test_columns_of_kinds_that_other_writers_choose(tmp_path: Path, column: Any, users: list[int | str]) -> None:
    log = parquet(tmp_path / "a.parquet", {"u": column, "i": [1, 2], "t": [T, T]})
    assert [e.user_id for e in actions(log)] == users
    assert log.dead_letters.counts.total() == 2 - len(users)


def test_columns_of_nulls_are_missing_values(tmp_path: Path) -> None:
    columns = {**COLUMNS, "value": "v", "request_id": "r", "context": "c"}
    nothing = {name: pa.nulls(1) for name in "vrc"}
    (event,) = actions(parquet(tmp_path / "a.parquet", {"u": [1], "i": [1], "t": [T], **nothing}, columns=columns))
    assert (event.value, event.request_id, event.context) == (None, None, {"c": None})


def test_context_of_unsigned_integers_beyond_int64_is_of_floats(tmp_path: Path) -> None:
    context = pa.array([2**64 - 1, 5, None], pa.uint64())
    log = parquet(
        tmp_path / "a.parquet",
        {"u": [1] * 3, "i": [1] * 3, "t": [T] * 3, "c": context},
        columns={**COLUMNS, "context": "c"},
    )
    assert [e.context for e in actions(log)] == [{"c": 2.0**64}, {"c": 5.0}, {"c": None}]
    for event in log:
        validate(event)


def test_damaged_text_in_parquet_spoils_its_row_alone(tmp_path: Path) -> None:
    columns = {"u": ["good one", "bad one!"], "i": [1, 2], "t": [T, T]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet", compression="none", use_dictionary=False)
    data = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(data.replace(b"bad one!", b"bad \xff\xfe!!"))
    log = load(tmp_path / "a.parquet", "table", columns=COLUMNS)
    assert [e.user_id for e in actions(log)] == ["good one"]
    assert log.dead_letters.counts == {"id": 1}


def test_parquet_with_flipped_bytes_is_read_or_refused(tmp_path: Path) -> None:
    columns = {"u": [f"user {row % 9}" for row in range(60)], "i": list(range(60)), "t": [T] * 60}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet", compression="none")
    whole = (tmp_path / "a.parquet").read_bytes()
    refused = 0
    for at in range(4, len(whole), 7):
        (tmp_path / "b.parquet").write_bytes(whole[:at] + bytes([whole[at] ^ 0x83]) + whole[at + 1 :])
        try:
            for event in load(tmp_path / "b.parquet", "table", columns=COLUMNS, time_unit="ms"):
                validate(event)
        except DatasetError:
            refused += 1
    assert refused > 50


def test_lines_may_end_in_carriage_returns_alone(tmp_path: Path) -> None:
    log = table(tmp_path / "a.csv", f"u,i,t\r1,2,{T}\r3,4,{T}\r")
    assert [(e.user_id, e.item_id) for e in actions(log)] == [(1, 2), (3, 4)]


def test_blank_lines_are_no_rows(tmp_path: Path) -> None:
    log = table(tmp_path / "a.csv", f"\n\nu,i,t\n\n1,2,{T}\n\n1,2\n\n\n3,4,{T}\n\n")
    assert [e.user_id for e in actions(log)] == [1, 3]
    assert [letter.where for letter in log.dead_letters.examples] == ["a.csv:7"]


def test_numbers_are_those_of_files_not_of_python(tmp_path: Path) -> None:
    text = f"u,i,t,v\n1,2,{T},1_0\n1,2,1_507_000_000_000,1\n1,2,{T},10\n1,2,{T},11\n"
    log = table(tmp_path / "a.csv", text, columns={**COLUMNS, "value": "v"})
    assert [e.value for e in actions(log)] == [10.0, 11.0]
    assert log.dead_letters.counts == {"value": 1, "timestamp": 1}


def test_arguments_that_make_no_sense(tmp_path: Path) -> None:
    for text in ("user=u", "user=u,item=i,timestamp=t,colour=c", "user=u,user=v,item=i,timestamp=t", "user", "user="):
        with pytest.raises(ValueError, match="--columns"):
            parse_columns(text)
    (tmp_path / "a.csv").write_text(f"u,i,t\n1,2,{T}\n")
    with pytest.raises(DatasetError, match=r"--columns user=.*'u', 'i', 't'"):
        load(tmp_path / "a.csv", "table")
    with pytest.raises(ValueError, match="globo, movielens"):
        load(tmp_path / "a.csv", "csv")
    with pytest.raises(ValueError, match="time unit"):
        load(tmp_path / "a.csv", "table", columns=COLUMNS, time_unit="days")
    with pytest.raises(DatasetError, match="--columns"):
        load(tmp_path / "a.csv", "globo", columns=COLUMNS)


def test_slices_and_batches_are_views_of_the_same_events(tmp_path: Path) -> None:
    log = table(tmp_path / "a.csv", "u,i,t\n" + "".join(f"{row},1,{T - row}\n" for row in range(10_000)))
    events = list(log)
    assert len(events) == len(log) == 10_000
    assert list(log[17:4242:3]) == events[17:4242:3]
    assert len(log[:100]) == 100
    assert [log[0], log[-1], log[9999], log[-10_000]] == [events[0], events[-1], events[-1], events[0]]
    assert [len(batch) for batch in log.batches(3000)] == [3000, 3000, 3000, 1000]
    assert [event for batch in log.batches(3000) for event in batch] == events
    for index in (10_000, -10_001):
        with pytest.raises(IndexError):
            log[index]
    assert log.times.tolist() == [event.timestamp for event in events]


CELLS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(
        [
            "",
            "0",
            "-0",
            "007",
            "+1",
            " 1",
            "nan",
            "NaN",
            "NULL",
            "None",
            r"\N",
            "1.0",
            "x,y",
            'q"q',
            "a\nb",
            "🦔",
            "u" * 600,
            "٣",
        ]
    ),
    st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"]), max_size=6),
)
TIMES = st.one_of(st.integers(T, T + 5).map(str), st.sampled_from(["", "x", "0", "nan", "5e12", "1507000000001.4"]))


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(st.tuples(CELLS, CELLS, TIMES, CELLS), min_size=1, max_size=12))
def test_against_a_reader_of_one_row_at_a_time(rows: list[tuple[str, str, str, str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("u", "i", "t", "v"), *rows])
    with TemporaryDirectory() as folder:
        columns = {**COLUMNS, "value": "v"}
        log = table(Path(folder) / "a.csv", text.getvalue(), columns=columns, time_unit="ms", now_ms=T)
    good, bad = read_slowly(rows)
    assert [(e.user_id, e.item_id, e.timestamp, e.value) for e in actions(log)] == good
    assert len({e.event_id for e in log}) == len(log)
    assert log.dead_letters.counts == bad
    for event in log:
        validate(event)


def read_slowly(rows: Sequence[tuple[str, str, str, str]]) -> tuple[list[tuple[Any, ...]], Counter[str]]:
    good: list[tuple[Any, ...]] = []
    bad: Counter[str] = Counter()
    for user, item, time, value in rows:
        try:
            ids = [slow_id(user), slow_id(item)]
            at = slow_time(time)
            good.append((*ids, at, slow_value(value)))
        except BadEvent as error:
            bad[error.reason] += 1
    return sorted(good, key=lambda row: row[2]), bad


def slow_id(cell: str) -> int | str:
    if cell in ("", "NULL", "null", "None", "none", r"\N", "nan", "NaN") or len(cell.encode()) > 512:
        raise BadEvent("id", cell)
    return int(cell) if is_canonical_integer(cell) else cell


def slow_time(cell: str) -> int:
    try:
        at = round(float(cell))
        check_time(Action(user_id=1, item_id=1, action="a", timestamp=at), T, 300_000)
    except ValueError:
        raise BadEvent("timestamp", cell) from None
    return at


def slow_value(cell: str) -> float | None:
    if cell in ("", "NULL", "null", "None", "none", r"\N"):
        return None
    try:
        value = float(cell)
    except ValueError:
        raise BadEvent("value", cell) from None
    if value - value != 0:
        raise BadEvent("value", cell)
    return value
