"""The encoder learns who belongs together from actions alone, and says so of items that nobody has acted on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_reco.events import Action, ItemEvent
from stream_reco.learner.stream_state import StreamState
from stream_reco.model.encoder.encoding import encode, encoder_table, spelled
from stream_reco.model.encoder.settings import EncoderSettings
from stream_reco.signals.settings import HOUR_MS, SignalSettings
from stream_reco.train.encoder_trainer import EncoderTrainer
from stream_reco.train.settings import TrainSettings
from stream_reco.train.tables import new_table

START = 1_700_000_000_000
SETTINGS = EncoderSettings(dim=16, negatives=32, hardest=8)
BRANDS = ("north", "south", "east", "west")


class Shop:
    """Items with a brand, and a word that tells nothing; people act on items, one a minute."""

    def __init__(self, settings: EncoderSettings = SETTINGS) -> None:
        self.state = StreamState(SignalSettings(), TrainSettings(), frozenset())
        self.table = new_table(encoder_table(settings), TrainSettings()) if settings.dim else None
        self.trainer = EncoderTrainer(settings, self._table)
        self.state.on_freed = self.trainer.forget_items
        self.settings, self.rng, self.now = settings, np.random.default_rng(5), START

    def _table(self) -> Any:
        assert self.table is not None
        return self.table

    def describe(self, item: int, features: dict[str, Any] | None, vector: list[float] | None = None) -> None:
        given: dict[str, Any] = {} if vector is None else {"vector": vector}
        self.state.describe(ItemEvent(item_id=item, timestamp=self.now, features=features or {}, **given))

    def act(self, user: int, item: int, after_ms: int = 60_000) -> None:
        self.now += after_ms
        event = Action(user_id=user, item_id=item, action="click", timestamp=self.now)
        self.state.pass_time(self.now)
        slot, context = self.state.admit(event)
        self.trainer.act(self.state.signals, self.state.histories, event, slot, self.rng)
        self.state.count(event, slot, context)
        self.state.remember(event, slot, counted=True)

    def cosines(self, items: list[int]) -> NDArray[np.float32]:
        catalogue = self.state.signals.catalogue
        slots = np.array([catalogue.slot_of(item) for item in items], dtype=np.int32)
        encoded = encode(spelled(catalogue.content.lasting(slots)), self._table(), self.settings.dim)
        unit = encoded / np.maximum(np.linalg.norm(encoded, axis=1, keepdims=True), 1e-9)
        found: NDArray[np.float32] = unit @ unit.T
        return found


def features_of(item: int) -> dict[str, Any]:
    return {"brand": BRANDS[item % 4], "colour": ("red", "blue", "green")[item % 3]}


def run(shop: Shop, clicks: int) -> None:
    """People who like two brands: those of even numbers north and east, the others south and west."""
    for _ in range(clicks):
        user = int(shop.rng.integers(20))
        brand = 2 * int(shop.rng.integers(2)) + user % 2
        shop.act(user, 4 * int(shop.rng.integers(10)) + brand)


def test_brands_that_the_same_people_like_come_together_for_items_that_nobody_has_seen() -> None:
    shop = Shop()
    for item in range(40):
        shop.describe(item, features_of(item))
    run(shop, 1500)
    new = {brand: 100 + place for place, brand in enumerate(BRANDS)}
    for brand, item in new.items():
        shop.describe(item, {"brand": brand, "colour": "red"})
    alike = shop.cosines([new[brand] for brand in BRANDS])
    north, south, east, west = range(4)
    for one, partner, other in ((north, east, south), (north, east, west), (south, west, east), (west, south, north)):
        assert alike[one, partner] > alike[one, other] + 0.5
    assert shop.trainer.learned > 1000


def test_given_vectors_are_projected_by_what_the_same_people_like() -> None:
    shop, rng = Shop(), np.random.default_rng(1)
    taste = np.zeros((4, 12))
    taste[range(4), range(4)] = 1.0
    looks = {item: (taste[item % 4] + 0.35 * rng.normal(size=12)).tolist() for item in range(48)}
    for item in range(40):
        shop.describe(item, None, looks[item])
    run(shop, 2500)
    for item in range(40, 48):
        shop.describe(item, None, looks[item])
    alike = shop.cosines(list(range(40, 48)))
    same = np.array([[one % 2 == other % 2 for other in range(8)] for one in range(8)])
    off = ~np.eye(8, dtype=bool)
    plain = np.array([looks[item] for item in range(40, 48)])
    plain /= np.linalg.norm(plain, axis=1, keepdims=True)
    given = plain @ plain.T
    learned, untrained = (one[same & off].mean() - one[~same].mean() for one in (alike, given))
    assert learned > untrained + 0.3, "north and east look nothing like each other, but the same people like them"


def test_what_lies_further_apart_than_hours_is_no_pair() -> None:
    shop = Shop()
    for item in range(8):
        shop.describe(item, features_of(item))
    for click in range(40):
        shop.act(1, click % 8, after_ms=9 * HOUR_MS)
    assert shop.trainer.learned == 0
    assert len(shop._table()) == 0
    for click in range(40):
        shop.act(1 + click % 2, click % 4 + 4 * (click % 2), after_ms=HOUR_MS)
    assert shop.trainer.learned > 0


def test_nothing_is_done_where_nothing_is_described_or_vectors_are_off() -> None:
    bare = Shop()
    run(bare, 60)
    assert bare.trainer.learned == 0
    off = Shop(EncoderSettings(dim=0))
    for item in range(40):
        off.describe(item, features_of(item))
    run(off, 60)
    assert off.trainer.learned == 0


def test_negatives_are_active_and_never_the_users_own() -> None:
    shop = Shop()
    for item in range(40):
        shop.describe(item, features_of(item))
    run(shop, 300)
    signals, slot_of = shop.state.signals, shop.state.signals.catalogue.slot_of
    own, times, _ = shop.state.histories.newest(shop.state.histories.row_of(3))
    active = set(signals.trends.active.tolist())
    for seed in range(50):
        slot = slot_of(seed % 40)
        drawn = shop.trainer._negatives(signals, slot, own, np.random.default_rng(seed)).tolist()
        assert set(drawn) <= active - set(own.tolist()) - {slot}
        assert len(drawn) == len(set(drawn)) <= SETTINGS.hardest
    assert len(times)


def test_a_trainer_that_was_restored_goes_on_as_if_it_had_never_ended() -> None:
    through, ended = Shop(), Shop()
    for shop in (through, ended):
        for item in range(40):
            shop.describe(item, features_of(item))
        run(shop, 300)
    parts = ended.trainer.state()
    ended.trainer = EncoderTrainer(SETTINGS, ended._table)
    ended.trainer.restore(parts)
    for shop in (through, ended):
        run(shop, 200)
    assert ended.trainer.learned == through.trainer.learned
    keys = np.sort(through._table().keys())
    np.testing.assert_array_equal(through._table().lookup(keys), ended._table().lookup(keys))


def test_a_slot_that_another_item_gets_has_no_vector_of_the_one_before() -> None:
    shop = Shop()
    for item in range(8):
        shop.describe(item, features_of(item))
    for click in range(40):
        shop.act(1 + click % 2, click % 4 + 4 * (click % 2))
    codes = shop.trainer.state()["codes"]
    slot = int(np.flatnonzero(codes.any(axis=1))[0])
    shop.state.on_freed(np.array([slot], dtype=np.int32))
    assert not shop.trainer.state()["codes"][slot].any()


@pytest.mark.parametrize("changes", [{"dim": -1}, {"hours": 0.0}, {"pairs": 0}, {"negatives": 0}, {"hardest": 0}])
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    import msgspec

    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(changes, EncoderSettings)
