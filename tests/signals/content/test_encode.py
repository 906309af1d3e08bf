"""Values of features: what is one value and what is not, how much it weighs, and that hostile input stays small."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.signals.content.encode import MOST_ENTRIES, encoded
from stream_reco.signals.content.fields import FeatureFields
from stream_reco.signals.content.kinds import Kind
from stream_reco.signals.content.values import values_of
from stream_reco.signals.content.words import BEGINNING_SHARE, MOST_VALUES, code_of, counted_words, weight_of


def codes(value: Any, kind: Kind | None = None, name: str = "it") -> list[int]:
    fields = FeatureFields("item", {} if kind is None else {name: kind})
    found: list[int] = encoded(fields, {name: value}, learn=True)[:, 1].tolist()
    return found


def weights(value: Any) -> list[float]:
    fields = FeatureFields("item")
    encoded(fields, {"it": value}, learn=True)
    found: list[float] = values_of(fields, {"it": value}, 0).weights.tolist()
    return found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (5, "5"),
        (5.0, 5),
        ("Red", "red"),
        (" red ", "red"),
        ("STRASSE", "straße"),
        ("e\u0301", "\u00e9"),
        (True, "true"),
        ([1, 2], ["1", "2"]),
        (["red"], "red"),
        ([None, "red", math.nan, "", " "], "red"),
        (["red", "Red"], "red"),
        (("a", "b"), ["a", "b"]),
        (["a", ["b"]], "a"),
    ],
)
def test_these_are_one_value(one: Any, other: Any) -> None:
    assert codes(one, Kind.CATEGORY) == codes(other, Kind.CATEGORY) != []


@pytest.mark.parametrize(("one", "other"), [(5, 6), (5, 5.5), ("red", "reds"), (True, 1), (False, None), ("é", "e")])
def test_these_are_two(one: Any, other: Any) -> None:
    assert codes(one, Kind.CATEGORY) != codes(other, Kind.CATEGORY)


def test_what_is_said_is_the_same_for_all_features() -> None:
    assert codes("red", name="a") == codes("red", name="b")


def test_codes_stay_because_rows_of_tables_are_known_by_them() -> None:
    assert code_of("red") == 4570521024216411171
    assert codes(0.5) == [0x3FE0000000000000]


@pytest.mark.parametrize(
    "value", [None, math.nan, math.inf, -math.inf, "", "  ", [], [None], [math.nan], [[]], [["a"]], {"a": 1}, {}]
)
def test_what_says_nothing_is_no_feature(value: Any) -> None:
    fields = FeatureFields("item")
    assert encoded(fields, {"it": value}, learn=True).shape == (0, 3)
    assert (len(fields), fields.refused) == (0, 0)


@pytest.mark.parametrize("value", [10**400, -(10**400), 1e308])
def test_huge_numbers_are_taken_for_large_ones(value: Any) -> None:
    (code,) = codes(value)
    assert abs(np.int64(code).view(np.float64)) == 1e30


@settings(deadline=None)
@given(st.lists(st.integers(0, 90), min_size=1, max_size=80))
def test_categories_of_a_list_weigh_alike_and_their_squares_sum_to_one(members: list[int]) -> None:
    tags = [f"tag {member}" for member in members]
    wanted = min(len(set(tags)), MOST_VALUES)
    assert weights(tags) == pytest.approx([1 / math.sqrt(wanted)] * wanted)


def test_a_list_is_read_up_to_a_bound() -> None:
    assert len(codes([f"tag {number}" for number in range(4_000)])) == MOST_VALUES
    fields = FeatureFields("item")
    features = {f"f{number}": [f"{tag}" for tag in range(60)] for number in range(10)}
    assert len(encoded(fields, features, learn=True)) == MOST_ENTRIES


def test_features_are_in_the_order_of_their_numbers_whatever_order_they_are_sent_in() -> None:
    fields = FeatureFields("item")
    encoded(fields, {"a": "x", "b": 2, "c": ["y", "z"]}, learn=True)
    one = encoded(fields, {"a": "x", "b": 2, "c": ["y", "z"]}, learn=False)
    np.testing.assert_array_equal(encoded(fields, {"c": ["y", "z"], "b": 2, "a": "x"}, learn=False), one)
    assert one[:, 0].tolist() == [0, 1, 2, 2]


def test_words_are_counted_and_beginnings_come_behind_them() -> None:
    assert [*counted_words("Tea, tea and teapots: TEA!")] == [
        ("tea", 3),
        ("and", 1),
        ("teapots", 1),
        ("teap*", -1),
    ]
    assert [*counted_words(["Die Kinos", None, "im Kino", 3])] == [
        ("die", 1),
        ("kinos", 1),
        ("im", 1),
        ("kino", 1),
        ("3", 1),
        ("kino*", -1),
    ]
    assert weight_of(3) == pytest.approx(1 + math.log(3))
    assert weight_of(-3) == pytest.approx(BEGINNING_SHARE * (1 + math.log(3)))
    assert code_of("teap*") != code_of("teap")


def test_forms_of_a_word_share_a_beginning() -> None:
    one, other = {*counted_words("a big library of them")}, {*counted_words("many small libraries here")}
    assert {word for word, _ in one} & {word for word, _ in other} == {"libr*"}


def test_scripts_without_spaces_are_read_by_pairs_of_letters() -> None:
    assert [word for word, _ in counted_words("東京大学 2026年 Kyoto")] == [
        "東京",
        "京大",
        "大学",
        "2026",
        "年",
        "kyoto",
        "kyot*",
    ]


@settings(deadline=None)
@given(st.one_of(st.text(max_size=600), st.lists(st.text(max_size=60), max_size=30)))
def test_a_text_has_a_bounded_number_of_values_and_each_once(text: Any) -> None:
    found = [*counted_words(text)]
    assert len(found) <= MOST_VALUES
    assert len({word for word, _ in found}) == len(found)
    assert all(count != 0 and (count < 0) == word.endswith("*") for word, count in found)


@pytest.mark.parametrize(
    "text",
    [
        "word " * 20_000,
        " ".join(f"word{number}" for number in range(14_000)),
        "x" * 100_000,
        "\u4e00" * 100_000,
        ["a text of five words " * 200] * 24,
    ],
)
def test_a_text_of_a_hundred_kilobytes_is_read_up_to_a_bound(text: Any) -> None:
    fields = FeatureFields("item", {"it": Kind.TEXT})
    encoded(fields, {"it": text}, learn=True)
    start = time.process_time()
    assert 0 < len(encoded(fields, {"it": text}, learn=True)) <= MOST_VALUES
    assert time.process_time() - start < 0.05


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=80)),
    lambda inner: st.lists(inner, max_size=10),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.dictionaries(st.text("abc", max_size=2), VALUES, max_size=5), max_size=5))
def test_whatever_is_stated_makes_sound_values(said: list[dict[str, Any]]) -> None:
    fields = FeatureFields("user")
    for features in said:
        encoded(fields, features, learn=True)
    for features in said:
        given_values = encoded(fields, features, learn=False)
        assert len(given_values) <= MOST_ENTRIES
        assert len({(field, code) for field, code, _ in given_values.tolist()}) == len(given_values)
        values = values_of(fields, features, 1_700_000_000_000)
        assert np.isfinite(values.weights).all()
        assert (np.abs(values.weights) <= 100).all()
