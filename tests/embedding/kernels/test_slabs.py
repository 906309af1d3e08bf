"""How memory grows: where slabs end depends on what precedes them alone, and content stays whole."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.embedding.kernels.pointers import LINE_BYTES
from stream_reco.embedding.kernels.slabs import LARGEST_SLAB, Pages, allocate, allocated, slab_pages, slabs_until

MIB = 1 << 20
PAGE_BYTES = st.integers(1 << 12, 1 << 20)


@given(PAGE_BYTES, st.lists(st.integers(0, 1 << 32), min_size=1, max_size=30))
def test_many_small_steps_lead_where_one_leads_and_take_no_less(page_bytes: int, sizes: list[int]) -> None:
    wanted = sorted(size // page_bytes for size in sizes)
    count = taken = 0
    for each in wanted:
        for pages in slabs_until(each, count, page_bytes):
            count += pages
            taken += allocated(pages * page_bytes)
    at_once = list(slabs_until(wanted[-1], 0, page_bytes))
    assert sum(at_once) == count >= wanted[-1]
    assert sum(allocated(pages * page_bytes) for pages in at_once) <= taken
    assert max(at_once, default=0) * page_bytes <= max(LARGEST_SLAB, page_bytes)


@given(PAGE_BYTES, st.integers(0, 1 << 36))
def test_no_slab_is_much_of_what_there_is(page_bytes: int, size: int) -> None:
    existing = size // page_bytes
    assert slab_pages(existing, page_bytes) >= 1
    assert slab_pages(existing, page_bytes) * page_bytes <= max(page_bytes, size // 8)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 20 * MIB), st.booleans(), st.integers(0, 1 << 32))
def test_content_comes_back_and_goes_on_as_if_it_had_grown(size: int, adopt: bool, seed: int) -> None:
    grown, filled = Pages(64, 10), Pages(64, 10)
    items = size // 64
    content = np.random.default_rng(seed).integers(0, 256, items * 64, np.uint8)
    grown.grow_to(items)
    filled.fill(content.copy(), adopt=adopt)
    for more in (0, 1, 100_000):
        grown.grow_to(items + more)
        filled.grow_to(items + more)
        assert filled.capacity == grown.capacity
        assert filled.nbytes <= grown.nbytes
        assert (filled.read(items) == content).all()
    assert not filled.read(items + 100_000)[len(content) :].any()


@given(st.sampled_from([1, 63, 64, 100_000, 2 * MIB - 1, 2 * MIB, 2 * MIB + 1, 7 * MIB + 12_345]))
def test_what_is_allocated_is_empty_aligned_and_as_long_as_was_asked(size: int) -> None:
    memory = allocate(size)
    assert len(memory) == size <= allocated(size)
    assert memory.ctypes.data % LINE_BYTES == 0
    assert not memory.any()
    memory[:] = 1
