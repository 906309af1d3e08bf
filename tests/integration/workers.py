"""Workers as processes of their own, which tests kill, freeze and start again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.request import urlopen

from stream_reco.config.servers import KafkaSettings

ROOT = Path(__file__).parents[2]


class Worker:
    """`stream-reco work NAME` with its own state folder; all that it says goes to a file there."""

    def __init__(
        self, name: str, kafka: KafkaSettings, folder: Path, settings: Mapping[str, str] | None = None,
        flags: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """`settings` are environment variables without their prefix."""
        folder.mkdir(parents=True, exist_ok=True)
        self.told = folder / "told"
        given = {
            "KAFKA_BOOTSTRAP": kafka.bootstrap, "KAFKA_PREFIX": kafka.prefix, "KAFKA_PARTITIONS": str(kafka.partitions),
            "KAFKA_SESSION_SECONDS": str(kafka.session_seconds), "STATE_DIR": str(folder), **(settings or {}),
        }  # fmt: skip
        inherited = {one: value for one, value in os.environ.items() if not one.startswith("STREAM_RECO_")}
        inherited["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), inherited.get("PYTHONPATH")]))
        with self.told.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stream_reco.cli", "work", name, *flags], cwd=folder, stdout=output,
                stderr=output, env=inherited | {f"STREAM_RECO_{one}": value for one, value in given.items()},
            )  # fmt: skip

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End it as an operator would; returns its status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        return self.process.wait(30)

    def freeze(self) -> None:
        """Let it sleep without knowing."""
        self.process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def said(self) -> str:
        """What it has said so far."""
        return self.told.read_text(errors="replace")

    def metrics(self) -> str:
        """What it shows to Prometheus; empty where it does not say yet where that is."""
        return self._asked("/metrics")

    def is_alive(self) -> bool:
        """What it tells whoever would start it anew."""
        return self._asked("/health/live") == "alive\n"

    def _asked(self, path: str) -> str:
        found = re.findall(r"metrics are at (http://127\.0\.0\.1:\d+)/metrics", self.said())
        return urlopen(found[-1] + path, timeout=5).read().decode() if found else ""
