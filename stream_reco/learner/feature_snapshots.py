"""What the model would have read when an action came, kept until the action's example comes."""

from __future__ import annotations

import msgspec

from stream_reco.events import Action, Id
from stream_reco.labels import Example

MOST = 4096
"""Moments of at most some 16 kB each."""
_COMES = b""
Key = tuple[Id, Id, Id | None, int, str | None]
"""User, item, request, time (ms) and kind of an action."""


class FeatureSnapshots:
    """Features of the newest actions as of their time, oldest first; what is not asked for in time is dropped."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._kept: dict[Key, bytes] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def wants(self, action: Action) -> bool:
        """Whether the moment of an action is to be kept; not where its example came before the action itself."""
        key = _of_action(action)
        return self._kept[key] != _COMES if key in self._kept else True

    def keep(self, action: Action, inputs: bytes) -> None:
        """Keep the `Inputs` of an action's moment."""
        self._put(_of_action(action), inputs)

    def take(self, example: Example) -> bytes | None:
        """The `Inputs` of the action that an example is of, once."""
        return self._kept.pop(_of_example(example), None) or None

    def expect(self, example: Example) -> None:
        """The action of an example is still to come: its moment will not be needed."""
        self._put(_of_example(example), _COMES)

    def came(self, action: Action) -> None:
        """The action that was expected has come."""
        if self._kept.get(_of_action(action)) == _COMES:
            del self._kept[_of_action(action)]

    def forget_before(self, time: int) -> None:
        """Let go of actions before `time` (ms) at the old end: their examples will not come any more."""
        for key in list(self._kept):
            if key[3] >= time:
                break
            del self._kept[key]

    def forget_user(self, user_id: Id) -> None:
        """Let go of all of a user."""
        for key in [key for key in self._kept if key[0] == user_id]:
            del self._kept[key]

    def _put(self, key: Key, inputs: bytes) -> None:
        self._kept.pop(key, None)
        self._kept[key] = inputs
        if len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]

    def state(self) -> bytes:
        """Everything, for a checkpoint."""
        return msgspec.msgpack.encode(list(self._kept.items()))

    def recall(self, state: bytes) -> None:
        """The inverse of `state`."""
        self._kept = dict(msgspec.msgpack.decode(state, type=list[tuple[Key, bytes]]))


def _of_action(action: Action) -> Key:
    return action.user_id, action.item_id, action.request_id, action.timestamp, action.action


def _of_example(example: Example) -> Key:
    return example.user_id, example.item_id, example.request_id, example.event_time, example.action
