"""Run by test_log.py on a small disk: append until it is full, look, make room, go on."""

import os
import sys
from pathlib import Path

from stream_reco.storage.event_log import EventLog, LogFull


def payload(position: int) -> bytes:
    return position.to_bytes(8, "big") * 400


def fill(disk: Path) -> Path:
    """Leave just some 700 kB; where only file sizes are limited, files are full sooner or later anyway."""
    ballast = disk / "ballast"
    space = os.statvfs(disk)
    spare = space.f_bavail * space.f_frsize - 700_000
    with ballast.open("wb") as file:
        file.write(bytes(max(min(spare, 3_000_000), 0)))
    return ballast


def append_until_full(log: EventLog) -> int:
    count = log.last
    try:
        while True:
            count = log.append("events", payload(count + 1))
    except LogFull as error:
        sys.stdout.write(f"{error}\n")
    return count


def check(log: EventLog, count: int) -> None:
    assert log.last == count, (log.last, count)
    read = list(log.read())
    assert [record.position for record in read] == list(range(1, count + 1))
    assert all(record.payload == payload(record.position) for record in read)


def main(disk: Path) -> None:
    ballast = fill(disk)
    with EventLog(disk / "data") as log:
        count = append_until_full(log)
        assert count > 50, count
        check(log, count)
        try:
            log.append_many([("events", payload(1))] * 500)
        except LogFull:
            check(log, count)
        else:
            raise AssertionError("500 records fitted on a full disk")
        if os.statvfs(disk).f_blocks * os.statvfs(disk).f_frsize < 10_000_000:
            ballast.unlink()
            assert log.append("events", payload(count + 1)) == count + 1
            count += 1
        check(log, count)
    with EventLog(disk / "data") as log:
        check(log, count)
    sys.stdout.write(f"kept {count}\n")


main(Path(sys.argv[1]))
