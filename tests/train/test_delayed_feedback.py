"""Corrections for labels that were wrong at first, held against formulas written out and streams played through."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as loss_of

from stream_reco.model.served_by_torch import served_by_torch
from stream_reco.train.batch import Labelled, training_batch
from stream_reco.train.delayed_feedback import TAUGHT_WITHIN_MS, Delays, Feedback, LateShare, corrected, es_dfm, fnw
from stream_reco.train.predictions import predictions
from stream_reco.train.settings import Correction
from stream_reco.train.trainer import Trainer
from tests.train.toy_examples import MODEL, SETTINGS, example, learn

Seen = tuple[Feedback, int, float]
"""Kind of feedback, label, weight that is undone."""
CORRECTIONS: tuple[Correction, ...] = ("auto", "undo", "fnw", "es-dfm")
probability = st.floats(0.001, 0.999)
WAIT_MS, SOON_MS, TOO_LATE_MS = 1_000, TAUGHT_WITHIN_MS // 2, 2 * TAUGHT_WITHIN_MS


def weighed(
    correction: Correction,
    kinds: Sequence[Feedback | int],
    weights: Tensor,
    undone: Tensor,
    odds: Tensor,
    late: float,
    late_ms: int = SOON_MS,
) -> tuple[Tensor, Tensor]:
    """`corrected` where a share `late` of positives comes `late_ms` after the impression, all others within a wait."""

    def come_by(ages: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.where(ages < late_ms, 1.0 - late, 1.0)

    ages = np.array([late_ms if kind == Feedback.LATE else WAIT_MS for kind in kinds])
    kinds_of = np.array([int(kind) for kind in kinds], dtype=np.int64)
    given_ = weights.numpy(), undone.numpy(), odds.detach().numpy()
    found = corrected(correction, kinds_of, *given_, late, Delays(ages, come_by))
    return torch.from_numpy(found[0]), torch.from_numpy(found[1])


def stream(chance: float, late: float, count: int, rng: np.random.Generator, kept: float = 1.0) -> list[Seen]:
    """What comes while `count` impressions are shown; late positives come long after their negatives.

    A share `chance` of the impressions are clicked, exactly.
    """
    clicked = rng.permutation(count) < chance * count
    now: list[tuple[float, Seen]] = []
    for at in range(count):
        clicks, delayed, keeps = clicked[at], rng.random() < late, rng.random() < kept
        if clicks and not delayed:
            now.append((at, (Feedback.IN_TIME, 1, 0.0)))
            continue
        if keeps:
            now.append((at, (Feedback.PRESUMED, 0, 0.0)))
        if clicks:
            now.append((at + float(rng.exponential(200.0)), (Feedback.LATE, 1, float(keeps))))
    return [seen for at, seen in sorted(now) if at < count]


def learned(seen: list[Seen], correction: Correction, late: float, rate: float = 1.0, late_ms: int = SOON_MS) -> float:
    """The probability that a model of one number ends with: stochastic gradient descent, its second half averaged."""
    bias, ends = torch.zeros(1), []
    for step, (kind, label, undone) in enumerate(seen):
        bias = bias.detach().requires_grad_()
        weight, opposite = weighed(correction, [kind], torch.ones(1), torch.tensor([undone]), bias, late, late_ms)
        sample = bias - math.log(rate)
        loss = weight * loss_of(sample, torch.full((1,), float(label)))
        loss = (loss - opposite * loss_of(sample, torch.full((1,), 1.0 - label))).sum()
        (gradient,) = torch.autograd.grad(loss, bias)
        bias = bias.detach() - 0.5 / (1.0 + 0.01 * step) ** 0.6 * gradient
        if step > len(seen) // 2:
            ends.append(float(torch.sigmoid(bias)))
    return float(np.mean(ends))


@given(probability)
def test_fnw_weights_are_the_odds_of_truth_over_stream(chance: float) -> None:
    # Per impression the stream has one negative, and one positive with probability f.
    positive, negative = (float(weight) for weight in fnw(np.array(chance)))
    assert positive == pytest.approx(chance / (chance / (1 + chance)))
    assert negative == pytest.approx((1 - chance) / (1 / (1 + chance)))


@given(probability, st.floats(0.0, 1.0))
def test_es_dfm_weights_are_the_odds_of_truth_over_stream(chance: float, late: float) -> None:
    positives = chance * (1 - late) + chance * late
    negatives = 1 - chance * (1 - late)
    total = positives + negatives
    positive, negative = (float(one) for one in es_dfm(np.array(chance), late))
    assert positive == pytest.approx(chance / (positives / total))
    assert negative == pytest.approx((1 - chance) / (negatives / total))


def test_es_dfm_is_fnw_where_all_positives_are_late() -> None:
    chance = np.linspace(0.0, 1.0, 11)
    np.testing.assert_allclose(es_dfm(chance, 1.0), fnw(chance), atol=1e-6)


@pytest.mark.parametrize(
    ("correction", "chance", "late"),
    [
        *((correction, 0.1, 1.0) for correction in CORRECTIONS),
        # Weights of "fnw" are those of presuming at once.
        *((correction, 0.3, 0.5) for correction in CORRECTIONS if correction != "fnw"),
    ],
)
def test_a_model_of_one_number_finds_the_true_probability(correction: Correction, chance: float, late: float) -> None:
    seen = stream(chance, late, 6_000, np.random.default_rng(1))
    assert learned(seen, correction, late) == pytest.approx(chance, rel=0.06)


def test_it_finds_it_by_what_comes_soon_where_half_comes_too_late_to_be_learned_from() -> None:
    seen = stream(0.3, 0.5, 12_000, np.random.default_rng(1))
    assert learned(seen, "auto", 0.5, late_ms=TOO_LATE_MS) == pytest.approx(0.3, rel=0.06)
    in_time = [one for one in seen if one[0] != Feedback.LATE]
    assert learned(in_time, "auto", 0.5, late_ms=TOO_LATE_MS) == pytest.approx(0.3, rel=0.06)


@pytest.mark.parametrize("correction", ["fnw", "es-dfm", "auto"])
def test_a_model_that_takes_everything_for_a_click_is_brought_back(correction: Correction) -> None:
    """Its presumed negatives still weigh something: of each, and of all positives, the gradient of its log-odds."""
    late, odds = 0.5, torch.tensor([8.0])
    gradient = 0.0
    for kind, label, share in (
        (Feedback.IN_TIME, 1.0, 0.1 * (1 - late)),
        (Feedback.LATE, 1.0, 0.1 * late),
        (Feedback.PRESUMED, 0.0, 1.0 - 0.1 * (1 - late)),
    ):
        weight, _ = weighed(correction, [kind], torch.ones(1), torch.zeros(1), odds, late)
        gradient += share * float(weight) * (float(torch.sigmoid(odds)) - label)
    assert gradient > 0.05


def test_without_a_correction_it_is_too_low() -> None:
    seen = stream(0.3, 1.0, 6_000, np.random.default_rng(1))
    assert learned(seen, "none", 1.0) == pytest.approx(0.3 / 1.3, rel=0.06)


@pytest.mark.parametrize("correction", CORRECTIONS)
def test_dropped_negatives_change_nothing_but_the_work(correction: Correction) -> None:
    seen = stream(0.1, 1.0, 12_000, np.random.default_rng(2), kept=0.3)
    assert learned(seen, correction, 1.0, rate=0.3) == pytest.approx(0.1, rel=0.08)
    assert learned(seen, correction, 1.0) > 2 * 0.1, "uncorrected, the sample's odds are those of the sample"


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0.1, 3.0)), min_size=1, max_size=6), st.floats(-4, 4))
def test_undoing_leaves_the_loss_of_the_final_label(flips: list[tuple[int, float]], log_odds: float) -> None:
    """Labels alternate; whatever came before, the sum of the losses is that of the last one alone."""
    odds = torch.tensor([log_odds], dtype=torch.float64)
    first, total, before = flips[0][0], torch.zeros(1, dtype=torch.float64), 0.0
    for place, (_, weight) in enumerate(flips):
        label = float((first + place) % 2)
        here, opposite = weighed(
            "undo",
            [Feedback.CERTAIN],
            torch.tensor([weight], dtype=torch.float64),
            torch.tensor([before], dtype=torch.float64),
            odds,
            1.0,
        )
        total += here * loss_of(odds, torch.full_like(odds, label))
        total -= opposite * loss_of(odds, torch.full_like(odds, 1.0 - label))
        before = weight
    last = torch.full_like(odds, float((first + len(flips) - 1) % 2))
    assert float(total) == pytest.approx(float(flips[-1][1] * loss_of(odds, last)), abs=1e-9)


@pytest.mark.parametrize("correction", ["fnw", "es-dfm"])
def test_only_what_was_presumed_is_weighed(correction: Correction) -> None:
    kinds = [Feedback.CERTAIN, Feedback.IN_TIME, Feedback.PRESUMED, Feedback.LATE]
    weights, undone = weighed(correction, kinds, torch.full((4,), 2.0), torch.ones(4), torch.zeros(4), 0.5)
    assert float(weights[0]) == 2.0
    assert (weights[[1, 3]] > 2.0).all()
    assert float(weights[2]) < 2.0
    assert undone.tolist() == [1.0, 1.0, 1.0, 0.0]
    plain = weighed("none", kinds, torch.full((4,), 2.0), torch.ones(4), torch.zeros(4), 0.5)
    assert [one.tolist() for one in plain] == [[2.0] * 4, [0.0] * 4]


def test_weights_are_constants_for_the_gradient() -> None:
    log_odds = torch.zeros(1, requires_grad=True)
    for correction in ("fnw", "auto"):
        weights, _ = weighed(correction, [Feedback.PRESUMED], torch.ones(1), torch.zeros(1), log_odds, 0.5)
        assert not weights.requires_grad


def test_by_default_positives_weigh_as_they_are_and_those_that_are_too_late_nothing() -> None:
    kinds = [Feedback.CERTAIN, Feedback.IN_TIME, Feedback.PRESUMED, Feedback.LATE]
    given_ = torch.full((4,), 2.0), torch.ones(4), torch.zeros(4), 0.5
    soon, undone = weighed("auto", kinds, *given_)
    # A half of all comes in time, the rest soon: 2 · (1 − ½) / (1 − ½ · ½).
    assert soon.tolist() == pytest.approx([2.0, 2.0, 4 / 3, 2.0])
    assert undone.tolist() == [1.0, 1.0, 1.0, 0.0]
    later, undone = weighed("auto", kinds, *given_, late_ms=TOO_LATE_MS)
    assert later.tolist() == pytest.approx([2.0, 2.0, 2 / 3, 0.0])
    assert undone.tolist() == [1.0, 1.0, 1.0, 0.0]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(Feedback), st.floats(0.5, 4.0)), min_size=1, max_size=40), st.integers(1, 7))
def test_the_share_of_late_positives_is_a_decayed_mean(seen: list[tuple[Feedback, float]], portion: int) -> None:
    share = LateShare()
    for first in range(0, len(seen), portion):
        part = seen[first : first + portion]
        share.add(np.array([int(kind) for kind, _ in part]), np.array([w for _, w in part], dtype=np.float32))
    late = sum(weight for kind, weight in seen if kind is Feedback.LATE)
    total = late + sum(weight for kind, weight in seen if kind is Feedback.IN_TIME)
    # So few hardly decay; one late positive stands for what is not known at the start.
    assert share.value == pytest.approx((late + 1.0) / (total + 1.0), rel=0.01)


def test_the_share_follows_the_newest() -> None:
    share = LateShare()
    for kind in [Feedback.LATE] * 400 + [Feedback.IN_TIME] * 400:
        share.add(np.full(100, int(kind)), np.ones(100, dtype=np.float32))
    assert share.value < 0.03


# --- a world so small that all that can happen in it is listed

World = list[tuple[float, float, float]]
"""Of each kind of impression its share, the probability of an action, and the share of actions that are late."""
OUTCOMES = ("in time", "late", "never")


def chances_of(chance: float, late: float) -> tuple[float, float, float]:
    """The probability of each outcome."""
    return chance * (1 - late), chance * late, 1 - chance


def given_by(outcome: str) -> list[Seen]:
    """What the stream gives of an impression with that outcome."""
    if outcome == "in time":
        return [(Feedback.IN_TIME, 1, 0.0)]
    presumed: Seen = (Feedback.PRESUMED, 0, 0.0)
    return [presumed, (Feedback.LATE, 1, 1.0)] if outcome == "late" else [presumed]


def gradient(seen: list[Seen], correction: Correction, odds: float, late: float, late_ms: int = SOON_MS) -> float:
    """Of the losses of what was given, by the log-odds."""
    at = torch.tensor([odds], dtype=torch.float64, requires_grad=True)
    total = torch.zeros(1, dtype=torch.float64)
    for kind, label, undone in seen:
        undone_ = torch.tensor([undone], dtype=torch.float64)
        weight, opposite = weighed(correction, [kind], torch.ones(1, dtype=torch.float64), undone_, at, late, late_ms)
        total = total + weight * loss_of(at, torch.full_like(at, float(label)))
        total = total - opposite * loss_of(at, torch.full_like(at, 1.0 - label))
    (found,) = torch.autograd.grad(total.sum(), at)
    return float(found)


def expected(
    world: World, correction: Correction, odds: list[float], late: float, late_ms: int = SOON_MS
) -> list[float]:
    """The expected gradient by the log-odds of each kind of impression, over all that can happen."""
    return [
        share
        * sum(
            probability * gradient(given_by(outcome), correction, at, late, late_ms)
            for outcome, probability in zip(OUTCOMES, chances_of(chance, late_of), strict=True)
        )
        for (share, chance, late_of), at in zip(world, odds, strict=True)
    ]


def with_final_labels(world: World, odds: list[float]) -> list[float]:
    """The same where every label is final: predicted less true, by share."""
    return [share * (1 / (1 + math.exp(-at)) - chance) for (share, chance, _), at in zip(world, odds, strict=True)]


kinds = st.tuples(st.floats(0.1, 1.0), st.floats(0.02, 0.9), st.floats(0.0, 1.0), st.floats(-4.0, 4.0))


@settings(max_examples=40, deadline=None)
@given(st.lists(kinds, min_size=1, max_size=4))
def test_undone_losses_have_the_gradient_of_final_labels(drawn: list[tuple[float, float, float, float]]) -> None:
    """Whatever the model says, and however late the actions of each kind of impression are."""
    world, odds = [one[:3] for one in drawn], [one[3] for one in drawn]
    assert expected(world, "undo", odds, 0.3) == pytest.approx(with_final_labels(world, odds), abs=1e-9)


@pytest.mark.parametrize(("correction", "late_ms"), [("es-dfm", SOON_MS), ("auto", SOON_MS), ("auto", TOO_LATE_MS)])
@settings(max_examples=40, deadline=None)
@given(st.lists(kinds, min_size=1, max_size=4), st.floats(0.0, 1.0))
def test_weighted_losses_vanish_where_those_of_final_labels_do_and_point_the_same_way(
    correction: Correction, late_ms: int, drawn: list[tuple[float, float, float, float]], late: float
) -> None:
    # Where all are too late nothing is learned.
    assume(late < 1.0 or late_ms < TOO_LATE_MS)
    world = [(share, chance, late) for share, chance, *_ in drawn]
    right = [math.log(chance / (1 - chance)) for _, chance, _ in world]
    assert expected(world, correction, right, late, late_ms) == pytest.approx([0.0] * len(world), abs=1e-6)
    for away in (-1.0, 1.0):
        odds = [at + away for at in right]
        found = np.array(expected(world, correction, odds, late, late_ms))
        assert (found * np.array(with_final_labels(world, odds)) > 0).all()


@given(st.floats(0.02, 0.3), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_items_whose_actions_take_longer_than_others_are_off_by_the_square_of_their_rate(
    chance: float, late: float, average: float
) -> None:
    """What weighing takes as independent of the item matters little: p comes out as p / (1 − p (r − r_item))."""
    found = chance / (1 - chance * (average - late))
    odds = math.log(found / (1 - found))
    assert expected([(1.0, chance, late)], "es-dfm", [odds], average) == pytest.approx([0.0], abs=1e-6)


def test_a_late_positive_pulls_no_less_far_the_more_the_model_is_sure_of_it_but_weighed_it_does() -> None:
    """Undone losses are a straight line: where actions take hours, a model that is closed into a loop runs away."""
    late: list[Seen] = [(Feedback.LATE, 1, 1.0)]
    assert gradient(late, "undo", 6.0, 0.5) == pytest.approx(-1.0)
    assert abs(gradient(late, "es-dfm", 6.0, 0.5)) < 0.01


def test_auto_is_undo_where_nothing_is_presumed() -> None:
    arguments = (
        [Feedback.CERTAIN] * 3,
        torch.tensor([1.0, 2.0, 0.5]),
        torch.tensor([0.0, 1.0, 2.0]),
        torch.zeros(3),
        0.4,
    )
    for ours, theirs in zip(weighed("auto", *arguments), weighed("undo", *arguments), strict=True):
        assert torch.equal(ours, theirs)


# --- the trainer


def noisy(kind: Feedback, label: int, undone: float, rng: np.random.Generator) -> Labelled:
    one = example(int(rng.integers(200)), [0], label)
    return msgspec.structs.replace(one, feedback=int(kind), undone=undone)


def after_the_wait(ages: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of actions that are late, but all soon."""
    return (ages >= SOON_MS).astype(np.float64)


def taught(correction: Correction, seen: list[Seen], rate: float = 1.0) -> NDArray[np.float32]:
    """float32[200]: what a whole model says of 200 users and the one item."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    trainer = Trainer(MODEL, replace(SETTINGS, correction=correction), after_the_wait)
    learn(trainer, [msgspec.structs.replace(noisy(*one, rng), rate=rate) for one in seen])
    asked = training_batch([example(user, [0]) for user in range(200)])
    return predictions(served_by_torch(trainer.averaged), asked, trainer.tables)


@pytest.mark.parametrize("correction", CORRECTIONS)
def test_a_whole_model_is_calibrated(correction: Correction) -> None:
    # Outputs begin small and impressions' shared intercept is not there: so many steps take the model from its prior.
    seen = stream(0.2, 1.0, 24_000, np.random.default_rng(5))
    assert taught(correction, seen).mean() == pytest.approx(0.2, rel=0.12)


def test_a_whole_model_is_too_low_without_a_correction() -> None:
    seen = stream(0.2, 1.0, 12_000, np.random.default_rng(5))
    assert taught("none", seen).mean() < 0.9 * 0.2


def test_a_whole_model_is_calibrated_on_a_sample_of_negatives() -> None:
    seen = stream(0.05, 0.5, 24_000, np.random.default_rng(6), kept=0.25)
    assert taught("undo", seen, rate=0.25).mean() == pytest.approx(0.05, rel=0.15)
    assert taught("undo", seen).mean() > 2 * 0.05


def test_the_share_of_late_positives_survives_a_restart() -> None:
    trainer = Trainer(MODEL, SETTINGS)
    rng = np.random.default_rng(0)
    trainer.step(training_batch([noisy(Feedback.IN_TIME, 1, 0.0, rng)] * 3))
    other = Trainer(MODEL, SETTINGS)
    other.restore({name: np.array(part) for name, part in trainer.state().items()}, trainer.tables)
    assert other.state()["late"].tolist() == trainer.state()["late"].tolist() != [0.0, 1.0]


def test_a_weight_to_undo_that_is_damaged_changes_nothing() -> None:
    trainer = Trainer(MODEL, SETTINGS)
    before = trainer.state()["progress"].tolist()
    broken = noisy(Feedback.LATE, 1, math.nan, np.random.default_rng(0))
    assert math.isnan(trainer.step(training_batch([broken])))
    assert trainer.state()["progress"].tolist() == before
