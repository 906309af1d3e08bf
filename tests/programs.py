"""`stream-reco` as processes of their own, which tests ask, freeze, kill and start again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.request import urlopen

from stream_reco.config.servers import KafkaSettings

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "stream_reco.cli"]
_PREFIX = "STREAM_RECO_"


def environ(**given: str) -> dict[str, str]:
    """As a user of this checkout has it who has set nothing; with these variables besides."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_PREFIX)}
    path = os.pathsep.join(filter(None, [str(ROOT), inherited.get("PYTHONPATH")]))
    return inherited | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"} | given


def settings(**given: str) -> dict[str, str]:
    """Settings by their variables' names without the prefix, as environment variables."""
    return {_PREFIX + name: value for name, value in given.items()}


def kafka_environ(kafka: KafkaSettings) -> dict[str, str]:
    """What leads a process to this Kafka, and to its topics there."""
    return settings(
        KAFKA_BOOTSTRAP=kafka.bootstrap,
        KAFKA_PREFIX=kafka.prefix,
        KAFKA_PARTITIONS=str(kafka.partitions),
        KAFKA_SESSION_SECONDS=str(kafka.session_seconds),
    )


class Program:
    """A running command; all that it says goes to the file `told` in its folder, behind what was said there before."""

    def __init__(self, arguments: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._told = folder / "told"
        with self._told.open("ab") as told:
            self.process = subprocess.Popen(
                [*COMMAND, *arguments], cwd=folder, stdout=told, stderr=told, env=environment
            )

    def said(self) -> str:
        """What it has said so far."""
        return self._told.read_text(errors="replace")

    def wait_for(self, pattern: str, seconds: float = 60.0) -> re.Match[str]:
        """Wait until it says what fits the pattern. Raises AssertionError where it ends before, or takes longer."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.said())):
            assert self.process.poll() is None, f"it ended before it said {pattern!r}:\n{self.said()}"
            assert time.monotonic() < deadline, f"it did not say {pattern!r} within {seconds} s:\n{self.said()}"
            time.sleep(0.05)
        return found

    def metrics(self) -> str:
        """What it shows to Prometheus."""
        text: bytes = urlopen(self.metrics_url, timeout=10).read()
        return text.decode()

    def metric(self, line: str) -> float:
        """The value of one line of that, 0 where it is absent."""
        found = re.search(rf"^{re.escape(line)} (\S+)$", self.metrics(), re.MULTILINE)
        return float(found[1]) if found else 0.0

    @property
    def metrics_url(self) -> str:
        """Where it shows its metrics; known once it has said so."""
        raise NotImplementedError

    def freeze(self) -> None:
        """Let it sleep without knowing."""
        self.process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End it as an operator would; returns its status."""
        if self.process.poll() is None:
            self.wake()
            self.process.terminate()
        return self.process.wait(30)


def stop_all(programs: Iterable[Program]) -> None:
    """End them as an operator would, all at the same time. Raises AssertionError where one does not end well."""
    running = list(programs)
    for program in running:
        program.process.terminate()
    for program in running:
        assert program.process.wait(60) == 0, program.said()
