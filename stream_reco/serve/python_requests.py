"""Requests of Python's callers, held to what HTTP is held to, with the values that Python programs have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np

from stream_reco.events import Id
from stream_reco.events.bad import shown
from stream_reco.events.python_values import AnyId, plain
from stream_reco.events.whole_numbers import whole_number
from stream_reco.retrieve.filters import DEEPEST
from stream_reco.serve.refused import RefusedError
from stream_reco.serve.request_validation import RecommendRequest, ScoreRequest, T, request_of
from stream_reco.serve.settings import ServeSettings
from stream_reco.serve.slate.request import Request

_IDS = frozenset({int, str})


def recommend_request(
    limits: ServeSettings,
    user_id: AnyId,
    k: int | np.integer[Any],
    now: int | date | None,
    context: Mapping[str, object] | None,
    exclude: Iterable[AnyId],
    filters: Mapping[str, object] | None,
    objectives: Mapping[str, float] | None = None,
) -> Request:
    """A request for a slate, NumPy's values and times as plain numbers. Raises RefusedError."""
    plain_filters = filters and plain(filters, DEEPEST + 1)
    fields = {
        "user_id": user_id,
        "k": k,
        "context": context,
        "exclude": _listed(exclude),
        "filters": plain_filters,
        "objectives": objectives,
    }
    wanted = _request_of(RecommendRequest, fields, limits)
    return Request(
        wanted.user_id, wanted.k, _time(now), wanted.context, wanted.exclude, wanted.filters, wanted.objectives
    )


def checked_request(asked: Request, limits: ServeSettings) -> Request:
    """The same of a request that was built in Python."""
    return recommend_request(
        limits, asked.user_id, asked.k, asked.now, asked.context, asked.exclude, asked.filters, asked.objectives
    )


def score_request(
    limits: ServeSettings,
    user_id: AnyId,
    item_ids: Iterable[AnyId],
    now: int | date | None,
    context: Mapping[str, object] | None,
    objectives: Mapping[str, float] | None = None,
) -> tuple[Request, list[Id]]:
    """A request for the scores of items. Raises RefusedError."""
    fields = {"user_id": user_id, "item_ids": _listed(item_ids), "context": context, "objectives": objectives}
    wanted = _request_of(ScoreRequest, fields, limits)
    asked = Request(wanted.user_id, now=_time(now), context=wanted.context, objectives=wanted.objectives)
    return asked, wanted.item_ids


def _request_of(kind: type[T], fields: Mapping[str, object], limits: ServeSettings) -> T:
    """Values are looked at one by one only where they are not what JSON has."""
    try:
        return request_of(kind, fields, limits)
    except RefusedError as refused:
        if refused.reason not in ("schema", "id"):
            raise
    return request_of(kind, plain(fields), limits)


def _listed(given: Any) -> Any:
    """Also an array or a column of a table as a list; text stays text, which is no list of ids."""
    if hasattr(given, "tolist"):
        given = given.tolist()
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        return given
    # A text of another type, such as an enumeration's, passes for text, but is not equal to it.
    return list(given) if _IDS.issuperset(map(type, given)) else plain(list(given))


def _time(now: Any) -> int | None:
    at = whole_number(plain(now))
    if at is None or type(at) is int:
        return at
    raise RefusedError("now", f"now is {shown(now)}: give ms since the epoch, a datetime, or nothing for stream time")
