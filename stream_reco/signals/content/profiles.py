"""What is said of users: the features that they, or the shop, have stated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np

from stream_reco.events import Id
from stream_reco.signals.active_time import ActiveTime
from stream_reco.signals.content.encode import encoded
from stream_reco.signals.content.fields import FeatureFields
from stream_reco.signals.content.values import NO_VALUES, Entries, Values, read_values
from stream_reco.signals.growing import Parts
from stream_reco.signals.settings import DAY_MS, SignalSettings

_ONE = np.zeros(1, dtype=np.int32)
Profile = dict[str, tuple[int, Any]]
"""Name of a feature → the time (ms) at which it was stated last, and its value; None where it was taken away."""


def state_in(profile: Profile, features: Mapping[str, Any], now: int) -> None:
    """Put into a profile what is said of its user at `now` (ms); None takes a feature away, what is not named stays.

    What was stated later stays as well. Of statements of one time that which comes last holds.
    """
    for name, value in features.items():
        if now >= profile.get(name, (now, None))[0]:
            profile[name] = now, value


def features_of(profile: Profile) -> dict[str, Any]:
    """What a profile says now."""
    return {name: value for name, (_, value) in profile.items() if value is not None}


class Profiles:
    """The features of each user of whom any was stated; of each feature the newest statement holds."""

    def __init__(self, settings: SignalSettings, fields: FeatureFields) -> None:
        """`fields`: what is known of the users' features; who publishes it has it as well."""
        self._settings, self.fields = settings, fields
        self._of: dict[Id, Profile] = {}

    def __len__(self) -> int:
        """Users."""
        return len(self._of)

    def describe(self, user_id: Id, features: Mapping[str, Any], now: int) -> None:
        """Take over what is said of a user at `now` (ms); None takes a feature away, what is not named stays."""
        profile = self._of.get(user_id, {})
        known = features_of(profile)
        state_in(profile, features, now)
        if not profile:
            return
        self._of[user_id] = profile
        said = features_of(profile)
        for name, value in said.items():
            self.fields.becomes_text(self.fields.find(name), value)
        fresh = {name: value for name, value in said.items() if known.get(name) != value}
        encoded(self.fields, fresh, learn=True)
        self._count(known, -1)
        self._count(said, 1)

    def _count(self, features: Mapping[str, Any], sign: int) -> None:
        for name in features:
            number = self.fields.find(name)
            if number >= 0:
                self.fields.present[number] += sign

    def features(self, user_id: Id) -> dict[str, Any]:
        """What is known of a user."""
        return features_of(self._of.get(user_id, {}))

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
        self._count(self.features(user_id), -1)
        return self._of.pop(user_id, None) is not None

    def evict(self, now: int, active: ActiveTime, is_known: Callable[[Id], bool]) -> None:
        """Forget users of whom nothing was said for as long as makes a user idle, but for those who are still known."""
        idle_since = active.earliest(now, int(self._settings.user_idle_days * DAY_MS))
        for user_id, profile in list(self._of.items()):
            if max(time for time, _ in profile.values()) < idle_since and not is_known(user_id):
                self.forget(user_id)

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
        for user_id, _ in users:
            restored._count(restored.features(user_id), 1)
        return restored


def values_of(fields: FeatureFields, features: Mapping[str, Any], now: int) -> Values:
    """The values of features that were stated, as of `now` (ms); what `fields` does not know is passed over."""
    entries = encoded(fields, features, learn=False)
    if not entries:
        return NO_VALUES
    one = Entries(
        np.zeros(1, dtype=np.int64),
        np.array([len(entries)], dtype=np.int32),
        np.array([entry.field for entry in entries], dtype=np.int16),
        np.array([entry.code for entry in entries], dtype=np.int64),
        np.array([entry.weight for entry in entries], dtype=np.float32),
    )
    return read_values(fields, one, _ONE, now)[1]
