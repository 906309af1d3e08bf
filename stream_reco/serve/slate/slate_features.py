"""A slate as the model read it: what travels to labelling, so that an example has the features of its moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from stream_reco.events import Id
from stream_reco.model.inputs import Inputs


@dataclass(frozen=True)
class SlateFeatures:
    """An answered request. Cheap to make, so that the request does not wait; who writes it calls `features`."""

    request_id: str
    user_id: Id
    now: int
    """Stream time (ms) that the features were computed for."""
    item_ids: Sequence[Id]
    inputs: Inputs
    """Those of the request; its candidates are the items, in their order."""

    def features(self) -> Iterator[bytes]:
        """Of each item the `Inputs` as bytes, as if it were the only candidate."""
        for at in range(len(self.item_ids)):
            yield self.inputs.some([at]).to_bytes()


SlateListener = Callable[[SlateFeatures], None]
"""Called with each slate while the request waits for it: it must neither block nor raise."""
