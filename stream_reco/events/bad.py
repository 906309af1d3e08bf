"""The error of an event that cannot be accepted: a short code for counting, and a message."""

from __future__ import annotations

import reprlib

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80
_repr.maxlevel = 2


class BadEvent(ValueError):  # noqa: N818 - the name is part of the public contract
    """An event that goes to the dead letters.

    `reason` is a short stable code: `json` (not JSON at all), `type` (no or an unknown type), `schema` (a field is
    missing or of the wrong kind), `id`, `timestamp`, `value` (a number that is not finite or out of its range) or
    `too_large`. Each `{}` of `message` stands for one of `values`, which are put into words only where the message is
    read: that takes longer than all checks, and of ten thousand bad events the first few are described.
    """

    index: int | None = None
    """Its place in the batch, where it is raised for a whole batch."""

    def __init__(self, reason: str, message: str, *values: object) -> None:
        super().__init__(reason, message, *values)
        self.reason = reason

    def __str__(self) -> str:
        _, message, *values = self.args
        return str(message.format(*map(shown, values)) if values else message)


def shown(value: object) -> str:
    """A value as an error message shows it: short and shallow, whatever the input."""
    if isinstance(value, bytes):
        value = value[:80]  # before it is quoted: nobody copies ten megabytes to complain about them
    try:
        return _repr.repr(value)
    except ValueError:  # Python prints no integers of more than 4,300 digits
        return f"a very large {type(value).__name__}"
