"""A real redis-server on loopback, on a free port, in a folder of its own; ended by its process id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

_PATIENCE = 10.0


_HIGHEST_PORT = 55_535
"""A node of a cluster listens 10,000 ports above its own too."""


def free_port() -> int:
    while True:
        with socket.socket() as chosen:
            chosen.bind(("127.0.0.1", 0))
            port: int = chosen.getsockname()[1]
        if port <= _HIGHEST_PORT:
            return port


class RedisServer:
    """Started by the constructor; a context manager. Without other arguments it writes nothing to disk."""

    def __init__(self, folder: Path, *arguments: str, config: str = "", tls: bool = False) -> None:
        self.port = free_port()
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "redis.conf").write_text(config)
        where = ["--port", "0", "--tls-port", str(self.port)] if tls else ["--port", str(self.port)]
        self._command = [
            "redis-server",
            str(folder / "redis.conf"),
            *where,
            "--bind",
            "127.0.0.1",
            "--dir",
            str(folder),
            "--save",
            "",
            *arguments,
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def do(self, *command: bytes | str | int) -> Any:
        """What it answers to a command, behind the scenes."""
        client: Any = redis.Redis("127.0.0.1", self.port, retry=Retry(NoBackoff(), 0), socket_timeout=5, protocol=2)
        with client:
            return client.execute_command(*command)

    def start(self) -> None:
        """Start it where it was; returns when it listens."""
        log = (self.folder / "redis.log").open("ab")
        self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        log.close()
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeError(f"redis-server did not start: {(self.folder / 'redis.log').read_text()}")

    def kill(self) -> None:
        """End it at once, as `kill -9` does; harmless when repeated."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait(_PATIENCE)
            self._process = None

    def pause(self) -> None:
        """Let it hang: connections are made, nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            os.kill(self._process.pid, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
