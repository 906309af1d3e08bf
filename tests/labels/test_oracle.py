"""Final labels and who knows them at once, held against the brute-force join and against every policy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.events import Action, Event, Id, Impression, Retraction
from stream_reco.labels import Example, Final, LabelJoiner, LabelSettings, OracleJoiner, final_labels
from tests.labels.reference_join import reference_join

DAY = 86_400_000
SETTINGS = LabelSettings(window_days=1.0, lateness_seconds=0.0, action_weights={"buy": 3.0, "look": 0.0})
WINDOW = SETTINGS.window_ms


def shown(name: str, time: int, user: Id = "u", item: Id = "a", position: int = 0) -> Impression:
    return Impression(user_id=user, item_id=item, request_id=name, position=position, timestamp=time, event_id=name)


def act(name: str, request: str, time: int, kind: str = "click", user: Id = "u", item: Id = "a") -> Action:
    return Action(user_id=user, item_id=item, action=kind, request_id=request, timestamp=time, event_id=name)


def random_log(seed: int, count: int = 30) -> list[Event]:
    """Impressions of one request each, actions within and after both windows, retractions; by time."""
    rng = np.random.default_rng(seed)
    log: list[Event] = []
    for number in range(count):
        start = int(rng.integers(0, 3 * WINDOW))
        name = f"i{number}"
        user = int(rng.integers(3))
        log.append(shown(name, start, user=user, item=number))
        for again in range(int(rng.integers(0, 3))):
            at = start + int(rng.integers(0, 5 * WINDOW // 2))
            kind = str(rng.choice(["click", "buy", "look"]))
            log.append(act(f"{name}-{again}", name, at, kind, user, number))
            if rng.random() < 0.3:
                back = at + int(rng.integers(0, WINDOW))
                log.append(Retraction(retracts=f"{name}-{again}", timestamp=back, event_id=f"{name}-{again}-back"))
    return sorted(log, key=lambda event: event.timestamp)


def brute_force(log: Sequence[Event]) -> dict[Id, tuple[int, float]]:
    """Last label and its weight in all by request, which each impression has for itself."""
    finals: dict[Id, tuple[int, float]] = {}
    weights = {"buy": 3.0, "look": 0.0}
    for _, _, request, label, weight, reason, _, _, undoes in reference_join(log, WINDOW, None, weights):
        if request is not None and reason != "unprompted" and not (undoes and undoes[0] == "unprompted"):
            before = finals[request][1] if request in finals and undoes is None else 0.0
            finals[request] = (label, before + weight)
    return finals


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_final_labels_are_those_of_the_brute_force_join(seed: int) -> None:
    log = random_log(seed)
    finals = final_labels(log, SETTINGS)
    assert {name: (final.label, final.weight) for name, final in finals.items()} == brute_force(log)
    assert list(finals) == [event.event_id for event in log if isinstance(event, Impression)]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9), st.integers(0, WINDOW))
def test_every_policy_ends_with_them(seed: int, wait: int) -> None:
    log = random_log(seed)
    finals = {name: final.label for name, final in final_labels(log, SETTINGS).items()}
    for joiner in (
        LabelJoiner(WINDOW, "slate", 0, SETTINGS.action_weights),
        LabelJoiner(WINDOW, None, 0, SETTINGS.action_weights, presume_ms=wait),
    ):
        last: dict[Id | None, int] = {}
        for event in log:
            for example in [*joiner.process([event]), *joiner.advance(event.timestamp)]:
                last[example.request_id] = _label(example, last)
        for example in joiner.advance(log[-1].timestamp + 2 * WINDOW + DAY):
            last[example.request_id] = _label(example, last)
        assert {name: label for name, label in last.items() if name in finals} == finals


def _label(example: Example, last: dict[Id | None, int]) -> int:
    unprompted = example.reason == "unprompted" or (example.undoes and example.undoes.reason == "unprompted")
    return last.get(example.request_id, 0) if unprompted else example.label


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9))
def test_the_oracle_tells_each_final_label_once_as_it_is_shown(seed: int) -> None:
    log = random_log(seed)
    finals = final_labels(log, SETTINGS)
    oracle = OracleJoiner(finals, SETTINGS)
    plain = LabelJoiner(WINDOW, None, 0, SETTINGS.action_weights)
    told: dict[Id | None, int] = {}
    theirs, ours = [], []
    for event in log:
        feature = b"x" if isinstance(event, Impression) else None
        given = oracle.process([event], [feature])
        if isinstance(event, Impression):
            assert [example.features for example in given if example.reason != "unprompted"] == [b"x"]
            assert given[0].request_id == event.request_id
            told[event.event_id] = given[0].label
            given = given[1:]
        ours += given + oracle.advance(event.timestamp)
        theirs += plain.process([event]) + plain.advance(event.timestamp)
    assert told == {name: final.label for name, final in finals.items()}
    assert ours == [one for one in theirs if "unprompted" in (one.reason, one.undoes.reason if one.undoes else "")]


def test_repetitions_and_strangers_get_no_label() -> None:
    log: list[Event] = [shown("r", 0), act("x", "r", 5, "buy"), shown("r", 7)]
    finals = final_labels(log, SETTINGS)
    assert finals == {"r": Final(1, 3.0, 5)}
    oracle = OracleJoiner(finals, SETTINGS)
    assert [(one.label, one.weight, one.reason) for one in oracle.process(log)] == [(1, 3.0, "action")]
    nameless = Impression(user_id="u", item_id="b", timestamp=9)
    assert oracle.process([nameless, shown("other", 9)]) == []
    assert oracle.duplicates == 1
    assert final_labels([nameless], SETTINGS) == {}
