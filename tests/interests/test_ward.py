"""Ward's tree against SciPy's."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.cluster.hierarchy import fcluster, is_valid_linkage, ward

from stream_reco.interests import cut, medoids, ward_linkage

Points = npt.NDArray[np.float64]


def random_points(n: int, dim: int, seed: int) -> Points:
    return np.random.default_rng(seed).normal(size=(n, dim))


def partition(labels: npt.NDArray[np.integer]) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels)}


@given(st.integers(2, 90), st.integers(1, 12), st.integers(0, 2**32), st.sampled_from([1e-6, 1.0, 1e6]))
@settings(max_examples=200, deadline=None)
def test_generic_points_give_scipy_s_tree(n: int, dim: int, seed: int, scale: float) -> None:
    points = random_points(n, dim, seed) * scale
    tree, expected = ward_linkage(points), ward(points)
    np.testing.assert_array_equal(tree[:, [0, 1, 3]], expected[:, [0, 1, 3]])
    np.testing.assert_allclose(tree[:, 2], expected[:, 2], rtol=1e-9)


@pytest.mark.parametrize("n", [31, 32, 33, 63, 64, 65, 127, 128, 130, 700])
def test_trees_on_both_sides_of_each_compaction_are_scipy_s(n: int) -> None:
    points = random_points(n, 16, n)
    np.testing.assert_allclose(ward_linkage(points), ward(points), rtol=1e-9)


# On whole numbers nearly all distances tie, and SciPy's order of equals is its own; the heights are not.
grids = hnp.arrays(np.float64, st.tuples(st.integers(2, 80), st.integers(1, 3)), elements=st.integers(0, 3).map(float))


@given(grids)
@example(np.zeros((70, 2)))
@settings(max_examples=300, deadline=None)
def test_ties_and_duplicates_give_a_valid_ward_tree(points: Points) -> None:
    n = len(points)
    tree = ward_linkage(points)
    assert is_valid_linkage(tree)
    assert (np.diff(tree[:, 2]) >= 0).all()
    members: dict[int, list[int]] = {i: [i] for i in range(n)}
    for i, (a, b, height, count) in enumerate(tree):
        left, right = members.pop(int(a)), members.pop(int(b))
        members[n + i] = left + right
        assert a < b
        assert count == len(left) + len(right)
        gap = np.linalg.norm(points[left].mean(axis=0) - points[right].mean(axis=0))
        expected = np.sqrt(2 * len(left) * len(right) / count) * gap
        assert height == pytest.approx(expected, rel=1e-6, abs=1e-6)
    # All merges at height 0 come first, whatever the order: one for each repeated point.
    assert np.count_nonzero(tree[:, 2] < 1e-9) == n - len(np.unique(points, axis=0))


@given(st.integers(2, 30), st.integers(1, 5), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_repeated_generic_points_keep_scipy_s_heights(n: int, copies: int, seed: int) -> None:
    points = np.repeat(random_points(n, 5, seed), copies, axis=0)
    np.testing.assert_allclose(ward_linkage(points)[:, 2], ward(points)[:, 2], rtol=1e-9, atol=1e-9)


def test_every_layout_and_kind_of_number_is_taken_and_left_alone() -> None:
    points = random_points(20, 6, 1).astype(np.float32)
    expected = ward(points)
    frozen = points.copy()
    frozen.flags.writeable = False
    for given_points in (points, frozen, np.asfortranarray(points), np.repeat(points, 2, axis=0)[::2]):
        before = given_points.copy()
        np.testing.assert_allclose(ward_linkage(given_points), expected, rtol=1e-9)
        np.testing.assert_array_equal(given_points, before)


def test_no_point_one_point_and_no_dimension_have_trees_too() -> None:
    assert ward_linkage(np.empty((0, 3))).shape == (0, 4)
    assert ward_linkage(np.ones((1, 3))).shape == (0, 4)
    np.testing.assert_array_equal(ward_linkage(np.empty((2, 0))), [[0, 1, 0, 2]])
    assert cut(np.empty((0, 4)), 1.0).tolist() == [0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
@pytest.mark.parametrize("n", [1, 5])
def test_a_point_without_distances_is_refused(bad: float, n: int) -> None:
    points = np.ones((n, 3))
    points[n - 1, 1] = bad
    with pytest.raises(ValueError, match=f"point {n - 1} is"):
        ward_linkage(points)


def test_what_is_not_a_matrix_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        ward_linkage(np.ones(3))


@given(st.integers(2, 60), st.integers(0, 2**32), st.floats(0, 8))
@settings(max_examples=150, deadline=None)
def test_a_cut_is_scipy_s_flat_clustering(n: int, seed: int, alpha: float) -> None:
    tree = ward_linkage(random_points(n, 4, seed))
    labels = cut(tree, alpha)
    assert partition(labels) == partition(fcluster(tree, alpha, "distance"))
    firsts = [labels.tolist().index(label) for label in range(labels.max() + 1)]
    assert firsts == sorted(firsts)


def test_a_cut_at_a_height_does_that_merge() -> None:
    tree = ward_linkage(np.array([[0.0], [1.0], [5.0]]))
    assert cut(tree, 0.999).tolist() == [0, 1, 2]
    assert cut(tree, 1.0).tolist() == [0, 0, 1]


@given(st.integers(1, 60), st.integers(0, 2**32), st.floats(0, 8))
@settings(max_examples=150, deadline=None)
def test_a_medoid_has_the_least_sum_of_squared_distances(n: int, seed: int, alpha: float) -> None:
    points = random_points(n, 4, seed)
    labels = cut(ward_linkage(points), alpha)
    chosen = medoids(points, labels)
    assert len(chosen) == labels.max() + 1
    for label, medoid in enumerate(chosen):
        members = np.flatnonzero(labels == label)
        spread = ((points[members][:, None] - points[members][None]) ** 2).sum(axis=(1, 2))
        assert medoid == members[spread.argmin()]


def test_of_equal_medoids_the_first_is_taken_and_labels_must_be_whole() -> None:
    assert medoids(np.array([[0.1], [0.3], [0.1], [0.3]]), np.zeros(4, np.int32)).tolist() == [0]
    assert medoids(np.empty((0, 3)), np.empty(0, np.int32)).tolist() == []
    with pytest.raises(ValueError, match="do not match"):
        medoids(np.ones((3, 2)), np.zeros(2, np.int32))
    with pytest.raises(ValueError, match="without a gap"):
        medoids(np.ones((2, 2)), np.array([0, 2]))
