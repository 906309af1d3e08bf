"""Run by test_shared_users.py on a small disk: write until it is full, look, make room, go on."""

import os
import sys
from pathlib import Path

from stream_reco.storage.shared_users import SharedUsers, SharedUsersError


def state(user: int) -> bytes:
    return user.to_bytes(8, "big") * 500


def write_until_full(users: SharedUsers) -> int:
    count = 0
    try:
        while True:
            users.put_many({count: state(count)})
            count += 1
    except SharedUsersError as error:
        sys.stdout.write(f"{error}\n")
    return count


def check(users: SharedUsers, count: int) -> None:
    assert all(users.get(user).state == state(user) for user in range(count))
    assert users.get(count).state is None


def main(disk: Path) -> None:
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(1_000_000))
    users = SharedUsers(disk / "shared", writes=True)
    users.begin_all()
    users.end_all()
    count = write_until_full(users)
    assert count > 50, count
    check(users, count)
    ballast.unlink()
    try:
        users.begin_all()
        users.put_many({user: state(user) for user in range(count)})
        for user in range(count, 3 * count):
            users.put_many({user: state(user)})
    except SharedUsersError:
        check(users, count)
    else:
        raise AssertionError("a second file fitted on a full disk")
    assert len([path for path in users.folder.iterdir() if not path.name.endswith("-lock")]) == 2, "it was removed"
    if os.statvfs(disk).f_blocks * os.statvfs(disk).f_frsize < 10_000_000:
        users.put_many({count: state(count)})
        count += 1
    check(users, count)
    users.close()
    check(SharedUsers(disk / "shared", writes=True), count)
    sys.stdout.write(f"kept {count}\n")


main(Path(sys.argv[1]))
