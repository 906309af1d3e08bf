"""Settings of the signals room."""

from __future__ import annotations

from dataclasses import dataclass

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

ACTION_HALF_LIVES_MS = (5 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS, 6 * HOUR_MS, DAY_MS, 7 * DAY_MS)
"""Half-lives of the decayed action counters of an item."""
SHOWN_HALF_LIVES_MS = (6 * HOUR_MS, 7 * DAY_MS)
"""Half-lives of the decayed impression counters.

Each is also one of `ACTION_HALF_LIVES_MS`, so that their ratio is a rate.
"""
WINDOWS_MS = (5 * MINUTE_MS, HOUR_MS, DAY_MS)
"""Spans of the sliding-window counters of an item."""
PAIR_HALF_LIVES_MS = (2 * HOUR_MS, 7 * DAY_MS)
"""Half-lives of co-visits."""
TOGETHER_HALF_LIVES_MS = (90 * DAY_MS,)
"""Half-life of what items share users by: people come back to a job board after days, and like what they liked."""
NEXT_HALF_LIVES_MS = (20 * MINUTE_MS, 2 * HOUR_MS, 7 * DAY_MS)
"""Half-lives of direct successions."""
CONTEXT_HALF_LIVES_MS = (HOUR_MS, DAY_MS)
"""Half-lives of item counters given a context value, and of trending within a context value."""
CONTEXT_FIELDS = 8
"""Categorical context fields that are counted and embedded at most; later ones are ignored."""
TIME_FIELDS = 2
"""Context fields holding a time that become ages at most."""
RECENT = 20
"""Newest actions of a user that features, co-visits and clusters look at."""


@dataclass(frozen=True)
class SignalSettings:
    """How much is remembered, and for how long.

    A news site lives on minutes, a job board on weeks: the half-lives are fixed, many, and the ranker learns which of
    them matter; what is set here only bounds memory.
    """

    pair_width: int = 40
    """Co-visited items kept for each item, and as many of those that follow it directly."""
    context_values: int = 512
    """Live values of a context field that are counted; a field with more is no category and is dropped."""
    item_idle_days: float = 90.0
    """An item without any event for this long leaves, unless the catalogue lists it, available or not.

    So does a context value that no action came with for as long. Days here are days of active time, in which a gap
    between two events that is longer than an hour counts as an hour.
    """
    user_idle_days: float = 90.0
    """A user without any action for this long, in active time, leaves."""
    history_length: int = 1000
    """Newest actions of a user that are remembered, for what was seen and for the daily clustering."""
    history_days: float = 90.0
    """Older actions, in active time, are forgotten."""
    once_seconds: float = 3600.0
    """A user's actions of one kind on one item count once within so much stream time, however often they come.

    That holds for counters, trends, co-visits, successions and contexts; the history has them all. 0 counts all.
    """
    disliked_length: int = 1000
    """Newest items that a user took a negative action on which are remembered, to be kept out of the user's slates."""
    trending_width: int = 100
    """Length of each trending list."""
    refresh_seconds: float = 15.0
    """Trending lists and the sampling distribution are renewed after so much stream time."""

    @property
    def once_ms(self) -> int:
        """`once_seconds` in milliseconds."""
        return round(self.once_seconds * 1000)
