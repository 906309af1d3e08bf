"""How much sooner the policy `early` labels impressions than `conclusive`, and how often it is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from stream_reco.datasets import Log
from stream_reco.events import Id, Impression
from stream_reco.labels import Example, LabelJoiner, LabelSettings, final_labels
from stream_reco.labels.settings import DAY_MS

_INFERRED = "responded_later"


@dataclass(frozen=True)
class LeadTimes:
    """Of the impressions that end as negatives: how many days sooner their first label came."""

    negatives: int
    earlier: int
    """Negatives that were given sooner."""
    median: float
    p90: float
    """Over all negatives; those without a later response come no sooner."""
    earlier_median: float
    earlier_p90: float
    """Over those that were given sooner."""
    inferred: int
    """Negatives that were inferred from a later response, right or wrong."""
    wrong: int
    """Those of them that an action reversed."""
    later: int
    """Impressions of any kind whose first label came later than under `conclusive`."""


def measure_leads(log: Log, settings: LabelSettings) -> LeadTimes:
    """Label a log under both policies."""
    finals = final_labels(log, settings)
    conclusive, _ = _first_labels(log, replace(settings, policy="conclusive"))
    early, (inferred, wrong) = _first_labels(log, replace(settings, policy="early"))
    sooner = {name: (conclusive[name] - time) / DAY_MS for name, time in early.items()}
    days = np.array([sooner[name] for name, final in finals.items() if final.label == 0])
    given = days[days > 0]
    return LeadTimes(
        len(days),
        len(given),
        *_percentiles(days),
        *_percentiles(given),
        inferred,
        wrong,
        sum(lead < 0 for lead in sooner.values()),
    )


def _percentiles(days: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, float]:
    median, p90 = np.percentile(days, [50, 90]).tolist() if len(days) else (0.0, 0.0)
    return median, p90


def _first_labels(log: Log, settings: LabelSettings) -> tuple[dict[Id, int], tuple[int, int]]:
    """The time (ms) of each impression's first label, and how many were inferred and how many of these reversed."""
    times: dict[Id, int] = {}
    counts = [0, 0]
    for example, name in _examples(log, settings):
        times.setdefault(name, example.label_time)
        counts[0] += example.reason == _INFERRED
        counts[1] += example.undoes is not None and example.undoes.reason == _INFERRED
    return times, (counts[0], counts[1])


def _examples(log: Log, settings: LabelSettings) -> Iterable[tuple[Example, Id]]:
    """Each example of an impression with the impression's id."""
    joiner = LabelJoiner(**settings.of_joiner())
    shown: list[Id] = []
    for event in log:
        name = event.event_id if isinstance(event, Impression) else None
        place = None if name is None else b"%d" % len(shown)
        shown += [] if name is None else [name]
        yield from _named(joiner.process([event], [place]), shown)
        # As the loop does: what comes meanwhile decides whether an action is in time.
        yield from _named(joiner.advance(event.timestamp - settings.lateness_ms), shown)
    yield from _named(joiner.advance(int(log.times[-1]) + 2 * settings.window_ms + DAY_MS), shown)


def _named(examples: list[Example], shown: list[Id]) -> Iterable[tuple[Example, Id]]:
    return [(example, shown[int(example.features)]) for example in examples if example.features is not None]
