"""From the learner to the replica that serves, within one process."""

from __future__ import annotations

from stream_reco.config import Settings
from stream_reco.embedded.learner import Learner
from stream_reco.learner.publication_contents import PublicationContents
from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.sync import Channel, InProcessChannel


class Publishing:
    """Publishes a learner's state, and follows it; over a channel within the process, unless another one is given."""

    def __init__(self, learner: Learner, settings: Settings, epoch: int, channel: Channel | None = None) -> None:
        self._collecting = PublicationContents(learner.intake, learner.lessons, settings.labels.lateness_ms)
        self._publisher = self._collecting.publisher(epoch)
        self._channel = InProcessChannel() if channel is None else channel
        self.served = ServingState(settings.model, settings.signals, settings.serve.row_precision)

    def sync(self, now: int) -> int:
        """Publish and apply what changed; `now` (ms, wall clock) stamps the publication. Returns the version served."""
        self._publisher.publish(self._channel, lambda snapshot: self._collecting.contents(snapshot, now))
        self.served.replica.poll(self._channel)
        self._collecting.observe()
        return self.served.replica.version
