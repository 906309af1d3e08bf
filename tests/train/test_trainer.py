"""The trainer: it learns what is there to learn, by the same bits each time, and damage does not reach the weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stream_reco import metrics
from stream_reco.embedding import EmbeddingTable
from stream_reco.model.features.names import FEATURES
from stream_reco.model.settings import ModelSettings
from stream_reco.model.spec import PRIOR_LOG_ODDS
from stream_reco.model.weights import weights_of
from stream_reco.model.zoo.two_tower_dcn_network import Ranker
from stream_reco.model.zoo.two_tower_dcn_sizes import POSITIONS
from stream_reco.train.batch import Labelled, training_batch
from stream_reco.train.settings import TrainSettings
from stream_reco.train.trainer import Trainer
from tests.train.toy_examples import MODEL, SETTINGS, SIZES, chances, example, learn, two_groups

REFUSED = "stream_reco_train_refused_batches_total"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def fingerprint(trainer: Trainer) -> dict[str, bytes]:
    """Every number that the trainer's future depends on."""
    parts = {name: array.tobytes() for name, array in trainer.state().items()}
    with TemporaryDirectory() as folder:
        saved(trainer, Path(folder))
        return parts | {file.name: file.read_bytes() for file in Path(folder).iterdir()}


def saved(trainer: Trainer, folder: Path) -> None:
    for name, table in trainer.tables.items():
        table.save(folder / name)


def restored(trainer: Trainer) -> Trainer:
    """Another trainer that goes on from a checkpoint of this one."""
    other = Trainer(MODEL, replace(trainer.settings))
    parts = {name: np.array(array) for name, array in trainer.state().items()}
    with TemporaryDirectory() as folder:
        saved(trainer, Path(folder))
        other.restore(parts, {name: EmbeddingTable.load(Path(folder) / name) for name in trainer.tables})
    return other


def first_step(batch: Sequence[Labelled]) -> float:
    """How far the first step of a new trainer takes the weights that it moves most."""
    trainer = Trainer(MODEL, SETTINGS)
    before = {name: array.copy() for name, array in weights_of(trainer.model.network).items()}
    trainer.step(training_batch(batch))
    after = weights_of(trainer.model.network)
    return max(float(np.abs(after[name] - before[name]).max()) for name in ("top.weight", "deep.4.weight"))


def test_a_step_is_as_long_as_the_root_of_what_its_batch_says() -> None:
    """Adam's first step is the rate for every weight."""
    rng, full = np.random.default_rng(3), SETTINGS.batch
    choice = [example(user, [0, 1, 2], dense=np.repeat(noise(rng), 3, axis=0)) for user in range(full)]
    shown = [example(user, [0], label=0, dense=noise(rng)) for user in range(full)]
    chance = 1.0 / (1.0 + math.exp(-PRIOR_LOG_ODDS))
    assert first_step(choice) == pytest.approx(SETTINGS.learning_rate, rel=1e-2)
    assert first_step(choice[: full // 4]) == pytest.approx(SETTINGS.learning_rate / 2, rel=1e-2)
    # The model begins near the odds of most impressions, whatever the features are.
    assert first_step(shown) == pytest.approx(SETTINGS.learning_rate * math.sqrt(4 * chance * (1 - chance)), rel=0.3)


def noise(rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.normal(size=(1, len(FEATURES))).astype(np.float32)


def test_two_groups_are_told_apart() -> None:
    trainer = Trainer(MODEL, SETTINGS)
    losses = learn(trainer, two_groups(6_000, np.random.default_rng(0)))
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:5])
    for user in (0, 9, 10, 19):
        odds = [chances(trainer, [example(user, [item])])[0] for item in range(10)]
        mine, theirs = (odds[:5], odds[5:]) if user < 10 else (odds[5:], odds[:5])
        assert min(mine) > 5 * max(theirs)
    assert trainer.examples == 6_000


def test_what_led_to_what_is_learned_from_histories() -> None:
    """Strangers act on the item that follows their last one: only the history tells which."""
    rng = np.random.default_rng(1)
    trainer = Trainer(MODEL, SETTINGS)
    log = []
    for stranger in range(5_000):
        last = int(rng.integers(4))
        log.append(example(stranger, [(last + 1 + step) % 4 for step in range(4)], history=[last]))
    learn(trainer, log)
    for last in range(4):
        odds = chances(trainer, [example(-1, [0, 1, 2, 3], history=[last])])
        assert odds.argmax() == (last + 1) % 4
        best, second = np.clip(np.sort(odds)[[-1, -2]].astype(np.float64), 1e-9, 1 - 1e-6)
        assert math.log(best / (1 - best)) - math.log(second / (1 - second)) > 1.0


def test_probabilities_of_impressions_are_calibrated() -> None:
    rng = np.random.default_rng(2)
    trainer = Trainer(MODEL, SETTINGS)
    rates = (0.05, 0.15, 0.4)
    shown = rng.integers(3, size=24_000)
    clicked = rng.random(24_000) < np.array(rates)[shown]
    learn(
        trainer,
        [
            example(int(rng.integers(500)), [int(item)], int(click), dense=noise(rng))
            for item, click in zip(shown, clicked, strict=True)
        ],
    )
    asked = [example(int(rng.integers(500)), [item % 3], dense=noise(rng)) for item in range(3_000)]
    found = chances(trainer, asked)
    assert found.mean() == pytest.approx(clicked.mean(), rel=0.1)
    for item in range(3):
        assert found[item::3].mean() == pytest.approx(clicked[shown == item].mean(), rel=0.3)


def sampled_log(true: NDArray[np.float64], rates: NDArray[np.float64], count: int) -> list[Labelled]:
    """Actions by `true` probability; every other item is among the negatives with its rate."""
    rng = np.random.default_rng(3)
    log = []
    for _ in range(count):
        liked = int(rng.choice(len(true), p=true))
        drawn = [item for item in np.flatnonzero(rng.random(len(true)) < rates).tolist() if item != liked]
        log.append(example(0, [liked, *drawn], rates=rates[[liked, *drawn]].tolist()))
    return log


def test_sampled_negatives_leave_the_true_probabilities() -> None:
    true = 1.0 / np.arange(1, 21)
    true /= true.sum()
    rates = np.clip(1.5 * np.sqrt(true), 0.0, 0.9)[np.random.default_rng(0).permutation(20)]
    trainer = Trainer(MODEL, SETTINGS)
    learn(trainer, sampled_log(true, rates, 20_000))
    found = chances(trainer, [example(0, [item]) for item in range(20)])
    assert np.abs(np.log(found / true)).mean() < 0.15
    assert np.abs(np.log(found / true)).max() < 0.5
    assert found.sum() == pytest.approx(1.0, rel=0.15)


def test_predictions_on_a_sample_are_of_the_sample() -> None:
    """There they are compared with labels, of which negatives are as many as were drawn."""
    true, rates = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.5, 0.9])
    log = sampled_log(true, rates, 8_000)
    trainer = Trainer(MODEL, SETTINGS)
    learn(trainer, log)
    batch = training_batch(log[-4_000:])
    assert chances(trainer, log[-4_000:]).sum() == pytest.approx(float(batch.labels.sum()), rel=0.15)


def test_positions_teach_but_are_not_asked_for() -> None:
    rng = np.random.default_rng(4)
    trainer = Trainer(MODEL, SETTINGS)
    log = []
    for _ in range(12_000):
        position = int(rng.choice([1, 5]))
        clicked = rng.random() < (0.5 if position == 1 else 0.1)
        log.append(example(int(rng.integers(50)), [0], int(clicked), position=position))
    learn(trainer, log)
    network = trainer.model.network
    assert isinstance(network, Ranker)
    bias = network.position_bias.weight.detach().numpy()[:, 0]
    assert bias[1] - bias[5] > 1.0
    first, fifth, unknown = (chances(trainer, [example(1, [0], position=place)])[0] for place in (1, 5, 0))
    assert first == fifth == unknown
    assert 0.1 < unknown < 0.5


def test_positions_are_hidden_a_tenth_of_the_time() -> None:
    examples = [example(0, [0, 1], position=7)] * 4_000 + [example(0, [0], position=10**9)]
    assert set(training_batch(examples).positions.tolist()) == {7, 10**9}
    hidden = training_batch(examples, np.random.default_rng(0)).positions[:-1].reshape(-1, 2) == 0
    assert np.array_equal(hidden[:, 0], hidden[:, 1]), "a request's candidates share its position"
    assert hidden[:, 0].mean() == pytest.approx(0.1, abs=0.02)


def test_positions_beyond_the_last_share_its_bias() -> None:
    start = learn_some()
    last, beyond = restored(start), restored(start)
    last.step(training_batch([example(3, [1], position=POSITIONS - 1)]))
    beyond.step(training_batch([example(3, [1], position=10**9)]))
    assert fingerprint(last) == fingerprint(beyond)


def test_a_retracted_sample_speaks_of_its_first_candidate_alone() -> None:
    start = learn_some()
    whole, alone = restored(start), restored(start)
    whole.step(training_batch([example(3, [1, 6, 7, 8], 0, rates=[0.5] * 4)]))
    alone.step(training_batch([example(3, [1], 0, rates=[0.5])]))
    assert fingerprint(whole) == fingerprint(alone)
    liked = restored(start)
    liked.step(training_batch([example(3, [1], 1, rates=[0.5])]))
    passed_over, acted_on = (chances(trainer, [example(3, [1])])[0] for trainer in (whole, liked))
    assert passed_over < acted_on


def learn_some(seed: int = 5) -> Trainer:
    trainer = Trainer(MODEL, SETTINGS)
    learn(trainer, two_groups(600, np.random.default_rng(seed)))
    return trainer


def test_a_weight_of_nothing_teaches_the_item_nothing() -> None:
    """The rows it comes with exist, but no gradient reaches them."""
    trainer = learn_some()
    before = trainer.tables["item"].lookup(np.arange(10))
    trainer.step(training_batch([example(3, [1, 6], weight=0.0), example(4, [2], 0, weight=0.0)]))
    assert np.array_equal(trainer.tables["item"].lookup(np.arange(10)), before)


def test_two_trainers_that_are_given_the_same_end_the_same() -> None:
    assert fingerprint(learn_some()) == fingerprint(learn_some())
    assert fingerprint(learn_some()) != fingerprint(learn_some(6))


def test_a_trainer_does_not_touch_the_process_random_numbers() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3).tolist()
    torch.manual_seed(0)
    learn_some()
    assert torch.rand(3).tolist() == expected


def test_a_restored_trainer_goes_on_by_the_same_bits() -> None:
    trainer = learn_some()
    other = restored(trainer)
    assert fingerprint(other) == fingerprint(trainer)
    rest = two_groups(400, np.random.default_rng(8))
    assert learn(trainer, rest) == learn(other, rest)
    assert fingerprint(other) == fingerprint(trainer)
    assert other.examples == 1_000


@pytest.mark.parametrize(
    "sizes",
    [{"hidden": 8}, {"user_dim": 4}, {"cross_layers": 1}, {"tower_dim": 9}],
)
def test_weights_of_another_size_are_refused(sizes: dict[str, Any]) -> None:
    trainer = learn_some()
    other = Trainer(ModelSettings(settings=replace(SIZES, **sizes)), SETTINGS)
    with pytest.raises(ValueError, match=r"a model with other sizes.*model settings"):
        other.restore(trainer.state(), trainer.tables)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (EmbeddingTable(6, name="user"), r"'user' with dim 6 and adagrad instead of 'user' with dim \d+ and adagrad"),
        (EmbeddingTable(SIZES.user_dim, "adam", name="user"), "and adam instead of"),
        (EmbeddingTable(SIZES.user_dim, name="item"), "'item' with"),
        (None, "is none instead of"),
    ],
)
def test_tables_of_another_kind_are_refused(table: EmbeddingTable | None, told: str) -> None:
    trainer = learn_some()
    other = Trainer(MODEL, SETTINGS)
    tables = {name: one for name, one in trainer.tables.items() if name != "user"}
    with pytest.raises(ValueError, match=f"{told}.*start with a new data folder"):
        other.restore(trainer.state(), tables if table is None else {**tables, "user": table})


def bad_dense(value: float) -> Labelled:
    dense = np.zeros((2, len(FEATURES)), dtype=np.float32)
    dense[1, 3] = value
    return example(1, [1, 2], dense=dense)


@pytest.mark.parametrize(
    "damage",
    [
        bad_dense(math.nan),
        bad_dense(math.inf),
        bad_dense(-math.inf),
        bad_dense(1e30),
        example(1, [1, 2], rates=[0.5, math.nan]),
        example(1, [1, 2], rates=[0.5, -0.5]),
        example(1, [1, 2], weight=math.nan),
        example(1, [1, 2], weight=math.inf),
        example(1, [1, 2], weight=-1.0),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in log")
def test_a_batch_with_damage_changes_nothing(damage: Labelled) -> None:
    trainer = learn_some()
    before, count = fingerprint(trainer), metrics.REGISTRY.get_sample_value(REFUSED)
    good = two_groups(10, np.random.default_rng(9))
    assert math.isnan(trainer.step(training_batch([*good, damage])))
    assert fingerprint(trainer) == before
    assert count is not None
    assert metrics.REGISTRY.get_sample_value(REFUSED) == count + 1
    assert math.isfinite(trainer.step(training_batch(good)))


def test_only_what_acted_or_was_acted_on_gets_a_row() -> None:
    trainer = Trainer(MODEL, SETTINGS)
    trainer.step(training_batch([example(5, [1, 2, 3]), example(6, [4], 0)]))
    assert sorted(trainer.tables["item"].keys().tolist()) == [1, 4]
    assert sorted(trainer.tables["user"].keys().tolist()) == [5, 6]
    assert len(trainer.tables["context"]) == 0


def test_an_example_alone_is_a_batch() -> None:
    for one in (example(0, [0]), example(0, [0], 0), example(0, [0, 1, 2])):
        assert math.isfinite(Trainer(MODEL, SETTINGS).step(training_batch([one])))


def test_what_is_published_is_the_average_of_the_last_steps() -> None:
    trainer = Trainer(MODEL, replace(SETTINGS, average_steps=4))
    name, mean = "deep.0.weight", np.zeros(())
    for step, one in enumerate(two_groups(12, np.random.default_rng(4)), start=1):
        learn(trainer, [one])
        share = max(1 / step, 1 / 4)
        mean = (1 - share) * mean + share * weights_of(trainer.model.network)[name].astype(np.float64)
        assert weights_of(trainer.averaged.network)[name] == pytest.approx(mean, rel=1e-4, abs=1e-6)
        assert np.array_equal(
            weights_of(trainer.averaged.network)["standardise.mean"],
            weights_of(trainer.model.network)["standardise.mean"],
        )
    assert not np.array_equal(mean, weights_of(trainer.model.network)[name])


def test_an_example_weighs_the_same_in_a_short_step() -> None:
    """The row of a user is moved as far by one example alone as by the same one beside others of other users."""
    examples = [example(user, [user]) for user in range(8)]
    rows = []
    for shown in (examples[:1], examples):
        trainer = Trainer(MODEL, SETTINGS)
        before = trainer.tables["item"].lookup(np.zeros(1, dtype=np.int64)).copy()
        trainer.step(training_batch(shown))
        rows.append(trainer.tables["item"].lookup(np.zeros(1, dtype=np.int64)) - before)
    ranker_part = slice(0, SIZES.item_dim)
    assert np.abs(rows[0][0, ranker_part]).max() > 0
    assert rows[0][0, ranker_part] == pytest.approx(rows[1][0, ranker_part], rel=0.05)


def test_rows_leave_after_their_idle_time() -> None:
    trainer = Trainer(MODEL, replace(SETTINGS, row_idle_days=1.0))
    examples: Sequence[Labelled] = [example(5, [1])]
    trainer.step(training_batch(examples))
    trainer.evict(examples[0].time + 86_400_000)
    assert len(trainer.tables["item"]) == 1
    trainer.evict(examples[0].time + 86_400_001)
    assert len(trainer.tables["item"]) == len(trainer.tables["user"]) == 0


def test_a_step_lets_idle_rows_go() -> None:
    trainer = Trainer(MODEL, replace(SETTINGS, row_idle_days=1.0))
    trainer.tables["user"].train_rows([999], 0)
    trainer.step(training_batch([example(5, [1])]))
    assert 999 not in trainer.tables["user"].keys().tolist()


def test_tables_stay_within_their_megabytes_and_go_on_learning() -> None:
    trainer = Trainer(MODEL, replace(SETTINGS, table_megabytes=4.0))
    users = trainer.tables["user"]
    for start in range(0, 200_000, 10_000):
        users.train_rows(np.arange(start, start + 10_000), start)
    assert users.evicted_for_budget > 0
    assert math.isfinite(trainer.step(training_batch([example(7, [1])])))
    assert users.nbytes - 8 * users.evicted_for_budget <= 4_000_000
    assert Trainer(MODEL, SETTINGS).tables["user"].budget_bytes is None


def test_users_who_come_seldom_share_a_row_that_is_learned() -> None:
    trainer = Trainer(MODEL, replace(SETTINGS, user_sightings=3))
    users, stranger = trainer.tables["user"], trainer.tables["user"].default
    for times in range(1, 4):
        trainer.step(training_batch([example(7, [1])]))
        assert len(users) == (times == 3)
        assert len(trainer.tables["item"]) > 0
    assert (users.default != stranger).any()
    np.testing.assert_array_equal(users.lookup([12345])[0], users.default)
    assert (users.lookup(users.keys())[0] != users.default).any()
    assert Trainer(MODEL, SETTINGS).tables["user"].admission is None


@pytest.mark.parametrize("sightings", [0, -1, 256])
def test_sightings_that_no_user_can_have_are_refused(sightings: int) -> None:
    with pytest.raises(ValueError, match=f"user_sightings is {sightings}: it must be 1, for a row at once, to 255"):
        TrainSettings(user_sightings=sightings)


@pytest.mark.parametrize("megabytes", [-1.0, 3.9, math.nan, math.inf])
def test_megabytes_for_few_rows_are_refused(megabytes: float) -> None:
    with pytest.raises(ValueError, match=r"table_megabytes is .* must be 0, for no bound, or 4 and more"):
        TrainSettings(table_megabytes=megabytes)
