"""States of users in a file that other processes read while one writes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import numpy as np
import pytest

from stream_reco.events import Id
from stream_reco.storage import shared_users
from stream_reco.storage.shared_users import SharedUser, SharedUsers, SharedUsersError
from tests.conftest import RunOnSmallDisk

HERE = Path(__file__).parent


def begun(folder: Path, states: dict[Id, bytes | None] | None = None, first_bytes: int = 1 << 26) -> SharedUsers:
    """A writer whose readers have these users, and no others."""
    users = SharedUsers(folder, writes=True, first_bytes=first_bytes)
    users.begin_all()
    users.put_many(states or {})
    users.end_all()
    return users


@pytest.fixture
def users(tmp_path: Path) -> Iterator[SharedUsers]:
    users = begun(tmp_path / "shared")
    yield users
    users.close()


def in_child(work: Callable[[], object]) -> str:
    """What `work` returns, as text, in a forked process; or its error."""
    pipe, end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = f"{work()}"
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(end, said.encode())
        os._exit(0)
    os.close(end)
    os.waitpid(child, 0)
    with os.fdopen(pipe) as file:
        return file.read()


def test_the_last_write_wins_and_integers_and_texts_are_different_users(users: SharedUsers) -> None:
    ids: list[Id] = [5, "5", -5, 0, "", "\x00", -(2**63), 2**63 - 1, "ü" * 256, "i" + "\x00" * 7 + "\x05"]
    users.put_many(dict.fromkeys(ids, b"before"))
    states = {one: str(place).encode() for place, one in enumerate(ids)}
    users.put_many(dict(states))
    assert {one: users.get(one).state for one in ids} == states
    users.put_many({5: None, "nobody": None, "5": b""})
    assert users.get(5) == SharedUser(None, True)
    assert users.get("5") == SharedUser(b"", True)
    assert users.get(-5).state == b"2"


def test_long_texts_that_differ_anywhere_are_different_users(users: SharedUsers) -> None:
    """LMDB takes keys of 511 bytes, a text of ours may have 512."""
    ids: list[Id] = ["x" * length for length in range(490, 513)]
    ids += ["x" * at + "y" + "x" * (511 - at) for at in range(0, 512, 7)]
    users.put_many({one: str(place).encode() for place, one in enumerate(ids)})
    assert [users.get(one).state for one in ids] == [str(place).encode() for place in range(len(ids))]


def test_notes_are_no_users(users: SharedUsers) -> None:
    users.put_many({"time": b"user"}, {"time": b"noted"})
    assert (users.note("time"), users.get("time").state) == (b"noted", b"user")
    assert users.note("other") is None
    assert users.get("\x00time").state is None


def test_nothing_is_read_before_all_users_are_written(tmp_path: Path) -> None:
    reader, writer = (SharedUsers(tmp_path / "shared", writes=writes) for writes in (False, True))
    for attempt in (lambda: reader.get(1), lambda: writer.get(1), lambda: writer.put_many({1: b"x"})):
        with pytest.raises(SharedUsersError, match="not all users are written yet"):
            attempt()
    writer.begin_all()
    writer.put_many({1: b"x"})
    assert not writer.complete
    with pytest.raises(SharedUsersError):
        writer.get(1)
    assert in_child(lambda: reader.get(1)).startswith("SharedUsersError")
    writer.end_all()
    assert writer.complete
    assert in_child(lambda: reader.get(1)) == f"{SharedUser(b'x')}"
    writer.clear()
    assert in_child(lambda: reader.get(1)).startswith("SharedUsersError")
    assert (writer.nbytes, list(writer.folder.iterdir())) == (0, [])


def test_readers_keep_the_old_file_until_the_new_one_has_all_users(users: SharedUsers) -> None:
    reader = SharedUsers(users.folder, writes=False)
    users.put_many({"old": b"1", "both": b"1"})
    users.begin_all()
    users.put_many({"both": b"2"})
    assert users.get("both").state == b"1"
    assert in_child(lambda: [reader.get(one).state for one in ("old", "both")]) == "[b'1', b'1']"
    users.put_many({"new": b"2"})
    users.end_all()
    wanted = "[None, b'2', b'2']"
    assert in_child(lambda: [reader.get(one).state for one in ("old", "both", "new")]) == wanted
    assert f"{[users.get(one).state for one in ('old', 'both', 'new')]}" == wanted
    assert sum(not path.is_symlink() for path in users.folder.iterdir()) == 2, "a file and its locks"


def test_a_writer_that_was_killed_amid_writing_all_is_not_read(users: SharedUsers) -> None:
    users.put_many({"u": b"1"})
    users.close()

    def half() -> None:
        writer = SharedUsers(users.folder, writes=True)
        writer.begin_all()
        writer.put_many({"u": b"2"})

    assert in_child(half) == "None"
    again = SharedUsers(users.folder, writes=True)
    assert again.get("u").state == b"1"
    again.put_many({"u": b"3"})
    again.begin_all()
    assert len([path for path in users.folder.iterdir() if not path.name.endswith("-lock")]) == 3, "left is removed"
    again.end_all()
    assert again.get("u").state is None
    again.close()


def test_of_before_a_start_of_the_machine_nothing_is_read(users: SharedUsers, monkeypatch: pytest.MonkeyPatch) -> None:
    users.put_many({"u": b"1"})
    users.close()
    monkeypatch.setattr(shared_users, "_start_of_machine", lambda: "another")
    writer = SharedUsers(users.folder, writes=True)
    assert not writer.complete
    with pytest.raises(SharedUsersError, match="not all users"):
        writer.get("u")
    writer.begin_all()
    writer.end_all()
    assert writer.get("u").state is None
    assert len(list(users.folder.iterdir())) == 3
    writer.close()


def test_after_a_fork_a_child_reads_what_its_parent_writes_later(users: SharedUsers) -> None:
    users.put_many({"u": b"1"})
    (asked, ask), (answered, answer) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        before = users.get("u").state
        os.write(answer, b"!")
        os.read(asked, 1)
        after = [users.get(one).state for one in ("u", "v")]
        os._exit(0 if (before, after) == (b"1", [b"2", b"x"]) else 1)
    os.read(answered, 1)
    users.put_many({"u": b"2", "v": b"x"})
    os.write(ask, b"!")
    assert os.waitpid(child, 0)[1] == 0
    users.put_many({"u": b"3"})
    assert users.get("u").state == b"3"
    assert in_child(lambda: users.put_many({"u": b"4"})).startswith("SharedUsersError")


def test_address_space_grows_and_readers_follow(tmp_path: Path) -> None:
    users = begun(tmp_path, {"small": b"1"}, first_bytes=1 << 16)
    answers, questions = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        reader, found = SharedUsers(tmp_path, writes=False, first_bytes=1 << 16), []
        for one in ("small", "large"):
            found.append(len(reader.get(one).state or b""))
            os.write(answers[1], b"!")
            os.read(questions[0], 1)
        os._exit(0 if found == [1, 1 << 22] else 1)
    os.read(answers[0], 1)
    users.put_many({"large": bytes(1 << 22)})
    os.write(questions[1], b"!!")
    assert os.waitpid(child, 0)[1] == 0
    assert len(users.get("large").state or b"") == 1 << 22
    assert users.nbytes >= 1 << 22
    users.close()


def test_a_reader_that_was_killed_pins_no_pages(tmp_path: Path) -> None:
    users = begun(tmp_path, {one: bytes(10_000) for one in range(20)}, first_bytes=1 << 20)
    child = os.fork()
    if child == 0:
        name = (tmp_path / "users").resolve()
        env = lmdb.open(str(name), subdir=False, readonly=True)
        held = env.begin()
        held.get(b"x")
        os._exit(0)  # without giving the transaction back
    os.waitpid(child, 0)
    rng = np.random.default_rng(0)
    for _ in range(400):  # of 10 kB each, in a file that has room for 1 MB
        users.put_many({int(rng.integers(20)): rng.bytes(10_000)})
    assert users.nbytes <= 1 << 20, "without a look for such readers it would have 4 MB"
    users.close()


def test_threads_of_one_process_read_whole_states_while_it_writes(users: SharedUsers) -> None:
    done, torn = threading.Event(), list[bytes]()
    users.put_many({1: bytes(9_000)})

    def read() -> None:
        while not done.is_set():
            state = users.get(1).state or b"?"
            if len(set(state)) != 1:
                torn.append(state)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(500):
        users.put_many({1: bytes([number % 256]) * 9_000})
        if number % 100 == 50:
            users.begin_all()
            users.put_many({1: bytes([number % 256]) * 9_000})
            users.end_all()
    done.set()
    for thread in threads:
        thread.join()
    assert torn == []


def test_a_writer_killed_at_any_moment_leaves_whole_transactions(tmp_path: Path) -> None:
    script = [sys.executable, str(HERE / "shared_users_until_killed.py"), str(tmp_path), "1"]
    env = os.environ | {"PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(script, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    rounds, written, read = (int(word) for word in done.stdout.split() if word.isdigit())
    assert rounds == 12
    assert written > 200
    assert read > 2_000


def test_a_full_disk_is_told_and_leaves_what_was_there(on_small_disk: RunOnSmallDisk) -> None:
    printed = on_small_disk(HERE / "shared_users_until_full.py", 4_000_000)
    assert "cannot be written" in printed
    assert "make room" in printed
    assert "kept " in printed
