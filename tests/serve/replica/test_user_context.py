"""A user's moment from states that another process writes, and what stands in while the store is away."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pytest

from stream_reco import metrics
from stream_reco.events import Id, key_of
from stream_reco.interests import InterestSettings, Medoids
from stream_reco.model.features.names import FEATURES
from stream_reco.redis.connection import RedisLink
from stream_reco.redis.user_store import RedisUsers, StoredUser
from stream_reco.retrieve.settings import RetrieveSettings
from stream_reco.serve.replica.redis_states import RedisStates
from stream_reco.serve.replica.user_context import RemoteUserContexts
from stream_reco.serve.replica.user_state import UserState
from stream_reco.serve.settings import SlateSettings
from stream_reco.serve.slate.request import Request
from stream_reco.serve.slate.scorer import Scorer
from stream_reco.serve.slate.slate_features import SlateFeatures
from stream_reco.signals.content.profiles import Profiles
from stream_reco.signals.settings import DAY_MS, RECENT, SignalSettings
from stream_reco.signals.shown_items import ShownItems
from tests.serve.small_shop import NOW, SmallShop
from tests.waiting import until

if TYPE_CHECKING:
    from tests.redis_server import RedisServer


def state_of(
    actions: Mapping[Id, int], medoids: tuple[Id, ...] = (), written: int = 0, disliked: tuple[Id, ...] = ()
) -> bytes:
    """The state of a user who did these things, the newest first."""
    negative = np.array([key_of(item, "item") for item in disliked], dtype=np.int64)
    items = np.array([key_of(item, "item") for item in actions], dtype=np.int64)
    keys = np.array([key_of(item, "item") for item in medoids], dtype=np.int64)
    chosen = Medoids(keys, np.ones(len(keys)), np.full(len(keys), NOW))
    times = np.array(list(actions.values()), dtype=np.int64)
    return UserState(items, times, chosen, NOW, disliked=negative).to_bytes(written)


class Store:
    """States in memory; may be away, or have lost everything."""

    source = "memory of another process"

    def __init__(self) -> None:
        self.states: dict[Id, bytes] = {}
        self.away = False
        self.complete = True
        self.asked = 0

    def get(self, user: Id) -> StoredUser:
        self.asked += 1
        if self.away:
            raise ConnectionError("away")
        return StoredUser(self.states.get(user), self.complete)


@pytest.fixture
def shop() -> SmallShop:
    shop = SmallShop()
    for item in range(30):
        shop.act("somebody", item)
    shop.sync()
    return shop


class Elapsed:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def contexts(
    shop: SmallShop, store: Store, *, seed: int = 0, capacity: int = 10_000
) -> tuple[RemoteUserContexts, Elapsed]:
    elapsed, interests = Elapsed(), InterestSettings()
    return RemoteUserContexts(shop.served, store, interests, seed=seed, capacity=capacity, elapsed=elapsed), elapsed


def test_items_become_the_slots_that_are_served(shop: SmallShop) -> None:
    store = Store()
    store.states["u"] = state_of({7: NOW, "unknown": NOW - 1, 3: NOW - 2, 4: NOW - 91 * DAY_MS}, (7, 3))
    context = contexts(shop, store)[0]("u", NOW)
    assert context.user_key == key_of("u", "user")
    assert context.recent.tolist() == [*shop.slots([7]), -1, *shop.slots([3]), *[-1] * (RECENT - 3)]
    assert context.times.tolist() == [NOW, NOW - 1, NOW - 2, *[0] * (RECENT - 3)]
    assert context.seen.tolist() == shop.slots([7, 3]).tolist()
    assert sorted(context.medoids.tolist()) == sorted(key_of(item, "item") for item in (7, 3))


def test_what_was_passed_over_becomes_slots_too(shop: SmallShop) -> None:
    store, shown = Store(), ShownItems()
    for item, at in ((7, NOW - 5), ("unknown", NOW - 4), (3, NOW - 3), (7, NOW - 2)):
        shown.add(key_of(item, "item"), at)
    nothing = np.empty(0, dtype=np.int64)
    store.states["u"] = UserState(nothing, nothing, Medoids(nothing, np.empty(0), nothing), NOW, shown=shown).to_bytes()
    found = contexts(shop, store)[0]("u", NOW).shown
    assert found.slots.tolist() == shop.slots([3, 7]).tolist()
    assert (found.counts.tolist(), found.times.tolist()) == ([1, 2], [NOW - 3, NOW - 2])
    assert [part.dtype for part in found] == [np.int32, np.int32, np.int64]


def test_what_is_disliked_is_told_where_it_is_served(shop: SmallShop) -> None:
    store = Store()
    store.states["u"] = state_of({7: NOW}, disliked=(3, "unknown", 5, 3))
    context = contexts(shop, store)[0]("u", NOW)
    assert context.disliked.tolist() == shop.slots([3, 5]).tolist()
    assert context.seen.tolist() == shop.slots([7]).tolist()


def test_what_is_disliked_is_in_the_features_of_what_is_shown() -> None:
    shop, store, told = SmallShop(), Store(), list[SlateFeatures]()
    for user in range(6):
        for place, item in enumerate(("bad", "alike") if user % 2 else ("good", "better")):
            shop.act(user, item, NOW - 1_000 + place)
    shop.sync()
    store.states["u"] = state_of({}, disliked=("unknown", "bad"))
    of_user, _ = contexts(shop, store)
    scorer = Scorer(shop.served, of_user, RetrieveSettings(), SlateSettings(), 0, watch=told.append)
    scorer.recommend_many([Request("u", 5)], NOW)
    column = told[0].inputs.dense[:, FEATURES.index("disliked_best")].tolist()
    # Three people acted on "bad" and "alike", and on nothing else.
    assert dict(zip(told[0].item_ids, column, strict=True)) == {
        "alike": pytest.approx(math.log(1.01) + 4.6, abs=1e-3),
        "good": 0.0,
        "better": 0.0,
    }


def test_the_profile_is_read_as_of_now_by_what_was_published(shop: SmallShop) -> None:
    stated = {"likes": ["Tea", "rain"], "age": 30, "since": "2020-09-01", "unheard of": "x", "misfit": [1.5] * 9}
    profiles = Profiles(SignalSettings(), shop.signals.user_fields)
    profiles.describe("trainer's", {**stated, "unheard of": None, "misfit": "a category"}, NOW)
    profiles.describe("another", {"age": 50}, NOW)
    store, nothing = Store(), np.empty(0, dtype=np.int64)
    no_medoids = Medoids(nothing, np.empty(0), nothing)
    store.states["u"] = UserState(nothing, nothing, no_medoids, NOW, profile=stated).to_bytes()
    context_of = contexts(shop, store)[0]
    assert len(context_of("u", NOW).profile.codes) == 0, "what it says means nothing before it is published"
    shop.sync()
    for now in (NOW, NOW + 40 * DAY_MS):
        found, wanted = context_of("u", now).profile, profiles.values("trainer's", now)
        # The trainer's own has a misfit in the place of a category.
        count = len(found.codes)
        assert count == 2 + 2 + 3
        wanted = wanted.at(np.arange(count))
        assert [column.tolist() for column in found] == [column.tolist() for column in wanted]
    # Whoever is described anew is read anew at the next request.
    store.states["u"] = UserState(nothing, nothing, no_medoids, NOW, profile={"likes": "tea"}).to_bytes()
    assert context_of("u", NOW).profile.weights.tolist() == [1.0]
    assert shop.served.signals.user_fields.misfits.sum() == 0, "requests count nothing"


def test_all_that_was_seen_is_told_beyond_the_recent(shop: SmallShop) -> None:
    store = Store()
    store.states["u"] = state_of({item: NOW - item for item in range(30)})
    context = contexts(shop, store)[0]("u", NOW)
    assert context.recent.tolist() == shop.slots(list(range(RECENT))).tolist()
    assert context.seen.tolist() == shop.slots(list(range(30))).tolist()


def test_a_stranger_has_nothing(shop: SmallShop) -> None:
    context = contexts(shop, Store())[0](5, NOW)
    assert context.recent.tolist() == [-1] * RECENT
    assert context.times.tolist() == [0] * RECENT
    assert len(context.seen) == len(context.medoids) == 0


def test_medoids_are_drawn_by_importance_and_by_seed(shop: SmallShop) -> None:
    store = Store()
    store.states["u"] = state_of({1: NOW}, tuple(range(6)))
    one, other = (contexts(shop, store, seed=4)[0] for _ in range(2))
    drawn = [one("u", NOW).medoids.tolist() for _ in range(30)]
    assert drawn == [other("u", NOW).medoids.tolist() for _ in range(30)]
    assert {len(keys) for keys in drawn} == {InterestSettings().samples}
    assert len({key for keys in drawn for key in keys}) == 6


def test_the_newest_action_is_noted(shop: SmallShop) -> None:
    store = Store()
    source, _ = contexts(shop, store)
    store.states = {"u": state_of({1: NOW + 7, 2: NOW}), "v": state_of({1: NOW}), "w": state_of({})}
    assert [source("u", NOW).times[0], source("v", NOW).times[0], source("w", NOW).times[0]] == [NOW + 7, NOW, 0]
    assert source.newest == NOW + 7


def test_while_the_store_is_away_what_was_known_last_stands_in(shop: SmallShop) -> None:
    store = Store()
    source, _ = contexts(shop, store)
    store.states["u"] = state_of({7: NOW})
    source("u", NOW)
    store.states["u"] = state_of({3: NOW, 7: NOW})
    store.away = True
    assert source("u", NOW).seen.tolist() == shop.slots([7]).tolist()
    assert source("new", NOW).seen.tolist() == []
    assert source.interests("new", NOW).keys.tolist() == []


def test_nobody_waits_for_a_store_that_is_known_to_be_away(shop: SmallShop) -> None:
    store = Store()
    source, elapsed = contexts(shop, store)
    store.states["u"] = state_of({7: NOW})
    store.away = True
    for _ in range(20):
        source("u", NOW)
    assert store.asked == 1
    elapsed.now = 1.01
    for _ in range(20):
        source("u", NOW)
    until(lambda: store.asked == 2, 5)
    assert source.away
    store.away = False
    elapsed.now = 2.02
    source("u", NOW)
    until(lambda: not source.away, 5)
    assert source("u", NOW).seen.tolist() == shop.slots([7]).tolist()


def test_a_store_that_has_lost_its_users_is_not_believed(shop: SmallShop) -> None:
    store = Store()
    source, _ = contexts(shop, store)
    store.states["u"] = state_of({7: NOW})
    source("u", NOW)
    store.states, store.complete = {}, False
    assert source("u", NOW).seen.tolist() == shop.slots([7]).tolist()
    assert not source.away
    store.complete = True
    assert source("u", NOW).seen.tolist() == []
    store.complete = False
    assert source("u", NOW).seen.tolist() == []


def test_an_older_state_than_the_one_known_is_not_believed(shop: SmallShop) -> None:
    """Redis was restored to an earlier time, and is about to be written again."""
    store = Store()
    source, _ = contexts(shop, store)

    def seen(state: bytes) -> list[int]:
        store.states["u"] = state
        return sorted(source("u", NOW).seen.tolist())

    one, two = shop.slots([7]).tolist(), sorted(shop.slots([7, 8]).tolist())
    assert seen(state_of({7: NOW}, written=5)) == one
    assert seen(state_of({8: NOW, 7: NOW}, written=6)) == two
    assert seen(state_of({7: NOW}, written=5)) == two
    assert seen(state_of({7: NOW}, written=6)) == one, "written again"
    assert seen(state_of({8: NOW, 7: NOW})) == two, "an older release has no numbers"
    assert seen(state_of({7: NOW}, written=1)) == one
    source.forget("u")
    assert seen(state_of({8: NOW, 7: NOW}, written=1)) == two


def test_a_user_who_is_forgotten_is_a_stranger_even_while_the_store_is_away(shop: SmallShop) -> None:
    store = Store()
    source, _ = contexts(shop, store)
    store.states["u"] = state_of({7: NOW})
    source("u", NOW)
    store.away = True
    source.forget("u")
    source.forget("nobody")
    assert source("u", NOW).seen.tolist() == []


def test_only_so_many_are_remembered_those_asked_for_lately(shop: SmallShop) -> None:
    store = Store()
    source, _ = contexts(shop, store, capacity=2)
    store.states = {user: state_of({7: NOW}) for user in "abc"}
    for user in "abac":
        source(user, NOW)
    store.away = True
    assert [len(source(user, NOW).seen) for user in "abc"] == [1, 0, 1]


def test_what_is_no_state_is_an_unknown_user(shop: SmallShop, caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    source, _ = contexts(shop, store)
    store.states["u"] = b"\xc1"
    assert source("u", NOW).seen.tolist() == []
    assert "is ignored" in caplog.text


def test_where_states_came_from_is_counted(shop: SmallShop) -> None:
    def counts() -> list[float]:
        name = "stream_reco_user_states_total"
        return [
            metrics.REGISTRY.get_sample_value(name, {"source": source}) or 0.0
            for source in (Store.source, "memory", "nowhere")
        ]

    store = Store()
    source, _ = contexts(shop, store)
    store.states["u"] = state_of({7: NOW})
    before = counts()
    source("u", NOW)
    source("nobody", NOW)
    store.away = True
    source("u", NOW)
    source("nobody", NOW)
    assert [now - then for now, then in zip(counts(), before, strict=True)] == [1, 1, 2]


@pytest.mark.redis
@pytest.mark.parametrize("way", ["kill", "pause"])
def test_a_real_redis_that_goes_away_costs_one_request_little_and_the_others_nothing(
    shop: SmallShop, start_redis: Callable[..., RedisServer], way: str
) -> None:
    server = start_redis()
    with RedisLink(server.url) as patient, RedisLink(server.url, timeout_seconds=0.04) as link:
        users = RedisUsers(patient)
        users.put_many({"u": state_of({7: NOW})})
        source = RemoteUserContexts(shop.served, RedisStates(RedisUsers(link)), InterestSettings(), retry_seconds=0.2)
        assert source("u", NOW).seen.tolist() == shop.slots([7]).tolist()
        getattr(server, way)()
        waited = []
        for _ in range(60):
            started = time.monotonic()
            assert source("u", NOW).seen.tolist() == shop.slots([7]).tolist()
            waited.append(time.monotonic() - started)
            time.sleep(0.01)
        assert max(waited) < 0.5
        assert sorted(waited)[-4] < 0.03  # a busy machine may take the processor away
        if way == "kill":
            server.start()
            users.put_numbered({}, "0", users.ages("0"), 1)
        else:
            server.resume()
        users.put_many({"u": state_of({3: NOW})})
        until(lambda: source("u", NOW).seen.tolist() == shop.slots([3]).tolist(), 5)
