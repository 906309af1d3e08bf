"""Learning from labelled examples: one training step a batch, on rows of the tables and on the dense weights."""

from __future__ import annotations

import logging
import math
from copy import deepcopy
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stream_reco import metrics
from stream_reco.embedding import EmbeddingTable
from stream_reco.events import Id, key_of
from stream_reco.model.content.log_odds import content_log_odds
from stream_reco.model.content.regression import CONTENT_TABLE
from stream_reco.model.dense_layers import sigmoid
from stream_reco.model.encoder.encoding import ENCODER, encoder_table
from stream_reco.model.feature_columns import NAMES, widened_moment
from stream_reco.model.fields import TableSpec
from stream_reco.model.inputs import Batch
from stream_reco.model.settings import ModelSettings
from stream_reco.model.training_batch import TrainingBatch
from stream_reco.signals.active_time import ActiveTime
from stream_reco.signals.growing import Parts
from stream_reco.train.batch import is_finite
from stream_reco.train.content_trainer import ContentTrainer, PreparedContent
from stream_reco.train.delayed_feedback import ComeBy, Delays, LateShare, corrected, is_certain
from stream_reco.train.dense_adam import DenseAdam
from stream_reco.train.dense_kernels import move_towards
from stream_reco.train.encoder_trainer import EncoderTrainer
from stream_reco.train.first_model import dense_weights_of, first_model
from stream_reco.train.forward import bottom_of, log_odds_of
from stream_reco.train.gradients import gradients_of
from stream_reco.train.intercept import Intercept
from stream_reco.train.settings import TrainSettings
from stream_reco.train.tables import check_tables, new_table, warn_of_optimizers
from stream_reco.train.threads import bind_threads

_LOGGER = logging.getLogger(__name__)
_STEPS_OF_EVICTION = 8
"""Tables are asked for idle rows at every so many steps: to ask all of them takes longer than the weights' update."""
_IDLE_AT_ONCE = 8000
"""Idle rows that leave a table at such a step, so that none waits for many."""
_LEAST_SAID = 1e-4
"""Of a full batch: what is never clicked says nothing by itself, but that is learned as well."""


def _all_has_come(ages: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.ones(len(ages))


class Trainer:
    """The model that learns: its tables, its dense weights and their optimizer.

    Training is a function of the examples, of their order and of the random generators passed in: two trainers that
    are given the same end with the same bits, on one machine and with one number of threads.
    """

    def __init__(self, model: ModelSettings, settings: TrainSettings, come_by: ComeBy = _all_has_come) -> None:
        """`come_by`: from ages, ms, to the share of actions that come by then."""
        self.settings = settings
        self._come_by = come_by
        self.model = first_model(model, settings.seed)
        # PyTorch, if this model has it imported, is to have so many as well.
        bind_threads(settings.threads)
        beside = [CONTENT_TABLE, *([encoder_table(model.encoder)] if model.encoder.dim else [])]
        self.tables = {spec.name: new_table(spec, settings) for spec in (*self.model.tables, *beside)}
        self._dense = dense_weights_of(self.model)
        self._optimizer = DenseAdam(self._dense.flat)
        self._gradients = gradients_of(self.model, self._optimizer)
        self.averaged = deepcopy(self.model)
        """The model to publish: its weights are averages over the last steps, which are less noisy than the last."""
        self._means = dense_weights_of(self.averaged)
        self._steps = 0
        self.active_time = ActiveTime()
        """By which rows are idle; a learner puts its own here."""
        self._late = LateShare()
        self.intercept = Intercept()
        """What impressions have in common."""
        self.content = ContentTrainer(model.content, lambda: self.tables[CONTENT_TABLE.name])
        """What is learned of what users and items are said to be."""
        self.encoder = EncoderTrainer(model.encoder, lambda: self.tables[ENCODER])
        """What is learned of items whom the same people act on; whoever takes actions in tells it of them."""
        self._log_odds: NDArray[np.float32] | None = None
        """float32[g]: what is served for the examples of the present step, where the model has said it."""
        self._said: PreparedContent | None = None
        """What content says of the present step; None where nothing is said of anyone in it."""
        self._learnable: tuple[NDArray[np.float32], TrainingBatch] | None = None
        """The log-odds float32[n] that the model gives the present step's candidates, and its corrected weights."""
        self._labelled, self._sampled = (metrics.TRAINED_EXAMPLES.labels(one) for one in ("labelled", "sampled"))
        self._loss = metrics.TRAIN_LOSS.labels("ranker")
        self.examples = 0
        """Examples trained on so far; sampled negatives are not counted."""
        self.is_replaying = False
        """Whether steps are passed over: what they gave is here already."""

    @property
    def steps(self) -> int:
        """Steps so far."""
        return self._steps

    @property
    def counted(self) -> frozenset[str]:
        """Names among the weights of what no optimizer moves: features are counted there, and published as they are."""
        return frozenset(self._dense.averages)

    def step(self, batch: TrainingBatch) -> float:
        """Train on one batch; returns the mean loss an example.

        A batch with a number that is not finite or absurdly large changes nothing; it is counted, and NaN returned.
        """
        if self.is_replaying:
            return math.nan
        if not is_finite(batch):
            metrics.TRAIN_REFUSED.inc()
            return math.nan
        with metrics.STEP_SECONDS.time():
            return self._step(batch)

    def _step(self, batch: TrainingBatch) -> float:
        self._admit(batch)
        if self._steps % _STEPS_OF_EVICTION == 0:
            self.evict(batch.now, _IDLE_AT_ONCE)
        self._late.add(batch.feedback, batch.weights)
        given = self._with_intercept(batch)
        self._said, self._learnable = self.content.prepare(batch), None
        read = replace(self._with_content(given), correction=self._correct)
        # A step that did not wait for a full batch must not weigh each of its examples more.
        learned = self._gradients.of(read, self.tables, 1.0 / self.settings.batch)
        self._gradients.step(self.settings.learning_rate * self._share_of_step(batch))
        self._average()
        for table, keys, gradients in learned.rows:
            self.tables[table].apply_gradients(keys, gradients)
        if self._said is not None and self._learnable is not None:
            odds, weighed = self._learnable
            self.content.learn(self._said, weighed, odds - given.log_rates)
        return self._count(batch, learned.loss)

    def _share_of_step(self, batch: TrainingBatch) -> float:
        """How far the dense weights go, in (0, 1]: the root of what the batch says, over a full batch of choices.

        Adam's steps are as long whatever a batch says, so that a shop whose slates are seldom clicked would fit noise.
        Their noise falls with the root of what is said (Malladi et al., NeurIPS 2022, §5.3: the rate goes with the root
        of the batch size). A choice among sampled candidates says 1, an impression 4 p (1 − p), the information of a
        Bernoulli variable over that of an even one.
        """
        if batch.all_sampled:
            return math.sqrt(min(1.0, max(_LEAST_SAID, len(batch.weights) / self.settings.batch)))
        chances = sigmoid(self._log_odds) if self._log_odds is not None else np.full_like(batch.weights, 0.5)
        said = np.where(batch.sampled, np.float32(1.0), 4.0 * chances * (1.0 - chances))
        return math.sqrt(min(1.0, max(_LEAST_SAID, float(said.sum()) / self.settings.batch)))

    def _count(self, batch: TrainingBatch, loss: float) -> float:
        count = len(batch.weights)
        mean = loss / count
        self.examples += count
        self._labelled.inc(count)
        self._sampled.inc(len(batch.labels) - count)
        self._loss.set(mean)
        return mean

    def _correct(
        self, batch: TrainingBatch, log_odds: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The weights that delayed feedback gives a batch."""
        is_plain = self._said is None and batch.all_sampled and not batch.shown.any()
        if is_plain and is_certain(self.settings.correction, batch.feedback):
            return batch.weights, batch.undone  # so it is in logs of clicks
        shown, first = batch.shown, batch.first
        served: NDArray[np.float32] = log_odds[first] + shown.astype(np.float32) * np.float32(self.intercept.value)
        if self._said is not None:
            served += self._said.odds.means[first]
        self._log_odds = served
        weights, undone = corrected(
            self.settings.correction,
            batch.feedback,
            batch.weights,
            batch.undone,
            served,
            self._late.value,
            Delays(batch.ages, self._come_by),
        )
        if shown.any():
            labels = batch.labels[first]
            chances = sigmoid(log_odds[first] - batch.log_rates[first])
            positive = weights * labels - undone * (1.0 - labels)
            self.intercept.learn(*(one[shown].astype(np.float64) for one in (chances, positive, weights - undone)))
        self._learnable = log_odds, replace(batch, weights=weights, undone=undone)
        return weights, undone

    def _with_intercept(self, batch: TrainingBatch) -> TrainingBatch:
        """The batch as its losses see it: log-odds of impressions are the model's and the intercept."""
        if not batch.shown.any():
            return batch
        self.intercept.begin()
        shown = batch.shown[batch.batch.owners].astype(np.float32)
        return replace(batch, log_rates=batch.log_rates - shown * np.float32(self.intercept.value))

    def _with_content(self, batch: TrainingBatch) -> TrainingBatch:
        """The batch as its losses see it: log-odds are the model's and what is said of users and items."""
        if self._said is None:
            return batch
        return replace(batch, log_rates=batch.log_rates - self._said.odds.means)

    def log_odds(self, batch: Batch) -> NDArray[np.float64]:
        """float64[n]: what the model to publish gives candidates that are shown, their positions unknown."""
        odds = log_odds_of(self.averaged, batch, self.tables).astype(np.float64) + self.intercept.published
        said = content_log_odds(batch, self.tables, self.content.priors)
        if said is not None:
            odds += said.means
        result: NDArray[np.float64] = odds
        return result

    def bottom(self, batch: Batch) -> NDArray[np.float32]:
        """float32[n, bottom_dim]: what heads read of each candidate, of the model to publish."""
        return bottom_of(self.averaged, batch, self.tables)

    def published_weights(self) -> Parts:
        """Copies of the dense weights to publish, by name."""
        return self._means.state()

    def add_table(self, spec: TableSpec) -> None:
        """Keep one more table: it is saved, published and evicted as the model's own are."""
        # Other threads may be going through the tables there are.
        self.tables = {**self.tables, spec.name: new_table(spec, self.settings)}

    def _average(self) -> None:
        self._steps += 1
        # The first steps are averaged over as many as there were.
        share = max(1.0 / self._steps, 1.0 / self.settings.average_steps)
        self.intercept.average(share)
        move_towards(self._means.flat.vector, self._dense.flat.vector, share)
        self._means.copy_averages(self._dense)

    def _admit(self, batch: TrainingBatch) -> None:
        """Give rows to the keys that the model's fields admit."""
        for field in self.model.fields:
            keys = field.admits(batch)
            if len(keys):
                self.tables[field.table].train_rows(keys, batch.now)

    def evict(self, now: int, limit: int | None = None) -> None:
        """Let the rows go that were idle for too long, in active time, at most `limit` of each table."""
        for name, table in self.tables.items():
            if table.ttl_ms is not None:
                # As if it were so early that subtracting the TTL gives the time before which rows are idle.
                when = self.active_time.earliest(now, table.ttl_ms) + table.ttl_ms
                metrics.TABLE_EVICTED.labels(name, "idle").inc(len(table.evict(when, limit)))

    def turn_back(self, time: int) -> int:
        """Take rows seen later than `time` (ms) as seen then: the clock was wrong. Returns how many they were."""
        return sum(table.turn_back(time) for table in self.tables.values())

    def forget_user(self, user_id: Id) -> None:
        """Remove the user's rows, with their optimizer state, from the tables whose keys are users, and the content."""
        key = np.array([key_of(user_id, "user")], dtype=np.int64)
        for spec in self.model.tables:
            if spec.per_user:
                self.tables[spec.name].forget(key)
        self.content.forget(int(key[0]))

    def state(self) -> Parts:
        """Dense weights, optimizer and counters, for a checkpoint; the tables are saved on their own."""
        parts = {f"weights.{name}": value for name, value in self._dense.state().items()}
        parts |= {f"averaged.{name}": value for name, value in self._means.state().items()}
        parts |= self._optimizer.state()
        progress = np.array([self.examples, self._steps], dtype=np.int64)
        return parts | {"progress": progress, "late": self._late.counts.copy(), "intercept": self.intercept.state()}

    def restore(self, parts: Parts, tables: dict[str, EmbeddingTable]) -> None:
        """Go on from what `state` gave and the tables saved then. Raises ValueError where the model has other sizes."""
        self.restore_dense(parts)
        check_tables(tables, self.tables)
        warn_of_optimizers(self.model.tables, tables)
        self.tables = tables
        self.examples, self._steps = map(int, parts["progress"])
        self._late.counts = np.array(parts["late"])
        self.intercept.restore(parts.get("intercept"))

    def restore_dense(self, parts: Parts) -> None:
        """Take the dense weights, their averages and Adam's moments over, and nothing else that `state` gave."""
        for prefix, dense in (("weights.", self._dense), ("averaged.", self._means)):
            dense.load({name.removeprefix(prefix): value for name, value in parts.items() if name.startswith(prefix)})
        self._optimizer.restore(self._moments(parts))

    def _moments(self, parts: Parts) -> Parts:
        """What Adam knows of each weight; nothing yet of the columns of features that have joined since."""
        names, weights = parts.get(f"weights.{NAMES}"), list(self._dense.learned)
        return {
            name: widened_moment(self._dense.reads, weights[number], value, names)
            for name, number, value in DenseAdam.parts_of(parts)
        }
