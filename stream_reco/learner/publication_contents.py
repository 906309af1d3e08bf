"""What a learner has to publish: everything that changed since the channel took the last of it."""

from __future__ import annotations

import numpy as np

from stream_reco import metrics
from stream_reco.learner.example_queue import ExampleQueue
from stream_reco.learner.stream_state import StreamState
from stream_reco.model.spec import settings_digest
from stream_reco.sync import PublicationDraft, Publisher, drain_tables
from stream_reco.train.live_calibration import REPORTED


class PublicationContents:
    """Drains a learner into the contents of publications."""

    def __init__(
        self, state: StreamState, queue: ExampleQueue, lateness_ms: int, *, for_own_process: bool = False
    ) -> None:
        """A publication's watermark is the stream time less `lateness_ms`.

        `for_own_process`: the one reader holds its content beside the learner's, which snapshots need not say then.
        """
        self._state, self._queue, self._lateness_ms = state, queue, lateness_ms
        self._says_content = not for_own_process
        self._collected_steps = -1, -1
        tables = queue.trainer.tables
        # Counts of earlier processes, which the tables still hold, are not reported again.
        self._counted = {name: (table.evicted_for_budget, table.rejected_gradients) for name, table in tables.items()}

    def publisher(self, epoch: int) -> Publisher:
        """Numbers the publications of the learner's model in a new epoch."""
        model = self._queue.trainer.model
        return Publisher(model.name, epoch, settings_digest(model))

    def contents(self, snapshot: bool, created: int) -> PublicationDraft:
        """What changed, or with `snapshot` all there is; `created` (ms, wall clock) stamps it."""
        signals, queue = self._state.signals, self._queue
        tables, restore_tables = drain_tables(queue.trainer.tables.values(), snapshot)
        parts, catalogue = signals.drain()
        drained, steps = parts, self._collected_steps
        if snapshot:
            parts, catalogue = signals.snapshot(as_read=self._says_content)
        present = queue.steps, queue.heads.trainer.learned
        dense = {}
        if snapshot or present != steps:
            dense = queue.trainer.published_weights() | queue.heads.trainer.published.parts()
        self._collected_steps = present

        def restore() -> None:
            restore_tables()
            signals.restore_touched(drained)
            self._collected_steps = steps

        watermark = self._state.stream_time - self._lateness_ms
        shift = queue.trainer.intercept.published + queue.calibration.shift
        return PublicationDraft(tables, dense, parts, catalogue, watermark, created, restore, queue.examples, shift)

    def observe(self) -> None:
        """Update the metrics of the tables (sizes, rows evicted for the budget, rejected gradients), of calibration and
        of features.
        """
        self._queue.heads.trainer.observe()
        self._observe_features()
        for age, value in self._queue.calibration.by_age().items():
            if age in REPORTED:
                metrics.CALIBRATION_BY_AGE.labels(REPORTED[age]).set(value)
        for name, table in self._queue.trainer.tables.items():
            evicted_for_budget, rejected_gradients = self._counted.get(name, (0, 0))
            metrics.TABLE_EVICTED.labels(name, "budget").inc(table.evicted_for_budget - evicted_for_budget)
            metrics.TABLE_REFUSED.labels(name).inc(table.rejected_gradients - rejected_gradients)
            self._counted[name] = table.evicted_for_budget, table.rejected_gradients
            metrics.TABLE_ROWS.labels(name).set(len(table))
            metrics.TABLE_BYTES.labels(name).set(table.nbytes)

    def _observe_features(self) -> None:
        signals = self._state.signals
        content = signals.catalogue.content
        for side in (content.fields, signals.user_fields):
            # A series for each feature that has any: of a thousand names nearly all are as they should be.
            for number in np.flatnonzero(side.misfits[: len(side)]).tolist():
                metrics.FEATURE_MISFITS.labels(side.side, side.names[number]).set(int(side.misfits[number]))
        metrics.FEATURES_REFUSED.labels("item").set(content.fields.refused + content.vectors.refused)
        metrics.FEATURES_REFUSED.labels("user").set(signals.user_fields.refused)
