"""Features by number: bounded, of one kind each, the same on a replica and after a restart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.signals.content.encode import encoded
from stream_reco.signals.content.fields import MOST_FIELDS, FeatureFields
from stream_reco.signals.content.kinds import Kind, kind_of
from stream_reco.signals.content.profiles import Profiles
from stream_reco.signals.settings import SignalSettings

TEXT = "a long text of many words"


def admit(fields: FeatureFields, name: str, value: Any) -> int:
    kind = kind_of(value)
    assert kind is not None
    return fields.admit(name, kind, value)


def test_features_are_numbered_as_they_come() -> None:
    fields = FeatureFields("item")
    assert [admit(fields, name, 1) for name in ("b", "a", "b")] == [0, 1, 0]
    assert (fields.names, len(fields)) == (["b", "a"], 2)
    assert (fields.find("a"), fields.find("c")) == (1, -1)
    assert fields.kinds[:2].tolist() == fields.kinds_by_number == [Kind.NUMBER] * 2


def test_a_feature_is_known_by_the_same_hash_in_every_process_and_another_on_the_other_side() -> None:
    one, other, user = FeatureFields("item"), FeatureFields("item"), FeatureFields("user")
    admit(one, "first", 1)
    for fields in (one, other, user):
        admit(fields, "colour", "red")
    assert one.hashes[1] == other.hashes[0] != user.hashes[0]
    assert int(other.hashes[0]) == -1781555316


def test_ten_thousand_features_are_too_many_and_counted() -> None:
    fields = FeatureFields("item")
    features = {f"feature {number}": number for number in range(10_000)}
    assert len(encoded(fields, features, learn=True)) == 256
    assert len(fields) == MOST_FIELDS
    assert fields.refused == 10_000 - MOST_FIELDS
    assert not fields.misfits.any()
    assert admit(fields, "feature 3", 3) == 3
    assert admit(fields, "another", 3) == -1
    assert fields.refused == 10_001 - MOST_FIELDS


@pytest.mark.parametrize(
    ("first", "second", "fits"),
    [
        (1.5, "red", False),
        (1.5, True, False),
        (1.5, [0.0] * 8, False),
        ("2026-01-01", 5, False),
        ("2026-01-01", "soon", False),
        ([0.0] * 8, [1, 2], False),
        ("red", [0.0] * 8, False),
        ("red", [1] * 20, True),
        ("red", 5, True),
        ("red", "2026-01-01", True),
        ("red", True, True),
        (True, "maybe", True),
        (TEXT, "red", True),
        (TEXT, 5, True),
    ],
)
def test_what_does_not_fit_a_feature_is_counted_and_passed_over(first: Any, second: Any, fits: bool) -> None:
    fields = FeatureFields("item")
    assert admit(fields, "it", first) == 0
    assert admit(fields, "it", second) == (0 if fits else -1)
    assert fields.misfits[0] == (not fits)
    assert fields.kinds[0] == kind_of(first)
    assert not fields.turned
    # To look at a value counts nothing.
    assert len(encoded(fields, {"it": second}, learn=False)) == 0 or fits
    assert fields.misfits[0] == (not fits)


def test_a_category_becomes_a_text_with_its_first_text_and_stays_one() -> None:
    fields = FeatureFields("item")
    admit(fields, "about", "red")
    fields.changed = False
    assert admit(fields, "about", TEXT) == 0
    assert (fields.kinds[0], fields.kinds_by_number[0], fields.turned, fields.changed) == (1, 1, [0], True)
    admit(fields, "about", "red")
    assert (fields.kinds[0], fields.turned) == (Kind.TEXT, [0])


def test_a_declared_kind_stays() -> None:
    fields = FeatureFields("item", {"about": Kind.CATEGORY, "year": Kind.CATEGORY})
    assert admit(fields, "year", 1999) == 0
    assert admit(fields, "about", "red") == 1
    assert admit(fields, "about", TEXT) == 1
    assert fields.kinds_by_number == [Kind.CATEGORY] * 2
    assert not fields.turned
    assert len(encoded(fields, {"about": TEXT, "year": 2000}, learn=True)) == 2


VALUES = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(),
    st.booleans(),
    st.none(),
    st.sampled_from(["red", "", "2026-01-01", TEXT, "a" * 70]),
    st.lists(st.one_of(st.none(), st.integers(0, 3), st.text(max_size=3)), max_size=10),
)
FEATURES = st.dictionaries(st.sampled_from("abcdé"), VALUES, max_size=4)


@settings(max_examples=150, deadline=None)
@given(st.lists(FEATURES, max_size=12), st.lists(FEATURES, max_size=6))
def test_a_replica_and_a_restarted_trainer_read_alike(
    before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    trainer, replica = FeatureFields("item"), FeatureFields("item")
    for place, features in enumerate(before):
        encoded(trainer, features, learn=True)
        if place % 3 == 0 or place == len(before) - 1:
            kinds = replica.kinds_by_number.copy()
            other = replica.apply({name: part.copy() for name, part in trainer.parts().items()})
            assert other == [number for number, kind in enumerate(kinds) if trainer.kinds_by_number[number] != kind]
            assert_alike(trainer, replica, before + after)
    restarted = FeatureFields("item")
    restarted.restore({name: part.copy() for name, part in trainer.state().items()})
    assert (restarted.refused, restarted.changed) == (trainer.refused, trainer.changed)
    for features in after:
        np.testing.assert_array_equal(encoded(trainer, features, learn=True), encoded(restarted, features, learn=True))
    assert_alike(trainer, restarted, before + after)
    size = len(trainer)
    np.testing.assert_array_equal(restarted.misfits[:size], trainer.misfits[:size])
    for name, part in trainer.state().items():
        np.testing.assert_array_equal(part, restarted.state()[name], err_msg=name)


def assert_alike(one: FeatureFields, other: FeatureFields, examples: list[dict[str, Any]]) -> None:
    size = len(one)
    assert one.names == other.names
    for name in ("hashes", "kinds"):
        np.testing.assert_array_equal(getattr(one, name)[:size], getattr(other, name)[:size])
    assert one.kinds_by_number == other.kinds_by_number
    for mine, its in zip(one.running.scales, other.running.scales, strict=True):
        np.testing.assert_array_equal(mine[:size], its[:size])
    for features in examples:
        np.testing.assert_array_equal(encoded(one, features, learn=False), encoded(other, features, learn=False))


def test_parts_of_another_trainer_replace_everything() -> None:
    one, other, replica = FeatureFields("item"), FeatureFields("item"), FeatureFields("item")
    for name in ("a", "b", "c"):
        admit(one, name, 1)
    admit(other, "c", "red")
    replica.apply(one.parts())
    replica.apply(other.parts())
    assert (replica.names, replica.find("a"), replica.find("c")) == (["c"], -1, 0)
    assert replica.kinds_by_number == [Kind.CATEGORY]


def test_a_summary_has_the_features_that_enough_have_and_counts_nothing() -> None:
    fields, taken = FeatureFields("user"), FeatureFields("user")
    profiles = Profiles(SignalSettings(), fields)
    for number in range(5):
        rare: dict[str, Any] = {"rare": 3.5, "bio": TEXT} if number < 2 else {}
        profiles.describe(f"user-{number}", {**rare, "age": 20 + number, "city": "Oslo", "likes": TEXT}, number)
    assert admit(fields, "age", "old") == -1
    taken.restore(fields.summary(5))
    assert taken.names == ["age", "city", "likes"]
    assert taken.kinds_by_number == [Kind.NUMBER, Kind.CATEGORY, Kind.TEXT]
    for name in taken.names:
        assert taken.hashes[taken.find(name)] == fields.hashes[fields.find(name)]
    assert taken.running.scales.means[0] == fields.running.scales.means[fields.find("age")] == 22
    assert (taken.everyone, taken.refused, int(taken.misfits.sum()), int(taken.present.sum())) == (0, 0, 0, 0)
    assert taken.changed
    assert admit(taken, "rare", "a word") == 3
