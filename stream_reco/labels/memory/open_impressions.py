"""Which impression an action is about, and which actions wait for theirs."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Sequence

from stream_reco.events import Id
from stream_reco.labels.label.pending import PendingAction, PendingImpression


def matching_impression(
    same: Sequence[PendingImpression], request_id: Id | None, time: int, life: int
) -> PendingImpression | None:
    """Of impressions of one item by one user, by time: the one that an action at `time` is about, `life` ms before it.

    With a request_id it is the one of that request, even where the clocks disagree about which came first. Without, it
    is the latest that is not after the action.
    """
    after: PendingImpression | None = None
    for shown in reversed(same):
        if shown.time < time - life:
            break
        if request_id is not None and shown.request_id != request_id:
            continue
        if shown.time <= time:
            return shown
        if request_id is not None:
            after = shown
    return after


class OpenImpressions:
    """All impressions that are remembered, by user and item, in the order of their times."""

    def __init__(self) -> None:
        self._users: dict[Id, dict[Id, list[PendingImpression]]] = {}

    def add(self, shown: PendingImpression) -> None:
        items = self._users.get(shown.user_id)
        if items is None:
            self._users[shown.user_id] = {shown.item_id: [shown]}
            return
        same = items.get(shown.item_id)
        if same is None:
            items[shown.item_id] = [shown]
        elif (same[-1].time, same[-1].seq) < (shown.time, shown.seq):
            same.append(shown)
        else:
            insort(same, shown, key=lambda s: (s.time, s.seq))

    def find(self, user_id: Id, item_id: Id, request_id: Id | None, time: int, life: int) -> PendingImpression | None:
        """The impression that an action at `time` is about, of those at most `life` ms before it."""
        items = self._users.get(user_id)
        same = items.get(item_id) if items is not None else None
        return matching_impression(same, request_id, time, life) if same is not None else None

    def remove(self, shown: PendingImpression) -> None:
        items = self._users[shown.user_id]
        same = items[shown.item_id]
        if len(same) > 1:
            # The oldest leave first, so this hardly searches.
            del same[next(at for at, other in enumerate(same) if other is shown)]
            return
        del items[shown.item_id]
        if not items:
            del self._users[shown.user_id]

    def of_user(self, user_id: Id) -> list[PendingImpression]:
        return [shown for same in self._users.get(user_id, {}).values() for shown in same]

    def __iter__(self) -> Iterator[PendingImpression]:
        return (shown for items in self._users.values() for same in items.values() for shown in same)


class WaitingActions:
    """Actions that name a request whose impression has not come, by user, item and request."""

    def __init__(self) -> None:
        self._users: dict[Id, dict[tuple[Id, Id | None], list[PendingAction]]] = {}

    def add(self, action: PendingAction) -> None:
        users = self._users.setdefault(action.user_id, {})
        users.setdefault((action.item_id, action.request_id), []).append(action)

    def take(self, shown: PendingImpression, until: int) -> list[PendingAction]:
        """Take out the actions that waited for this impression and are not after `until` ms.

        Those of a kind with a window of its own are about it until that is over.
        """
        requests = self._users.get(shown.user_id)
        if requests is None:
            return []
        waiting = requests.get((shown.item_id, shown.request_id), ())
        taken = [one for one in waiting if one.time <= (until if one.window is None else shown.time + one.window)]
        for action in taken:
            self.remove(action)
        return taken

    def remove(self, action: PendingAction) -> None:
        requests = self._users[action.user_id]
        key = (action.item_id, action.request_id)
        requests[key] = [other for other in requests[key] if other is not action]
        if not requests[key]:
            del requests[key]
            if not requests:
                del self._users[action.user_id]

    def of_user(self, user_id: Id) -> list[PendingAction]:
        return [action for actions in self._users.get(user_id, {}).values() for action in actions]

    def __iter__(self) -> Iterator[PendingAction]:
        return (a for requests in self._users.values() for actions in requests.values() for a in actions)
