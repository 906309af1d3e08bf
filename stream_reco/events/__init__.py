"""Events and ids: what enters the loop, decoded at the edge, every problem named."""

from stream_reco.events.bad import BadEvent
from stream_reco.events.decode import check_time, decode, decode_many, validate
from stream_reco.events.ids import check_id, id_from_path, is_canonical_integer, key_of
from stream_reco.events.schema import Action, Event, Id, Impression, ItemEvent, Retraction, UserEvent
from stream_reco.events.wire import decode_batch, encode, encode_batch

__all__ = [
    "Action",
    "BadEvent",
    "Event",
    "Id",
    "Impression",
    "ItemEvent",
    "Retraction",
    "UserEvent",
    "check_id",
    "check_time",
    "decode",
    "decode_batch",
    "decode_many",
    "encode",
    "encode_batch",
    "id_from_path",
    "is_canonical_integer",
    "key_of",
    "validate",
]
