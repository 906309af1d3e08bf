"""A scorer in another process knows of every user what a request within the learner's process knows."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stream_reco import metrics
from stream_reco.clock import ManualClock
from stream_reco.embedded import Engine
from stream_reco.embedded.learner import Learner
from stream_reco.embedded.publish import Publishing
from stream_reco.embedded.user_states import UserStates, user_state
from stream_reco.events import Action, Id, Impression
from stream_reco.signals.settings import DAY_MS
from stream_reco.storage import shared_users
from stream_reco.storage.shared_users import SharedUsers
from tests.embedded.streams_of_users import SETTINGS, START, USERS, BothContexts, stream

HERE = Path(__file__).parent


class Elapsed:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def flushed(states: UserStates) -> None:
    for _ in range(50):
        if not states.flush():
            return
    raise AssertionError("some users are never written")


def click(user: Id, item: Id, time: int) -> Action:
    return Action(user_id=user, item_id=item, action="click", timestamp=time)


@pytest.mark.parametrize("seed", range(4))
def test_every_user_is_known_as_in_the_process_that_learns(seed: int, tmp_path: Path) -> None:
    learner = Learner(SETTINGS)
    publishing, store = Publishing(learner, SETTINGS, 1), SharedUsers(tmp_path, writes=True)
    states, rng = UserStates(learner, store), np.random.default_rng(seed)
    events = list(stream(seed, 900))
    learner.learn(events[:200])
    assert states.write_all()
    both = BothContexts(learner, publishing.served, store, seed)
    at, days = 200, set[int]()
    while at < len(events):
        size = int(rng.integers(1, 25))
        learner.learn(events[at : at + size])
        at += size
        if rng.random() < 0.1:
            learner.forget(USERS[int(rng.integers(len(USERS)))])
        if rng.random() < 0.05:
            learner.tick(learner.state.stream_time + int(rng.integers(DAY_MS)))
        if rng.random() < 0.05:
            assert states.write_all()
        flushed(states)
        publishing.sync(0)
        both.compare()
        days.add(learner.state.day)
    assert len(days) > 3
    assert min(both.compared.values()) > 100, both.compared
    store.close()


def test_what_nobody_noted_is_found_by_the_comparison(tmp_path: Path) -> None:
    learner = Learner(SETTINGS)
    publishing, store = Publishing(learner, SETTINGS, 1), SharedUsers(tmp_path, writes=True)
    states, events = UserStates(learner, store), list(stream(1, 300))
    learner.learn(events[:250])
    states.write_all()
    learner.on_user = None
    learner.learn(events[250:])
    flushed(states)
    publishing.sync(0)
    with pytest.raises(AssertionError):
        BothContexts(learner, publishing.served, store, 1).compare()
    store.close()


def test_after_a_kill_scorers_have_all_that_was_flushed_and_the_next_learner_goes_on(tmp_path: Path) -> None:
    env = os.environ | {"PYTHONPATH": str(HERE.parents[1])}
    for begin, count in ((0, 300), (300, 120)):
        script = [sys.executable, str(HERE / "user_states_until_killed.py"), str(tmp_path), str(begin), str(count)]
        done = subprocess.run(script, env=env, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
    store = SharedUsers(tmp_path / "shared", writes=True)
    with Engine(tmp_path / "data", SETTINGS, clock=ManualClock(START + 90 * DAY_MS)) as engine:
        assert engine.learner.state.events > 380
        engine.sync()
        both = BothContexts(engine.learner, engine.publishing.served, store, 3)
        both.compare()  # of what the killed process left
        states = UserStates(engine.learner, store)
        states.write_all()
        both.compare()
        engine.ingest(list(stream(3, 500))[420:])
        flushed(states)
        engine.sync()
        both.compare()
        assert min(both.compared.values()) > 50, both.compared
    store.close()


def test_whoever_acts_does_not_wait_for_the_many_who_change_as_a_day_begins(tmp_path: Path) -> None:
    learner, store = Learner(SETTINGS), SharedUsers(tmp_path, writes=True)
    states = UserStates(learner, store)
    learner.learn([click(f"u{number}", number % 9, START + number) for number in range(1_000)])
    states.write_all()
    assert states.flush() == 0
    # The pause counts as an hour; these clicks make two days pass.
    busy = [click("busy", 1, START + hour * 3_600_000) for hour in range(1, 72)]
    learner.learn(busy)
    before = store.get("u1").state
    assert before is not None
    left = states.flush()
    assert left > 700
    assert store.get("busy").state is not None
    learner.learn([click("new", 1, busy[-1].timestamp)])
    assert states.flush() < left
    assert store.get("new").state is not None
    flushed(states)
    assert store.get("u1").state is None, "idle users leave"
    store.close()


def test_a_store_that_cannot_be_written_stops_nothing_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failed() -> float:
        return metrics.REGISTRY.get_sample_value("stream_reco_shared_users_total", {"outcome": "failed"}) or 0.0

    learner, store, elapsed = Learner(SETTINGS), SharedUsers(tmp_path, writes=True), Elapsed()
    states, before = UserStates(learner, store, elapsed=elapsed), failed()
    learner.learn([click(1, 1, START)])
    monkeypatch.setattr(shared_users, "_LOCK_BYTES", 1 << 60)  # no disk has that
    caplog.set_level(logging.WARNING)
    assert not states.write_all()
    assert states.flush() == 1
    monkeypatch.undo()
    assert states.flush() == 1
    assert not store.complete, "it is not tried again at once"
    elapsed.now = 31.0
    states.flush()
    assert store.complete
    whole, put = store.get(1), SharedUsers.put_many
    learner.learn([click(1, 2, START + 1), click(2, 2, START + 1)])
    monkeypatch.setattr(SharedUsers, "put_many", _no_room)
    assert [states.flush() for _ in range(3)] == [2, 2, 2]
    monkeypatch.setattr(SharedUsers, "put_many", put)
    assert (states.flush(), store.get(1)) == (2, whole)
    elapsed.now = 33.0
    assert states.flush() == 0
    assert store.get(1).state != whole.state
    assert store.get(2).state is not None
    assert failed() == before + 2
    said = [record.message.split(":")[0] for record in caplog.records if "scorers" in record.message]
    told = ["scorers do not get what is learned of users", "scorers get what is learned of users again"]
    assert said == told * 2, "once each"
    store.close()


def _no_room(*_: object) -> None:
    raise shared_users.SharedUsersError("no room")


def test_users_who_only_look_are_known_too(tmp_path: Path) -> None:
    learner, store = Learner(SETTINGS), SharedUsers(tmp_path, writes=True)
    states = UserStates(learner, store)
    states.write_all()
    learner.learn([Impression(user_id="looks", item_id=1, timestamp=START, request_id="r", position=0)])
    assert user_state(learner, "nobody") is None
    states.flush()
    assert store.get("looks").state is not None
    learner.forget("looks")
    states.flush()
    assert store.get("looks").state is None
    store.close()
