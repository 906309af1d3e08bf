"""The vectors of items as they were published last: what interests are clustered by."""

from __future__ import annotations

import logging
import threading

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.item_directions import ItemDirections
from stream_reco.model.settings import ModelSettings
from stream_reco.retrieve.model_replica import model_replica
from stream_reco.sync import Channel

_LOGGER = logging.getLogger(__name__)
_POLL_SECONDS = 1.0
"""How often publications are looked for: clusters may lag behind the vectors by so much."""


class ItemVectors:
    """Follows a trainer's publications, as far as items' vectors need them, on a thread of its own."""

    def __init__(self, settings: ModelSettings, channel: Channel) -> None:
        model = settings.build_served()
        self._directions, self._replica = ItemDirections(model), model_replica(model)
        self._channel = channel
        self._ending, self._came = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="vectors", daemon=True)
        self._thread.start()

    def of(self, keys: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32[n, d] of length 1; zeros for items that were not published."""
        with self._replica.reading() as replica:
            return self._directions.of(replica.tables, keys)

    def wait(self, seconds: float) -> bool:
        """Wait for the first version; whether it has come within so many seconds."""
        return self._came.wait(seconds)

    @property
    def version(self) -> tuple[int, int]:
        """Epoch and version that the vectors are of; zeros before the first."""
        return self._replica.epoch, self._replica.version

    def close(self) -> None:
        """Follow no longer."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                if self._replica.poll(self._channel):
                    self._came.set()
            except Exception:
                _LOGGER.exception("a publication could not be applied; a snapshot was requested")
            self._ending.wait(_POLL_SECONDS)
