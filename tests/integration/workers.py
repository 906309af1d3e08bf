"""Workers as processes of their own, which tests kill, freeze and start again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from stream_reco.config.servers import KafkaSettings
from tests import programs


class Worker(programs.Program):
    """`stream-reco work NAME` with its own state folder."""

    def __init__(
        self, name: str, kafka: KafkaSettings, folder: Path, settings: Mapping[str, str] | None = None,
        flags: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """`settings` are environment variables without their prefix."""
        given = programs.settings(STATE_DIR=str(folder), **(settings or {}))
        environment = programs.environ(**programs.kafka_environ(kafka), **given)
        super().__init__(["work", name, *flags], folder, environment)

    def wait_until_at_work(self, seconds: float = 60.0) -> None:
        """Return once it knows its partitions."""
        self.wait_for("works on partitions", seconds)

    @property
    def metrics_url(self) -> str:
        return self.wait_for(r"metrics are at (\S+)")[1]
