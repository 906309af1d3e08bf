"""Ids: 64-bit integers as they are, or short text; 5 and "5" are different ids everywhere."""

from __future__ import annotations

import re
from functools import cache

import msgspec
from xxhash import xxh3_64_intdigest

from stream_reco.events.bad import BadEvent, shown
from stream_reco.events.schema import INT64_MAX, INT64_MIN, MAX_ID_BYTES, Id

_CANONICAL = re.compile(r"(0|-?[1-9][0-9]{0,18})\Z", re.ASCII)
_RULE = f"an id is a signed 64-bit integer or 1..{MAX_ID_BYTES} bytes of UTF-8 text; send it as one of these"


def check_id(value: object, field: str) -> Id:
    """Return `value` if it is an id, else raise BadEvent `id`; `field` is the name that the message gives."""
    if type(value) is int and INT64_MIN <= value <= INT64_MAX:
        return value
    if type(value) is str and 0 < len(value) <= MAX_ID_BYTES and _fits(value):
        return value
    raise BadEvent("id", f"{field} is {{}}: {_RULE}", value)


def _fits(text: str) -> bool:
    try:
        return len(text.encode()) <= MAX_ID_BYTES
    except UnicodeEncodeError:  # a lone surrogate: no UTF-8 text has one
        return False


def too_long(value: Id | None) -> bool:
    """Whether a text id of at most 512 characters has more than 512 bytes; characters have at most four."""
    return type(value) is str and len(value) > MAX_ID_BYTES // 4 and len(value.encode()) > MAX_ID_BYTES


def is_canonical_integer(text: str) -> bool:
    """Whether `text` is exactly how a signed 64-bit integer prints: no sign or zero too many, no spaces."""
    return _CANONICAL.match(text) is not None and INT64_MIN <= int(text) <= INT64_MAX


def id_from_path(text: str) -> Id:
    """The id in a (decoded) URL path: a canonical integer is an integer, JSON-quoted text is text, the rest is text."""
    if is_canonical_integer(text):
        return int(text)
    if text.startswith('"'):
        try:
            return check_id(msgspec.json.decode(text, type=str), "id")
        except (msgspec.DecodeError, UnicodeError):
            raise BadEvent("id", f"id is {shown(text)}: it starts with a quote but is no JSON string") from None
    return check_id(text, "id")


@cache
def _seed(feature: str) -> int:
    return xxh3_64_intdigest(feature.encode())


def key_of(id: Id, feature: str) -> int:  # noqa: A002 - the contract's name
    """The signed 64-bit key of an id in the table of one feature.

    Integers are their own key. Text is hashed by xxh3_64, seeded by the xxh3_64 of the feature's name: the same in
    every process and release, different between features.
    """
    if type(id) is int:
        return id
    digest = xxh3_64_intdigest(str(id).encode(), _seed(feature))
    return digest - 2**64 if digest > INT64_MAX else digest
