"""The store of users' interests against a reference in plain NumPy and SciPy."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, ward

from stream_reco.interests import Interests, InterestSettings, importance

DAY = 86_400_000
START = 1_507_000_000_000
DIM = 16
TOPICS = 4
SETTINGS = InterestSettings()

Keys = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


def catalogue(items: int = 200, seed: int = 0) -> Vectors:
    """Item i is of topic i % 4."""
    rng = np.random.default_rng(seed)
    centres = np.eye(TOPICS, DIM)
    vectors = centres[np.arange(items) % TOPICS] + 0.08 * rng.normal(size=(items, DIM))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


VECTORS = catalogue()


def vectors_of(keys: Keys) -> Vectors:
    return VECTORS[keys]


class Stream:
    """A user's actions, shown to a store one by one as the window of the newest."""

    def __init__(self, store: Interests, user: int | str = 1) -> None:
        self.store, self.user = store, user
        self.items: list[int] = []
        self.times: list[int] = []

    def act(self, item: int, time: int) -> None:
        self.items.insert(0, item)
        self.times.insert(0, time)
        self.show(time)

    def show(self, now: int) -> None:
        window = self.store.settings.recent
        items, times = np.array(self.items[:window], np.int64), np.array(self.times[:window], np.int64)
        self.store.observe(self.user, items, times, VECTORS[items], now, vectors_of)

    def history(self) -> tuple[Keys, Keys, Vectors]:
        items = np.array(self.items, np.int64)
        return items, np.array(self.times, np.int64), VECTORS[items]


def same(left: Interests, right: Interests) -> bool:
    a, b = left.state(), right.state()
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)


def reference(items: Keys, times: Keys, vectors: Vectors, now: int) -> dict[int, tuple[float, int]]:
    """Medoid → (importance, last time) of actions clustered all together."""
    points = vectors.astype(np.float64)
    labels = fcluster(ward(points), SETTINGS.alpha, "distance") if len(points) > 1 else np.ones(1, int)
    found: dict[int, tuple[float, int]] = {}
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        spread = ((points[members][:, None] - points[members][None]) ** 2).sum(axis=(1, 2))
        medoid = int(items[members[np.flatnonzero(spread <= spread.min() + 1e-9)[0]]])
        found[medoid] = (importance(times[members], now), int(times[members].max()))
    return found


def answer(store: Interests, user: int | str, now: int) -> dict[int, tuple[float, int]]:
    medoids = store.medoids(user, now)
    return {int(k): (float(i), int(t)) for k, i, t in zip(*medoids, strict=True)}


def assert_alike(found: dict[int, tuple[float, int]], expected: dict[int, tuple[float, int]]) -> None:
    assert found.keys() == expected.keys()
    for key, (weight, last) in expected.items():
        assert found[key][0] == pytest.approx(weight, rel=1e-9)
        assert found[key][1] == last


actions = st.lists(st.tuples(st.integers(0, 199), st.integers(0, DAY)), min_size=1, max_size=20)


@given(actions)
@settings(max_examples=150, deadline=None)
def test_while_all_actions_fit_the_window_interests_are_their_clusters(made: list[tuple[int, int]]) -> None:
    stream, now = Stream(Interests()), START
    for item, gap in made:
        now += gap
        stream.act(item, now)
    later = now + 3 * DAY
    assert_alike(answer(stream.store, 1, later), reference(*stream.history(), later))


@given(st.integers(1, 300), st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_the_whole_history_pass_clusters_the_whole_history(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    items, times = rng.integers(0, 200, n), START - np.sort(rng.integers(0, 80 * DAY, n))
    store = Interests()
    store.recluster_all("u", items, times, VECTORS[items], START)
    assert_alike(answer(store, "u", START), reference(items, times, VECTORS[items], START))


@given(st.integers(1, 150), st.integers(0, 2**32), st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_each_action_counts_once_however_often_it_is_shown(n: int, seed: int, window: int) -> None:
    rng = np.random.default_rng(seed)
    stream, now = Stream(Interests(replace(SETTINGS, recent=window))), START
    for _ in range(n):
        now += int(rng.integers(0, DAY // 4))
        stream.act(int(rng.integers(0, 200)), now)
        if rng.random() < 0.2:
            stream.show(now)
    medoids = stream.store.medoids(1, now)
    assert medoids.importance.sum() == pytest.approx(importance(stream.history()[1], now), rel=1e-9)
    assert np.isin(medoids.keys, stream.items).all()


def test_interests_met_action_by_action_are_the_user_s_topics() -> None:
    rng = np.random.default_rng(3)
    stream = Stream(Interests())
    for i in range(120):
        # Three topics at first, then a fourth alone, long enough to push the others out of the window.
        topic = int(rng.integers(0, 3)) if i < 60 else 3
        stream.act(int(rng.integers(0, 50)) * TOPICS + topic, START + i * 60_000)
    keys, weights, _ = stream.store.medoids(1, START + 120 * 60_000)
    assert sorted((keys % TOPICS).tolist()) == [0, 1, 2, 3]
    assert keys[0] % TOPICS == 3
    assert weights[0] == pytest.approx(60, rel=0.01)
    assert (np.diff(weights) <= 0).all()


def test_importance_fades_by_the_day_and_an_old_interest_leaves() -> None:
    stream = Stream(Interests())
    stream.act(0, START)
    assert answer(stream.store, 1, START) == {0: (1.0, START)}
    assert answer(stream.store, 1, START + 10 * DAY)[0][0] == pytest.approx(np.exp(-0.1))
    assert answer(stream.store, 1, START + 90 * DAY + 1) == {}
    stream.act(1, START + 91 * DAY)
    assert answer(stream.store, 1, START + 91 * DAY).keys() == {1}


@pytest.mark.parametrize("retracted", [0, 2, 4])
def test_a_retracted_action_counts_no_more(retracted: int) -> None:
    stream = Stream(Interests())
    for i in range(5):
        stream.act(i, START + i)
    del stream.items[retracted], stream.times[retracted]
    stream.show(START + 5)
    weights = stream.store.medoids(1, START).importance
    assert weights.sum() == pytest.approx(4)


def test_an_item_without_a_vector_waits_for_one() -> None:
    store, items, times = Interests(), np.array([7, 3]), np.array([START + 1, START])
    unknown = VECTORS[items].copy()
    unknown[0] = 0
    store.observe(1, items, times, unknown, START + 1, vectors_of)
    assert answer(store, 1, START + 1).keys() == {3}
    store.observe(1, items, times, VECTORS[items], START + 1, vectors_of)
    assert store.medoids(1, START + 1).importance.sum() == pytest.approx(2)


def test_a_medoid_whose_item_is_gone_is_dropped() -> None:
    stream = Stream(Interests(replace(SETTINGS, recent=1)))
    stream.act(0, START)
    stream.act(1, START + 1)
    items, times, vectors = np.array([2]), np.array([START + 2]), VECTORS[[2]]
    stream.store.observe(1, items, times, vectors, START + 2, lambda keys: np.zeros((len(keys), DIM), np.float32))
    assert answer(stream.store, 1, START + 2).keys() == {2}


def test_too_many_interests_merge_and_lose_no_action() -> None:
    rng = np.random.default_rng(5)
    far = np.eye(30, dtype=np.float32)
    items, times = rng.permutation(30), np.arange(START, START - 30, -1)
    store = Interests(replace(SETTINGS, max_clusters=5))
    store.recluster_all(1, items, times, far[items], START)
    weights = store.medoids(1, START).importance
    assert len(weights) == 5
    assert weights.sum() == pytest.approx(30)


def test_samples_follow_importance_without_repeats_and_by_the_seed() -> None:
    stream = Stream(Interests())
    for i, topic in enumerate([0] * 6 + [1] * 3 + [2]):
        stream.act(topic + TOPICS * i, START)
    keys, weights, _ = stream.store.medoids(1, START)
    rng = np.random.default_rng(0)
    drawn = [stream.store.sample(1, 1, rng, START)[0] for _ in range(4_000)]
    shares = np.array([np.mean(np.array(drawn) == key) for key in keys])
    np.testing.assert_allclose(shares, weights / weights.sum(), atol=0.03)
    assert sorted(stream.store.sample(1, None, rng, START).tolist()) == sorted(keys.tolist())
    assert len(set(stream.store.sample(1, 2, rng, START).tolist())) == 2
    once, again = (stream.store.sample(1, 2, np.random.default_rng(9), START).tolist() for _ in range(2))
    assert once == again
    assert stream.store.sample("nobody", 3, rng, START).tolist() == []


def test_a_restart_goes_on_bit_for_bit() -> None:
    def run(store: Interests, first: int, last: int) -> Interests:
        for i in range(first, last):
            rng = np.random.default_rng(i)
            user: int | str = (-(2**63), 5, "5", "чай🍵", "")[i % 5]
            items, times = rng.integers(0, 200, 20), START + i * DAY - np.arange(20) * DAY
            store.observe(user, items, times, VECTORS[items], START + i * DAY, vectors_of)
        return store

    undisturbed = run(Interests(), 0, 60)
    stopped = run(Interests(), 0, 30)
    restarted = Interests.from_state(SETTINGS, stopped.state())
    assert same(restarted, stopped)
    assert all(array.dtype.names is None and array.dtype != object for array in stopped.state().values())
    assert same(run(restarted, 30, 60), undisturbed)
    assert same(Interests.from_state(SETTINGS, Interests().state()), Interests())


def test_a_torn_state_is_refused() -> None:
    stream = Stream(Interests())
    stream.act(1, START)
    for name in ("key", "cluster", "user_number"):
        state = stream.store.state()
        state[name] = state[name][:0]
        with pytest.raises(ValueError, match="torn"):
            Interests.from_state(SETTINGS, state)


def test_idle_users_leave_and_memory_stays_flat() -> None:
    store = Interests(replace(SETTINGS, history_days=1))
    sizes = []
    for i in range(6_000):
        # Every minute somebody new acts, once and never again, and a regular beside them.
        now = START + i * 60_000
        Stream(store, i).act(i % 200, now)
        Stream(store, "regular").act(0, now)
        if i >= 2_000 and i % 500 == 0:
            sizes.append((len(store), store.nbytes))
    assert sizes == [(24 * 60 + 2, sizes[0][1])] * len(sizes)
    assert "regular" in store
    for i in range(6_000, 9_000):
        Stream(store, i).act(0, now + 5 * DAY)
    assert len(store) == 3_000
    assert "regular" not in store


def test_forgetting_leaves_nothing() -> None:
    stream = Stream(Interests())
    stream.act(1, START)
    assert 1 in stream.store
    assert stream.store.forget(1)
    assert not stream.store.forget(1)
    assert same(stream.store, Interests())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_vector_that_is_not_finite_changes_nothing(bad: float) -> None:
    stream = Stream(Interests(replace(SETTINGS, recent=2)))
    for i in range(5):
        stream.act(i, START + i)
    before = Interests.from_state(SETTINGS, stream.store.state())
    spoiled = np.full((1, DIM), bad, np.float32)
    with pytest.raises(ValueError, match="item 9 is not finite"):
        stream.store.observe(1, np.array([9]), np.array([START]), spoiled, START, vectors_of)
    medoid = stream.store.medoids(1, START).keys[0]
    with pytest.raises(ValueError, match=f"item {medoid} is not finite"):
        stream.store.observe(
            1, np.array([9]), np.array([START]), VECTORS[[9]], START, lambda keys: np.full((len(keys), DIM), bad, "f4")
        )
    with pytest.raises(ValueError, match="do not match"):
        stream.store.observe(1, np.array([9, 8]), np.array([START]), VECTORS[[9]], START, vectors_of)
    assert same(stream.store, before)


def test_read_only_and_strided_arrays_are_taken() -> None:
    items, times = np.repeat(np.arange(5), 2)[::2], np.arange(START, START - 5, -1)
    vectors = VECTORS[items]
    for array in (items, times, vectors):
        array.flags.writeable = False
    store, plain = Interests(), Interests()
    store.observe(1, items, times, np.asfortranarray(vectors), START, vectors_of)
    plain.observe(1, items.copy(), times.copy(), vectors.copy(), START, vectors_of)
    assert same(store, plain)


@pytest.mark.parametrize(
    ("name", "value"), [("alpha", -1.0), ("alpha", np.nan), ("recent", 0), ("history", 5), ("max_clusters", 0)]
)
def test_settings_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"interests.{name} is"):
        InterestSettings(**{name: value})  # type: ignore[arg-type]  # a wrong value is the point


def test_vectors_asked_for_together_say_the_same() -> None:
    rng = np.random.default_rng(3)
    apart, together = Interests(SETTINGS), Interests(SETTINGS)
    one = Stream(apart)
    for step in range(60):
        one.act(int(rng.integers(len(VECTORS))), START + step * DAY // 7)
        window = apart.settings.recent
        items, times = np.array(one.items[: window + 3], np.int64), np.array(one.times[: window + 3], np.int64)
        together.observe_items(one.user, items, times, one.times[0], vectors_of)
        assert same(apart, together)
