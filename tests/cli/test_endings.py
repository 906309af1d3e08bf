"""How commands end that are stopped, or find no room: with a sentence at most, and the status that is documented."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.programs import COMMAND, environ
from tests.waiting import until

HERE = Path(__file__).parent
OnSmallDisk = Callable[[Path, int], str]
BODY = "POST {} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n[{{"


def serving(data: Path) -> subprocess.Popen[str]:
    command = [*COMMAND, "serve", "--data", str(data), "--port", "0"]
    return subprocess.Popen(command, env=environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def catches(process: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Whether a signal would be caught by it."""
    found = re.search(r"^SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
    return found is not None and bool(int(found[1], 16) & 1 << number - 1)


@pytest.mark.parametrize(
    ("number", "seconds"), [(signal.SIGTERM, 0.0), (signal.SIGTERM, 0.7), (signal.SIGTERM, 2.0), (signal.SIGINT, 1.2)]
)
def test_a_start_that_is_stopped_ends_cleanly(tmp_path: Path, seconds: float, number: signal.Signals) -> None:
    """While it imports, while it opens the port, while it compiles and opens the folder."""
    process = serving(tmp_path)
    until(lambda: catches(process, signal.SIGTERM), 60)
    time.sleep(seconds)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_bodies_that_are_under_way_are_told_that_it_stops(tmp_path: Path) -> None:
    process = serving(tmp_path)
    assert process.stdout is not None
    found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
    assert found
    assert "Ready" in process.stdout.readline()
    clients = [socket.create_connection(("127.0.0.1", int(found[1]))) for _ in range(3)]
    for client, path in zip(clients, ("/v1/events", "/v1/recommend", "/v1/score"), strict=True):
        client.sendall(BODY.format(path).encode())
    answers: list[bytes] = []

    def drip(client: socket.socket) -> None:
        client.settimeout(0.2)
        answer = b""
        while b"}}" not in answer and process.poll() is None:
            try:
                client.sendall(b" ")
                answer += client.recv(4096)
            except TimeoutError:
                continue
        answers.append(answer)

    threads = [threading.Thread(target=drip, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=30)
    for thread in threads:
        thread.join(30)
    assert process.returncode == 0, errors
    assert "everything is safe" in output
    assert "Traceback" not in errors
    assert [answer.split()[1] for answer in answers] == [b"503"] * 3
    assert all(b"send it again when it is back" in answer for answer in answers)


@pytest.mark.parametrize("command", [["models"], ["doctor", "--settings"]])
def test_output_that_finds_no_room_is_said_in_a_sentence(command: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, *command], env=environ(), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith("stream-reco: the disk is full: ")
    assert done.stderr.count("\n") == 1


def test_a_full_disk_is_said_in_a_sentence(on_small_disk: OnSmallDisk) -> None:
    assert "nothing is missing" in on_small_disk(HERE / "on_full_disk.py", 3_000_000)
