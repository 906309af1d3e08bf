"""The values of items and their lists against a plain dict, while items come, change and leave."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stream_reco.signals.content import entry_store
from stream_reco.signals.content.encode import encoded
from stream_reco.signals.content.fields import FeatureFields
from stream_reco.signals.content.items import ItemContent
from stream_reco.signals.content.kinds import Kind
from stream_reco.signals.content.words import code_of, weight_of

NOW = 1_700_000_000_000
SLOTS = 12
LISTED = (Kind.CATEGORY, Kind.TEXT, Kind.BOOLEAN)
NAMES = ("kind", "tags", "price", "text", "flag", "at")
VALUE = st.one_of(
    st.sampled_from(["tea", "mug", "tea pot", "2026-01-01", "2025-06-05T07:08:09"]),
    st.sampled_from([0.5, 3, True, False, None, math.nan]),
    st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=4),
    st.sampled_from(
        ["a text about tea and tea and mugs", "this text is about something else", "tea for two is not one"]
    ),
)
FEATURES = st.dictionaries(st.sampled_from(NAMES), VALUE, max_size=5)
Value = tuple[int, int]


class ItemContentMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.features: list[dict[str, Any] | None] = [None] * SLOTS
        self.fields = FeatureFields("item")
        self.content = ItemContent(self.features, self.fields)
        self.order: dict[Value, list[int]] = {}
        """Of each value the slots that have it, in the order in which they got it."""

    @rule(slot=st.integers(0, SLOTS - 1), features=FEATURES)
    def describe(self, slot: int, features: dict[str, Any]) -> None:
        self.features[slot] = features
        self.content.set(slot, features)
        self.follow(slot)

    @rule(slot=st.integers(0, SLOTS - 1))
    def remove(self, slot: int) -> None:
        self.features[slot] = None
        self.content.set(slot, None)
        self.follow(slot)

    @rule(slot=st.integers(0, SLOTS - 1))
    def describe_again(self, slot: int) -> None:
        self.content.set(slot, self.features[slot])

    @rule()
    def pack(self) -> None:
        self.content.store.pack()
        assert self.content.store.written == sum(len(self.given(slot)) for slot in range(SLOTS))

    @rule()
    def move_to_other_cells(self) -> None:
        self.content._add_cells(0)
        assert self.content._taken == len(self.order)

    def given(self, slot: int) -> list[list[int]]:
        features = self.features[slot]
        entries: list[list[int]] = encoded(self.fields, features or {}, learn=False).tolist()
        return entries

    def follow(self, first: int) -> None:
        """A slot was changed; where that turned a feature to a text, the others are read again behind it."""
        now: dict[Value, set[int]] = {}
        for slot in range(SLOTS):
            for field, code, _ in self.given(slot):
                if self.fields.kinds[field] in LISTED:
                    now.setdefault((field, code), set()).add(slot)
        self.order = {
            value: [slot for slot in self.order.get(value, []) if slot in slots]
            + sorted(slots - {*self.order.get(value, [])}, key=lambda slot: (slot != first, slot))
            for value, slots in now.items()
        }

    @invariant()
    def lists_agree(self) -> None:
        for (field, code), slots in self.order.items():
            assert self.content.having(field, code, 100) == slots[::-1]
            assert self.content.having(field, code, 2) == slots[::-1][:2]
            assert self.content.having(field, code, 0) == []
            assert self.content.frequency(field, code) == len(slots)
        assert self.content.having(0, 12345, 10) == []
        assert self.content.frequency(0, 12345) == 0

    @invariant()
    def counts_agree(self) -> None:
        entries = [self.given(slot) for slot in range(SLOTS)]
        for number in range(len(self.fields)):
            assert self.fields.present[number] == sum(number in {one[0] for one in each} for each in entries)
            assert self.fields.distinct[number] == len([value for value in self.order if value[0] == number])
        assert self.content.fields.everyone == sum(map(bool, entries))

    @invariant()
    def what_is_read_agrees(self) -> None:
        slots = np.array([*range(SLOTS), -1, 5000, 3], dtype=np.int32)
        counts, values = self.content.read(slots, NOW)
        end = 0
        for slot, count in zip(slots.tolist(), counts.tolist(), strict=True):
            wanted = self.categories_and_words(slot) if 0 <= slot < SLOTS else {}
            found = slice(end, end + count)
            got = {
                (field, code): weight
                for field, code, weight in zip(
                    values.fields[found].tolist(),
                    values.codes[found].tolist(),
                    values.weights[found].tolist(),
                    strict=True,
                )
                if not 0 < code < 100
            }
            assert got == pytest.approx(wanted, rel=1e-5)
            end += count
        assert end == len(values.codes)

    def categories_and_words(self, slot: int) -> dict[Value, float]:
        """The formula, feature by feature."""
        found: dict[Value, float] = {}
        for field in {one[0] for one in self.given(slot)}:
            own = {code: count for number, code, count in self.given(slot) if number == field}
            kind = self.fields.kinds[field]
            if kind not in LISTED:
                continue
            if kind == Kind.TEXT:
                described = self.content.fields.everyone
                weights = {
                    code: weight_of(count) * (1 + math.log((1 + described) / (1 + len(self.order[field, code]))))
                    for code, count in own.items()
                }
            else:
                weights = dict.fromkeys(own, 1.0)
            length = math.sqrt(sum(weight**2 for weight in weights.values()))
            found |= {(int(self.fields.hashes[field]), code): weight / length for code, weight in weights.items()}
        return found


TestItemContent = ItemContentMachine.TestCase
TestItemContent.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def content_of(features: list[dict[str, Any] | None]) -> ItemContent:
    content = ItemContent(features, FeatureFields("item"))
    for slot, one in enumerate(features):
        content.set(slot, one)
    return content


def test_who_keeps_a_value_keeps_its_place_and_who_gets_it_is_first() -> None:
    features: list[dict[str, Any] | None] = [{"kind": "tea", "price": slot} for slot in range(4)]
    content = content_of(features)
    tea = code_of("tea")
    assert content.having(0, tea, 3) == [3, 2, 1]
    content.set(1, {"price": 7, "kind": "tea"})
    assert content.having(0, tea, 9) == [3, 2, 1, 0]
    content.set(1, {"kind": "mug"})
    content.set(1, {"kind": "tea"})
    assert content.having(0, tea, 9) == [1, 3, 2, 0]


def test_words_weigh_by_todays_frequencies_whenever_their_item_came() -> None:
    features: list[dict[str, Any] | None] = [{"text": "tea from the far hills"}]
    content = content_of(features)

    def weight_of_tea() -> float:
        _, values = content.read(np.array([0], dtype=np.int32), NOW)
        return float(values.weights[values.codes == code_of("tea")][0])

    alone = weight_of_tea()
    for slot in range(1, 40):
        features.append({"text": f"tea or mug number {slot}"})
        content.set(slot, features[slot])
    assert weight_of_tea() < 0.75 * alone
    for slot in range(1, 40):
        content.set(slot, None)
    assert weight_of_tea() == alone


def test_text_is_found_by_its_rare_words_as_tf_idf_does() -> None:
    features: list[dict[str, Any] | None] = [{"text": f"the story of a man and word{slot // 2}"} for slot in range(40)]
    content = content_of(features)
    counts, values = content.read(np.arange(40, dtype=np.int32), NOW)
    ends = np.cumsum(counts)
    said = [
        dict(zip(values.codes[end - count : end].tolist(), values.weights[end - count : end].tolist(), strict=True))
        for end, count in zip(ends, counts, strict=True)
    ]
    for slot in range(40):
        scores = [sum(weight * other.get(code, 0.0) for code, weight in said[slot].items()) for other in said]
        scores[slot] = 0.0
        assert int(np.argmax(scores)) == slot ^ 1


def test_a_category_with_a_value_for_each_item_is_read_until_it_is_seen_to_be_an_id() -> None:
    features: list[dict[str, Any] | None] = [{"sku": f"s{slot}", "kind": "tea"} for slot in range(60)]
    content = content_of(features[:40])
    one = np.array([0], dtype=np.int32)
    assert len(content.read(one, NOW)[1].codes) == 2
    for slot in range(40, 60):
        content.set(slot, features[slot])
    assert content.fields.unique.tolist()[:2] == [True, False]
    assert content.read(one, NOW)[1].codes.tolist() == [code_of("tea")]


def test_what_no_item_says_any_more_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry_store, "_SPARE", 16)
    content = ItemContent([], FeatureFields("item"))
    for number in range(40_000):
        content.set(number % 50, {"session": f"s{number}", "tags": [f"t{number % 7}", f"u{number}"]})
    assert content.entries.codes.nbytes == 1024 * 8
    assert len(content._cells.codes) == 4096
    assert content.frequency(content.fields.find("tags"), code_of("t3")) == 7
    for slot in range(50):
        content.set(slot, None)
    assert content.fields.everyone == 0
    assert not content.fields.present.any()
    assert not content.fields.distinct.any()


@pytest.mark.timeout(120)
def test_a_category_with_a_million_values_is_bounded_by_the_items_that_have_them() -> None:
    content = ItemContent([], FeatureFields("item"))
    count = 200_000
    for slot in range(count):
        content.set(slot, {"sku": f"s{slot}", "kind": "tea"})
    taken = sum(array.nbytes for array in (*content.entries, *content._links, *content._cells))
    assert taken < 160 * count
    assert content.fields.distinct[:2].tolist() == [count, 1]
    assert content.having(1, code_of("tea"), 3) == [count - 1, count - 2, count - 3]
    assert content.frequency(1, code_of("tea")) == count
    # The oldest of a long list leaves as quickly as the newest.
    for slot in range(0, count, 2):
        content.set(slot, None)
    assert content.frequency(1, code_of("tea")) == count // 2
    assert content.fields.distinct[:2].tolist() == [count // 2, 1]
    assert content.having(0, code_of("s1"), 5) == [1]
    assert content.having(0, code_of("s2"), 5) == []
