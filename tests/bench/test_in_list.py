"""The comparison inside lists, on few of them: predictions of the loop against a counter and a regression."""

from __future__ import annotations

import pytest

from stream_reco.signals.settings import HOUR_MS
from stream_reco.simulate import Delay
from stream_reco.simulate.world import ClickModel
from tests.bench.in_list import KINDS, ClickRate, CounterRegression, ListKind, Loop, evaluate, simulated


@pytest.mark.parametrize("kind", KINDS)
def test_all_three_predict_lists_and_learn_from_them(kind: str) -> None:
    lists = list(simulated(60, KINDS[kind]))
    figures = evaluate(lists, {"rate": ClickRate(), "regression": CounterRegression(), "loop": Loop()})
    assert all(0.0 < one.in_list < 1.0 and one.lists == figures["loop"].lists for one in figures.values())
    assert figures["loop"].lists > 0


def test_inside_lists_the_loop_is_better_than_the_click_rate_and_than_a_regression_on_it() -> None:
    """Items that differ by how they appeal and live for hours: some lists have one that nobody has seen yet."""
    clicks = ClickModel(base=-3.0, match=2.0, quality=1.0, ageing=2.0)
    kind = ListKind(15, 200, 80, 0.25, 0.02, 0.0, Delay(4_000, 1.0, HOUR_MS), clicks, only_clicked=True)
    lists = list(simulated(400, kind, seed=3))
    figures = evaluate(lists, {"rate": ClickRate(), "regression": CounterRegression(), "loop": Loop()})
    rate, regression, loop = figures.values()
    assert loop.in_list > rate.in_list + 0.01
    assert loop.in_list > regression.in_list
    assert loop.whole > rate.whole
    assert loop.calibration == pytest.approx(1.0, abs=0.1)
