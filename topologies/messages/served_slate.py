"""The message that carries the features of one slate, as of serving time, from the scorer to labelling."""

from __future__ import annotations

import re

import msgspec
import numpy as np

from stream_reco.events import BadEvent, Id, check_id
from stream_reco.model.features.names import FEATURES
from stream_reco.model.inputs import Inputs
from stream_reco.serve.slate.slate_features import SlateFeatures


class ServedItem(msgspec.Struct, frozen=True, kw_only=True):
    """One item of a slate; `features` (base64 on the wire) are the `Inputs` of this item alone, as bytes."""

    item_id: Id
    features: bytes


class ServedSlate(msgspec.Struct, frozen=True, kw_only=True):
    """The value of a message of the topic `served`: who was shown what when (ms, stream time)."""

    request_id: Id
    user_id: Id
    timestamp: int
    items: list[ServedItem]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(ServedSlate)


def encode_slate(slate: SlateFeatures) -> bytes:
    """One JSON object. The key of the message is the user's."""
    items = [
        ServedItem(item_id=item_id, features=features)
        for item_id, features in zip(slate.item_ids, slate.features(), strict=True)
    ]
    return _encoder.encode(
        ServedSlate(request_id=slate.request_id, user_id=slate.user_id, timestamp=slate.now, items=items)
    )


def decode_slate(value: bytes | None) -> ServedSlate:
    """The inverse. Raises BadEvent for anything else, also where a trainer could not read the features."""
    try:
        slate = _decoder.decode(value or b"")
    except msgspec.ValidationError as error:
        reason = "id" if re.search(r"at `\$.*_id`$", str(error)) else "schema"
        raise BadEvent(reason, f"no slate with its features: {error}; scorers write them") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadEvent("json", f"not JSON: {error}; scorers write one JSON object a slate") from None
    check_id(slate.request_id, "request_id")
    check_id(slate.user_id, "user_id")
    for item in slate.items:
        check_id(item.item_id, "item_id")
        _check_features(item)
    return slate


def _check_features(item: ServedItem) -> None:
    try:
        inputs = Inputs.from_bytes(item.features)
    except (msgspec.MsgspecError, ValueError) as error:
        raise BadEvent("schema", f"the features of item {item.item_id!r} cannot be read: {error}") from None
    if len(inputs.item_keys) != 1 or not inputs.fits_this_release():
        raise BadEvent(
            "schema",
            f"the features of item {item.item_id!r} are of another release of the model: restart"
            f" scorers and labelling with one release ({len(FEATURES)} features)",
        )
    numbers = inputs.dense, inputs.history_ages, inputs.profile.weights, inputs.said.weights
    if not all(np.isfinite(one).all() for one in numbers):
        raise BadEvent("value", f"the features of item {item.item_id!r} are not finite")
