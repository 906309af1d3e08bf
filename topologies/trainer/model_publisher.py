"""What the leader publishes: what has changed in its learner, numbered in its epoch, over the channel."""

from __future__ import annotations

import logging

from stream_reco.learner.measured_publications import QUALITY_EVERY, MeasuredPublications
from stream_reco.learner.progressive_evaluation import PublishedModel
from stream_reco.measure.progressive import MOST_MEASURED, ProgressiveQuality
from stream_reco.measure.stages import observe_stage
from stream_reco.sync import ChannelRefused, ChannelUnreachable
from topologies.trainer.dependencies import TrainerDependencies
from topologies.trainer.standby import LearnerAtOffsets

_LOGGER = logging.getLogger(__name__)


class ModelPublisher:
    """Publishes one learner in one epoch; on the learning thread."""

    def __init__(self, dependencies: TrainerDependencies, learner: LearnerAtOffsets, epoch: int) -> None:
        self._clock, self._learner, self._has_failed = dependencies.clock, learner.learner, False
        settings = dependencies.settings
        published = PublishedModel(
            settings.model, ProgressiveQuality(every=QUALITY_EVERY), MOST_MEASURED, settings.serve.row_precision
        )
        self._publications = MeasuredPublications(
            self._learner, settings.labels.lateness_ms, epoch, dependencies.channel, published
        )

    def publish(self, now: int, idle: bool) -> None:
        """Publish what has changed, stamped with `now` (ms, wall clock); `idle`: nothing was learned since the last.

        A channel that refuses or is away is logged once: rows stay touched, and go out with the next publication.
        """
        try:
            self._publications.publish(now)
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
