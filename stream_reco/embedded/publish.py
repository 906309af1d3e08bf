"""Publication of the learner's state to the replica that serves, within one process."""

from __future__ import annotations

from stream_reco.config import Settings
from stream_reco.embedded.evaluation import EvaluationHooks, ImpressionSink
from stream_reco.embedded.learner import Learner
from stream_reco.learner.progressive_evaluation import EvaluationSink
from stream_reco.learner.publication_contents import PublicationContents
from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.serve.status import Status, replica_status
from stream_reco.sync import Channel, InProcessChannel


class Publishing:
    """Publishes a learner's state and applies it to a serving state, over a channel within the process by default."""

    def __init__(
        self,
        learner: Learner,
        settings: Settings,
        epoch: int,
        channel: Channel | None = None,
        *,
        observer: EvaluationSink | None = None,
        viewer: ImpressionSink | None = None,
        most_measured: int | None = None,
    ) -> None:
        """`channel` has other readers too; `observer` and `viewer` are told what the version served predicts.

        `most_measured`: candidates that the observer is told of between two flushes; None: all.
        """
        self._contents = PublicationContents(
            learner.state, learner.queue, settings.labels.lateness_ms, for_own_process=channel is None
        )
        self._publisher = self._contents.publisher(epoch)
        # What the replica has applied is not kept: a snapshot is as large as what it was taken from.
        self._channel = InProcessChannel(capacity=1, for_one_reader=True) if channel is None else channel
        self.served = ServingState(
            settings.model, settings.signals, settings.serve.row_precision, beside=learner.state.signals
        )
        self._hooks = EvaluationHooks(learner, self.served, observer, viewer, most_measured)

    @property
    def version(self) -> int:
        """The version served; 0 before the first."""
        return self.served.replica.version

    def sync(self, now: int) -> int:
        """Publish and apply what changed; `now` (ms, wall clock) stamps the publication. Returns the version served."""
        self._publisher.publish(self._channel, lambda snapshot: self._contents.contents(snapshot, now))
        self.served.replica.poll(self._channel)
        self._contents.observe()
        return self.version

    def flush(self) -> None:
        """Predict what waits to be, with the version served."""
        self._hooks.flush()

    def status(self, now: int) -> Status:
        """What is served, and how old it is."""
        return replica_status(self.served.replica, now)
