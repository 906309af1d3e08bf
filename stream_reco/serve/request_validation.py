"""The checks that every request for a slate or for scores passes, over HTTP and from Python alike."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from stream_reco.events import BadEvent, Id, check_id
from stream_reco.events.field_names import nearest, shortened
from stream_reco.events.ids import too_long
from stream_reco.events.schema import Context, Name
from stream_reco.events.whole_numbers import whole_number, with_whole_numbers
from stream_reco.retrieve.filters import BadFilterError, parse_filters
from stream_reco.serve.refused import RefusedError
from stream_reco.serve.settings import MOST_WEIGHT, ServeSettings

Objectives = dict[Name, Annotated[float, Meta(ge=0, le=MOST_WEIGHT)]]


class RecommendRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request for a slate: `k` items for the user, none of `exclude`, only those whose features match `filters`.

    `objectives` are weights by kind of action, or `kind.value`.
    """

    user_id: Id
    k: int
    context: Context | None = None
    exclude: list[Id] = []
    filters: dict[Name, Any] | None = None
    objectives: Objectives | None = None


class ScoreRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request for the probabilities that the user acts on each of these items."""

    user_id: Id
    item_ids: list[Id]
    context: Context | None = None
    objectives: Objectives | None = None


T = TypeVar("T", RecommendRequest, ScoreRequest)
_DECODERS: Mapping[type, msgspec.json.Decoder[Any]] = {
    type_: msgspec.json.Decoder(type_) for type_ in (RecommendRequest, ScoreRequest)
}
_WHOLE = msgspec.json.Decoder(msgspec.Raw)
_NUMBERS, _LISTS = ("user_id", "k"), ("exclude", "item_ids")
_READ_AGAIN_BYTES = 1 << 20
"""A longer body is not read a second time for whole numbers with a fraction: nobody may wait for that."""
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)


def decode_request(body: bytes | bytearray, kind: type[T], limits: ServeSettings) -> T:
    """A request from JSON. Raises RefusedError that says what is wrong with it."""
    try:
        wanted: T = _DECODERS[kind].decode(body)
    except msgspec.ValidationError as problem:
        return _read_again(body, kind, limits, problem)
    except (ValueError, RecursionError) as problem:
        raise _no_json(problem) from None
    return checked(wanted, limits)


def _read_again(body: bytes | bytearray, kind: type[T], limits: ServeSettings, problem: msgspec.ValidationError) -> T:
    """The same where whole numbers with a fraction were all that was wrong."""
    try:
        _WHOLE.decode(body)  # what is no JSON further on is no JSON, whatever stands before
    except (ValueError, RecursionError) as broken:
        raise _no_json(broken) from None
    if "got `float`" in str(problem) and len(body) <= _READ_AGAIN_BYTES:
        return request_of(kind, json.loads(body), limits)
    raise _misfit(kind, problem)


def _no_json(problem: Exception) -> RefusedError:
    return RefusedError("json", f"the body is not JSON: {problem}")


def request_of(kind: type[T], fields: Mapping[str, object], limits: ServeSettings) -> T:
    """A request from the values of its fields, None where one was not given. Raises RefusedError."""
    try:
        try:
            wanted = msgspec.convert(fields, kind)
        except msgspec.ValidationError as problem:
            if "got `float`" not in str(problem):
                raise
            wanted = msgspec.convert(_with_whole_numbers(fields), kind)
    except msgspec.ValidationError as problem:
        raise _misfit(kind, problem) from None
    except UnicodeError as problem:
        raise RefusedError("id", f"the request has text that UTF-8 cannot write: {problem}") from None
    return checked(wanted, limits)


def _with_whole_numbers(fields: Mapping[str, object]) -> dict[str, object]:
    obj = with_whole_numbers(dict(fields), _NUMBERS)
    for name in _LISTS:
        if isinstance(ids := obj.get(name), list):
            obj[name] = [whole_number(one) for one in ids]
    return obj


def checked(wanted: T, limits: ServeSettings) -> T:
    """What the types cannot say: limits of the server, and of ids in bytes. Raises RefusedError."""
    try:
        check_id(wanted.user_id, "user_id")
        if isinstance(wanted, RecommendRequest):
            check_k(wanted.k, limits)
            _check_ids(wanted.exclude, "exclude", limits)
            parse_filters(wanted.filters or {})
        else:
            _check_ids(wanted.item_ids, "item_ids", limits)
    except BadEvent as bad:
        raise RefusedError(bad.reason, str(bad)) from None
    except BadFilterError as bad_filter:
        raise RefusedError("filters", str(bad_filter)) from None
    return wanted


def check_k(k: int, limits: ServeSettings) -> None:
    """Raise RefusedError unless this many items may be asked for."""
    if not 1 <= k <= limits.max_k:
        raise RefusedError("k", f"k is {k}: it must be between 1 and {limits.max_k}")


def _check_ids(ids: Sequence[Id], what: str, limits: ServeSettings) -> None:
    if len(ids) > limits.max_items:
        raise RefusedError(what, f"{what} has {len(ids)} ids: send at most {limits.max_items}")
    for position, value in enumerate(ids):
        if too_long(value):
            check_id(value, f"{what}[{position}]")


def unknown_name(what: str, name: str, known: Sequence[str]) -> str:
    """The sentence that answers a name that nobody knows."""
    near = nearest(name, known)
    meant = "" if near is None else f"did you mean {near!r}? "
    there = f"there are {', '.join(known)}" if known else "there are none"
    return f"unknown {what} {shortened(name)!r}: {meant}{there}; /schema describes them"


def _misfit(kind: type[T], problem: msgspec.ValidationError) -> RefusedError:
    if unknown := _UNKNOWN.match(str(problem)):
        return RefusedError("schema", unknown_name("field", unknown[1], kind.__struct_fields__))
    return RefusedError("schema", f"the request does not fit: {problem}; /schema describes it")
