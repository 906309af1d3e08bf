"""Run by test_log.py: children append to one log and are killed at random; what they were promised must be there.

The parent forks, so that the many rounds pay for one start of Python. Arguments: a folder, and seeds.
Prints the number of rounds and records for each.
"""

import os
import signal
import struct
import sys
import threading
import time
from pathlib import Path

import numpy as np

from stream_reco.storage.event_log import EventLog

ROUNDS = 12


def payload(position: int) -> bytes:
    return struct.pack(">q", position) * (1 + position % 900)


def write_for_ever(folder: Path, promises: int) -> None:
    log = EventLog(folder)
    one_at_a_time = threading.Lock()

    def append() -> None:
        while True:
            # The payload tells its position, so the position must be known beforehand.
            with one_at_a_time:
                start = log.last + 1
                positions = log.append_many([("events", payload(start + i)) for i in range(start % 7 + 1)])
                os.write(promises, struct.pack(">q", positions[-1]))

    for _ in range(2):
        threading.Thread(target=append, daemon=True).start()
    while True:
        time.sleep(0.02)
        if log.last - log.first > 400:
            log.truncate_before(log.last - 200)


def promised(pipe: int) -> int:
    data = b""
    while piece := os.read(pipe, 65536):
        data += piece
    whole = len(data) // 8 * 8
    return max(struct.unpack(f">{whole // 8}q", data[:whole]), default=0)


def main(folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    newest = 0
    for _ in range(ROUNDS):
        pipe, promises = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(pipe)
            write_for_ever(folder, promises)
        os.close(promises)
        time.sleep(float(rng.uniform(0.0, 0.25)))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        newest = max(newest, promised(pipe))
        os.close(pipe)
        with EventLog(folder) as log:
            assert log.last >= newest, f"{newest} was promised, {log.last} is there"
            records = list(log.read(log.first - 1))
            assert [record.position for record in records] == list(range(log.first, log.last + 1))
            assert all(record.payload == payload(record.position) for record in records)
            newest = log.last
    sys.stdout.write(f"{ROUNDS} rounds, {newest} records\n")


for each in sys.argv[2:]:
    main(Path(sys.argv[1]) / each, int(each))
