"""The memory of a process that has read a data folder, and goes on with what it has read for as long as it lives."""

from __future__ import annotations

import ctypes
import gc


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
