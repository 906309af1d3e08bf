"""Messages that could not be taken, kept with the reason."""

from __future__ import annotations

import msgspec


class DeadLetter(msgspec.Struct, frozen=True):
    """One message that could not be taken; `time` (ms) is the wall clock's, bytes travel as base64."""

    topic: str
    partition: int
    offset: int
    reason: str
    message: str
    key: bytes | None
    value: bytes | None
    time: int
