"""Fields that nobody knows: most are misspelt, and what they carry would be lost without a word."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Union

import msgspec

from stream_reco.events.schema import KINDS

MOST_WARNINGS = 100
"""Described in one answer; the others are counted. A producer has the same mistake in all of its events."""
_MOST_CHARACTERS = 80
"""Of a name that is repeated in an answer; difflib takes the square of its length."""
_MOST_BYTES = 1 << 16
"""Of an event whose fields are described; in a longer one there may be a hundred thousand of them."""
_TAG = "type"
_FIELDS = {kind: (_TAG, *struct.__struct_fields__) for kind, struct in KINDS.items()}
_KNOWN = {kind: frozenset(fields) for kind, fields in _FIELDS.items()}


class FieldWarning(msgspec.Struct, frozen=True):
    """A field of an event that nobody knows: the event's index in the batch, and the name that was perhaps meant."""

    index: int
    field: str
    did_you_mean: str | None


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like this one; None where none is near."""
    found = difflib.get_close_matches(name[:_MOST_CHARACTERS].lower(), known, n=1)
    return found[0] if found else None


def shortened(name: str) -> str:
    """A name as an answer repeats it: at most 80 characters, and nothing that UTF-8 cannot write."""
    return name[:_MOST_CHARACTERS].encode("utf-8", "replace").decode()


# Structs with the fields of the events, all of them left undecoded: one pass in C says that every field is known.
_NAMES_ONLY = [
    msgspec.defstruct(
        f"{struct.__name__}Names",
        [(field, msgspec.Raw, msgspec.Raw()) for field in struct.__struct_fields__],
        tag_field=_TAG,
        tag=kind,
        forbid_unknown_fields=True,
        gc=False,
    )
    for kind, struct in KINDS.items()
]
_Names: Any = Union[tuple(_NAMES_ONLY)]  # noqa: UP007 - made of a list
_all_known: msgspec.json.Decoder[Any] = msgspec.json.Decoder(list[_Names])
_known: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_Names)
_parts = msgspec.json.Decoder(list[msgspec.Raw])


def _split(body: bytes | bytearray) -> Sequence[msgspec.Raw]:
    try:
        return _parts.decode(body)
    except (ValueError, RecursionError):
        return ()


class FieldWarnings:
    """Collects the unknown fields of a batch: the first hundred described, further events that have some counted."""

    def __init__(self) -> None:
        self.described: list[FieldWarning] = []
        self.more = 0
        """Events with unknown fields that are not described, or not all of them."""

    def look(self, index: int, event: Mapping[Any, object]) -> None:
        """Note the unknown fields of one event; one of no known type is refused anyhow."""
        kind = event.get(_TAG)
        known = _KNOWN.get(kind) if isinstance(kind, str) else None
        if known is None or known.issuperset(event):
            return
        unknown = [str(name) for name in event if name not in known]
        room = MOST_WARNINGS - len(self.described)
        fields = _FIELDS[str(kind)]
        self.described += [FieldWarning(index, shortened(name), nearest(name, fields)) for name in unknown[:room]]
        self.more += len(unknown) > room

    def read(self, body: bytes | bytearray, first: int = 0) -> None:
        """Look at the events of a JSON array, which are numbered from `first`; what is no array has none.

        Where every field is known this is one pass in C that decodes no values.
        """
        try:
            _all_known.decode(body)
        except (ValueError, RecursionError):
            for index, part in enumerate(_split(body), first):
                self._read_one(index, part)

    def _read_one(self, index: int, part: msgspec.Raw) -> None:
        try:
            _known.decode(part)
        except msgspec.ValidationError as problem:
            if len(memoryview(part)) > _MOST_BYTES or len(self.described) >= MOST_WARNINGS:
                self.more += "unknown field" in str(problem)
                return
        except (ValueError, RecursionError):
            pass  # what only lax parsers take
        else:
            return
        with suppress(ValueError, RecursionError):
            event = json.loads(bytes(part))
            if isinstance(event, dict):
                self.look(index, event)
