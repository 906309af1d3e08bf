"""The message on the events topic that deletes a user's data, and the decoding of that topic."""

from __future__ import annotations

import msgspec

from stream_reco.events import Event, Id, decode


class Deletion(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="deletion"):
    """Deletes all data of a user; its key is the user's, so that it follows their earlier events. Time in ms."""

    user_id: Id
    timestamp: int


_encoder, _decoder = msgspec.json.Encoder(), msgspec.json.Decoder(Deletion)


def encode_deletion(deletion: Deletion) -> bytes:
    """One JSON object."""
    return _encoder.encode(deletion)


def decode_message(value: bytes | None) -> Event | Deletion:
    """An event, or the deletion of a user. Raises BadEvent for anything else."""
    data = value or b""
    if b'"deletion"' in data:
        try:
            return _decoder.decode(data)
        except (msgspec.DecodeError, UnicodeError):
            pass  # an event with that word in it, or nothing at all
    return decode(data)
