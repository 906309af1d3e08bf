"""Some of the newest requests, to see what the answers depend on."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np

from stream_reco.model.inputs import Inputs

_REQUESTS, _CANDIDATES = 50, 20
"""So many are kept, and of each so many candidates."""
_EVERY = 8
"""Of so many requests one is kept: a request waits for it."""


class NewestRequests:
    """Requests in which anything was said of anybody; any number of threads may keep one."""

    def __init__(self) -> None:
        self._kept: deque[Inputs] = deque(maxlen=_REQUESTS)
        self._lock = threading.Lock()
        self._seen = 0

    def keep(self, inputs: Inputs) -> None:
        """Remember a request, if it is its turn and there was anything to choose from."""
        if not len(inputs.item_keys):
            return
        self._seen += 1
        if self._seen % _EVERY == 1 and (len(inputs.profile.codes) or len(inputs.said.codes)):
            some = inputs.some(np.arange(min(len(inputs.item_keys), _CANDIDATES)))
            with self._lock:
                self._kept.append(some)

    def all(self) -> list[Inputs]:
        """The requests, oldest first."""
        with self._lock:
            return list(self._kept)
