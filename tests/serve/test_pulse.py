"""What processes see of a learner: written by one after a fork, read by others."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable

import pytest

from stream_reco.serve.pulse import Pulse
from stream_reco.serve.replica import beside_learner
from stream_reco.serve.replica.beside_learner import learner_problem
from stream_reco.serve.status import starting_status

_FORK = multiprocessing.get_context("fork")
WRITES = 2_000


def in_a_process(work: Callable[[], None]) -> None:
    process = _FORK.Process(target=work)
    process.start()
    process.join(30)
    assert process.exitcode == 0


def test_what_one_process_writes_others_read() -> None:
    pulse = Pulse()

    def learner() -> None:
        pulse.opened()
        pulse.durable(2**40, 7)
        pulse.reached(1_790_000_000_000)
        pulse.tell({**starting_status(), "state": "ready", "items": 3, "problem": "none that matters"})

    assert pulse.status() == starting_status()
    in_a_process(learner)
    assert (pulse.is_open, pulse.events, pulse.backlog, pulse.stream_time) == (True, 2**40, 7, 1_790_000_000_000)
    assert pulse.status() == {
        **starting_status(),
        "state": "ready",
        "items": 3,
        "problem": "none that matters",
        "events": 2**40,
        "backlog": 7,
    }
    pulse.closed()
    assert not pulse.is_open


def test_no_status_is_read_that_is_written_in_part() -> None:
    pulse = Pulse()

    def learner() -> None:
        for number in range(WRITES):
            pulse.tell({**starting_status(), "items": number, "problem": str(number) * (number % 50)})

    process = _FORK.Process(target=learner)
    process.start()
    seen = 0
    while process.is_alive():
        status = pulse.status()
        assert status["problem"] in (None, str(status["items"]) * (status["items"] % 50))
        assert status["items"] >= seen
        seen = status["items"]
    process.join()
    assert pulse.status()["items"] == WRITES - 1


def test_a_writer_that_was_killed_amid_a_status_leaves_the_one_before() -> None:
    pulse = Pulse()
    pulse.tell({**starting_status(), "items": 1})
    before = pulse.status()
    pulse.begin_record()
    assert pulse.status() == before
    pulse.tell({**starting_status(), "items": 2})
    assert pulse.status()["items"] == 2


def test_a_status_that_is_too_long_is_left_out() -> None:
    pulse = Pulse()
    pulse.tell({**starting_status(), "items": 1})
    pulse.tell({**starting_status(), "items": 2, "problem": "x" * 100_000})
    assert pulse.status()["items"] == 1


def test_a_learner_that_is_away_or_silent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pulse = Pulse()
    assert "started" in str(learner_problem(pulse))
    pulse.opened()
    assert learner_problem(pulse) is None
    monkeypatch.setattr(beside_learner, "SILENT_SECONDS", 0.05)
    time.sleep(0.1)
    assert "no sign of life for 0 s" in str(learner_problem(pulse))
    pulse.beat()
    assert learner_problem(pulse) is None
