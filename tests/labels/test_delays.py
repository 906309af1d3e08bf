"""The delays of actions against all that would come, and the wait that follows from them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_reco.events import Action, Impression, Retraction
from stream_reco.labels import LabelJoiner
from stream_reco.labels.label.delays import ActionDelays, AdaptiveWait

MINUTE = 60_000
HOUR = 60 * MINUTE


def known(delays: NDArray[np.float64], kind: str = "click") -> ActionDelays:
    found = ActionDelays({})
    found.began_by(0)
    for delay in delays:
        found.add(kind, int(delay))
    return found


def stream(age: int, delays: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Those of the delays that have passed where impressions came evenly over `age` ms."""
    return delays[rng.uniform(0, age, len(delays)) + delays <= age]


@pytest.mark.parametrize("median", [2_500, 40_000, 20 * MINUTE])
def test_it_is_the_median_of_many(median: int) -> None:
    delays = np.random.default_rng(7).lognormal(np.log(median), 1.0, 4_000)
    assert known(delays).wait(400 * HOUR, AdaptiveWait()) == pytest.approx(np.median(delays), rel=0.06)


def test_a_young_stream_does_not_take_the_short_delays_for_all() -> None:
    rng = np.random.default_rng(11)
    every = rng.lognormal(np.log(10 * MINUTE), 0.8, 30_000)
    young = stream(HOUR, every, rng)
    wait = known(young[:9_000]).wait(HOUR, AdaptiveWait())
    assert np.median(young) < 0.9 * np.median(every), "what has come is too short"
    assert wait == pytest.approx(np.median(every[every < HOUR]), rel=0.08)


def test_it_has_bounds_and_waits_for_enough() -> None:
    few = known(np.full(49, 5_000))
    assert few.wait(HOUR, AdaptiveWait()) == 30_000
    few.add("click", 5_000)
    assert few.wait(HOUR, AdaptiveWait()) == pytest.approx(5_000, rel=0.2)
    assert known(np.full(60, 10)).wait(HOUR, AdaptiveWait()) == 1_000
    assert known(np.full(60, 50 * HOUR)).wait(2_000 * HOUR, AdaptiveWait()) == HOUR


def test_the_newest_count_and_the_most_frequent_kind_decides() -> None:
    delays = known(np.full(30_000, 5_000))
    for _ in range(30_000):
        delays.add("click", 90_000)
    assert delays.wait(HOUR, AdaptiveWait()) == pytest.approx(90_000, rel=0.2)
    for _ in range(1_000):
        delays.add("buy", 20 * MINUTE)
    assert delays.wait(HOUR, AdaptiveWait()) == pytest.approx(90_000, rel=0.2)
    for _ in range(20_000):
        delays.add("buy", 20 * MINUTE)
    assert delays.wait(100 * HOUR, AdaptiveWait()) == pytest.approx(20 * MINUTE, rel=0.2)


def test_kinds_of_free_text_do_not_fill_memory() -> None:
    delays = known(np.full(100, 5_000))
    for number in range(500):
        delays.add(f"kind {number}", 1)
    assert len(delays.counts) == 64
    assert "click" in delays.counts


def joiner(**settings: object) -> LabelJoiner:
    bounds = AdaptiveWait(enough=5)
    return LabelJoiner(lateness_ms=MINUTE, adaptive=bounds, **settings)  # type: ignore[arg-type]


def shown(item: int, time: int) -> Impression:
    return Impression(user_id=1, item_id=item, timestamp=time, request_id=f"r{item}", event_id=f"s{item}")


def act(item: int, time: int, kind: str = "click") -> Action:
    return Action(
        user_id=1, item_id=item, action=kind, timestamp=time, request_id=f"r{item}", event_id=f"{kind}{item}{time}"
    )


def test_a_presumption_comes_after_the_wait_by_stream_time_and_an_action_reverses_it() -> None:
    one = joiner()
    one.process([shown(1, 0)])
    # The stream is at 30 s: the watermark is a minute behind it, and for a presumption that does not matter.
    assert one.advance(30_000 - MINUTE) == []
    (presumed,) = one.advance(30_001 - MINUTE)
    assert (presumed.label, presumed.reason, presumed.label_time) == (0, "immediate", 30_000)
    (reversed_,) = one.process([act(1, 50_000)])
    assert (reversed_.label, reversed_.reason, reversed_.undoes and reversed_.undoes.reason) == (
        1,
        "reversal",
        "immediate",
    )
    assert one.advance(40 * 24 * HOUR) == []


def test_the_window_says_nothing_more_of_what_was_presumed() -> None:
    one = joiner()
    one.process([shown(1, 0)])
    assert [example.reason for example in one.advance(40 * 24 * HOUR)] == ["immediate"]
    assert one.pending == 0


def test_the_wait_is_fixed_as_the_impression_comes() -> None:
    one = joiner()
    one.process([shown(99, 0)])
    for item in range(5):
        one.process([shown(item, HOUR), act(item, HOUR + 3_000)])
    one.process([shown(7, 2 * HOUR)])
    assert [example.item_id for example in one.advance(2 * HOUR + 4_000 - MINUTE)] == [99, 7]


def test_only_the_first_positive_action_of_a_kind_says_how_long_it_takes() -> None:
    one = joiner()
    one.process([shown(1, 0), act(1, 2_000), act(1, 9_000), act(1, 4_000, "buy"), act(1, 5_000, "skip")])
    one.process([act(1, 15 * 24 * HOUR, "share"), Retraction(retracts="click12000", timestamp=10_000, user_id=1)])
    counts = one._memory.delays.counts
    assert {kind: sum(map(bool, some)) for kind, some in counts.items()} == {"click": 1, "buy": 1}


def test_one_that_comes_behind_its_wait_is_presumed_with_the_next() -> None:
    one = joiner()
    one.process([shown(1, 10 * HOUR)])
    one.advance(10 * HOUR)
    one.process([shown(2, 10 * HOUR - 20_000), shown(3, 5 * HOUR), shown(4, 0)])
    assert sorted(example.item_id for example in one.advance(10 * HOUR + 1)) == [2, 3, 4]


def test_two_ways_of_presuming_are_refused() -> None:
    with pytest.raises(ValueError, match="give one of the two"):
        joiner(presume_ms=5)
