"""Decoding of untrusted bytes into events, or a BadEvent that says what is wrong.

The good path is one pass in C. Only what fails is read again, slowly, to find the reason.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import NoReturn, Protocol

import msgspec

from stream_reco.events.bad import BadEvent, shown
from stream_reco.events.ids import check_id, too_long
from stream_reco.events.schema import INT64_MAX, INT64_MIN, KINDS, MAX_ID_BYTES, Event
from stream_reco.events.whole_numbers import with_whole_numbers
from stream_reco.events.wire import decode_batch, encode, encode_batch

MAX_EVENT_BYTES = 1 << 20
MAX_BODY_BYTES = 64 << 20
_YEAR_1990 = 631_152_000_000
_WRONG_TYPE = f"type is {{}}: it must be one of {', '.join(KINDS)}"


class Timed(Protocol):
    """What has an event time, ms."""

    @property
    def timestamp(self) -> int: ...


_one = msgspec.json.Decoder(Event)
_many = msgspec.json.Decoder(list[Event])
_split = msgspec.json.Decoder(list[msgspec.Raw])

_ID_FIELDS = ("user_id", "item_id", "event_id", "request_id", "group_id", "retracts")
_NUMBER_FIELDS = ("value", "propensity", "context", "features", "vector")
_IDS_OF = {kind: tuple(f for f in _ID_FIELDS if f in cls.__struct_fields__) for kind, cls in KINDS.items()}
_IDS_OF_TYPE = {cls: _IDS_OF[kind] for kind, cls in KINDS.items()}
_WHOLE_FIELDS = {
    kind: tuple(f for f in (*_IDS_OF[kind], "timestamp", "position") if f in cls.__struct_fields__)
    for kind, cls in KINDS.items()
}
_REQUIRED_IDS = {
    kind: tuple(f.name for f in msgspec.structs.fields(cls) if f.required and f.name in _ID_FIELDS)
    for kind, cls in KINDS.items()
}


def decode(data: bytes, *, arrived_at: int | None = None) -> Event:
    """One JSON object as an event.

    `arrived_at` (ms) stamps an event that has no timestamp; without it such an event is bad. Unknown fields are left
    out. Raises BadEvent.
    """
    if len(data) > MAX_EVENT_BYTES:
        raise BadEvent("too_large", f"an event of {len(data)} bytes: the limit is {MAX_EVENT_BYTES}; send less")
    try:
        return _sized(_one.decode(data))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return from_object(_parse(data), arrived_at)


def decode_many(data: bytes, *, arrived_at: int | None = None) -> list[Event | BadEvent]:
    """A JSON array of events; each bad one stands in the answer as the BadEvent that says why.

    Raises BadEvent `json` if the body is no JSON array, `too_large` above 64 MiB.
    """
    if len(data) > MAX_BODY_BYTES:
        raise BadEvent("too_large", f"a body of {len(data)} bytes: the limit is {MAX_BODY_BYTES}; send less")
    try:
        return list(decode_good(data, len(data)))
    except (ValueError, RecursionError):
        pass
    try:
        parts = _split.decode(data)
    except (ValueError, RecursionError):
        return _many_by_hand(data, arrived_at)
    return [_or_bad(bytes(part), arrived_at) for part in parts]


def decode_good(data: bytes | bytearray, longest: int) -> list[Event]:
    """A JSON array of events all of which are good; none of them takes more than `longest` bytes.

    Raises ValueError (msgspec's errors, Unicode's and BadEvent are such) or RecursionError where one is not.
    """
    events: list[Event] = _many.decode(data)
    # JSON writes a text in no fewer bytes than UTF-8 does: in so short an event no id is too long.
    return events if longest <= MAX_ID_BYTES else [_sized(event) for event in events]


def _or_bad(data: bytes, arrived_at: int | None) -> Event | BadEvent:
    try:
        return decode(data, arrived_at=arrived_at)
    except BadEvent as error:
        return _bare(error)


def _bare(error: BadEvent) -> BadEvent:
    """Without the frames that raised it: kept by the thousand they would set off the garbage collector."""
    error.__context__ = None
    return error.with_traceback(None)


def _many_by_hand(data: bytes, arrived_at: int | None) -> list[Event | BadEvent]:
    """Bodies that only lax parsers take (a NaN, half of a surrogate pair): the good events in them still count."""
    body = _parse(data)
    if not isinstance(body, list):
        raise BadEvent("json", f"the body is {shown(body)}: expected a JSON array of events; wrap one event in [ ]")
    answers: list[Event | BadEvent] = []
    for part in body:
        try:
            answers.append(from_object(part, arrived_at))
        except BadEvent as error:
            answers.append(_bare(error))
    return answers


def _parse(data: bytes) -> object:
    try:
        return json.loads(data.decode())
    except UnicodeDecodeError as error:
        raise BadEvent("json", f"byte {error.start} is not UTF-8 ({{}}): send UTF-8 JSON", data) from None
    except RecursionError:
        raise BadEvent("json", "nested too deeply ({}): events are nearly flat", data) from None
    except ValueError as error:
        raise BadEvent("json", f"not JSON: {error} ({{}}); send one JSON object an event", data) from None


def from_object(obj: object, arrived_at: int | None = None) -> Event:
    """An object as JSON has it, a dictionary, as an event; `arrived_at` as for `decode`. Raises BadEvent."""
    if not isinstance(obj, dict):
        raise BadEvent("schema", "an event is a JSON object, not {}", obj)
    kind = obj.get("type")
    if not isinstance(kind, str) or kind not in KINDS:
        raise BadEvent("type", _WRONG_TYPE, kind)
    if obj.get("timestamp") is None:
        if arrived_at is None:
            raise BadEvent("timestamp", "no timestamp: give ms since the epoch in {}", obj)
        obj = {**obj, "timestamp": arrived_at}
    obj = with_whole_numbers(obj, _WHOLE_FIELDS[kind])
    _check_object(kind, obj)
    try:
        return _sized(msgspec.convert(obj, Event))
    except (msgspec.ValidationError, UnicodeError) as error:
        _explain(str(error), obj)


def _check_object(kind: str, obj: dict[str, object]) -> None:
    for field in _REQUIRED_IDS[kind]:
        if field not in obj:
            raise BadEvent("schema", f"the {kind} has no {field}: it needs {', '.join(_REQUIRED_IDS[kind])}")
    for field in _IDS_OF[kind]:
        if obj.get(field) is not None or field in _REQUIRED_IDS[kind]:
            check_id(obj[field], field)
    when = obj["timestamp"]
    if type(when) is not int or not INT64_MIN <= when <= INT64_MAX:
        raise BadEvent("timestamp", "timestamp is {}: give ms since the epoch as a whole number", when)
    for field in _NUMBER_FIELDS:
        if field in KINDS[kind].__struct_fields__:
            _check_finite(obj.get(field), field)


def _check_finite(value: object, field: str) -> None:
    """Only as deep as the schema goes, so that no input can make it recurse."""
    if value is None:
        return
    parts = list(value.values()) if isinstance(value, dict) else [value]
    for part in parts:
        for leaf in part if isinstance(part, list | tuple) else (part,):
            if isinstance(leaf, float) and not math.isfinite(leaf):
                raise BadEvent("value", f"{field} has {leaf}: only finite numbers can be learned from; leave it out")
            if isinstance(leaf, bytes | bytearray):  # JSON would carry them as text, which they are not
                raise BadEvent("value", f"{field} has {{}}: give numbers or text, not bytes", leaf)


def _explain(message: str, obj: dict[str, object]) -> NoReturn:
    """Turn the decoder's complaint, which names a path, into a reason."""
    if "of length <=" in message:
        reason = "too_large"
    elif any(map(message.__contains__, ("$.value", "$.propensity", "$.position", "Expected `int` "))):
        reason = "value"
    else:
        reason = "schema"
    raise BadEvent(reason, message.replace("{", "{{").replace("}", "}}") + " in {}", obj)


def _sized(event: Event) -> Event:
    """What the struct's types cannot say: ids are limited in bytes, not characters."""
    for field in _IDS_OF_TYPE[type(event)]:
        value = getattr(event, field)
        if too_long(value):
            check_id(value, field)
    return event


def validate(event: Event) -> None:
    """Hold an event that was built in Python to the same rules as one that was decoded. Raises BadEvent."""
    if type(event) not in _IDS_OF_TYPE:
        raise BadEvent("type", f"{shown(event)} is no event: it must be one of {', '.join(KINDS)}")
    for field in _IDS_OF_TYPE[type(event)]:
        value = getattr(event, field)
        if value is not None:
            check_id(value, field)
    for field in _NUMBER_FIELDS:
        _check_finite(getattr(event, field, None), field)
    try:
        data = encode(event)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadEvent("value", f"{error} in {shown(event)}") from None
    decode(data)
    try:
        # JSON makes text of what the log keeps as it is, such as a key that is a number: it could not be read again.
        decode_batch(encode_batch([event]))
    except (TypeError, ValueError, OverflowError) as error:
        raise BadEvent("schema", f"{error} in {shown(event)}") from None


def check_times(events: Sequence[Timed], now: int, future_ms: int) -> None:
    """`check_time` of all of them."""
    times = [event.timestamp for event in events]
    if times and (max(times) > now + future_ms or min(times) < _YEAR_1990):
        for event in events:
            check_time(event, now, future_ms)


def check_time(event: Timed, now: int, future_ms: int) -> None:
    """Refuse a time that must be a mistake: after `now` + `future_ms`, or before 1990. All in ms. Raises BadEvent."""
    when = event.timestamp
    if when > now + future_ms:
        raise BadEvent(
            "timestamp",
            f"timestamp {when} is {when - now} ms ahead of the clock ({now}), {future_ms} are allowed: "
            "give ms (not micro- or nanoseconds) since the epoch in UTC and set the sender's clock",
        )
    if when < _YEAR_1990:
        raise BadEvent("timestamp", f"timestamp {when} is before 1990: give milliseconds, not seconds, since the epoch")
