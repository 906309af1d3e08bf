"""Several trainers that share a model: one model to the bit, sums of what each did, and averages as one would have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stream_reco.train.batch import Labelled
from stream_reco.train.exchange import ModelDeltas, ModelExchange, _of_average
from stream_reco.train.trainer import Trainer
from tests.train.toy_examples import MODEL, SETTINGS, chances, example, learn, two_groups


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def dense(trainer: Trainer) -> dict[str, NDArray[np.float32]]:
    return {
        name: np.array(value)
        for name, value in trainer.state().items()
        if name.startswith(("weights.", "averaged.", "adam."))
    }


def fingerprint(trainer: Trainer) -> dict[str, bytes]:
    found = {name: value.tobytes() for name, value in dense(trainer).items()}
    for name, table in trainer.tables.items():
        keys = np.sort(table.keys())
        found[name] = keys.tobytes() + table.lookup(keys).tobytes()
    return found


def meet(exchanges: Sequence[ModelExchange]) -> list[ModelDeltas]:
    log = [exchange.deltas() for exchange in exchanges]
    for exchange in exchanges:
        exchange.merge(log, 0)
    return log


def split(examples: Sequence[Labelled], parts: int) -> list[list[Labelled]]:
    return [list(examples[number::parts]) for number in range(parts)]


@pytest.mark.parametrize("count", [2, 4])
def test_trainers_that_meet_have_one_model_and_it_has_learned_what_is_there(count: int) -> None:
    trainers = [Trainer(MODEL, SETTINGS) for _ in range(count)]
    exchanges = [ModelExchange(trainer, number, count) for number, trainer in enumerate(trainers)]
    examples = two_groups(4_000, np.random.default_rng(0))
    log: list[ModelDeltas] = []
    for first in range(0, len(examples), 64):
        for trainer, part in zip(trainers, split(examples[first : first + 64], count), strict=True):
            learn(trainer, part)
        log += meet(exchanges)
    whole = fingerprint(trainers[0])
    assert all(fingerprint(trainer) == whole for trainer in trainers)
    assert sum(one.examples for one in log) == len(examples)
    late = Trainer(MODEL, SETTINGS)
    ModelExchange(late).merge(log, 0)
    assert fingerprint(late) == whole, "who reads the log later has the same"
    for user in (0, 9, 10, 19):
        own, other = (0, 1) if user < 10 else (1, 0)
        assert chance(trainers[0], user, own) > chance(trainers[0], user, other)


def chance(trainer: Trainer, user: int, group: int) -> float:
    """The mean probability that a user likes the items of a group."""
    return float(np.mean(chances(trainer, [example(user, list(range(5 * group, 5 * group + 5)))])))


def test_who_learned_alone_since_they_met_keeps_what_was_learned() -> None:
    """A map that is applied to what it was made of gives what it was made to."""
    trainers = [Trainer(MODEL, SETTINGS) for _ in range(2)]
    exchanges = [ModelExchange(trainer) for trainer in trainers]
    for seed in range(3):
        learn(trainers[0], two_groups(640, np.random.default_rng(seed)))
        wanted = dense(trainers[0])
        meet(exchanges)
        for name, value in dense(trainers[1]).items():
            if name.rpartition(".")[2] not in ("names", "batches"):
                assert np.allclose(value, wanted[name], rtol=1e-4, atol=1e-6), name


def test_adams_moments_are_those_of_one_trainer_that_took_all_steps() -> None:
    """With gradients that do not depend on the weights; those of a model's do, a little."""
    rng = np.random.default_rng(1)
    gradients, beta = rng.normal(size=12), 0.9
    whole = 0.0
    for one in gradients:
        whole = beta * whole + (1 - beta) * one
    begun, met = 0.3, 0.3
    for part in (gradients[:5], gradients[5:]):
        after = begun
        for one in part:
            after = beta * after + (1 - beta) * one
        kept = beta ** len(part)
        met = kept * met + (after - kept * begun)
    assert met == pytest.approx(whole + beta**12 * begun)


@pytest.mark.parametrize(("before", "steps"), [(0, 3), (7, 40), (95, 20), (100, 5), (400, 50)])
def test_what_is_kept_of_an_average(before: int, steps: int) -> None:
    kept = 1.0
    for number in range(before + 1, before + steps + 1):
        kept *= 1.0 - max(1.0 / number, 1.0 / 100)
    assert _of_average(before, steps, 100) == pytest.approx(kept)


def test_second_moments_never_fall_below_zero_however_many_meet() -> None:
    trainers = [Trainer(MODEL, SETTINGS) for _ in range(4)]
    exchanges = [ModelExchange(trainer) for trainer in trainers]
    learn(trainers[0], two_groups(6_400, np.random.default_rng(0)))
    meet(exchanges)
    # Gradients that are small now: a sum of what each forgot would forget four times as much as there is.
    for seed, trainer in enumerate(trainers):
        learn(trainer, two_groups(32_000, np.random.default_rng(seed)), batch=32)
    meet(exchanges)
    squares = [value for name, value in dense(trainers[0]).items() if name.endswith("exp_avg_sq")]
    assert squares
    assert all((value >= -1e-9).all() for value in squares)
    assert all(np.isfinite(value).all() for name, value in dense(trainers[0]).items() if not name.endswith("names"))


def test_steps_that_are_replayed_change_nothing() -> None:
    trainer = Trainer(MODEL, SETTINGS)
    exchange = ModelExchange(trainer)
    trainer.is_replaying = True
    before = fingerprint(trainer)
    learn(trainer, two_groups(640, np.random.default_rng(0)))
    assert fingerprint(trainer) == before
    assert exchange.deltas().is_empty


def test_a_trainer_alone_learns_what_it_learned_without_any_account_of_it() -> None:
    trainers = [Trainer(MODEL, SETTINGS) for _ in range(2)]
    ModelExchange(trainers[0])
    for trainer in trainers:
        learn(trainer, two_groups(1_280, np.random.default_rng(0)))
    assert fingerprint(trainers[0]) == fingerprint(trainers[1])
