"""Workers as processes of their own, which tests kill, freeze and start again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.request import urlopen

from stream_reco.config.servers import KafkaSettings
from tests import programs


class Worker(programs.Program):
    """`stream-reco work NAME` with its own state folder."""

    def __init__(
        self,
        name: str,
        kafka: KafkaSettings,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        """`settings` are environment variables without their prefix."""
        given = programs.settings(STATE_DIR=str(folder), **(settings or {}))
        environment = programs.environ(**programs.kafka_environ(kafka), **given)
        super().__init__(["work", name, *flags], folder, environment)

    def wait_until_at_work(self, seconds: float = 60.0) -> None:
        """Return once it knows its partitions."""
        self.wait_for("works on partitions", seconds)

    @property
    def metrics_url(self) -> str:
        self.wait_for("metrics are at")
        # One that was started again says so again.
        found: list[str] = re.findall(r"metrics are at (\S+)", self.said())
        return found[-1]

    def is_alive(self) -> bool:
        """What it tells whoever would start it anew."""
        answer: bytes = urlopen(self.metrics_url.replace("/metrics", "/health/live"), timeout=5).read()
        return answer == b"alive\n"
