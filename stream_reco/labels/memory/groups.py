"""Groups of impressions: a response to a later one implies that the earlier ones were seen."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from heapq import heapify, heappop, heappush
from typing import Generic, Literal, TypeVar

from stream_reco.events import Id
from stream_reco.labels.label.pending import PendingImpression

Order = Literal["group", "slate"] | None
# Not `Id | tuple[Id, Id]`: in msgspec 0.22 that type, read as part of a state, crashes the garbage collector.
GroupKey = tuple[Id, ...]
M = TypeVar("M")


def place_of(shown: PendingImpression, order: Order) -> tuple[GroupKey, int] | None:
    """The group and rank of an impression, under the setting of what a group and its order are; None: it has none."""
    if order == "slate":
        if shown.request_id is None or shown.position is None:
            return None
        # A request belongs to one user; others who give its id must not reach into it.
        return (shown.user_id, shown.request_id), shown.position
    if order == "group" and shown.group_id is not None:
        return (shown.group_id,), shown.time
    return None


class Group(Generic[M]):
    """The members of one group that were not passed over, ordered by rank (time, or position), and its responses.

    Of the responses only those are kept that no other makes redundant by a rank at least as high at a time at least as
    early; so both ranks and times rise.
    """

    __slots__ = ("alive", "ranks", "times", "waiting")

    def __init__(self) -> None:
        self.alive = 0
        self.waiting: list[tuple[int, int, M]] = []
        """Rank, seq and member, as a heap."""
        self.ranks: list[int] = []
        self.times: list[int] = []

    def join(self, rank: int, seq: int, member: M, since: int) -> tuple[int, int] | None:
        """Add a member; return (time, rank) of the earliest response from `since` on to a later one, if any."""
        self.alive += 1
        heappush(self.waiting, (rank, seq, member))
        self.forget_responses(since)
        at = bisect_right(self.ranks, rank)
        return (self.times[at], self.ranks[at]) if at < len(self.ranks) else None

    def respond(self, rank: int, time: int, since: int) -> bool:
        """Note a response; return whether it says anything that none from `since` on has said."""
        self.forget_responses(since)
        ranks, times = self.ranks, self.times
        at = bisect_left(ranks, rank)
        if at < len(ranks) and times[at] <= time:
            return False
        first = bisect_left(times, time, hi=at)
        end = at + (at < len(ranks) and ranks[at] == rank)
        ranks[first:end] = [rank]
        times[first:end] = [time]
        return True

    def passed_over(self, rank: int) -> list[M]:
        """Take out the members before `rank`."""
        waiting, taken = self.waiting, []
        while waiting and waiting[0][0] < rank:
            taken.append(heappop(waiting)[2])
        return taken

    def leave(self, rank: int, seq: int, before: int) -> None:
        """One member is over; so are responses at times `before` the oldest that can still be remembered."""
        self.alive -= 1
        waiting = self.waiting
        if waiting and waiting[0][1] == seq:
            heappop(waiting)  # the oldest leave first
        elif waiting and waiting[0][0] <= rank:
            self.waiting = [one for one in waiting if one[1] != seq]
            heapify(self.waiting)
        self.forget_responses(before)

    def forget_responses(self, before: int) -> None:
        """Forget responses at times before `before`."""
        over = bisect_left(self.times, before)
        if over:
            del self.ranks[:over], self.times[:over]


class Groups(Generic[M]):
    """All groups with a member that is not over."""

    def __init__(self) -> None:
        self._groups: dict[GroupKey, Group[M]] = {}

    def join(self, key: GroupKey, rank: int, seq: int, member: M, since: int) -> tuple[int, int] | None:
        """Add a member; return (time, rank) of the earliest response from `since` on to a later one, if any."""
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group()
        return group.join(rank, seq, member, since)

    def respond(self, key: GroupKey, rank: int, time: int, since: int) -> bool:
        """Note a response at `time` to the member at `rank`; return whether none from `since` on has said as much."""
        return self._groups[key].respond(rank, time, since)

    def passed_over(self, key: GroupKey, rank: int) -> list[M]:
        """Take out the members before `rank`."""
        group = self._groups.get(key)
        return group.passed_over(rank) if group is not None else []

    def leave(self, key: GroupKey, rank: int, seq: int, before: int) -> None:
        """One member of the group is over; with the last one the group is."""
        group = self._groups[key]
        group.leave(rank, seq, before)
        if not group.alive:
            del self._groups[key]

    def __contains__(self, key: GroupKey) -> bool:
        return key in self._groups

    def __len__(self) -> int:
        return len(self._groups)
