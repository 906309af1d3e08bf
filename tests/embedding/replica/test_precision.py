"""Every format loses no more than it says, on numbers of every size, and what is not a number does no harm."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from stream_reco.embedding.replica.precision import PRECISIONS, Precision, format_of

SHAPES = array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=9).filter(lambda shape: shape[1] > 0)
MOST = float(np.finfo(np.float32).max)
TINY = float(np.finfo(np.float32).tiny)
# What float32 adds in packing and unpacking.
ROUNDING = 1 + 2.0**-12
FINITE = st.one_of(
    st.floats(-2, 2, width=32),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.floats(-TINY, TINY, width=32),
    st.sampled_from([0.0, -0.0, TINY, 1e30, -1e30, MOST, -MOST]),
)
Vectors = NDArray[np.float32]
COMPILED_AT_FIRST_USE = settings(deadline=None)


def there_and_back(precision: Precision, vectors: Vectors) -> Vectors:
    rows, dim = format_of(precision), vectors.shape[1]
    packed = rows.pack(vectors)
    assert packed.dtype == np.float32
    assert packed.shape == (len(vectors), rows.words(dim))
    back = rows.unpack(packed, dim)
    assert back.dtype == np.float32
    assert back.shape == vectors.shape
    return back


def of(*numbers: float) -> Vectors:
    return np.array([numbers], np.float32)


def bits(vectors: Vectors) -> list[int]:
    found: list[int] = vectors.view(np.uint32).ravel().tolist()
    return found


@COMPILED_AT_FIRST_USE
@given(arrays(np.float32, SHAPES, elements=st.floats(width=32)))
def test_float32_loses_nothing(vectors: Vectors) -> None:
    assert bits(there_and_back("float32", vectors)) == bits(vectors)


@COMPILED_AT_FIRST_USE
@given(arrays(np.float32, SHAPES, elements=FINITE))
def test_bfloat16_is_within_its_bounds(vectors: Vectors) -> None:
    back = there_and_back("bfloat16", vectors).astype(np.float64)
    exact = vectors.astype(np.float64)
    bound = np.where(np.abs(exact) < TINY, 2.0**-134, 2.0**-8 * np.abs(exact))
    within = np.abs(exact) <= 3.38e38
    assert (np.abs(back - exact) <= bound)[within].all()
    assert (np.signbit(back) == np.signbit(exact)).all()


def test_bfloat16_rounds_as_torch_does() -> None:
    # All upper halves, with the lower halves at which rounding changes its mind.
    halves = np.arange(1 << 16, dtype=np.uint32)[:, None] << 16
    vectors = (halves + np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)).view(np.float32)
    wanted = torch.from_numpy(vectors.copy()).to(torch.bfloat16).to(torch.float32).numpy()
    found = there_and_back("bfloat16", vectors)
    numbers = ~np.isnan(vectors)
    assert numbers.mean() > 0.99
    np.testing.assert_array_equal(found.view(np.uint32)[numbers], wanted.view(np.uint32)[numbers])
    assert np.isnan(found[~numbers]).all()
    assert (np.signbit(found) == np.signbit(vectors)).all()


@COMPILED_AT_FIRST_USE
@given(arrays(np.float32, SHAPES, elements=FINITE))
def test_int8_is_within_half_a_step_of_the_largest(vectors: Vectors) -> None:
    back = there_and_back("int8", vectors).astype(np.float64)
    exact = vectors.astype(np.float64)
    largest = np.abs(exact).max(axis=1, keepdims=True)
    assert (np.abs(back - exact) <= np.maximum(largest / 254 * ROUNDING, 2.0**-127)).all()
    assert np.isfinite(back).all()


@COMPILED_AT_FIRST_USE
@given(arrays(np.float32, (3, 5), elements=st.floats(-1e6, 1e6, width=32)), st.integers(-40, 40))
def test_int8_has_a_scale_for_each_row(vectors: Vectors, shift: int) -> None:
    scaled = vectors.copy()
    scaled[1] *= np.float32(2.0**shift)
    alone = there_and_back("int8", scaled[1:2])
    np.testing.assert_array_equal(there_and_back("int8", scaled)[1:2], alone)
    np.testing.assert_array_equal(there_and_back("int8", scaled)[0::2], there_and_back("int8", vectors)[0::2])


@COMPILED_AT_FIRST_USE
@given(arrays(np.float32, SHAPES, elements=FINITE))
def test_tanh8_is_within_half_a_step_of_tanh(vectors: Vectors) -> None:
    back = there_and_back("tanh8", vectors).astype(np.float64)
    assert (np.abs(np.tanh(back) - np.tanh(vectors.astype(np.float64))) <= 1 / 254 + 2.0**-22).all()
    assert np.isfinite(back).all()
    assert (np.abs(back) < 3.4614).all()


@pytest.mark.parametrize(("low", "high", "error"), [(0, 0.5, 0.0051), (0.5, 1, 0.01), (1, 2, 0.05), (2, 3.46, 0.35)])
def test_what_tanh8_means_for_the_number_itself(low: float, high: float, error: float) -> None:
    numbers = np.linspace(low, high, 200_000, dtype=np.float32)[:, None]
    for sign in (1, -1):
        found = np.abs(there_and_back("tanh8", sign * numbers) - sign * numbers).max()
        assert error * 0.9 < found <= error, "the bound that is told is met and not far off"


def test_tanh8_forgets_what_is_small_and_what_is_large() -> None:
    assert there_and_back("tanh8", of(0.0039, -0.0039, 0.004)).round(4).tolist() == [[0.0, 0.0, np.float32(0.0079)]]
    assert there_and_back("tanh8", of(3.12, 40, -1e30)).round(2).tolist() == of(3.46, 3.46, -3.46).tolist()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 8, 95, 96, 97])
def test_rows_of_zeros_are_zeros_and_so_are_zero_bits(precision: Precision, dim: int) -> None:
    rows = format_of(precision)
    assert not there_and_back(precision, np.zeros((3, dim), np.float32)).any()
    assert not rows.unpack(np.zeros((3, rows.words(dim)), np.float32), dim).any()
    assert there_and_back(precision, np.zeros((0, dim), np.float32)).shape == (0, dim)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_was_read_is_read_again_the_same(precision: Precision) -> None:
    # A publication may pass through a replica's precision more than once.
    vectors = np.random.default_rng(3).normal(0, 0.4, (200, 11)).astype(np.float32)
    once = there_and_back(precision, vectors)
    assert len(np.unique(once)) > 100
    np.testing.assert_allclose(there_and_back(precision, once), once, rtol=2e-7)


@COMPILED_AT_FIRST_USE
@pytest.mark.parametrize("precision", PRECISIONS)
@given(vectors=arrays(np.uint32, (2, 5), elements=st.integers(0, 2**32 - 1)))
def test_no_pattern_of_bits_does_harm(precision: Precision, vectors: NDArray[np.uint32]) -> None:
    there_and_back(precision, vectors.view(np.float32))


def test_what_is_not_finite_stays_or_becomes_a_number() -> None:
    wild = of(np.inf, -np.inf, np.nan, 1)
    np.testing.assert_array_equal(there_and_back("bfloat16", wild), wild)
    np.testing.assert_allclose(there_and_back("int8", wild), of(MOST, -MOST, 0, 0), rtol=1e-6)
    np.testing.assert_allclose(there_and_back("tanh8", wild), of(3.461, -3.461, 0, 1), rtol=0.01)


@pytest.mark.parametrize(
    ("precision", "dim", "words"),
    [
        ("float32", 96, 96),
        ("bfloat16", 96, 48),
        ("bfloat16", 7, 4),
        ("int8", 96, 25),
        ("int8", 5, 3),
        ("tanh8", 96, 24),
        ("tanh8", 1, 1),
    ],
)
def test_packed_rows_are_as_short_as_is_said(precision: Precision, dim: int, words: int) -> None:
    assert format_of(precision).words(dim) == words


def test_an_unknown_precision_is_named_beside_the_known_ones() -> None:
    with pytest.raises(ValueError, match="precision is 'half', must be one of float32, bfloat16, int8, tanh8"):
        format_of("half")
