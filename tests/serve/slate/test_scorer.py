"""The scorer over a shop made by hand: who may be in a slate, and that all of an answer belongs together."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
import torch

from stream_reco.events import Id, key_of
from stream_reco.interests import Medoids
from stream_reco.model.features.kernels import feature_matrix
from stream_reco.model.features.names import start_of
from stream_reco.model.inputs import Inputs, history_inputs
from stream_reco.model.served_by_torch import served_by_torch
from stream_reco.retrieve.settings import RetrieveSettings
from stream_reco.retrieve.sources import SOURCES
from stream_reco.serve.settings import SlateSettings
from stream_reco.serve.slate.interests import user_interests
from stream_reco.serve.slate.request import Request, UserContext
from stream_reco.serve.slate.scorer import Scorer
from stream_reco.serve.slate.similar import similar_items
from stream_reco.serve.slate.slate import Slate
from stream_reco.serve.slate.slate_features import SlateFeatures
from stream_reco.signals.content.profiles import Profiles
from stream_reco.signals.dislikes import Dislikes
from stream_reco.signals.settings import RECENT, SignalSettings
from stream_reco.train.batch import Labelled, training_batch
from stream_reco.train.feature_builder import FeatureBuilder, KnownUsers
from stream_reco.train.negative_sampler import NegativeSampler
from stream_reco.train.predictions import predictions
from stream_reco.train.settings import TrainSettings
from tests.serve.small_shop import NOW, SmallShop

ITEMS: list[Id] = [f"i{number}" for number in range(12)]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def open_shop(slate: SlateSettings | None = None, retrieve: RetrieveSettings | None = None) -> SmallShop:
    """Twelve items; user 1 has seen i0, i1 and i2, user 2 all but i11, others the rest."""
    shop = SmallShop(slate, retrieve)
    rng = np.random.default_rng(0)
    for step in range(80):
        item = ITEMS[int(rng.integers(12))]
        shop.act(100 + step % 7, item, NOW - 600_000 + 5_000 * step, {"device": "phone" if step % 3 else "desk"})
    for step, item in enumerate(ITEMS[:11]):
        shop.act(2, item, NOW - 100_000 + step)
    for step in range(3):
        shop.act(1, ITEMS[step], NOW - 50_000 + step, {"device": "desk"})
    shop.train(ITEMS[:8])
    shop.sync()
    return shop


def items(slate: Slate) -> list[Id]:
    return [one.item_id for one in slate.items]


def ask(shop: SmallShop, request: Request) -> Slate:
    return shop.scorer.recommend_many([request], NOW)[0]


def test_what_was_seen_is_out() -> None:
    shop = open_shop()
    assert set(items(ask(shop, Request(1, 50)))) == set(ITEMS[3:])
    assert items(ask(shop, Request(2, 50))) == ["i11"]
    # Seen is current at once, without a sync.
    shop.act(2, "i11", NOW)
    assert items(ask(shop, Request(2, 50))) == []
    assert set(items(ask(open_shop(SlateSettings(keep_seen=True, explore=0.0)), Request(2, 50)))) == set(ITEMS)


@pytest.mark.parametrize("keep_seen", [False, True])
def test_what_is_disliked_is_out_and_scored_all_the_same(*, keep_seen: bool) -> None:
    shop = open_shop(SlateSettings(keep_seen=keep_seen))
    seen = set() if keep_seen else set(ITEMS[:3])
    shop.disliked = {1: ["i5", "i0"], "nobody": ["i5"]}
    assert set(items(ask(shop, Request(1, 50)))) == set(ITEMS) - seen - {"i0", "i5"}
    assert set(items(ask(shop, Request("nobody", 50)))) == set(ITEMS) - {"i5"}
    assert (shop.scorer.score(Request(1), ["i5", "i0"], NOW) > 0).all()


def test_a_stranger_gets_a_slate_best_first() -> None:
    slate = ask(open_shop(), Request("nobody", 5, context={"device": "desk"}))
    scores = [one.score for one in slate.items]
    assert len(set(items(slate))) == 5
    assert scores == sorted(scores, reverse=True)
    assert all(0.0 < score < 1.0 for score in scores)
    assert all(one.propensity == 1.0 for one in slate.items)


def test_what_is_excluded_is_out() -> None:
    found = items(ask(open_shop(), Request("nobody", 50, exclude=["i3", "unheard", 5, "i11"])))
    assert set(found) == set(ITEMS) - {"i3", "i11"}


def test_what_is_unavailable_is_out_after_the_sync() -> None:
    shop = open_shop()
    shop.describe("i5", {}, available=False)
    assert "i5" in items(ask(shop, Request("nobody", 50)))
    shop.sync()
    assert "i5" not in items(ask(shop, Request("nobody", 50)))
    shop.describe("i5", {}, available=True)
    shop.sync()
    assert "i5" in items(ask(shop, Request("nobody", 50)))


def test_filters_keep_what_has_a_wanted_value() -> None:
    shop = open_shop()
    for number, item in enumerate(ITEMS[:10]):
        shop.describe(item, {"genre": ["even", "any"] if number % 2 == 0 else "odd"})
    shop.sync()
    assert set(items(ask(shop, Request("nobody", 50, filters={"genre": "even"})))) == set(ITEMS[:10:2])
    assert items(ask(shop, Request("nobody", 50, filters={"genre": "none"}))) == []


def test_an_unknown_context_is_no_context() -> None:
    shop = open_shop()
    strange = ask(shop, Request("nobody", 12, context={"mood": "good", "device": "lamp", "f": float("nan")}))
    plain = ask(shop, Request("nobody", 12))
    assert strange.items == plain.items
    assert ask(shop, Request("nobody", 12, context={"device": "desk"})).items != plain.items


def test_before_the_first_publication_slates_are_empty() -> None:
    shop = SmallShop()
    shop.act(1, "i0")
    slates = shop.scorer.recommend_many([Request(1), Request("nobody")], NOW)
    assert [(slate.version, slate.items) for slate in slates] == [(0, []), (0, [])]
    assert shop.scorer.score(Request(1), ["i0"], NOW).tolist() == [0.0]


def test_an_empty_catalogue_gives_empty_slates() -> None:
    shop = SmallShop()
    shop.sync()
    slates = shop.scorer.recommend_many([Request(1, 10), Request("a", 3)], NOW)
    assert [slate.items for slate in slates] == [[], []]
    assert shop.scorer.recommend_many([], NOW) == []
    assert shop.scorer.score(Request(1), [], NOW).shape == (0,)


@pytest.mark.parametrize(("k", "length"), [(0, 0), (1, 1), (12, 12), (1_000, 12)])
def test_a_slate_is_as_long_as_asked_and_possible(k: int, length: int) -> None:
    assert len(ask(open_shop(), Request("nobody", k)).items) == length


def test_actions_on_items_that_the_replica_does_not_know_yet_are_passed_over() -> None:
    """The user's history is current, the catalogue is frozen: slots may be ahead of it."""
    shop = open_shop()
    expected = ask(shop, Request(1, 12))
    for step in range(3):
        shop.act(1, f"new{step}", NOW - 60_000)
        shop.act(1, f"newer{step}", NOW)
    moment = shop.moment(1, NOW)
    assert (moment.recent >= shop.served.signals.catalogue.size).sum() == 6
    assert ask(shop, Request(1, 12)).items == expected.items
    shop.sync()
    assert ask(shop, Request(1, 12)).items != expected.items


def test_scores_are_those_of_the_slate_and_unknown_items_score_as_new_ones() -> None:
    shop = open_shop()
    request = Request("nobody", 12, context={"device": "desk"})
    slate = ask(shop, request)
    asked: list[Id] = ["unheard", *items(slate), 7]
    scores = shop.scorer.score(request, asked, NOW)
    assert scores.dtype == np.float32
    assert 0.0 < scores[0] == scores[-1] < 1.0
    np.testing.assert_allclose(scores[1:-1], [one.score for one in slate.items], rtol=1e-5)
    np.testing.assert_allclose(shop.scorer.score(request, ["unheard"], NOW), scores[:1], rtol=1e-5)
    # What was seen, and what is unavailable, can still be scored, and twice.
    assert (shop.scorer.score(Request(2), ["i0", "i0"], NOW) > 0).all()


def test_serving_scores_as_training_would() -> None:
    """The trainer's own signals, tables and weights give the same probabilities at that moment, but for rounding."""
    shop = open_shop()
    context = shop.signals.coder.encode({"device": "desk"}, NOW)
    moment = shop.moment(1, NOW)
    slots = shop.slots(ITEMS)
    keys = shop.signals.catalogue.keys
    history, ages = history_inputs(keys, moment.recent, moment.times, NOW)
    dense = feature_matrix(shop.signals, moment.recent, moment.times, context, NOW, slots)
    inputs = Inputs(moment.user_key, context.keys, history, ages, keys[slots], dense, np.ones(12, np.float32))
    batch = training_batch([Labelled(inputs.to_bytes(), 1, 1.0, NOW, 4)])
    trained = predictions(served_by_torch(shop.trainer.model), batch, shop.trainer.tables)
    served = shop.scorer.score(Request(1, context={"device": "desk"}), ITEMS, NOW)
    np.testing.assert_allclose(served, trained, rtol=1e-5)


def test_who_watches_gets_what_the_model_read_of_each_item_that_is_shown() -> None:
    shop, told = open_shop(), list[SlateFeatures]()
    shown_to_them: list[tuple[Id, Id]] = [(1, "i8"), (1, "i8"), (1, "i5"), ("nobody", "i3"), ("nobody", "i8")]
    for place, (user, item) in enumerate(shown_to_them):
        shop.show(user, item, NOW + place)
    shop.disliked[1] = ["i4", "i7"]
    shop.describe("i7", {"genre": ["a", "b"]})
    shop.describe("i9", {"genre": ["b", "c", "d"]})
    shop.sync()
    scorer = Scorer(shop.served, shop.moment, RetrieveSettings(), SlateSettings(), 0, name="a-", watch=told.append)
    now = NOW + 3_600_000
    requests = [Request(1, 9, now=now, context={"device": "desk"}), Request("nobody", 20), Request(2, 0)]
    slates = scorer.recommend_many(requests, NOW)
    assert [one.request_id for one in told] == [slate.request_id for slate in slates if slate.items]
    assert len({slate.request_id for slate in slates}) == 3
    assert all("-a-" in slate.request_id for slate in slates)
    for request, slate, shown in zip(requests, slates, told, strict=False):
        assert (shown.user_id, shown.now) == (request.user_id, request.now or NOW)
        assert list(shown.item_ids) == items(slate)
        assert list(shown.features()) == [impression_of(shop, request, shown.now, item) for item in items(slate)]
    assert len(told) == 2
    times = [dict(zip(one.item_ids, one.inputs.dense[:, start_of("fatigue")].tolist(), strict=True)) for one in told]
    assert times[0]["i8"] == pytest.approx(np.log(3))
    assert {item: value for item, value in times[1].items() if value} == pytest.approx(
        {"i3": np.log(2), "i8": np.log(2)}
    )
    alike = [told[place].inputs.dense[:, start_of("disliked") :][:, :3] for place in (0, 1)]
    assert (alike[0][:, :2] > 0).any()
    assert dict(zip(told[0].item_ids, alike[0][:, 2].tolist(), strict=True))["i9"] == 0.25
    assert not alike[1].any(), "an unknown user dislikes nothing"


def impression_of(shop: SmallShop, request: Request, now: int, item: Id) -> bytes:
    """What the trainer makes of an impression at that moment, without a look at the scorer."""
    context = shop.signals.coder.encode(request.context, now)
    sampler, needs = NegativeSampler(TrainSettings()), shop.trainer.model.needs
    dislikes = Dislikes(SignalSettings())
    for age, disliked in enumerate(shop.disliked.get(request.user_id, [])):
        dislikes.add(request.user_id, shop.signals.catalogue.slot_of(disliked), NOW - age)
    profiles = Profiles(SignalSettings(), shop.signals.user_fields)
    users = KnownUsers(shop.histories, shop.exposures, dislikes, profiles)
    present = FeatureBuilder(shop.signals, users, sampler, needs)
    return present.impression(request.user_id, shop.signals.catalogue.slot_of(item), context, now)


def test_many_are_answered_as_one_by_one() -> None:
    shop = open_shop()
    users: list[Id] = [1, 2, "nobody", *range(100, 107)]
    requests = [
        Request(user, k, NOW - 1_000 * k, {"device": "desk"} if k % 2 else None, ["i4"] if k % 3 else ())
        for user in users
        for k in range(6)
    ]
    together = shop.scorer.recommend_many(requests, NOW)
    alone = [ask(shop, one) for one in requests]
    assert len(together) == len(alone) == 60
    for mine, theirs in zip(together, alone, strict=True):
        assert items(mine) == items(theirs)
        assert [one.source for one in mine.items] == [one.source for one in theirs.items]
        np.testing.assert_allclose(
            [one.score for one in mine.items], [one.score for one in theirs.items], rtol=1e-4, atol=1e-7
        )


def test_a_batch_is_of_one_version_even_if_a_sync_comes_in_between() -> None:
    shop = open_shop()
    assert shop.served.replica.version == 1
    with ThreadPoolExecutor(1) as other:
        begun: list[Future[int]] = []

        def moment_while_syncing(user: Id, now: int) -> UserContext:
            if not begun:
                shop.act(9, "late", NOW)
                begun.append(other.submit(shop.sync))
            return shop.moment(user, now)

        scorer = Scorer(shop.served, moment_while_syncing, RetrieveSettings(), SlateSettings(), 0)
        slates = scorer.recommend_many([Request(f"stranger{number}", 50) for number in range(100)], NOW)
        assert {slate.version for slate in slates} == {1}
        assert all("late" not in items(slate) for slate in slates)
        assert begun[0].result(10) == 2
    after = scorer.recommend_many([Request("stranger", 50)], NOW)[0]
    assert after.version == 2
    assert "late" in items(after)


def test_request_ids_never_repeat_across_threads() -> None:
    shop = open_shop()
    requests = [Request(user, 3) for user in (1, 2, 3)]
    expected = [items(slate) for slate in shop.scorer.recommend_many(requests, NOW)]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: shop.scorer.recommend_many(requests, NOW), range(100)))
    ids = [slate.request_id for slates in answers for slate in slates]
    assert len(set(ids)) == 300
    assert all([items(slate) for slate in slates] == expected for slates in answers)


def test_each_source_brings_its_own() -> None:
    """With every other source left out a source still brings candidates, and its name."""
    every = set(SOURCES)
    for source in sorted(every):
        shop = open_shop(retrieve=RetrieveSettings(without=tuple(sorted(every - {source}))))
        shop.medoids[1] = [key_of("i4", "item"), key_of("unheard", "item")]
        for item in ITEMS:
            shop.describe(item, {"kind": "a"})
        shop.sync()
        slate = ask(shop, Request(1, 50, context={"device": "phone"}))
        assert slate.items, source
        assert {one.source for one in slate.items} == {source}


def test_exploration_is_marked_with_its_propensity() -> None:
    shop = open_shop(SlateSettings(explore=0.5))
    slates = shop.scorer.recommend_many([Request("nobody", 3)] * 100, NOW)
    for one in (one for slate in slates for one in slate.items):
        assert 0.0 < one.propensity <= 1.0
    explored = [[one.source == "exploration" for one in slate.items] for slate in slates]
    assert {sum(flags) for flags in explored} == {1, 2}


def test_neighbours_are_available_and_others() -> None:
    shop = open_shop()
    found = similar_items(shop.served, "i2", 20)
    assert found is not None
    near = [one.item_id for one in found]
    assert set(near) < set(ITEMS) - {"i2"}
    assert len(near) > 4
    shop.describe(near[0], {}, available=False)
    shop.sync()
    again = similar_items(shop.served, "i2", 3)
    assert again is not None
    assert [one.item_id for one in again] == near[1:4]
    assert similar_items(shop.served, "i2", 0) == []
    assert similar_items(shop.served, "unheard", 5) is None


def test_a_snapshot_takes_in_what_left_meanwhile() -> None:
    """Items that left, the last one of the catalogue too, are neither candidates nor neighbours."""
    shop = open_shop()
    gone = NOW + 91 * 86_400_000
    shop.act(1, "i0", gone)
    shop.act(1, "i1", gone)
    shop.signals.evict(gone)
    shop.publisher.publish(shop.channel, shop._contents)
    shop.channel.ask_for_snapshot()
    shop.sync()
    assert shop.served.signals.catalogue.size == shop.signals.catalogue.size
    slate = shop.scorer.recommend_many([Request("nobody", 50)], gone)[0]
    assert set(items(slate)) == {"i0", "i1"}
    found = similar_items(shop.served, "i0", 20)
    assert found is not None
    assert [one.item_id for one in found] == ["i1"]


def test_interests_are_named_by_their_items() -> None:
    shop = open_shop()
    keys = np.array([key_of("i3", "item"), key_of("unheard", "item"), key_of("i7", "item")])
    last = np.full(3, NOW, dtype=np.int64)
    found = user_interests(shop.served, Medoids(keys, np.array([0.5, 9.0, 2.5]), last))
    assert [(one.item_id, one.importance) for one in found] == [("i7", 2.5), ("i3", 0.5)]
    assert len(shop.moment("nobody", NOW).recent) == RECENT
