"""What a leader and a standby work with: settings, topics, the channel, checkpoints, the learning thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from stream_reco.clock import Clock
from stream_reco.config import Settings
from stream_reco.sync import Channel
from topologies.topics.declaration import Topics
from topologies.trainer.checkpoints import Checkpoints
from topologies.trainer.standby import WarmStandby

NAME = "training"
"""The trainer's name: of its log lines and its metrics."""
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class TrainerDependencies:
    """What one trainer process works with, as the leader and as a standby."""

    settings: Settings
    topics: Topics
    channel: Channel
    checkpoints: Checkpoints
    standby: WarmStandby
    clock: Clock
    thread: Executor
    """One thread, on which all learning is done."""
    sync_seconds: float
    """Between two publications."""

    @property
    def group(self) -> str:
        """The name, without the prefix, of the consumer group and the transactional id of this trainer's number."""
        number = self.settings.training.trainer
        return NAME if number == 0 else f"{NAME}-{number}"

    async def on_thread(self, work: Callable[..., _Result], *arguments: object) -> _Result:
        """Run blocking work on the learning thread."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, work, *arguments)
