"""How many threads multiply matrices."""

from __future__ import annotations

import sys

from threadpoolctl import threadpool_limits


def bind_threads(count: int) -> None:
    """Let matrix products of this process take so many threads: NumPy's, and PyTorch's where it was imported.

    NumPy's library is told for the whole process. PyTorch is told for this thread and those that have not computed yet,
    so call it on the thread that learns.
    """
    threadpool_limits(count, user_api="blas")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)
