"""A row's identity is its content: the same under every name and in every form, and never that of another row."""

from __future__ import annotations

import csv
import gzip
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.datasets import Log, Reading, load
from stream_reco.events import Id

T = 1_507_000_000_000
COLUMNS = {"user": "u", "item": "i", "timestamp": "t"}
Row = tuple[str, ...]
CELLS = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.sampled_from(["", "0", "-0", "007", "5", "5.0", " 5", "a", "b", "ab", "é", "x" * 70, "NULL", str(2**63)]),
    st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"]), max_size=4),
)


def ids(path: Path, **options: Any) -> list[Id]:
    """In the order of the file: all rows have the same time."""
    log: Log = load(path, "table", columns=COLUMNS, time_unit="ms", **options)
    assert not log.dead_letters.counts
    return [event.event_id for event in log if event.event_id is not None]


def written(rows: Sequence[Row], header: Row = ("u", "i", "t", "x"), **dialect: Any) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, **dialect).writerows([header, *rows])
    return text.getvalue().encode()


@settings(max_examples=60, deadline=None)
@given(cells=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=12), data=st.data())
def test_rows_have_one_id_exactly_if_they_are_equal_and_as_often_repeated(
    cells: list[tuple[str, str]], data: st.DataObject
) -> None:
    rows = [("1", "2", str(T), *pair) for pair in cells]
    shuffled = data.draw(st.permutations(rows))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        found = []
        for some in (rows, shuffled):
            path.write_bytes(written(some, ("u", "i", "t", "x", "y"), quoting=csv.QUOTE_ALL))
            found.append(ids(path))
    assert all(len(set(made)) == len(rows) for made in found)
    assert set(found[0]) == set(found[1])

    def named(some: Sequence[Row], made: list[Id]) -> dict[tuple[Row, int], Id]:
        seen: Counter[Row] = Counter()
        names = {}
        for row, name in zip(some, made, strict=True):
            names[row, seen[row]] = name
            seen[row] += 1
        return names

    assert named(rows, found[0]) == named(shuffled, found[1])


ROWS = [("ann", "5", str(T), 'é, "x"'), ("-7", "tea pot", str(T), ""), ("ann", "5", str(T), 'é, "x"')]


@pytest.mark.parametrize(
    ("name", "content", "reading"),
    [
        ("other.csv", written(ROWS), Reading()),
        # Without the time of day: the processes of a parallel run name cases by these bytes.
        ("part-0.csv.gz", gzip.compress(written(ROWS), 9, mtime=0), Reading()),
        ("part-0.csv.gz", gzip.compress(written(ROWS), 1, mtime=7), Reading()),
        ("a.tsv", written(ROWS, delimiter="\t"), Reading()),
        ("a.csv", written(ROWS, quoting=csv.QUOTE_ALL, lineterminator="\n"), Reading()),
        ("a.csv", b"\xef\xbb\xbf" + written(ROWS), Reading()),
        ("a.csv", written(ROWS).decode().encode("latin-1"), Reading(encoding="latin-1")),
        ("a.csv", written(ROWS).decode().encode("utf-16"), Reading(encoding="utf-16")),
        ("a.csv", written(ROWS), Reading(id_type="text")),
        ("a.csv", written([row[::-1] for row in ROWS], ("x", "t", "i", "u")), Reading()),
    ],
)
def test_one_file_is_the_same_in_every_form(tmp_path: Path, name: str, content: bytes, reading: Reading) -> None:
    (tmp_path / "plain.csv").write_bytes(written(ROWS))
    (tmp_path / name).write_bytes(content)
    plain = ids(tmp_path / "plain.csv")
    assert ids(tmp_path / name, reading=reading) == plain
    assert plain[2] == f"{plain[0]}+1"


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_parquet_has_the_ids_of_the_text_it_was_made_of(tmp_path: Path, compression: str) -> None:
    users = [2**63 - 1, -5, 0, 7]
    titles = ["tea", "5", None, "x" * 99]
    table = pa.table({"u": users, "i": pa.array([1, 2, 3, 4], pa.int8()), "t": [T] * 4, "x": titles})
    pq.write_table(table, tmp_path / "a.parquet", compression=compression)
    rows = [
        (str(user), str(i + 1), str(T), title or "") for i, (user, title) in enumerate(zip(users, titles, strict=True))
    ]
    (tmp_path / "a.csv").write_bytes(written(rows))
    assert ids(tmp_path / "a.parquet") == ids(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1.5, 2.5, None, 1.5]),
        pa.array([1, 2, None, 1], pa.timestamp("us")),
        pa.array([1, 2, None, 1], pa.timestamp("ns", "UTC")),
        pa.array([1, 2, None, 1], pa.date32()),
        pa.array([[1], [2], None, [1]]),
        pa.array([{"a": 1}, {"a": 2}, None, {"a": 1}]),
        pa.array([True, False, None, True]),
        pa.array([1, 2, None, 1], pa.uint64()),
        pa.array([b"1", b"2", None, b"1"], pa.large_binary()),
        pa.array([1, 2, None, 1], pa.decimal128(5, 2)),
        pa.array(["1", "2", None, "1"]).dictionary_encode(),
    ],
)
def test_parquet_columns_of_any_kind_tell_rows_apart(tmp_path: Path, column: Any) -> None:
    pq.write_table(pa.table({"u": [1] * 4, "i": [1] * 4, "t": [T] * 4, "x": column}), tmp_path / "a.parquet")
    first, second, third, again = ids(tmp_path / "a.parquet")
    assert len({first, second, third}) == 3
    assert again == f"{first}+1"


def test_two_files_of_one_name_lose_nothing_and_a_longer_one_gains_only_what_is_new(tmp_path: Path) -> None:
    texts = {"mon": f"u,i,t\n1,2,{T}\n3,4,{T}\n", "tue": f"u,i,t\n1,3,{T}\n3,5,{T}\n"}
    texts["both"] = texts["mon"] + f"1,2,{T}\nguest,5,{T}\n"
    found = {}
    for day, text in texts.items():
        (tmp_path / day).mkdir()
        (tmp_path / day / "part-00000.csv").write_text(text)
        found[day] = ids(tmp_path / day / "part-00000.csv")
    assert len({*found["mon"], *found["tue"]}) == 4
    assert found["both"][:2] == found["mon"]
    assert len({*found["both"]}) == 4


def test_lines_of_json_without_ids_are_known_by_what_they_say(tmp_path: Path) -> None:
    line = f'{{"type":"action","user_id":1,"item_id":2,"action":"buy","timestamp":{T},"note":"a"}}'
    same = f'{{ "note": "a", "timestamp": {T}, "type":"action","user_id":1,"item_id":2,"action":"buy"}}'
    other = line.replace('"a"', '"b"')
    text_id = line.replace('"user_id":1', '"user_id":"1"')
    (tmp_path / "a.jsonl").write_text("\n".join([line, other, text_id, line]))
    (tmp_path / "b.jsonl").write_text("\n".join([other, same]))
    first, second, third, again = (event.event_id for event in load(tmp_path / "a.jsonl", "events"))
    assert len({first, second, third}) == 3
    assert again == f"{first}+1"
    assert [event.event_id for event in load(tmp_path / "b.jsonl", "events")] == [second, first]
