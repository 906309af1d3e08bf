"""Publication of the learner's state to scorers of other processes."""

from __future__ import annotations

from stream_reco.config import Settings
from stream_reco.embedded.learner import Learner
from stream_reco.learner.measured_publications import QUALITY_EVERY, MeasuredPublications
from stream_reco.learner.progressive_evaluation import PublishedModel
from stream_reco.measure.progressive import MOST_MEASURED, ProgressiveQuality
from stream_reco.serve.status import Status, starting_status
from stream_reco.sync import Channel


class PublishingApart:
    """Publishes over a channel. Here nothing is served: what is kept of a version is what it predicts with."""

    def __init__(self, learner: Learner, settings: Settings, epoch: int, channel: Channel) -> None:
        self._epoch = epoch
        published = PublishedModel(
            settings.model, ProgressiveQuality(every=QUALITY_EVERY), MOST_MEASURED, settings.serve.row_precision
        )
        self._publications = MeasuredPublications(learner, settings.labels.lateness_ms, epoch, channel, published)

    @property
    def version(self) -> int:
        """The last one that the channel took; 0 before the first."""
        return self._publications.version

    def sync(self, now: int) -> int:
        """Publish what changed, stamped with `now` (ms, wall clock); returns the version."""
        self._publications.publish(now)
        return self.version

    def flush(self) -> None:
        """Nothing waits to be predicted."""

    def status(self, now: int) -> Status:
        """What was published; how old that is, scorers know."""
        del now
        return {**starting_status(), "epoch": self._epoch, "version": self.version}
