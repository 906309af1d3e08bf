"""Whether what is served is what is observed, by age of the labels, while actions are still to come.

Impressions are summed up in cohorts by the time at which they were shown: what was predicted of them then, and how many
actions came within a second, a minute, a day. Of a cohort that is older than an age all actions within that age have
come. Those of older cohorts say which share of all that is, so predicted × share is what an unbiased model would see.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream_reco.signals.growing import Parts

Floats = NDArray[np.float64]
_SECOND, _MINUTE, _HOUR, _DAY = 1_000, 60_000, 3_600_000, 86_400_000
AGES = (
    *(_SECOND, 10 * _SECOND, _MINUTE, 10 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 2 * _HOUR, 4 * _HOUR, 8 * _HOUR, _DAY, 7 * _DAY, 14 * _DAY),
)
"""Ages of labels, ms. What comes later than the oldest age that is known is not allowed for, so from half an hour to
a day, in which a stream is young and actions are slow, each is twice the one before."""
REPORTED = {_MINUTE: "minute", 10 * _MINUTE: "ten_minutes", _HOUR: "hour", _DAY: "day", 7 * _DAY: "week"}
_PARTS = 4
"""Cohorts that an age is cut into: a label is at most a quarter older than the age it stands for."""
_MEMORY = 200.0
"""Each age remembers about as many of the newest actions: a standard error of some 5 %."""
_RECENT = 3.0
"""Nor does it remember more than a third of them: a model that has just begun to learn will soon differ."""
_PRIOR = 10.0
"""Actions that speak for what the model says, until others have come."""
_ENOUGH = 0.2
"""The served scores follow the youngest age by which as large a share of the actions has come: younger labels follow
changes sooner, but of too small a share the rest is guessed. Half would be minutes later in a shop, but up to two hours
later where half comes within one, in which the model moves by more than the guess is off."""
_LARGEST_SHIFT = 3.0
"""In log-odds. More is an error elsewhere, and would be served."""
_SUMS = 3
"""Predicted, its squares, and predicted as served: columns of a cohort before the actions by delay."""


@dataclass
class _Age:
    """Sums of one age of labels."""

    ms: int
    mature: Floats = field(default_factory=lambda: np.zeros(_SUMS + len(AGES)))
    """float64[3 + ages]: of cohorts that are older, decayed."""
    actions: float = 0.0
    """How many came to mature cohorts so far."""
    young: dict[int, Floats] = field(default_factory=dict)
    """The same of each cohort that is not, by number."""

    @property
    def width(self) -> int:
        return max(self.ms // _PARTS, 1)

    def of(self, cohort: int, watermark: int) -> Floats:
        """The sums that belong to a cohort."""
        if self._is_mature(cohort, watermark):
            return self.mature
        return self.young.setdefault(cohort, np.zeros(_SUMS + len(AGES)))

    def pass_time(self, watermark: int) -> bool:
        """Take over the cohorts that have become mature; whether there were any."""
        if not self.young or not self._is_mature(min(self.young), watermark):
            return False
        for cohort in sorted(number for number in self.young if self._is_mature(number, watermark)):
            sums = self.young.pop(cohort)
            actions = max(0.0, float(sums[_SUMS:].sum()))
            memory = max(1.0, min(_MEMORY, self.actions / _RECENT))
            self.mature *= math.exp(-actions / memory)
            self.mature += sums
            self.actions += actions
        return True

    def _is_mature(self, cohort: int, watermark: int) -> bool:
        return (cohort + 1) * self.width + self.ms <= watermark


class LiveCalibration:
    """Predicted over observed by age of label, and the shift of log-odds that makes it 1.

    Its state is a function of what it is given, in that order. Times in ms.
    """

    def __init__(self, lateness_ms: int = 0, *, corrects: bool = True) -> None:
        """`lateness_ms`: how late an event may be; so much later cohorts are taken as complete.

        Unless it `corrects`, the shift stays 0.
        """
        self._lateness_ms, self._corrects = lateness_ms, corrects
        self._ages = [_Age(age) for age in AGES]
        self._watermark = 0
        self.shift = 0.0
        """What to add to the log-odds that are served."""

    def shown(self, times: NDArray[np.int64], log_odds: Floats) -> None:
        """Count impressions: int64[n] times, float64[n] log-odds that the model gave them then, before the shift.

        One without a finite prediction is left out: its features are damaged, and would spoil the sums for good.
        """
        finite = np.isfinite(log_odds)
        times, log_odds = times[finite], log_odds[finite]
        if not len(times):
            return
        chances = _sigmoid(log_odds)
        rows = np.stack([chances, chances**2, _sigmoid(log_odds + self.shift)], axis=1)
        first, last = int(times.min()), int(times.max())
        for age in self._ages:
            if first // age.width == last // age.width:  # a slate, as a rule
                age.of(first // age.width, self._watermark)[:_SUMS] += rows.sum(axis=0)
                continue
            numbers = times // age.width
            for cohort in np.unique(numbers).tolist():
                age.of(cohort, self._watermark)[:_SUMS] += rows[numbers == cohort].sum(axis=0)

    def labelled(self, shown_at: int, delay: int, positives: float, mass: float = 0.0) -> None:
        """Count the weight of positives, or, negative, of those taken back, `delay` after an impression at `shown_at`.

        `mass`: by how much more than 1, as each impression has been counted, its labels weigh. What came later than the
        last age is left out.
        """
        place = int(np.searchsorted(AGES, max(delay, 0)))
        for age in self._ages[place:]:
            sums = age.of(shown_at // age.width, self._watermark)
            sums[_SUMS + place] += positives
            if mass:
                # What is acted on had a probability of Σ p² / Σ p, where these are right.
                predicted, squares, _ = age.mature[:_SUMS]
                sums[:_SUMS] += (mass * squares / predicted if predicted > 0 else 0.0) * np.array([1.0, 0.0, 1.0])

    def pass_time(self, now: int) -> None:
        """Stream time is `now`: take over what is mature, and update the shift."""
        self._watermark = max(self._watermark, now - self._lateness_ms)
        changed = [age.pass_time(self._watermark) for age in self._ages]
        if any(changed) and self._corrects:
            self.shift = self._shift()

    def come(self) -> Floats:
        """float64[ages]: the share of actions that come within each age, of those within the oldest that is known.

        The ratio of neighbouring ages is taken over cohorts that are older than both, and so is not biased by how
        young the log is: the product-limit estimator for truncated delays (Lagakos, Barraj and De Gruttola 1988).
        """
        shares = np.ones(len(AGES))
        for place in range(len(AGES) - 1, 0, -1):
            actions = self._ages[place].mature[_SUMS:]
            total, sooner = float(actions.sum()), float(actions[:place].sum())
            shares[place - 1] = shares[place] * (min(max(sooner / total, 0.0), 1.0) if total > 0 else 1.0)
        return shares

    def come_by(self, ages: NDArray[np.int64]) -> Floats:
        """float64[n]: the share of actions that come by int64[n] ages, ms; 1 as long as nothing is known.

        Between AGES actions are taken to come evenly in the logarithm of their delay.
        """
        shares: Floats = np.interp(np.log(np.maximum(ages, 1)), np.log(AGES), self.come())
        return shares

    def by_age(self) -> dict[int, float]:
        """Predicted, as served, over observed by age of label in ms, where anything was observed; 1 is calibrated."""
        found = {}
        for age, share in zip(self._ages, self.come().tolist(), strict=True):
            observed = float(age.mature[_SUMS:].sum())
            if observed > 0:
                found[age.ms] = float(age.mature[2]) * share / observed
        return found

    def _shift(self) -> float:
        shares = self.come()
        place = int(np.argmax(shares >= _ENOUGH))
        predicted, squares, _ = self._ages[place].mature[:_SUMS].tolist()
        observed = max(0.0, float(self._ages[place].mature[_SUMS:].sum())) / float(shares[place])
        if predicted <= 0:
            return 0.0
        ratio = (observed + _PRIOR) / (predicted + _PRIOR)
        # As if all probabilities were one, so chosen that the derivative by the shift is that of their sum.
        chance = squares / predicted
        above, below = ratio * (1.0 - chance), 1.0 - ratio * chance
        shift = math.log(above / below) if min(above, below) > 0 else _LARGEST_SHIFT
        return min(max(shift, -_LARGEST_SHIFT), _LARGEST_SHIFT)

    def turn_back(self, time: int) -> None:
        """The clock was wrong: stream time is `time` again, and what was shown later is left out."""
        self._watermark = min(self._watermark, time - self._lateness_ms)
        for age in self._ages:
            age.young = {cohort: sums for cohort, sums in age.young.items() if cohort * age.width <= time}

    def state(self) -> Parts:
        """For a checkpoint."""
        young = [(place, cohort, sums) for place, age in enumerate(self._ages) for cohort, sums in age.young.items()]
        return {
            "mature": np.stack([age.mature for age in self._ages]),
            "actions": np.array([age.actions for age in self._ages]),
            "cohorts": np.array([one[:2] for one in young], dtype=np.int64).reshape(-1, 2),
            "young": np.array([sums for *_, sums in young], dtype=np.float64).reshape(-1, _SUMS + len(AGES)),
            "watermark": np.array([self._watermark], dtype=np.int64),
            "shift": np.array([self.shift]),
        }

    def restore(self, state: Parts) -> None:
        """The inverse of `state`."""
        for age, mature, actions in zip(self._ages, state["mature"], state["actions"].tolist(), strict=True):
            age.mature, age.actions, age.young = np.array(mature), actions, {}
        for (place, cohort), sums in zip(state["cohorts"].tolist(), state["young"], strict=True):
            self._ages[place].young[cohort] = np.array(sums)
        self._watermark, self.shift = int(state["watermark"][0]), float(state["shift"][0])


def _sigmoid(log_odds: Floats) -> Floats:
    result: Floats = 1.0 / (1.0 + np.exp(-np.clip(log_odds, -60.0, 60.0)))
    return result
