"""From the learner to the replica that serves, within one process."""

from __future__ import annotations

from stream_reco import metrics
from stream_reco.config import Settings
from stream_reco.embedded.learner import Learner
from stream_reco.model.weights import weights_of
from stream_reco.serve.served import Served
from stream_reco.sync import Channel, Contents, InProcessChannel, Publisher, drain_tables


class Publishing:
    """Publishes a learner's state, and follows it; over a channel within the process, unless another one is given."""

    def __init__(
        self, learner: Learner, settings: Settings, model: str, epoch: int, channel: Channel | None = None
    ) -> None:
        self._learner = learner
        self._lateness_ms = settings.labels.lateness_ms
        self._publisher = Publisher(model, epoch)
        self._channel = InProcessChannel() if channel is None else channel
        self._published_steps = -1
        self._now = 0
        self.served = Served(settings.model, settings.signals, model)

    def sync(self, now: int) -> int:
        """Publish and apply what changed; `now` (ms, wall clock) stamps the publication. Returns the version served."""
        self._now = now
        self._publisher.publish(self._channel, self._collect)
        self.served.replica.poll(self._channel)
        for name, table in self._learner.trainer.tables.items():
            metrics.TABLE_ROWS.labels(name).set(len(table))
            metrics.TABLE_BYTES.labels(name).set(table.nbytes)
        return self.served.replica.version

    def _collect(self, snapshot: bool) -> Contents:
        learner = self._learner
        tables, restore_tables = drain_tables(learner.trainer.tables.values(), snapshot)
        signals, catalogue = learner.signals.drain()
        drained, steps = signals, self._published_steps
        if snapshot:
            signals, catalogue = learner.signals.snapshot()
        dense = weights_of(learner.trainer.averaged) if snapshot or learner.steps != steps else {}
        self._published_steps = learner.steps

        def restore() -> None:
            restore_tables()
            learner.signals.restore_touched(drained)
            self._published_steps = steps

        watermark = learner.stream_time - self._lateness_ms
        return Contents(tables, dense, signals, catalogue, watermark, self._now, restore)
