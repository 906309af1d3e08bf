"""Quality of the served version's predictions for impressions, against their final labels.

Label policies can be compared by it: the same impressions, each predicted as it was shown, against the same labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from stream_reco.datasets import Log
from stream_reco.events import Id, Impression
from stream_reco.labels import Final, LabelSettings, final_labels
from stream_reco.measure import BinaryMetrics

PARTS = 10
HOUR_MS = 3_600_000
MOST_HOURS = 24 * 14
"""Hours that are reported one by one: a fortnight of them."""


class ShownQuality:
    """Predictions of impressions against `finals`, which has all impressions of the log in their order."""

    def __init__(self, finals: Mapping[Id, Final]) -> None:
        self._finals = finals
        self._places = {name: place for place, name in enumerate(finals)}
        self._predicted: NDArray[np.float32] = np.full(len(finals), np.nan, dtype=np.float32)
        self._times: NDArray[np.int64] = np.zeros(len(finals), dtype=np.int64)

    def shown(self, impressions: Sequence[Impression], predictions: NDArray[np.float32]) -> None:
        """Count impressions with the float32[n] probabilities that were predicted of them."""
        for impression, predicted in zip(impressions, predictions.tolist(), strict=True):
            place = None if impression.event_id is None else self._places.get(impression.event_id)
            if place is not None:
                self._predicted[place], self._times[place] = predicted, impression.timestamp

    def as_dict(self) -> dict[str, object]:
        """Figures of all impressions, of their second half, of each tenth in the order of the log, and of each hour."""
        count = len(self._finals)
        edges = [count * part // PARTS for part in range(PARTS + 1)]
        tenths = [self._figures(first, after) for first, after in pairwise(edges)]
        return {
            **self._figures(0, count),
            "second_half": self._figures(count // 2, count),
            "tenths": tenths,
            "hours": self._hours(),
        }

    def _hours(self) -> list[dict[str, object]]:
        """Of each hour in which impressions were predicted, from the first on: predicted over observed.

        `come`: the positives of all impressions, measured or not, whose action had come when the hour began.
        """
        known = np.flatnonzero(np.isfinite(self._predicted))
        if not len(known):
            return []
        finals = list(self._finals.values())
        labels = np.array([final.label for final in finals], dtype=np.int64)
        acted = np.sort(np.array([final.time for final in finals if final.label], dtype=np.int64))
        first = int(self._times[known].min())
        hours = (self._times[known] - first) // HOUR_MS
        return [
            {
                "hour": hour,
                "count": int(mine.sum()),
                "positives": int(labels[known[mine]].sum()),
                "predicted": float(self._predicted[known[mine]].sum(dtype=np.float64)),
                "come": int(np.searchsorted(acted, first + hour * HOUR_MS)),
            }
            for hour in np.unique(hours).tolist()[:MOST_HOURS]
            for mine in [hours == hour]
        ]

    def _figures(self, first: int, after: int) -> dict[str, object]:
        """Figures of the impressions in [first, after); those before the first served version are left out."""
        predicted = self._predicted[first:after]
        known = np.isfinite(predicted)
        labels = np.array([final.label for final in self._finals.values()][first:after], dtype=np.float64)
        # With a bin for each impression ranks are exact.
        quality = BinaryMetrics(max(2, int(known.sum())))
        quality.add(predicted[known], labels[known])
        times = self._times[first:after][known]
        return {
            "count": quality.count,
            "positives": int(labels[known].sum()),
            **quality.as_dict(),
            "until": int(times.max()) if len(times) else None,
        }


def final_labels_of(log: Log, settings: LabelSettings) -> dict[Id, Final]:
    """The final label of each impression of a log; empty where it has none, as logs of clicks alone."""
    if not any(isinstance(event, Impression) for event in log):
        return {}
    return final_labels(log, settings)
