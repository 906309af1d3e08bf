"""What a learner publishes for scorers of other processes, and how well that predicts what is learned next."""

from __future__ import annotations

from typing import Protocol

from stream_reco.learner.example_queue import ExampleQueue
from stream_reco.learner.progressive_evaluation import PublishedModel
from stream_reco.learner.publication_contents import PublicationContents
from stream_reco.learner.stream_state import StreamState
from stream_reco.sync import Channel

QUALITY_EVERY = 2_500
"""Measured labels after which a `ProgressiveQuality` sets its gauges: one or two times a publication at most."""


class Publishable(Protocol):
    """A learner."""

    @property
    def state(self) -> StreamState: ...
    @property
    def queue(self) -> ExampleQueue: ...


class MeasuredPublications:
    """Publishes one learner in one epoch over a channel; on the learning thread."""

    def __init__(
        self, learner: Publishable, lateness_ms: int, epoch: int, channel: Channel, published: PublishedModel
    ) -> None:
        """A watermark is the stream time less `lateness_ms`; `published` measures what the channel took last."""
        self._contents = PublicationContents(learner.state, learner.queue, lateness_ms)
        self._publisher = self._contents.publisher(epoch)
        self._channel, self._published = channel, published
        learner.queue.watch = published.watch

    @property
    def version(self) -> int:
        """The last one that the channel took; 0 before the first."""
        return self._publisher.version

    def publish(self, now: int) -> None:
        """Publish what changed, stamped with `now` (ms, wall clock).

        Raises ChannelRefused or ChannelUnreachable: what changed goes out with the next publication then.
        """
        self._published.take(self._publisher.publish(self._channel, lambda whole: self._contents.contents(whole, now)))
        self._contents.observe()
