"""The memory of a process that has read a data folder, and goes on with what it has read for as long as it lives."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_SELDOM = 10_000
"""Collections of younger objects before all are looked through, while a folder is read: hardly ever."""


@contextmanager
def filling_memory() -> Iterator[None]:
    """Look through all objects hardly ever while a data folder is read, and `settle` afterwards.

    Nearly all of them stay, and each look finds the millions that it found before. Younger objects are looked through
    as always, so that what a long log leaves behind in circles goes all the same.
    """
    before = gc.get_threshold()
    gc.set_threshold(*before[:2], _SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def settle() -> None:
    """Take what there is for what stays, and give back what was needed to read it.

    The garbage collector need not look through all of it, a tenth of a second in which nobody is answered, each time
    that a body has brought many objects. Where the allocator is glibc's, it keeps freed memory unless it is asked.
    """
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
