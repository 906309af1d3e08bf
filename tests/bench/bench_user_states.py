"""What it costs to keep states of users for scorers in other processes.

`python -m tests.bench.bench_user_states [USERS]`: processor time of writing a user after an event, for users with few
and with many remembered actions, alone and ten events at once; of reading one; and of writing all users.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from tempfile import TemporaryDirectory

import numpy as np

from stream_reco.config import Settings
from stream_reco.embedded.learner import Learner
from stream_reco.embedded.user_states import UserStates, user_state
from stream_reco.events import Action, ItemEvent
from stream_reco.serve.replica.user_state import UserState
from stream_reco.storage.shared_users import SharedUsers

START = 1_760_000_000_000
ITEMS = 5_000
ACTIONS = (5, 30, 1_000)
ROUNDS = 3


def microseconds(work: Callable[[], object], count: int) -> float:
    """Processor time of a call, the least of some rounds."""
    least = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(count):
            work()
        least = min(least, time.process_time() - started)
    return least / count * 1e6


def fill(learner: Learner, users: int, shown: int = 20) -> None:
    """Users of whom every hundredth has 1,000 actions, every third 30 and the others 5, and who were shown `shown`."""
    rng, state = np.random.default_rng(0), learner.state
    learner.learn([ItemEvent(item_id=item, features={}, timestamp=START) for item in range(ITEMS)])
    # With clicks of its own, or no item has a vector and nobody has interests.
    clicks = rng.integers(200, size=3_000)
    learner.learn(
        [
            Action(user_id=f"c{place % 300}", item_id=int(item), action="click", timestamp=START + place)
            for place, item in enumerate(clicks)
        ]
    )
    for number in range(users):
        many = ACTIONS[2] if number % 100 == 0 else ACTIONS[1] if number % 3 == 0 else ACTIONS[0]
        user, slots = f"u{number}", rng.integers(200, size=many).tolist()
        for place, slot in enumerate(slots):
            state.histories.add(user, slot, START + place)
        row = state.histories.row_of(user)
        learner._cluster_all(user, row, START + many)
        for slot in rng.integers(ITEMS, size=shown).tolist():
            state.exposures.add(user, slot, START)


def main(users: int) -> None:
    learner = Learner(Settings())
    fill(learner, users)
    with TemporaryDirectory() as folder:
        store = SharedUsers(folder, writes=True)
        states = UserStates(learner, store)
        states.write_all()
        started, wall = time.process_time(), time.perf_counter()
        assert states.write_all()
        taken, waited, known = time.process_time() - started, time.perf_counter() - wall, len(learner.state.users())
        say(f"all {known} users: {taken:.2f} s of processor, {waited:.2f} s, {known / taken:,.0f} users/s")
        say(f"  {store.nbytes / known:,.0f} bytes a user, {store.nbytes / 1e6:,.0f} MB")

        for many, user in zip(ACTIONS, ("u1", "u3", "u0"), strict=True):
            say(f"{many} actions, {costs_of(states, learner, store, user)} µs")
        others = [f"u{number}" for number in range(3, 300, 3)]
        cost = microseconds(lambda: flush_all(states, others), 50) / len(others)
        say(f"{len(others)} users of one flush: {cost:.1f} µs each")
        say(f"nothing to flush: {microseconds(states.flush, 10_000):.2f} µs")
        store.close()


def flush_all(states: UserStates, users: Sequence[str]) -> None:
    for user in users:
        states.note(user)
    states.flush()


def costs_of(states: UserStates, learner: Learner, store: SharedUsers, user: str) -> str:
    state = user_state(learner, user)
    assert state is not None
    data = state.to_bytes()
    costs = {
        "note and flush": microseconds(lambda: flush_all(states, [user]), 2_000),
        "of it the state": microseconds(lambda: user_state(learner, user), 2_000),
        "to bytes": microseconds(state.to_bytes, 2_000),
        "each of ten events at once": microseconds(lambda: flush_all(states, [user] * 10), 2_000) / 10,
        "read": microseconds(lambda: store.get(user), 5_000),
        "decode": microseconds(lambda: UserState.from_bytes(data), 5_000),
    }
    said = ", ".join(f"{name} {cost:.1f}" for name, cost in costs.items())
    return f"{len(data)} bytes, {len(state.medoids.keys)} interests: {said}"


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
