"""Profiles of users against the statements in the order of time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.signals.active_time import ActiveTime
from stream_reco.signals.content.fields import MOST_FIELDS, FeatureFields
from stream_reco.signals.content.kinds import Kind
from stream_reco.signals.content.profiles import Profiles
from stream_reco.signals.settings import DAY_MS, HOUR_MS, SignalSettings

SETTINGS = SignalSettings(user_idle_days=2.0)
START = 1_600_000_000_000
NAMES = ("age", "likes", "about")
VALUE = st.one_of(
    st.none(),
    st.integers(0, 3),
    st.sampled_from([["tea", "mugs"], "green tea", "a text of more than four words", float("nan"), True]),
)
STATEMENT = st.tuples(st.sampled_from(["u", 7]), st.dictionaries(st.sampled_from(NAMES), VALUE))
Statements = list[tuple[Any, dict[str, Any]]]


def empty() -> Profiles:
    return Profiles(SETTINGS, FeatureFields("user"))


def restarted(profiles: Profiles) -> Profiles:
    fields = FeatureFields("user")
    fields.restore({name: part.copy() for name, part in profiles.fields.state().items()})
    return Profiles.from_state(SETTINGS, fields, {name: part.copy() for name, part in profiles.state().items()})


def same(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)


def reference(said: Statements) -> dict[Any, dict[str, Any]]:
    found: dict[Any, dict[str, Any]] = {}
    for user, features in said:
        found.setdefault(user, {}).update(features)
    return {user: {n: v for n, v in each.items() if v is not None} for user, each in found.items()}


@settings(max_examples=200, deadline=None)
@given(st.lists(STATEMENT, max_size=8), st.randoms(use_true_random=False), st.integers(0, 8))
def test_the_newest_statement_on_each_feature_holds_whatever_comes_first(
    said: Statements, random: Any, restart: int
) -> None:
    profiles = empty()
    for place, at in enumerate(random.sample(range(len(said)), len(said))):
        if place == restart:
            profiles = restarted(profiles)
        user, features = said[at]
        profiles.describe(user, features, START + at)
    wanted = reference(said)
    for user in ("u", 7, "nobody"):
        got = profiles.features(user)
        assert same({name: got[name] for name in sorted(got)}, dict(sorted(wanted.get(user, {}).items())))
    counts_are_those_of(profiles)
    again = restarted(profiles)
    assert len(again) == len(profiles)
    for user in ("u", 7):
        for mine, its in zip(profiles.values(user, START), again.values(user, START), strict=True):
            np.testing.assert_array_equal(mine, its)
    size = len(profiles.fields)
    for name in ("present", "distinct"):
        np.testing.assert_array_equal(getattr(again.fields, name)[:size], getattr(profiles.fields, name)[:size])
    for user in ("u", 7):
        assert profiles.forget(user) == any(user == who and features for who, features in said)
        assert not profiles.forget(user)
    assert len(profiles) == 0
    assert not profiles.fields.present.any()
    assert not profiles.fields.distinct.any()


def counts_are_those_of(profiles: Profiles) -> None:
    """Every feature is had by as many as state a value that says something of it."""
    for number, name in enumerate(profiles.fields.names):
        having = 0
        for user in ("u", 7):
            alone = {n: v for n, v in profiles.features(user).items() if n == name}
            other = Profiles(SETTINGS, profiles.fields)
            other._of = {user: {n: (0, v) for n, v in alone.items()}}
            having += len(other.values(user, START).codes) > 0
        assert profiles.fields.present[number] == having


def test_contradictory_statements_are_bounded_and_the_last_of_equal_times_holds() -> None:
    profiles = empty()
    for number in range(1_000):
        profiles.describe("u", {"likes": ["tea", "mugs"][number % 2], "age": number if number % 3 else "old"}, START)
    assert profiles.features("u") == {"likes": "mugs", "age": "old"}
    # The first age was a text, and so numbers are names.
    assert profiles.fields.kinds_by_number == [Kind.CATEGORY, Kind.CATEGORY]
    assert profiles.fields.present[:2].tolist() == [1, 1]
    profiles.describe("v", {"size": 3}, START)
    profiles.describe("v", {"size": "large"}, START + 1)
    assert profiles.fields.misfits[:3].tolist() == [0, 0, 1]
    assert profiles.fields.present[:3].tolist() == [1, 1, 0]
    assert len(profiles.values("v", START).codes) == 0
    # To read counts nothing.
    assert profiles.fields.misfits[2] == 1


def test_ten_thousand_features_of_a_user_are_too_many_and_counted() -> None:
    profiles = empty()
    profiles.describe("u", {f"f{number}": number for number in range(10_000)}, START)
    assert len(profiles.features("u")) == len(profiles.fields) == MOST_FIELDS
    assert profiles.fields.refused == 10_000 - MOST_FIELDS
    profiles.describe("u", {"f1": 0, "f9999": 0}, START + 1)
    assert profiles.features("u")["f1"] == 0
    assert "f9999" not in profiles.features("u")


def test_a_feature_that_another_user_makes_known_is_not_taken_from_those_who_never_had_it() -> None:
    profiles = empty()
    profiles.describe("u", {"age": float("nan")}, START)
    profiles.describe("v", {"age": 3}, START)
    profiles.forget("u")
    assert profiles.fields.present[0] == 1


def test_an_old_statement_does_not_take_away_what_was_said_since() -> None:
    profiles = empty()
    profiles.describe("u", {"likes": None}, START + 5)
    profiles.describe("u", {"likes": "tea"}, START + 4)
    assert profiles.features("u") == {}
    profiles.describe("u", {"likes": "tea"}, START + 6)
    assert profiles.features("u") == {"likes": "tea"}
    profiles.turn_back(START)
    profiles.describe("u", {"likes": "mugs"}, START + 1)
    assert profiles.features("u") == {"likes": "mugs"}


@pytest.mark.parametrize("known", [False, True])
def test_idle_users_leave_unless_they_are_known_otherwise(known: bool) -> None:
    profiles, active = empty(), ActiveTime()
    for hour in range(5 * 24 + 1):
        active.reach(START + hour * HOUR_MS)
    profiles.describe("old", {"likes": "tea"}, START)
    profiles.describe("new", {"likes": "tea"}, START + 4 * DAY_MS)
    profiles.evict(START + 5 * DAY_MS, active, lambda one: known and one == "old")
    assert [len(profiles.features(user)) for user in ("old", "new")] == [known, 1]
    assert profiles.fields.present[0] == 1 + known


def test_numbers_that_are_stated_again_are_learned_once() -> None:
    profiles = empty()
    for _ in range(5):
        profiles.describe("u", {"age": 30}, START)
    assert profiles.fields.running._counts == [1]
    profiles.describe("u", {"age": 40}, START)
    assert profiles.fields.running._counts == [2]
    assert profiles.values("u", START).codes[0] == 1


def test_a_feature_that_becomes_a_text_is_counted_anew_of_everybody() -> None:
    profiles = empty()
    profiles.describe("u", {"about": "green tea"}, START)
    profiles.describe("v", {"about": "green tea"}, START)
    assert (profiles.fields.present[0], profiles.fields.distinct[0]) == (2, 1)
    profiles.describe("w", {"about": "a text of more than four words"}, START)
    counted = profiles.fields.present[0], profiles.fields.distinct[0]
    again = restarted(profiles)
    assert (again.fields.present[0], again.fields.distinct[0]) == counted
    for user in ("u", "v", "w"):
        profiles.forget(user)
    assert (profiles.fields.present[0], profiles.fields.distinct[0]) == (0, 0)
