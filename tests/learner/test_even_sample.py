"""A bounded sample of training steps."""

from __future__ import annotations

import pytest

from stream_reco.learner.even_sample import EvenSample
from stream_reco.metrics import REGISTRY
from stream_reco.model.training_batch import TrainingBatch
from stream_reco.train.batch import training_batch
from tests.train.toy_examples import example

_EXAMPLES = 3
"""In each batch, with one candidate each."""


def passed_over() -> float:
    return REGISTRY.get_sample_value("stream_reco_progressive_examples_total", {"action": "passed_over"}) or 0.0


def batches(count: int) -> list[TrainingBatch]:
    return [training_batch([example(number, [1])] * _EXAMPLES) for number in range(count)]


@pytest.mark.parametrize(("count", "every"), [(0, 1), (1, 1), (4, 1), (5, 2), (8, 2), (9, 4), (33, 16), (1000, 256)])
def test_what_is_kept_are_steps_at_even_distances_and_no_more_than_fit(count: int, every: int) -> None:
    sample, given, before = EvenSample(4 * _EXAMPLES), batches(count), passed_over()
    for one in given:
        sample.add(one)
    kept = sample.take()
    assert [id(one) for one in kept] == [id(one) for one in given[::every]]
    assert passed_over() - before == _EXAMPLES * (count - len(kept))


def test_each_sample_begins_with_all_steps() -> None:
    sample, given = EvenSample(2 * _EXAMPLES), batches(12)
    for one in given[:10]:
        sample.add(one)
    sample.take()
    before = passed_over()
    for one in given[10:]:
        sample.add(one)
    assert [id(one) for one in sample.take()] == [id(one) for one in given[10:]]
    assert sample.take() == []
    assert passed_over() == before


def test_a_step_that_does_not_fit_is_kept_where_it_is_the_only_one() -> None:
    sample, (large, other), before = EvenSample(1), batches(2), passed_over()
    sample.add(large)
    sample.add(other)
    assert [id(one) for one in sample.take()] == [id(large)]
    assert passed_over() - before == _EXAMPLES
