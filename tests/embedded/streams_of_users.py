"""Streams of all kinds of events in which users, items and days come and go, and a comparison of users' contexts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from stream_reco.config import Settings
from stream_reco.embedded.learner import Learner
from stream_reco.embedded.user_context import user_contexts
from stream_reco.events import Action, Event, Id, Impression, ItemEvent, Retraction, UserEvent
from stream_reco.events.schema import Features
from stream_reco.interests import InterestSettings
from stream_reco.labels import LabelSettings
from stream_reco.serve.replica.shared_active_time import FollowedActiveTime
from stream_reco.serve.replica.user_context import RemoteUserContexts
from stream_reco.serve.slate.request import UserContext
from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.signals.settings import DAY_MS, HOUR_MS, SignalSettings
from stream_reco.storage.shared_users import SharedUsers
from stream_reco.train.settings import TrainSettings

START = 1_760_000_000_000
USERS: tuple[Id, ...] = (5, "5", "ü", -7, "x" * 512, *range(100, 112))
ITEMS = 40
SETTINGS = Settings(
    signals=SignalSettings(
        item_idle_days=1.0, user_idle_days=2.0, history_days=1.5, history_length=30, disliked_length=4
    ),
    interests=InterestSettings(history_days=1.25, history=30),
    labels=LabelSettings(window_days=1.0),
    training=TrainSettings(wait_seconds=0.0, row_idle_days=2.0, batch=4),
)
"""All that becomes too old does so within days."""
_GAPS = (0, 1, 1_000, 60_000, 20 * 60_000, HOUR_MS, 7 * HOUR_MS, DAY_MS)
_CHANCES = (0.1, 0.1, 0.3, 0.25, 0.17, 0.05, 0.02, 0.01)


def stream(seed: int, count: int, start: int = START) -> Iterator[Event]:
    """So many events; the same for the same seed. What is popular drifts, so that items leave and come back."""
    rng, now = np.random.default_rng(seed), start
    acted: list[tuple[str, Id, int]] = []
    for number in range(count):
        now += int(rng.choice(_GAPS, p=_CHANCES))
        late = int(rng.choice([0, 0, 0, 1_000, 30 * 60_000, 3 * HOUR_MS]))
        user = USERS[int(len(USERS) * rng.beta(1, 2))]
        item = (int(rng.integers(8)) + number // 40) % ITEMS
        name, kind = f"{seed}.{number}", rng.random()
        if kind < 0.4:
            action = str(rng.choice(["click", "buy", "dislike", "hide", "rating"]))
            value = float(rng.integers(1, 6)) if action == "rating" else None
            yield Action(user_id=user, item_id=item, action=action, value=value, timestamp=now - late, event_id=name)
            acted.append((name, user, now - late))
        elif kind < 0.75:
            yield Impression(
                user_id=user,
                item_id=item,
                timestamp=now - late,
                event_id=name,
                request_id=f"r{number // 5}",
                position=1,
            )
        elif kind < 0.85 and acted:
            # Mostly of what came before, at times of what is still to come.
            of, whose, _ = acted[int(rng.integers(max(len(acted) - 30, 0), len(acted)))]
            future = rng.random() < 0.15
            yield Retraction(
                retracts=f"{seed}.{number + 3}" if future else of,
                timestamp=now,
                event_id=name,
                user_id=whose if rng.random() < 0.5 and not future else None,
            )
        elif kind < 0.95:
            likes: list[str | int | float | bool | None] = ["tea", "rain"]
            said: Features = {"age": int(rng.integers(90)), "likes": likes[: number % 3], "since": "2020-09-01"}
            features: Features = {feature: None if rng.random() < 0.2 else value for feature, value in said.items()}
            yield UserEvent(user_id=user, features=features, timestamp=now - late, event_id=name)
        else:
            yield ItemEvent(item_id=item, features={"kind": item % 3}, timestamp=now)


class BothContexts:
    """Compares contexts as requests within the process have them with those of a scorer in another process."""

    def __init__(self, learner: Learner, served: ServingState, users: SharedUsers, seed: int) -> None:
        self._learner = learner
        self._ours = user_contexts(learner, seed)
        self.theirs = RemoteUserContexts(
            served,
            users,
            SETTINGS.interests,
            history_days=None,
            active_time=FollowedActiveTime(users.note),
            seed=seed,
        )
        self.compared = dict.fromkeys(("recent", "seen", "medoids", "shown", "disliked", "profile"), 0)

    def compare(self, users: Iterable[Id] = (*USERS, "nobody")) -> None:
        """All of them, now and some time later; what is served must be in sync."""
        for user in users:
            for later in (0, 2 * HOUR_MS, 40 * HOUR_MS):
                now = self._learner.state.stream_time + later
                self._same_interests(user, now)
                self._same(self._ours(user, now), self.theirs(user, now))

    def _same(self, ours: UserContext, theirs: UserContext) -> None:
        assert ours.user_key == theirs.user_key
        pairs = [(getattr(ours, name), getattr(theirs, name)) for name in ("recent", "times", "seen", "disliked")]
        pairs += [(ours.medoids, theirs.medoids), *zip(ours.shown, theirs.shown, strict=True)]
        pairs += list(zip(ours.profile, theirs.profile, strict=True))
        for one, other in pairs:
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
        self.compared["recent"] += int((ours.recent >= 0).sum())
        self.compared["shown"] += len(ours.shown.slots)
        self.compared["profile"] += len(ours.profile.codes)
        for name in ("seen", "medoids", "disliked"):
            self.compared[name] += len(getattr(ours, name))

    def _same_interests(self, user: Id, now: int) -> None:
        if self._learner.state.histories.row_of(user) < 0:
            assert not len(self.theirs.interests(user, now).keys)
            return
        ours, theirs = self._learner.interests.medoids(user, now), self.theirs.interests(user, now)
        np.testing.assert_array_equal(ours.keys, theirs.keys)
        np.testing.assert_array_equal(ours.last, theirs.last)
        np.testing.assert_allclose(ours.importance, theirs.importance, rtol=1e-12)
