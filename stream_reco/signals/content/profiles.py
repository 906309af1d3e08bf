"""What is said of users: the features that they, or the shop, have stated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np

from stream_reco.events import Id
from stream_reco.signals.active_time import ActiveTime
from stream_reco.signals.content.encode import encoded
from stream_reco.signals.content.fields import MOST_FIELDS, FeatureFields
from stream_reco.signals.content.kinds import Kind, kind_of
from stream_reco.signals.content.values import NO_VALUES, Values, values_of
from stream_reco.signals.growing import Parts
from stream_reco.signals.settings import DAY_MS, SignalSettings

_COUNTED = frozenset({int(Kind.CATEGORY), int(Kind.BOOLEAN)})
_MOST_COUNTED = 100_000
"""Categories whose users are counted: those of a feature with more have a cardinality that is too low."""
Profile = dict[str, tuple[int, Any]]
"""Name of a feature → the time (ms) at which it was stated last, and its value; None where it was taken away."""


def state_in(profile: Profile, features: Mapping[str, Any], now: int) -> int:
    """Put into a profile what is said of its user at `now` (ms); None takes a feature away, what is not named stays.

    What was stated later stays as well; of statements of one time that which comes last holds. Of no user more than
    `MOST_FIELDS` features are kept: returns how many were refused.
    """
    refused = 0
    for name, value in features.items():
        if name not in profile and len(profile) >= MOST_FIELDS:
            refused += 1
        elif now >= profile.get(name, (now, None))[0]:
            profile[name] = now, value
    return refused


def features_of(profile: Profile) -> dict[str, Any]:
    """What a profile says now."""
    return {name: value for name, (_, value) in profile.items() if value is not None}


class Profiles:
    """The features of each user of whom any was stated; of each feature the newest statement holds."""

    def __init__(self, settings: SignalSettings, fields: FeatureFields) -> None:
        """`fields`: what is known of the users' features; who publishes it has it as well."""
        self._settings, self.fields = settings, fields
        self._of: dict[Id, Profile] = {}
        self._holders: dict[tuple[int, int], int] = {}
        """How many users have a category: feature and code → users; at most `_MOST_COUNTED`."""

    def __len__(self) -> int:
        """Users."""
        return len(self._of)

    def describe(self, user_id: Id, features: Mapping[str, Any], now: int) -> None:
        """Take over what is said of a user at `now` (ms), as `state_in` does."""
        profile = self._of.get(user_id, {})
        known = features_of(profile)
        self.fields.refused += state_in(profile, features, now)
        if not profile:
            return
        self._of[user_id] = profile
        said = features_of(profile)
        self.fields.changed = True
        self._count(known, -1)
        encoded(self.fields, {name: value for name, value in said.items() if known.get(name) != value}, learn=True)
        if self.fields.turned:
            # What others have said is read as words from now on.
            self.fields.turned.clear()
            self._count_anew()
        else:
            self._count(said, 1)

    def _count(self, features: Mapping[str, Any], sign: int) -> None:
        """Count a user's features; with `sign` −1 no longer."""
        self.fields.everyone = len(self._of)
        for field, code, _ in encoded(self.fields, features, learn=False).tolist():
            if self.fields.kinds[field] in _COUNTED:
                self._hold((field, code), sign)
        for name, value in features.items():
            kind = kind_of(value)
            number = -1 if kind is None else self.fields.find_fitting(name, kind, value)
            if number >= 0:
                self.fields.present[number] += sign

    def _count_anew(self) -> None:
        self._holders.clear()
        self.fields.present[:], self.fields.distinct[:] = 0, 0
        for user_id in self._of:
            self._count(self.features(user_id), 1)

    def _hold(self, value: tuple[int, int], sign: int) -> None:
        holders = self._holders.get(value, 0)
        if not holders and len(self._holders) == _MOST_COUNTED:
            return
        self.fields.distinct[value[0]] += bool(holders + sign > 0) - bool(holders)
        if holders + sign > 0:
            self._holders[value] = holders + sign
        else:
            self._holders.pop(value, None)

    def features(self, user_id: Id) -> dict[str, Any]:
        """What is known of a user."""
        return features_of(self._of.get(user_id, {}))

    def knows(self, user_id: Id) -> bool:
        """Whether anything was stated of a user."""
        return user_id in self._of

    def users(self) -> list[Id]:
        """Users of whom anything was stated, in the order in which they came."""
        return list(self._of)

    def statements(self, user_id: Id) -> Profile:
        """What was stated of a user and when, of each feature last; what was taken away included."""
        return dict(self._of.get(user_id, {}))

    def values(self, user_id: Id, now: int) -> Values:
        """The values of a user at `now` (ms)."""
        return values_of(self.fields, self.features(user_id), now) if user_id in self._of else NO_VALUES

    def forget(self, user_id: Id) -> bool:
        """Remove a user; False where there is nothing to remove."""
        features = self.features(user_id)
        known = self._of.pop(user_id, None) is not None
        self._count(features, -1)
        return known

    def evict(self, now: int, active: ActiveTime, is_known: Callable[[Id], bool]) -> list[Id]:
        """Forget users of whom nothing was said for as long as makes a user idle, but for those who are still known.

        Returns those it forgot.
        """
        idle_since = active.earliest(now, int(self._settings.user_idle_days * DAY_MS))
        idle = [
            user_id
            for user_id, profile in self._of.items()
            if max(time for time, _ in profile.values()) < idle_since and not is_known(user_id)
        ]
        for user_id in idle:
            self.forget(user_id)
        return idle

    def turn_back(self, time: int) -> None:
        """Take statements later than `time` (ms) as of that time: the clock was wrong."""
        for profile in self._of.values():
            for name, (at, value) in profile.items():
                profile[name] = min(at, time), value

    def state(self) -> Parts:
        """Everything, for a checkpoint."""
        return {"users": np.frombuffer(msgspec.msgpack.encode(list(self._of.items())), dtype=np.uint8)}

    @classmethod
    def from_state(cls, settings: SignalSettings, fields: FeatureFields, parts: Parts) -> Profiles:
        """The profiles that `state` was taken from, with the `fields` as they were then."""
        restored = cls(settings, fields)
        users = msgspec.msgpack.decode(parts["users"].tobytes(), type=list[tuple[Id, dict[str, tuple[int, Any]]]])
        restored._of = dict(users)
        restored._count_anew()
        return restored
