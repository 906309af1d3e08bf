"""Numbers and times as they are read at a moment, against datetime and plain formulas."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.signals.content.encode import encoded
from stream_reco.signals.content.fields import FeatureFields
from stream_reco.signals.content.values import AGE, BUCKET, HOUR, NO_VALUES, SCALED, WEEKDAY, values_of

NOW = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
NOW_MS = round(NOW.timestamp() * 1000)


def read(fields: FeatureFields, value: object) -> dict[int, float]:
    values = values_of(fields, {"it": value}, NOW_MS)
    assert set(values.fields.tolist()) <= {int(fields.hashes[0])}
    return dict(zip(values.codes.tolist(), values.weights.tolist(), strict=True))


@settings(deadline=None)
@given(st.lists(st.integers(-50, 50), min_size=1, max_size=5), st.integers(-1000, 1000))
def test_a_number_is_a_score_and_an_octile(seen: list[int], asked: int) -> None:
    fields = FeatureFields("user")
    for number in seen:
        encoded(fields, {"it": number}, learn=True)
    deviation = float(np.std(seen))
    score = (asked - float(np.mean(seen))) / deviation if deviation else 0.0
    edges = [float(np.quantile(seen, one / 8, method="inverted_cdf")) for one in range(1, 8)]
    bucket = sum(asked > edge for edge in edges)
    assert read(fields, asked) == pytest.approx(
        {SCALED: max(-4.0, min(4.0, score)) / 2, BUCKET + bucket: 1.0}, abs=1e-6
    )


def test_octiles_have_an_eighth_of_the_values_each() -> None:
    fields = FeatureFields("user")
    for number in range(256):
        encoded(fields, {"it": number * 37 % 256}, learn=True)
    fields.running._renew(0)
    buckets = [next(code - BUCKET for code in read(fields, number) if code >= BUCKET) for number in range(256)]
    assert np.bincount(buckets).tolist() == [32] * 8


TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2030, 1, 1))
ZONES = st.sampled_from([None, UTC, timezone(timedelta(hours=9)), timezone(-timedelta(hours=3, minutes=30))])


@settings(deadline=None)
@given(TIMES, ZONES)
def test_a_time_is_an_age_an_hour_and_a_weekday(naive: datetime, zone: timezone | None) -> None:
    at = naive.replace(tzinfo=zone)
    fields = FeatureFields("user")
    encoded(fields, {"it": at.isoformat()}, learn=True)
    utc = naive.replace(tzinfo=UTC) if zone is None else at.astimezone(UTC)
    days = max(0.0, (NOW - utc) / timedelta(days=1))
    wanted = {AGE: math.log(1 + days) / math.log(31), HOUR + utc.hour: 1.0, WEEKDAY + utc.weekday(): 1.0}
    assert read(fields, at.isoformat()) == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def test_a_time_before_1970_is_read_as_well() -> None:
    fields = FeatureFields("user")
    encoded(fields, {"it": "1969-12-31T22:30:00"}, learn=True)
    assert {HOUR + 22, WEEKDAY + 2} <= read(fields, "1969-12-31T22:30:00").keys()


def test_an_unknown_feature_has_no_value() -> None:
    assert values_of(FeatureFields("user"), {"it": 1}, NOW_MS) is NO_VALUES
    fields = FeatureFields("user")
    encoded(fields, {"it": 1}, learn=True)
    assert values_of(fields, {"it": "red"}, NOW_MS) is NO_VALUES
    assert values_of(fields, {}, NOW_MS) is NO_VALUES


def test_words_of_a_user_weigh_by_how_often_they_are_there() -> None:
    fields = FeatureFields("user")
    encoded(fields, {"it": "tea tea mug or so"}, learn=True)
    weights = [*read(fields, "tea tea mug or so").values()]
    assert weights[0] / weights[1] == pytest.approx(1 + math.log(2), rel=1e-6)
    assert sum(weight**2 for weight in weights) == pytest.approx(1.0, rel=1e-6)


def test_values_at_some_places() -> None:
    fields = FeatureFields("user")
    encoded(fields, {"it": ["a", "b", "c"]}, learn=True)
    values = values_of(fields, {"it": ["a", "b", "c"]}, NOW_MS)
    assert values.at(np.array([2, 0])).codes.tolist() == [values.codes[2], values.codes[0]]
