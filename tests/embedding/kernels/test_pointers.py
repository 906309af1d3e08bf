"""What kernels do with raw memory, beside plain Python, on this processor and on one that has nothing special."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from numpy.typing import NDArray

from stream_reco.embedding.kernels.pointers import LINE_BYTES, WORDS, lowest_bit, tops_that_are
from stream_reco.embedding.kernels.slabs import allocate

HALVES = st.one_of(st.sampled_from([0, 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]), st.integers(0, (1 << 32) - 1))


@njit
def compared(address: int, half: int) -> int:
    return tops_that_are(address, half)  # type: ignore[no-any-return]  # an intrinsic


@njit
def lowest(bits: int) -> int:
    return lowest_bit(bits)  # type: ignore[no-any-return]  # an intrinsic


def line_of(halves: list[int], lower: int) -> NDArray[np.uint64]:
    line = allocate(LINE_BYTES).view(np.uint64)
    line[:] = [half << 32 | lower for half in halves]
    return line


# The first example waits for the compiler.
@settings(deadline=None)
@given(st.lists(HALVES, min_size=WORDS, max_size=WORDS), HALVES, st.integers(0, 255), HALVES)
def test_words_of_a_line_are_compared_by_their_upper_halves(
    halves: list[int], wanted: int, places: int, lower: int
) -> None:
    halves = [wanted if places >> place & 1 else half for place, half in enumerate(halves)]
    line = line_of(halves, lower)
    expected = sum(1 << place for place, half in enumerate(halves) if half == wanted)
    assert compared(line.ctypes.data, wanted) == expected


@settings(deadline=None)
@given(st.integers(1, (1 << 63) - 1))
def test_the_lowest_bit_is_found(bits: int) -> None:
    assert lowest(bits) == (bits & -bits).bit_length() - 1


def test_a_processor_without_wide_registers_finds_the_same(tmp_path: Path) -> None:
    generic = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    program = (
        "import sys; sys.path.insert(0, '.')\n"
        "from tests.embedding.kernels.test_pointers import compared, line_of\n"
        "line = line_of([7, 0, 7, (1 << 32) - 1, 8, 7, 1 << 31, 7], 5)\n"
        "print([compared(line.ctypes.data, half) for half in (7, 0, (1 << 32) - 1, 1 << 31, 9)])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **generic}, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == str([0b10100101, 0b10, 0b1000, 0b1000000, 0])
