"""`ingest` and `replay` of files as people have them, through the command line and a running server."""

from __future__ import annotations

import gzip
import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_reco.cli.app import main
from tests.cli.server.test_embedded import server
from tests.cli.test_commands import TABLE, stream_reco, write_log
from tests.programs import COMMAND, environ
from tests.waiting import until

T = 1_700_000_000_000
NAMED = ("--format", "table", "--columns", "user=who,item=what,timestamp=when")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with server(tmp_path_factory.mktemp("shop")) as (_, client):
        yield client


def ingest(client: httpx.Client, path: Path, *options: str) -> tuple[int, str, str]:
    """The command in a process of its own: its status, output and error output."""
    return stream_reco("ingest", path, *options, "--url", str(client.base_url))


def ingest_here(client: httpx.Client, path: Path, *options: str) -> tuple[int, str, str]:
    """The same within this process, which saves the imports."""
    arguments = ["stream-reco", "ingest", str(path), *options, "--url", str(client.base_url)]
    output, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
        patch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0), output.getvalue(), errors.getvalue()


def test_files_of_one_name_are_all_taken_and_one_file_only_once(running: httpx.Client, tmp_path: Path) -> None:
    for day in ("mon", "tue"):
        (tmp_path / day).mkdir()
        rows = "".join(f"{day}{row},{row % 7},{T + row}\n" for row in range(50))
        (tmp_path / day / "part-00000.csv").write_text(f"who,what,when\n{rows}")
    packed = tmp_path / "other name.csv.gz"
    packed.write_bytes(gzip.compress((tmp_path / "mon" / "part-00000.csv").read_bytes()))
    for day in ("mon", "tue"):
        status, output, errors = ingest(running, tmp_path / day / "part-00000.csv", *NAMED)
        assert "50 events sent: 50 accepted, 0 duplicates" in output
        assert (status, errors) == (0, "")
    status, output, errors = ingest(running, packed, *NAMED)
    assert "50 events sent: 0 accepted, 50 duplicates" in output
    assert status == 1
    assert "50 of 50 events of other name.csv.gz had been taken before" in errors
    status, output, errors = ingest_here(running, packed, *NAMED, "--expect-duplicates")
    assert status == 0
    assert errors.startswith("stream-reco: warning: 50 of 50 events")


def test_half_a_file_of_duplicates_is_no_warning_yet(running: httpx.Client, tmp_path: Path) -> None:
    first = "".join(f"half{row},1,{T + row}\n" for row in range(10))
    more = "".join(f"more{row},1,{T + row}\n" for row in range(10))
    for name, rows in (("a.csv", first), ("b.csv", first + more)):
        (tmp_path / name).write_text(f"who,what,when\n{rows}")
        status, output, errors = ingest_here(running, tmp_path / name, *NAMED)
        assert (status, errors) == (0, "")
    assert "20 events sent: 10 accepted, 10 duplicates" in output


def test_ids_arrive_as_each_cell_has_them(running: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"who,what,when\n771,7001,{T}\nguest,7001,{T}\nNULL,7001,{T}\n772,103.0,{T}\n")
    status, output, _ = ingest_here(running, tmp_path / "a.csv", *NAMED)
    assert status == 0
    assert "4 events" not in output
    assert "3 events sent: 3 accepted" in output
    assert "dead letter id a.csv:4: who is 'NULL'" in output
    assert "note a.csv: ids in who are of two types, 2 integers and 1 texts such as 'guest'" in output
    assert output.count("ids in who") == 1
    until(lambda: running.get("/v1/items/103.0/similar").status_code == 200, 20)
    assert running.get("/v1/items/7001/similar").status_code == 200
    assert running.get("/v1/items/%227001%22/similar").status_code == 404


def test_a_headerless_latin_1_log_of_apache_times_with_bad_rows(running: httpx.Client, tmp_path: Path) -> None:
    lines = [f"{row}::Café {row}::[10/Oct/2023:13:55:{row:02} -0700]" for row in range(30)]
    lines[3] = "3::Café"
    lines[9] = "9::Café::yesterday"
    (tmp_path / "a.dat").write_bytes(("\n".join(lines) + "\n").encode("latin-1"))
    columns = ("--format", "table", "--columns", "user=#1,item=#2,timestamp=#3")
    status, output, _ = ingest(running, tmp_path / "a.dat", *columns, "--encoding", "latin-1")
    assert status == 0
    assert "28 events sent: 28 accepted, 0 duplicates, 0 rejected; 2 invalid rows in the file" in output
    assert "dead letter schema a.dat:4: 2 cells instead of 3: '3::Café'" in output
    assert "dead letter timestamp a.dat:10: #3 is 'yesterday'" in output
    until(lambda: running.get("/v1/items/Café 0/similar").status_code == 200, 20)
    status, _, errors = ingest_here(running, tmp_path / "a.dat", *columns)
    assert status == 1
    assert "no valid events (29 encoding, 1 schema)" in errors
    (tmp_path / "a.dat").write_bytes("\n".join([lines[0], "1::Tea::10/Oct/2023:13:55:01 -0700"] * 5).encode("latin-1"))
    status, output, _ = ingest_here(running, tmp_path / "a.dat", *columns)
    assert status == 0
    assert "5 events sent: 5 accepted" in output
    assert "a.dat:1: #2 is b'Caf\\xe9 0', which is not UTF-8: name the file's encoding with --encoding" in output


@pytest.mark.parametrize("name", ["b.csv", "b.csv.gz", "b.tsv", "b.parquet", "b.jsonl"])
def test_bad_rows_are_named_in_every_kind_of_file(running: httpx.Client, tmp_path: Path, name: str) -> None:
    rows = [(f"{name}{row}", f"i{row % 9}", T + row * 1000) for row in range(30)]
    if name == "b.parquet":
        users = [None if row == 7 else user for row, (user, _, _) in enumerate(rows)]
        table = {"who": users, "what": [item for _, item, _ in rows], "when": [at for *_, at in rows]}
        pq.write_table(pa.table(table), tmp_path / name)
        bad = "dead letter id b.parquet:8: who is None"
    elif name == "b.jsonl":
        events = [{"type": "action", "user_id": u, "item_id": i, "action": "buy", "timestamp": at} for u, i, at in rows]
        (tmp_path / name).write_text("\n".join([*map(json.dumps, events), '{"type":"wish"}']))
        bad = "dead letter type b.jsonl:31: "
    else:
        separator = "\t" if name == "b.tsv" else ","
        lines = [("who", "what", "when"), *rows, *[("", "i1", T)] * 7]
        data = "\n".join(separator.join(map(str, line)) for line in lines).encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        bad = f"dead letter id {name}:32: who is ''"
    options = ("--format", "events") if name == "b.jsonl" else NAMED
    status, output, errors = ingest_here(running, tmp_path / name, *options)
    assert (status, errors) == (0, "")
    assert bad in output
    assert ("dead letter id: and 2 more" in output) == (name not in ("b.parquet", "b.jsonl"))


def test_replay_names_bad_rows_and_fails_where_ids_repeat_too_often(tmp_path: Path) -> None:
    rows = "".join(f"u{row % 5},i{row % 9},{T + row},e{row % 10}\n" for row in range(40))
    (tmp_path / "a.csv").write_text(f'who,what,when,id\n,"two\nlines",{T},\n,i1,{T},\n{rows}')
    options = ("--format", "table", "--columns", "user=who,item=what,timestamp=when,event_id=id", "--warm-up", "2")
    out = tmp_path / "out.json"
    status, output, errors = stream_reco("replay", tmp_path / "a.csv", *options, "--json", out)
    assert status == 1
    assert "30 of 40 events of a.csv had been taken before" in errors
    assert "30 duplicates, 2 dead letters" in output
    assert "dead letter id a.csv:2: who is ''" in output
    assert "dead letter id a.csv:4: who is ''" in output
    assert json.loads(out.read_bytes())["duplicates"] == 30
    status, _, errors = stream_reco("replay", tmp_path / "a.csv", *options, "--expect-duplicates")
    assert status == 0
    assert "warning: 30 of 40 events" in errors


def test_an_interrupted_replay_leaves_the_figures_so_far(tmp_path: Path) -> None:
    write_log(tmp_path / "log.csv", rows=50_000)
    out = tmp_path / "out.json"
    process = subprocess.Popen(
        [*COMMAND, "replay", str(tmp_path / "log.csv"), *TABLE, "--warm-up", "100", "--json", str(out)],
        env=environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()  # the first line of progress
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    report = json.loads(out.read_bytes())
    assert report["interrupted"] is True
    assert 100 < report["events"] < 50_000
    assert 0 < report["evaluated"] <= report["events"] - 100
    assert 0.0 <= report["hr@10"] <= 1.0
    assert f"interrupted: {report['events']:,} events in " in output
    assert f"hr@10 {report['hr@10']:.4f}" in output
    assert "dead letter timestamp log.csv:" in output
