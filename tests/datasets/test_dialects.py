"""Text files as people have them: every dialect is read back as written, and bad rows are named by their line."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.datasets import DatasetError, Log, Reading, load, parse_columns
from stream_reco.datasets.times import ORDER_BASE_MS
from stream_reco.events import Action, is_canonical_integer

T = 1_507_000_000_000
NAMED = {"user": "who", "item": "what", "timestamp": "when"}
NUMBERED = {"user": "#2", "item": "#1", "timestamp": "#4"}
LETTERS = st.characters(codec="latin-1", exclude_characters="\r\0", exclude_categories=["Cc"])
CELLS = st.text(LETTERS, min_size=1, max_size=5) | st.integers(-(2**63), 2**63 - 1).map(str) | st.just("two\nlines")
Row = tuple[str, str]


def actions(log: Log) -> list[Action]:
    return [event for event in log if isinstance(event, Action)]


def written(rows: list[list[str]], separator: str, **dialect: Any) -> str:
    if len(separator.encode()) > 1:
        return "".join(separator.join(row) + "\n" for row in rows)
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, **dialect).writerows(rows)
    return text.getvalue()


def as_id(cell: str) -> int | str:
    return int(cell) if is_canonical_integer(cell) else cell


@settings(max_examples=80, deadline=None)
@given(
    pairs=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8),
    separator=st.sampled_from([",", ";", "\t", "|", " ", "^", "::", "||", "§"]),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    encoding=st.sampled_from([None, "latin-1", "cp1252", "utf-16"]),
    packed=st.booleans(),
    header=st.booleans(),
    order=st.booleans(),
)
def test_a_table_is_read_back_from_every_dialect(
    pairs: list[Row],
    separator: str,
    end: str,
    quoting: Any,
    encoding: str | None,
    packed: bool,
    header: bool,
    order: bool,
) -> None:
    if len(separator.encode()) > 1:  # there are no quotes
        pairs = [
            (who.replace(separator[0], "_").replace("\n", "_"), what.replace(separator[0], "_").replace("\n", "_"))
            for who, what in pairs
        ]
    missing = Reading().missing | {""}
    pairs = [pair for pair in pairs if not missing & set(pair)] or [("a", "b")]
    rows = [[what, who, "-", str(T + at)] for at, (who, what) in enumerate(pairs)]
    text = written([["what", "who", "x", "when"]] * header + rows, separator, lineterminator=end, quoting=quoting)
    try:
        data = text.encode(encoding or "utf-8")
    except UnicodeEncodeError:  # cp1252 lacks a few of latin-1
        encoding, data = None, text.encode()
    columns = dict(NAMED if header else NUMBERED)
    if order:
        del columns["timestamp"]
    with TemporaryDirectory() as folder:
        path = Path(folder) / ("log.csv.gz" if packed else "log.csv")
        path.write_bytes(gzip.compress(data) if packed else data)
        reading = Reading(separator=separator, encoding=encoding, order_is_time=order)
        log = load(path, "table", columns=columns, time_unit=None if order else "ms", reading=reading)
    times = [ORDER_BASE_MS + 1000 * at if order else T + at for at in range(len(pairs))]
    found = [(event.user_id, event.item_id, event.timestamp) for event in actions(log)]
    assert found == [(as_id(who), as_id(what), at) for (who, what), at in zip(pairs, times, strict=True)]
    assert not log.dead_letters.counts


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", "::"])
def test_the_separator_is_found_without_a_header(tmp_path: Path, separator: str) -> None:
    rows = [[f"Tea, the {row}th", f"u{row}", "4", str(T + row)] for row in range(30)]
    if separator == ",":
        rows = [[row[0].replace(",", ""), *row[1:]] for row in rows]
    (tmp_path / "a.dat").write_text(written(rows, separator))
    log = load(tmp_path / "a.dat", "table", columns=NUMBERED)
    assert [event.user_id for event in actions(log)] == [f"u{row}" for row in range(30)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a;b,c;d,e;f\n" * 3, r"',', ';' would all fit. Give it with --separator"),
        ("a b c\n" * 3, "none gives 4 cells"),
        ("a,b\n" * 3, "none gives 4 cells"),
    ],
)
def test_a_separator_that_cannot_be_told_is_asked_for(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    columns = NUMBERED if "4" in said else {**NUMBERED, "timestamp": "#3"}
    with pytest.raises(DatasetError, match=said):
        load(tmp_path / "a.txt", "table", columns=columns)


def test_columns_are_all_by_name_or_all_by_number() -> None:
    assert parse_columns("user=#1,item=#3,timestamp=#4,context=#5+#6")["item"] == "#3"
    with pytest.raises(ValueError, match="no column 'what'"):
        parse_columns("user=#1,item=what,timestamp=#4")
    with pytest.raises(ValueError, match="--order-is-time"):
        parse_columns("user=a,item=b")
    with pytest.raises(ValueError, match="leave timestamp out"):
        parse_columns("user=a,item=b,timestamp=c", order_is_time=True)
    assert parse_columns("user=a,item=b", order_is_time=True) == {"user": "a", "item": "b"}


def test_a_column_number_beyond_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"a,b,{T}\n")
    with pytest.raises(DatasetError, match="none gives 9 cells"):
        load(tmp_path / "a.csv", "table", columns={**NUMBERED, "timestamp": "#9"})
    with pytest.raises(DatasetError, match=r"no column '#9'.*'#1', '#2', '#3'"):
        load(tmp_path / "a.csv", "table", columns={**NUMBERED, "timestamp": "#9"}, reading=Reading(separator=","))


@settings(max_examples=60, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(["good", "two lines", "blank", "short", "long short", "id", "time"]), max_size=25),
    end=st.sampled_from(["\n", "\r\n"]),
    header=st.booleans(),
    blanks=st.integers(0, 2),
)
def test_bad_rows_are_named_by_the_line_at_which_they_begin(
    kinds: list[str], end: str, header: bool, blanks: int
) -> None:
    forms = {
        "good": f"a,b,x,{T}",
        "two lines": f'a,b,"x{end}{end}y, ""z""",{T}',
        "blank": "",
        "short": "a,b,x",
        "long short": f'a,"b{end}",x',
        "id": f",b,x,{T}",
        "time": "a,b,x,soon",
    }
    reasons = {"short": "schema", "long short": "schema", "id": "id", "time": "timestamp"}
    text, wanted = end * blanks + (f"who,what,x,when{end}" if header else ""), []
    for kind in ["good", *kinds, *["good"] * 20]:
        if kind in reasons:
            wanted.append((reasons[kind], f"a.csv:{text.count(end) + 1}"))
        text += forms[kind] + end
    columns = dict(NAMED) if header else {"user": "#1", "item": "#2", "timestamp": "#4"}
    with TemporaryDirectory() as folder:
        (Path(folder) / "a.csv").write_bytes(text.encode())
        log = load(Path(folder) / "a.csv", "table", columns=columns, time_unit="ms", reading=Reading(separator=","))
    found = [(letter.reason, letter.where) for letter in log.dead_letters.examples]
    kept = [one for place, one in enumerate(wanted) if [name for name, _ in wanted[:place]].count(one[0]) < 5]
    assert sorted(found) == sorted(kept)
    assert len(log.dead_letters) == len(wanted)


def test_bad_rows_of_parquet_are_named_by_their_number(tmp_path: Path) -> None:
    pq.write_table(pa.table({"who": ["a", None, "NULL"], "what": [1, 2, 3], "when": [T] * 3}), tmp_path / "a.parquet")
    log = load(tmp_path / "a.parquet", "table", columns=NAMED)
    assert [letter.where for letter in log.dead_letters.examples] == ["a.parquet:2", "a.parquet:3"]


def test_bytes_of_another_encoding_are_named_and_read_when_it_is_given(tmp_path: Path) -> None:
    text = f'who,what,when,city\nann,tea,{T},Zürich\nben,"a\nb",{T},Rom\ncid,mug,{T},Orléans\ndan,Düne\n'
    (tmp_path / "a.csv").write_bytes(text.encode("latin-1"))
    columns = {**NAMED, "context": "city"}
    log = load(tmp_path / "a.csv", "table", columns=columns)
    assert [event.user_id for event in actions(log)] == ["ben"]
    assert log.dead_letters.counts == {"schema": 1, "encoding": 2}
    short, first, _ = log.dead_letters.examples
    assert [letter.where for letter in log.dead_letters.examples] == ["a.csv:6", "a.csv:2", "a.csv:5"]
    assert "2 cells instead of 4" in short.text
    assert "city is b'Z\\xfcrich', which is not UTF-8" in first.text
    assert "--encoding" in first.text
    whole = load(tmp_path / "a.csv", "table", columns=columns, reading=Reading(encoding="latin-1"))
    assert [event.context for event in actions(whole)] == [{"city": name} for name in ("Zürich", "Rom", "Orléans")]
    assert len(load(tmp_path / "a.csv", "table", columns=NAMED)) == 3  # the city is not asked for


def test_a_wrong_encoding_is_named_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"who,what,when\na,b,1507000000000\n\xfc,b,1507000000000\n")
    with pytest.raises(DatasetError, match=r"cannot read it as ascii: line 3: .*Name another encoding"):
        load(tmp_path / "a.csv", "table", columns=NAMED, reading=Reading(encoding="ascii"))
    with pytest.raises(DatasetError, match="unknown encoding: klingon"):
        load(tmp_path / "a.csv", "table", columns=NAMED, reading=Reading(encoding="klingon"))
    (tmp_path / "b.csv").write_bytes("wer,was,für\n".encode("latin-1"))
    with pytest.raises(DatasetError, match=r"header, line 1.*--encoding"):
        load(tmp_path / "b.csv", "table", columns=NAMED)


def test_reading_that_makes_no_sense() -> None:
    for wrong in ({"separator": ""}, {"separator": '"'}, {"separator": "\n"}, {"id_type": "float"}):
        with pytest.raises(ValueError, match=r"separator|type of ids"):
            Reading(**wrong)  # type: ignore[arg-type]


@pytest.mark.data
def test_movielens_in_the_forms_of_its_owner(data_dir: Path, tmp_path: Path) -> None:
    with gzip.open(data_dir / "ml100k" / "ratings.csv.gz", "rt") as file:
        ratings = list(csv.DictReader(file))
    rows = [[row[name] for name in ("user_id", "item_id", "rating", "timestamp")] for row in ratings]
    columns = parse_columns("user=#1,item=#2,value=#3,timestamp=#4")
    found = []
    for name, separator in (("u.data", "\t"), ("ratings.dat", "::"), ("ratings.txt", "|")):
        (tmp_path / name).write_text(written(rows, separator, lineterminator="\n"))
        log = load(tmp_path / name, "table", columns=columns)
        assert not log.dead_letters.counts
        found.append([(e.event_id, e.user_id, e.item_id, e.value, e.timestamp) for e in actions(log)])
    assert len(found[0]) == 100_000
    assert found[0] == found[1] == found[2]
    shipped = [event for event in load(tmp_path / "u.data", "movielens") if isinstance(event, Action)]
    assert [(e.user_id, e.item_id, e.value, e.timestamp) for e in shipped] == [row[1:] for row in found[0]]
