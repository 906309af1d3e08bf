"""What the version that was published last predicts of the examples that are learned from next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score

from stream_reco.learner.progressive_evaluation import PublishedModel
from stream_reco.learner.publication_contents import PublicationContents
from stream_reco.measure.progressive import ProgressiveQuality
from stream_reco.metrics import PROGRESSIVE, REGISTRY
from stream_reco.model.inputs import Inputs
from stream_reco.model.training_batch import TrainingBatch
from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.sync import InProcessChannel, Precision, Publication
from stream_reco.train.batch import Labelled, joined, training_batch
from stream_reco.train.predictions import predictions
from tests.embedded.journal.recovery_world import SETTINGS
from tests.learner.two_streams import feed, learner_of, shown_and_clicked, woven

SMALL = replace(SETTINGS, labels=replace(SETTINGS.labels, window_days=0.001))
_INTERVAL = 1000


class Told:
    """An observer that keeps everything."""

    def __init__(self) -> None:
        self.labels: list[float] = []
        self.predicted: list[float] = []
        self.weights: list[float] = []

    def examples(
        self, labels: NDArray[np.float32], predictions: NDArray[np.float32], weights: NDArray[np.float32], sampled: bool
    ) -> None:
        del sampled
        self.labels += labels.tolist()
        self.predicted += predictions.tolist()
        self.weights += weights.tolist()


class World:
    """A learner, and a replica that follows what it publishes over a channel."""

    def __init__(self, precision: Precision = "float32") -> None:
        self.learner = learner_of(SMALL)
        self.collecting = PublicationContents(self.learner.state, self.learner.queue, 0)
        self.publisher, self.channel = self.collecting.publisher(1), InProcessChannel()
        self.served = ServingState(SMALL.model, SMALL.signals, precision)

    def publish(self) -> Publication:
        publication = self.publisher.publish(self.channel, lambda whole: self.collecting.contents(whole, 1))
        self.served.replica.poll(self.channel)
        return publication

    def run(self, taken: Callable[[Publication], None], events: int = 4000) -> None:
        stream = list(woven(shown_and_clicked(events), SMALL, 0))
        for at in range(0, len(stream), _INTERVAL):
            if at:
                taken(self.publish())
            if at == 2 * _INTERVAL:
                self.channel.ask_for_snapshot()
            feed(self.learner, stream[at : at + _INTERVAL])

    def plainly(self, told: Told) -> Callable[[TrainingBatch], None]:
        """Watches as `PublishedModel` does, with what a scorer would serve."""

        def watch(batch: TrainingBatch) -> None:
            if self.served.replica.version:
                tables, shift = self.served.replica.tables, self.served.shift
                predicted = predictions(self.served.scoring, batch, tables, shift)
                told.examples(batch.labels, predicted, batch.weights[batch.batch.owners], False)

        return watch


@pytest.mark.parametrize("most", [None, 1 << 30])
@pytest.mark.parametrize("precision", ["float32", "tanh8"])
def test_it_predicts_what_a_scorer_with_that_version_would(most: int | None, precision: Precision) -> None:
    world, wanted, found = World(precision), Told(), Told()
    published = PublishedModel(SMALL.model, found, most, precision)
    plainly = world.plainly(wanted)

    def both(batch: TrainingBatch) -> None:
        plainly(batch)
        published.watch(batch)

    world.learner.queue.watch = both
    world.run(published.take)
    published.take(world.publish())
    assert world.served.replica.version > 3
    assert found.labels == wanted.labels
    assert found.weights == wanted.weights
    assert found.predicted == wanted.predicted
    assert len(set(found.predicted)) > len(found.predicted) / 2
    assert sum(found.labels) > 50


def test_of_many_a_bounded_sample_is_measured_and_the_others_are_counted() -> None:
    most, world, all_told, found = 200, World(), Told(), Told()
    published, counted = PublishedModel(SMALL.model, found, most), _counted()
    plainly = world.plainly(all_told)

    def both(batch: TrainingBatch) -> None:
        plainly(batch)
        published.watch(batch)

    taken, before = list[int](), 0

    def take(publication: Publication) -> None:
        nonlocal before
        published.take(publication)
        taken.append(len(found.labels) - before)
        before = len(found.labels)

    world.learner.queue.watch = both
    world.run(take)
    take(world.publish())
    assert max(taken) <= most < len(found.labels) < len(all_told.labels)
    assert set(found.predicted) <= set(all_told.predicted)
    measured, passed_over = (now - then for now, then in zip(_counted(), counted, strict=True))
    assert measured > 0
    assert passed_over > measured


def _counted() -> tuple[float, float]:
    name = "stream_reco_progressive_examples_total"
    measured, passed_over = (
        REGISTRY.get_sample_value(name, {"action": one}) or 0.0 for one in ("measured", "passed_over")
    )
    return measured, passed_over


def test_nobody_is_told_before_a_version_was_published_nor_of_what_is_refused() -> None:
    world, found = World(), Told()
    published = PublishedModel(SMALL.model, found)
    queue = world.learner.queue
    queue.watch = published.watch
    stream = list(woven(shown_and_clicked(600), SMALL, 0))
    feed(world.learner, stream)
    assert queue.steps > 10
    assert not found.labels
    published.take(world.publish())
    example = queue.waiting[0] if queue.waiting else None
    assert example is not None
    inputs = Inputs.from_bytes(example.inputs)
    damaged = replace(inputs, dense=np.full_like(inputs.dense, np.nan))
    published.watch(training_batch([Labelled(damaged.to_bytes(), 1, 1.0, example.time, 0)]))
    assert not found.labels
    published.watch(training_batch([example]))
    assert len(found.labels) == 1


def test_the_watcher_changes_nothing_of_what_is_learned() -> None:
    watched, alone = World(), World()
    published = PublishedModel(SMALL.model, Told())
    watched.learner.queue.watch = published.watch
    watched.run(published.take)
    alone.run(lambda _: None)
    assert watched.learner.queue.steps == alone.learner.queue.steps > 100
    for name, part in alone.learner.queue.trainer.state().items():
        assert part.tobytes() == watched.learner.queue.trainer.state()[name].tobytes(), name


def test_the_gauges_are_those_of_the_last_examples() -> None:
    PROGRESSIVE.clear()
    world, told = World(), Told()
    published = PublishedModel(SMALL.model, told)
    both = PublishedModel(SMALL.model, ProgressiveQuality(window=600, every=1))

    def watch(batch: TrainingBatch) -> None:
        published.watch(batch)
        both.watch(batch)

    def take(publication: Publication) -> None:
        published.take(publication)
        both.take(publication)

    world.learner.queue.watch = watch
    world.run(take)
    labels, predicted, weights = (
        np.array(one[-600:], dtype=np.float64) for one in (told.labels, told.predicted, told.weights)
    )
    wanted = {
        "auc": roc_auc_score(labels, predicted, sample_weight=weights),
        "logloss": log_loss(labels, predicted, sample_weight=weights),
        "calibration": (predicted * weights).sum() / (labels * weights).sum(),
    }
    found = {name: REGISTRY.get_sample_value("stream_reco_progressive_quality", {"metric": name}) for name in wanted}
    assert found == pytest.approx(wanted, rel=1e-6)
    assert wanted["auc"] > 0.6, "it has learned what is liked"


def test_batches_predicted_together_are_predicted_as_each_alone() -> None:
    world, batches = World(), list[TrainingBatch]()
    world.learner.queue.watch = batches.append
    world.run(lambda _: None)
    served = world.served
    shift, priors, tables = served.shift, served.content_priors, served.replica.tables
    alone = [predictions(served.scoring, one, tables, shift, priors) for one in batches[-20:]]
    together = predictions(served.scoring, joined(batches[-20:]), tables, shift, priors)
    assert len({len(one.weights) for one in batches[-20:]}) > 1
    assert together.tobytes() == np.concatenate(alone).tobytes()
