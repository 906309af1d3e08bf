"""Examples as they travel: one JSON object each, checked before anything is learned from it."""

from __future__ import annotations

import logging
import math

import msgspec
from msgspec import structs

from stream_reco.events import BadEvent, check_id
from stream_reco.events.schema import MAX_POSITION
from stream_reco.labels import Example
from stream_reco.model.inputs import Inputs

_LOGGER = logging.getLogger(__name__)
_DECODER = msgspec.json.Decoder(Example)
_LATEST_MS = 1 << 53


class BadExample(ValueError):  # noqa: N818 - named for what is the case
    """What was read is no example. `reason` is a short code, the text is for people."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def decode_example(data: bytes) -> Example:
    """One example; features that are not `Inputs` of this release are left out. Raises BadExample."""
    try:
        example = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise BadExample("json", f"no example: {error}") from error
    for field, value in (("user_id", example.user_id), ("item_id", example.item_id)):
        try:
            check_id(value, field)
        except BadEvent as error:
            raise BadExample("id", str(error)) from error
    if example.label not in (0, 1):
        raise BadExample("label", f"label is {example.label}: it is 0 or 1")
    weights = (example.weight, example.undoes.weight if example.undoes is not None else 0.0)
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights):
        raise BadExample("weight", f"weights are {weights}: they are finite and not negative")
    if not all(0 <= time < _LATEST_MS for time in (example.event_time, example.label_time)):
        raise BadExample("timestamp", f"times are {example.event_time} and {example.label_time}: give ms since 1970")
    if example.position is not None and not 0 <= example.position <= MAX_POSITION:
        raise BadExample("position", f"position is {example.position}: it is 0 to {MAX_POSITION}")
    if example.features is not None and not _are_inputs(example.features):
        _LOGGER.warning("features of an example are of another release; they are computed again")
        return structs.replace(example, features=None)
    return example


def _are_inputs(data: bytes) -> bool:
    try:
        return Inputs.from_bytes(data).fits_this_release()
    except (msgspec.MsgspecError, ValueError):
        return False
