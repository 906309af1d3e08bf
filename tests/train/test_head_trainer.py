"""Heads alone: what they learn of worlds whose answer is known, and what is left of what is taken back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_reco.embedding import EmbeddingTable
from stream_reco.model.features.names import FEATURES
from stream_reco.model.heads import HEADS_TABLE
from stream_reco.model.inputs import Inputs, collate
from stream_reco.train.head_trainer import HeadTrainer, KindExample
from stream_reco.train.trainer import Trainer
from tests.train.toy_examples import MODEL, NOW, SETTINGS, example

CLICK, BUY = 0, 1


class Alone:
    """Heads on a model that has learned nothing."""

    def __init__(self, *kinds: str) -> None:
        self.trainer = Trainer(MODEL, SETTINGS)
        self.heads = HeadTrainer(self.trainer, SETTINGS)
        for kind in kinds:
            self.heads.slots.slot_of(kind)

    def learn(self, examples: list[KindExample]) -> None:
        for first in range(0, len(examples), SETTINGS.batch):
            self.heads.learn(examples[first : first + SETTINGS.batch])

    def said(self, items: Iterable[int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """P(kind | acted) float32[n, kinds], and values float32[n, valued]."""
        return self.said_of([example(1, [item]).inputs for item in items])

    def said_of(self, inputs: Sequence[bytes]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        batch = collate([Inputs.from_bytes(one) for one in inputs])
        rows = self.trainer.tables[HEADS_TABLE.name].lookup(batch.item_keys)
        odds = self.heads.published.log_odds(self.trainer.bottom(batch), rows)
        return self.heads.published.given_acted(odds)


def acted(item: int, mass: float, kinds: Sequence[tuple[int, float]] = (), value: float = 0.0) -> KindExample:
    return KindExample(example(1, [item]).inputs, mass, list(kinds), [(BUY, value)] if value else [], NOW)


def shop(count: int, seed: int, late: int = 40) -> list[KindExample]:
    """Clicks on items 1 and 2; of them 80 % and 20 % are bought, for 10 and for 50, `late` clicks later."""
    rng = np.random.default_rng(seed)
    found: list[tuple[int, KindExample]] = []
    for number in range(count):
        item = 1 + int(rng.integers(2))
        found.append((number, acted(item, 1.0, [(CLICK, 1.0)])))
        if rng.random() < (0.8 if item == 1 else 0.2):
            price = (10.0 if item == 1 else 50.0) * rng.uniform(0.5, 1.5)
            found.append((number + late, acted(item, 0.0, [(BUY, 1.0)], float(price))))
    found.sort(key=lambda one: one[0])
    return [one for number, one in found if number < count]


def test_a_kind_that_comes_later_is_learned_as_if_it_had_come_at_once() -> None:
    for late in (0, 40):
        alone = Alone("click", "buy")
        alone.learn(shop(3_000, 1, late))
        chances, values = alone.said([1, 2])
        np.testing.assert_allclose(chances[:, CLICK], 1.0, atol=0.03)
        np.testing.assert_allclose(chances[:, BUY], [0.8, 0.2], atol=0.08)
        np.testing.assert_allclose(values[:, 0], [8.0, 10.0], rtol=0.2)


def test_what_the_bottom_says_tells_kinds_apart() -> None:
    """Of each item half is bought: a feature of the moment says which half."""
    alone, rng = Alone("click", "buy"), np.random.default_rng(5)

    def moment(sign: int, item: int) -> bytes:
        dense = rng.normal(size=(1, len(FEATURES))).astype(np.float32)
        dense[0, 0] = sign
        return example(1, [item], dense=dense).inputs

    log = []
    for _ in range(2_500):
        sign, item = int(rng.choice([-1, 1])), int(rng.integers(1, 60))
        bought = [(BUY, 1.0)] if rng.random() < (0.8 if sign > 0 else 0.2) else []
        log.append(KindExample(moment(sign, item), 1.0, [(CLICK, 1.0), *bought], [], NOW))
    alone.learn(log)
    for sign, truth in ((1, 0.8), (-1, 0.2)):
        chances, _ = alone.said_of([moment(sign, item) for item in range(1, 60)])
        assert float(chances[:, BUY].mean()) == pytest.approx(truth, abs=0.12)


def test_a_kind_begins_at_how_rare_it_was() -> None:
    alone = Alone("click")
    alone.learn([acted(1, 1.0, [(CLICK, 1.0)])] * 400)
    assert alone.heads.steps == 0
    assert HEADS_TABLE.name not in alone.trainer.tables
    alone.heads.slots.slot_of("buy")
    alone.learn([acted(1, 0.0, [(BUY, 1.0)])])
    chances, _ = alone.said([1, 2])
    assert (chances[:, CLICK] > 0.99).all()
    assert (chances[:, BUY] < 0.05).all()


def test_a_misplaced_decimal_point_does_not_teach_prices() -> None:
    alone = Alone("click", "buy")
    alone.learn(shop(2_000, 2))
    before = alone.said([1, 2])[1]
    alone.learn([acted(1, 1.0, [(CLICK, 1.0)]), acted(1, 0.0, [(BUY, 1.0)], 1e15)])
    alone.learn(shop(300, 3))
    assert (alone.said([1, 2])[1] < 5 * before).all()


def test_damaged_features_teach_nothing() -> None:
    alone = Alone("click", "buy")
    alone.learn(shop(100, 2))
    before = alone.heads.state()
    damaged = example(1, [1], dense=np.full((1, len(FEATURES)), np.nan, dtype=np.float32)).inputs
    alone.heads.learn([KindExample(damaged, 1.0, [(CLICK, 1.0)], [], NOW)])
    after = alone.heads.state()
    assert [name for name in before if not np.array_equal(before[name], after[name])] == []


def test_what_was_saved_goes_on_to_the_same_bits() -> None:
    one, other = Alone("click", "buy"), Alone()
    log = shop(400, 4)
    one.learn(log[:320])
    other.trainer.restore(one.trainer.state(), dict(one.trainer.tables))
    other.heads.restore(one.heads.state())
    other.trainer.tables[HEADS_TABLE.name] = saved_and_loaded(one.trainer.tables[HEADS_TABLE.name])
    for alone in (one, other):
        alone.learn(log[320:])
    states = one.heads.state(), other.heads.state()
    assert [name for name in states[0] if not np.array_equal(states[0][name], states[1][name])] == []
    np.testing.assert_array_equal(one.said([1, 2])[0], other.said([1, 2])[0])


def test_a_kind_that_came_but_was_not_learned_yet_is_not_said_after_a_restart() -> None:
    """Its slot is given when its first action comes, its head and the table of rows by the next step."""
    one, other = Alone("click"), Alone()
    one.learn([acted(1, 1.0, [(CLICK, 1.0)])] * 40)
    one.heads.slots.slot_of("buy")
    other.trainer.restore(one.trainer.state(), dict(one.trainer.tables))
    other.heads.restore(one.heads.state())
    for alone in (one, other):
        assert alone.heads.heads.kinds == alone.heads.published.kinds == ("click",)
        assert not alone.heads.published.active
        alone.learn([acted(1, 0.0, [(BUY, 1.0)])])
    np.testing.assert_array_equal(one.said([1, 2])[0], other.said([1, 2])[0])


def test_active_heads_have_their_table_even_where_nothing_could_be_learned() -> None:
    alone = Alone("click", "buy")
    damaged = example(1, [1], dense=np.full((1, len(FEATURES)), np.nan, dtype=np.float32)).inputs
    alone.heads.learn([KindExample(damaged, 1.0, [(CLICK, 1.0)], [], NOW)])
    assert alone.heads.heads.active
    assert HEADS_TABLE.name in alone.trainer.tables


def saved_and_loaded(table: EmbeddingTable) -> EmbeddingTable:
    """The table as it is saved and loaded."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "heads.safetensors"
        table.save(path)
        return EmbeddingTable.load(path)
