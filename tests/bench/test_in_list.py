"""The comparison inside lists, on next to nothing: that all three predict, and learn only what came before."""

from __future__ import annotations

from tests.bench.in_list import ClickRate, CounterRegression, Loop, evaluate, simulated


def test_all_three_predict_lists_and_learn_from_them() -> None:
    lists = list(simulated(150))
    figures = evaluate(lists, {"rate": ClickRate(), "regression": CounterRegression(), "loop": Loop()})
    assert all(0.0 < one.in_list < 1.0 and one.lists == figures["loop"].lists for one in figures.values())
    assert figures["loop"].lists > 0
