"""What the log acknowledged is there, whatever happens; what is damaged is named."""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stream_reco import metrics
from stream_reco.storage.event_log import (
    EventLog,
    LogBusyError,
    LogCorruptError,
    LogError,
    LogFull,
    LogRecord,
    LogTruncatedError,
    LogVersionError,
)
from stream_reco.storage.event_log_file import LogFile

HERE = Path(__file__).parent
OnSmallDisk = Callable[[Path, int], str]


def filled(folder: Path, count: int = 300) -> list[LogRecord]:
    records = [
        LogRecord(i, ("events", "tick", "sync")[i % 3], bytes([i % 256]) * (i * 37 % 5000)) for i in range(1, count + 1)
    ]
    with EventLog(folder) as log:
        log.append_many([(record.kind, record.payload) for record in records])
    return records


def test_it_counts_from_one_and_gives_back_what_it_got(tmp_path: Path) -> None:
    with EventLog(tmp_path / "new" / "folder") as log:
        assert (log.first, log.last, list(log.read())) == (1, 0, [])
        assert log.append("events", b"") == 1
        assert log.append_many([("tick", b"\x00\xff"), ("forget", b"u" * 100_000)]) == range(2, 4)
        assert log.append_many([]) == range(4, 4)
        assert list(log.read()) == [(1, "events", b""), (2, "tick", b"\x00\xff"), (3, "forget", b"u" * 100_000)]
        assert [record.position for record in log.read(1, limit=1)] == [2]
        assert list(log.read(3)) == []
        assert list(log.read(limit=0)) == []


class LogMachine(RuleBasedStateMachine):
    """Any sequence of appends, truncations and reopenings against a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.log = EventLog(self.folder.name)
        self.kept: list[LogRecord] = []
        self.last = 0

    @rule(payloads=st.lists(st.binary(max_size=3000), max_size=90))
    def append(self, payloads: list[bytes]) -> None:
        positions = self.log.append_many([("events", payload) for payload in payloads])
        assert positions == range(self.last + 1, self.last + 1 + len(payloads))
        self.kept += [LogRecord(position, "events", p) for position, p in zip(positions, payloads, strict=True)]
        self.last += len(payloads)

    @rule(share=st.floats(0, 1))
    def truncate(self, share: float) -> None:
        position = int(share * (self.last + 1))
        self.log.truncate_before(position)
        self.kept = [record for record in self.kept if record.position >= position]

    @rule()
    def reopen(self) -> None:
        self.log.close()
        self.log = EventLog(self.folder.name)

    @precondition(lambda self: self.kept)
    @rule(share=st.floats(0, 1), limit=st.none() | st.integers(0, 200))
    def read_some(self, share: float, limit: int | None) -> None:
        start = int(share * len(self.kept))
        expected = self.kept[start:] if limit is None else self.kept[start : start + limit]
        assert list(self.log.read(self.kept[0].position - 1 + start, limit)) == expected

    @invariant()
    def holds_what_it_should(self) -> None:
        assert self.log.last == self.last
        assert self.log.first == self.last - len(self.kept) + 1
        assert list(self.log.read(self.log.first - 1)) == self.kept

    def teardown(self) -> None:
        self.log.close()
        self.folder.cleanup()


LogMachine.TestCase.settings = settings(max_examples=12, stateful_step_count=15, deadline=None)
TestAnySequenceOfUses = LogMachine.TestCase


def test_what_was_given_up_is_refused_by_name(tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        log.append_many([("events", b"x")] * 100)
        log.truncate_before(81)
        with pytest.raises(LogTruncatedError, match="record 80 is gone, the oldest kept is 81"):
            list(log.read(79))
        log.truncate_before(50)
        log.truncate_before(101)
        assert (log.first, log.last) == (101, 100)
        with pytest.raises(LogTruncatedError):
            list(log.read())
        with pytest.raises(ValueError, match="the log ends at 100"):
            log.truncate_before(102)
    with EventLog(tmp_path) as log:
        assert log.append("events", b"y") == 101


def test_space_of_what_was_given_up_is_used_again(tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        sizes = []
        for _ in range(12):
            log.append_many([("events", bytes(10_000))] * 100)
            log.truncate_before(log.last - 99)
            sizes.append(log.bytes_on_disk)
        assert max(sizes[6:]) <= max(sizes[:6]) * 1.1


def test_a_reader_that_was_further_than_the_log_notices(tmp_path: Path) -> None:
    filled(tmp_path, 10)
    with EventLog(tmp_path) as log, pytest.raises(LogCorruptError, match="ends at record 10, but 11 had been read"):
        list(log.read(11))


@pytest.mark.parametrize(
    ("kind", "payload", "error"),
    [("", b"", ValueError), ("é", b"", ValueError), ("x" * 65, b"", ValueError), ("events", "text", TypeError)],
)
def test_what_is_no_record_is_refused_with_its_whole_batch(
    tmp_path: Path, kind: str, payload: bytes, error: type[Exception]
) -> None:
    with EventLog(tmp_path) as log:
        with pytest.raises(error):
            log.append_many([("events", b"good"), (kind, payload)])
        assert log.last == 0


def test_eight_threads_append_and_read_at_once(tmp_path: Path) -> None:
    each = 40
    failures: list[LogRecord] = []

    def append(thread: int) -> None:
        for i in range(each):
            position = log.append("events", bytes([thread, i]))
            (record,) = log.read(position - 1, 1)
            if record.payload != bytes([thread, i]):
                failures.append(record)

    with EventLog(tmp_path) as log:
        run_all([partial(append, thread) for thread in range(8)])
        payloads = [record.payload for record in log.read()]
    assert failures == []
    assert len(payloads) == 8 * each
    for thread in range(8):
        assert [payload[1] for payload in payloads if payload[0] == thread] == list(range(each))


def run_all(tasks: Sequence[Callable[[], object]]) -> None:
    threads = [threading.Thread(target=task, daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_appends_that_wait_together_share_one_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    append, queued = LogFile.append, threading.Event()

    def slow(self: LogFile, records: Sequence[tuple[str, bytes]]) -> None:
        if not sizes:
            assert queued.wait(10)
        sizes.append(len(records))
        append(self, records)

    monkeypatch.setattr(LogFile, "append", slow)
    with EventLog(tmp_path) as log:
        threads = [threading.Thread(target=log.append, args=("events", b"x"), daemon=True) for _ in range(8)]
        threads[0].start()
        while log._queue or not log._writing.locked():
            pass
        for thread in threads[1:]:
            thread.start()
        while len(log._queue) < 7:
            pass
        queued.set()
        for thread in threads:
            thread.join(10)
        assert sizes == [1, 7]
        assert log.last == 8


def test_a_record_too_big_for_the_disk_does_not_fail_its_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = LogFile.append

    def full(self: LogFile, records: Sequence[tuple[str, bytes]]) -> None:
        if any(len(payload) > 100 for _, payload in records):
            raise LogFull("full")
        append(self, records)

    monkeypatch.setattr(LogFile, "append", full)
    outcomes: list[object] = []

    def attempt(payload: bytes) -> None:
        try:
            outcomes.append(log.append("events", payload))
        except LogFull:
            outcomes.append("full")

    with EventLog(tmp_path) as log:
        log._writing.acquire()
        threads = [threading.Thread(target=attempt, args=(bytes(size),)) for size in (5, 500, 6)]
        for thread in threads:
            thread.start()
        while len(log._queue) < 3:
            pass
        log._writing.release()
        for thread in threads:
            thread.join(10)
        assert sorted(map(str, outcomes)) == ["1", "2", "full"]
        assert [len(record.payload) for record in log.read()] in ([5, 6], [6, 5])


def test_after_an_unclear_failure_nothing_is_promised_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EventLog(tmp_path) as log:
        log.append("events", b"safe")
        with monkeypatch.context() as patch:
            patch.setattr(LogFile, "append", raising(LogError("fsync failed")))
            with pytest.raises(LogError, match="fsync failed"):
                log.append("events", b"unclear")
        with pytest.raises(LogError, match=r"must be opened again after: fsync failed"):
            log.append("events", b"refused")
        with pytest.raises(LogError, match="must be opened again"):
            log.truncate_before(1 + log.last)
        assert [record.payload for record in log.read()] == [b"safe"]
    with EventLog(tmp_path) as log:
        assert log.append("events", b"again") == 2


def raising(error: Exception) -> Callable[..., None]:
    def function(*_: object) -> None:
        raise error

    return function


def test_a_closed_log_takes_nothing(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.close()
    log.close()
    with pytest.raises(LogError, match="is closed"):
        log.append("events", b"x")


def test_one_folder_has_one_log(tmp_path: Path) -> None:
    with EventLog(tmp_path), pytest.raises(LogBusyError, match=f"in use by process {os.getpid()}: stop it, or use"):
        EventLog(tmp_path)
    EventLog(tmp_path).close()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    code = "import sys; from stream_reco.storage.event_log import EventLog; log = EventLog(sys.argv[1]);"
    code += "log.append('events', b'x'); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(LogBusyError, match=f"in use by process {other.pid}"):
            EventLog(tmp_path)
        other.send_signal(signal.SIGKILL)
        other.wait()
        with EventLog(tmp_path) as log:
            assert log.last == 1


def test_another_format_version_is_named_and_left_alone(tmp_path: Path) -> None:
    filled(tmp_path, 3)
    database = sqlite3.connect(tmp_path / "log.sqlite3")
    database.execute("PRAGMA user_version = 9")
    database.close()
    before = (tmp_path / "log.sqlite3").read_bytes()
    with pytest.raises(
        LogVersionError, match="has format 9, this release reads format 1: use the release that wrote it"
    ):
        EventLog(tmp_path)
    assert (tmp_path / "log.sqlite3").read_bytes() == before


def test_what_is_no_log_is_named(tmp_path: Path) -> None:
    (tmp_path / "log.sqlite3").write_bytes(b"no database at all, but long enough to be read as one" * 100)
    with pytest.raises(LogCorruptError, match=r"log\.sqlite3 is damaged"):
        EventLog(tmp_path)
    (tmp_path / "log.sqlite3").unlink()
    database = sqlite3.connect(tmp_path / "log.sqlite3")
    database.execute("CREATE TABLE theirs (x)")
    database.close()
    with pytest.raises(LogCorruptError, match="a database of another program"):
        EventLog(tmp_path)


@pytest.mark.parametrize("loss", ["deleted", "emptied"])
def test_a_file_that_vanished_does_not_pass_for_a_new_log(tmp_path: Path, loss: str) -> None:
    filled(tmp_path, 3)
    (tmp_path / "log.sqlite3").unlink()
    if loss == "emptied":
        (tmp_path / "log.sqlite3").touch()
    with pytest.raises(LogCorruptError, match="missing or empty, though the log was in use"):
        EventLog(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LogError, match="the folder must exist and be writable"):
        EventLog(tmp_path / "file")


def test_a_flipped_byte_is_named_or_harmless_but_never_believed(tmp_path: Path) -> None:
    records = filled(tmp_path, 120)
    path, rng = tmp_path / "log.sqlite3", np.random.default_rng(5)
    whole = path.read_bytes()
    named = 0
    for place in [*range(0, 100, 7), *rng.integers(0, len(whole), size=120).tolist()]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        named += not reads_as(tmp_path, records)
    assert named > 60


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM records WHERE position = 3",
        "DELETE FROM records",
        "UPDATE bounds SET last = 2",
        "UPDATE bounds SET last = 4",
        "UPDATE bounds SET last = 'x'",
        "DELETE FROM bounds",
        "DROP TABLE bounds",
    ],
)
def test_a_lost_tail_is_noticed_at_once(tmp_path: Path, change: str) -> None:
    filled(tmp_path, 3)
    database = sqlite3.connect(tmp_path / "log.sqlite3")
    database.execute(change)
    database.commit()
    database.close()
    with pytest.raises(LogCorruptError, match=r"log\.sqlite3 is damaged"):
        EventLog(tmp_path)


def test_a_lost_record_in_the_middle_is_noticed_by_its_reader(tmp_path: Path) -> None:
    records = filled(tmp_path, 100)
    database = sqlite3.connect(tmp_path / "log.sqlite3")
    database.execute("DELETE FROM records WHERE position = 90")
    database.commit()
    database.close()
    with EventLog(tmp_path) as log:
        assert list(log.read(limit=60)) == records[:60]
        with pytest.raises(LogCorruptError, match="record 90 is missing"):
            list(log.read())


def test_a_cut_file_is_named(tmp_path: Path) -> None:
    records = filled(tmp_path, 120)
    path = tmp_path / "log.sqlite3"
    whole = path.read_bytes()
    for length in np.linspace(0, len(whole) - 4096, 25).astype(int):
        path.write_bytes(whole[:length])
        assert not reads_as(tmp_path, records)


def reads_as(folder: Path, records: list[LogRecord]) -> bool:
    """Whether the log holds `records`; False if it names the damage; fails on any other outcome."""
    for leftover in (folder / "log.sqlite3-wal", folder / "log.sqlite3-shm"):
        leftover.unlink(missing_ok=True)
    try:
        with EventLog(folder) as log:
            assert list(log.read()) == records
    except LogError:
        return False
    return True


def test_appends_are_timed_and_counted(tmp_path: Path) -> None:
    def value(name: str, **labels: str) -> float:
        return metrics.REGISTRY.get_sample_value(name, labels) or 0.0

    before = value("stream_reco_log_records_total", kind="tick"), value("stream_reco_log_append_seconds_count")
    with EventLog(tmp_path) as log:
        log.append_many([("tick", b"x")] * 3)
        assert value("stream_reco_log_bytes") == log.bytes_on_disk > 0
    after = value("stream_reco_log_records_total", kind="tick"), value("stream_reco_log_append_seconds_count")
    assert after == (before[0] + 3, before[1] + 1)


def test_kill_dash_nine_at_any_moment_loses_nothing_acknowledged(tmp_path: Path) -> None:
    script = [sys.executable, str(HERE / "log_until_killed.py"), str(tmp_path), "1", "2"]
    env = os.environ | {"PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(script, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    worlds = done.stdout.splitlines()
    assert len(worlds) == 2
    for world in worlds:
        assert world.startswith("12 rounds, ")
        assert int(world.split()[2]) > 50


def test_a_full_disk_refuses_whole_batches_and_keeps_the_rest(on_small_disk: OnSmallDisk) -> None:
    printed = on_small_disk(HERE / "log_until_full.py", 4_000_000)
    assert "log.sqlite3 cannot grow" in printed
    assert "Free space on that disk" in printed
    assert "kept " in printed
