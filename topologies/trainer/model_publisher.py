"""What the leader publishes: what has changed in its learner, numbered in its epoch, over the channel."""

from __future__ import annotations

import logging

from stream_reco.learner.progressive_evaluation import PublishedModel
from stream_reco.learner.publication_contents import PublicationContents
from stream_reco.measure.progressive import ProgressiveQuality
from stream_reco.measure.stages import observe_stage
from stream_reco.sync import ChannelRefused, ChannelUnreachable
from topologies.trainer.dependencies import TrainerDependencies
from topologies.trainer.standby import LearnerAtOffsets

_LOGGER = logging.getLogger(__name__)
_MEASURED_EVERY = 4
"""One batch of four is predicted before it is learned from: to predict all of them took a fifth of the speed."""
_QUALITY_EVERY = 500
"""Measured examples after which the gauges are set: some 2,000 that were learned from, as in one process."""


class ModelPublisher:
    """Publishes one learner in one epoch; on the learning thread."""

    def __init__(self, dependencies: TrainerDependencies, learner: LearnerAtOffsets, epoch: int) -> None:
        self._channel, self._clock = dependencies.channel, dependencies.clock
        self._learner = learner.learner
        self._has_failed = False
        settings = dependencies.settings
        self._contents = PublicationContents(self._learner.state, self._learner.queue, settings.labels.lateness_ms)
        self._publisher = self._contents.publisher(epoch)
        self._published = PublishedModel(
            settings.model, ProgressiveQuality(every=_QUALITY_EVERY), _MEASURED_EVERY, settings.serve.row_precision
        )
        self._learner.queue.watch = self._published.watch

    def publish(self, now: int, idle: bool) -> None:
        """Publish what has changed, stamped with `now` (ms, wall clock); `idle`: nothing was learned since the last.

        A channel that refuses or is away is logged once: rows stay touched, and go out with the next publication.
        """
        try:
            self._published.take(
                self._publisher.publish(self._channel, lambda whole: self._contents.contents(whole, now))
            )
            self._contents.observe()
        except (ChannelRefused, ChannelUnreachable) as error:
            if not self._has_failed:
                _LOGGER.warning("training: nothing is published: %s", error)
            self._has_failed = True
        else:
            if not idle:
                observe_stage("published", self._learner.now, self._clock.now_ms())
            if self._has_failed:
                _LOGGER.info("training: publishes again")
            self._has_failed = False
