"""Run by test_shared_users.py: a writer is killed at random while others read; all see whole transactions only.

Each transaction writes its number into all users. Arguments: a folder and a seed. Prints rounds, transactions, reads.
"""

import os
import signal
import struct
import sys
import time
from pathlib import Path

import numpy as np

from stream_reco.storage.shared_users import SharedUsers

ROUNDS, READERS, USERS = 12, 2, 5
_NUMBER = struct.Struct("<q")


def state(number: int) -> bytes:
    return _NUMBER.pack(number) * (1 + number % 3000)


def number_of(data: bytes | None) -> int:
    """The number of a state that is whole."""
    assert data is not None
    number: int = _NUMBER.unpack(data[:8])[0]
    assert data == state(number), f"torn in write {number}"
    return number


def write_for_ever(folder: Path, number: int) -> None:
    users = SharedUsers(folder, writes=True, first_bytes=1 << 16)
    while True:
        number += 1
        if number % 40 == 0:
            users.begin_all()
            for user in range(USERS):
                users.put_many({user: state(number)})
            users.end_all()
        else:
            users.put_many({user: state(number) for user in range(USERS)})


def read_until(folder: Path, told: int, count: int) -> None:
    """Read until `told` is closed; write to `count` how often."""
    users, newest, reads = SharedUsers(folder, writes=False, first_bytes=1 << 16), 0, 0
    os.set_blocking(told, False)
    while True:
        for user in range(USERS):
            number = number_of(users.get(user).state)
            assert number >= newest, f"{number} after {newest}"
            newest = number
            reads += 1
        try:
            if not os.read(told, 1):
                break
        except BlockingIOError:
            continue
    os.write(count, _NUMBER.pack(reads))


def main(folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = SharedUsers(folder, writes=True)
    first.begin_all()
    first.put_many({user: state(0) for user in range(USERS)})
    first.end_all()
    first.close()
    told, end = os.pipe()
    counts, count = os.pipe()
    readers = []
    for _ in range(READERS):
        readers.append(os.fork())
        if readers[-1] == 0:
            os.close(end)
            read_until(folder, told, count)
            os._exit(0)
    number = 0
    for _ in range(ROUNDS):
        child = os.fork()
        if child == 0:
            os.close(end)
            write_for_ever(folder, number)
        time.sleep(float(rng.uniform(0.02, 0.25)))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        users = SharedUsers(folder, writes=False, first_bytes=1 << 16)
        found = {number_of(users.get(user).state) for user in range(USERS)}
        users.close()
        assert len(found) == 1, f"of one transaction: {found}"
        assert min(found) >= number
        number = min(found)
    os.close(end)
    for reader in readers:
        assert os.waitpid(reader, 0)[1] == 0
    reads = sum(_NUMBER.unpack(os.read(counts, 8))[0] for _ in readers)
    sys.stdout.write(f"{ROUNDS} rounds, {number} transactions, {reads} reads\n".replace(",", ""))


main(Path(sys.argv[1]) / "shared", int(sys.argv[2]))
