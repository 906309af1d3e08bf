"""Groups of impressions that tell on each other: a response to a later one says that the earlier ones were seen."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from heapq import heappop, heappush
from typing import Literal

from stream_reco.events import Id
from stream_reco.labels.pending import Shown

Order = Literal["group", "slate"] | None
# Not `Id | tuple[Id, Id]`: in msgspec 0.22 that type, read as part of a state, crashes the garbage collector.
GroupKey = tuple[Id, ...]


class Group:
    """The impressions of one group that have no label yet, ordered by rank (time, or position), and its responses.

    Of the responses only those are kept that no other makes redundant by a
    rank at least as high at a time at least as early; so both
    ranks and times rise.
    """

    __slots__ = ("alive", "ranks", "times", "waiting")

    def __init__(self) -> None:
        self.alive = 0
        self.waiting: list[tuple[int, int, Shown]] = []
        self.ranks: list[int] = []
        self.times: list[int] = []

    def join(self, rank: int, shown: Shown) -> tuple[int, int] | None:
        """Add an impression; return (time, rank) of the earliest response to a later one, if there is any."""
        self.alive += 1
        heappush(self.waiting, (rank, shown.seq, shown))
        at = bisect_right(self.ranks, rank)
        return (self.times[at], self.ranks[at]) if at < len(self.ranks) else None

    def respond(self, rank: int, time: int) -> bool:
        """Note a response; return whether it says anything new."""
        ranks, times = self.ranks, self.times
        at = bisect_left(ranks, rank)
        if at < len(ranks) and times[at] <= time:
            return False
        first = bisect_left(times, time, hi=at)
        end = at + (at < len(ranks) and ranks[at] == rank)
        ranks[first:end] = [rank]
        times[first:end] = [time]
        return True

    def passed_over(self, rank: int) -> list[Shown]:
        """Take out the impressions before `rank` that are still without a label."""
        waiting, taken = self.waiting, []
        while waiting and waiting[0][0] < rank:
            shown = heappop(waiting)[2]
            if shown.label is None:
                taken.append(shown)
        return taken

    def leave(self, before: int) -> None:
        """One impression is over; so are responses at times `before` the oldest that can still be remembered."""
        self.alive -= 1
        while self.waiting and self.waiting[0][2].label is not None:
            heappop(self.waiting)
        over = bisect_left(self.times, before)
        if over:
            del self.ranks[:over], self.times[:over]


class Groups:
    """All groups with a remembered impression, under the setting of what a group and its order are."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._groups: dict[GroupKey, Group] = {}

    def place(self, shown: Shown) -> tuple[GroupKey, int] | None:
        """The group and rank of an impression; None where it has none."""
        if self._order == "slate":
            if shown.request_id is None or shown.position is None:
                return None
            # A request belongs to one user; others who give its id must not reach into it.
            return (shown.user_id, shown.request_id), shown.position
        if self._order == "group" and shown.group_id is not None:
            return (shown.group_id,), shown.time
        return None

    def join(self, key: GroupKey, rank: int, shown: Shown) -> tuple[int, int] | None:
        """Add an impression; return (time, rank) of the earliest response to a later one, if there is any."""
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group()
        return group.join(rank, shown)

    def respond(self, key: GroupKey, rank: int, time: int) -> bool:
        """Note a response at `time` to the impression at `rank`; return whether it says anything new."""
        return self._groups[key].respond(rank, time)

    def passed_over(self, key: GroupKey, rank: int) -> list[Shown]:
        """Take out the impressions before `rank` that are still without a label."""
        group = self._groups.get(key)
        return group.passed_over(rank) if group is not None else []

    def leave(self, key: GroupKey, before: int) -> None:
        """One impression of the group is over; responses at times before `before` can no longer matter."""
        group = self._groups[key]
        group.leave(before)
        if not group.alive:
            del self._groups[key]

    def responses(self) -> list[tuple[GroupKey, list[int], list[int]]]:
        """The responses of each group, as key, ranks and times: what a restart needs."""
        return [(key, group.ranks, group.times) for key, group in self._groups.items() if group.ranks]

    def recall(self, key: GroupKey, ranks: list[int], times: list[int]) -> None:
        """The inverse of `responses`, for a group whose impressions have joined."""
        group = self._groups[key]
        group.ranks, group.times = ranks, times
