"""To whom new items are shown before anybody has clicked them: nothing but what is said of them can tell."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from stream_reco.events import Id

_ENOUGH = 5
"""Slates of people who like its category, without which an item says nothing yet."""


@dataclass
class Showings:
    """In how many slates an item was, of how many that it could have been in."""

    shown: int = 0
    slates: int = 0

    def add(self, *, shown: bool) -> None:
        """Count a slate."""
        self.slates += 1
        self.shown += shown

    @property
    def share(self) -> float:
        """From 0 to 1; 0 before the first slate."""
        return self.shown / self.slates if self.slates else 0.0

    def in_words(self) -> str:
        """Both, and the share."""
        return f"{self.shown:,} of {self.slates:,} ({self.share:.0%})"


@dataclass
class UnclickedItem:
    """A new item, and in whose slates it was before its first click."""

    item_id: Id
    category: str
    to_fans: Showings
    """Slates of people who say that they like its category."""
    to_others: Showings

    def in_words(self) -> str:
        """A sentence without its end."""
        fans, others = self.to_fans, self.to_others
        return (
            f"new item {self.item_id} ({self.category}): in {fans.in_words()} slates of people who like"
            f" {self.category}, {others.in_words()} of others, before its first click"
        )


class UnclickedItems:
    """Follows new items until their first click, or until they go."""

    def __init__(self) -> None:
        self.clicked, self.fans, self.others = 0, Showings(), Showings()
        """How many got their first click, and over all of these in how many slates they were before."""
        self.latest: UnclickedItem | None = None
        """The last one of which something can be said."""
        self._waiting: dict[Id, UnclickedItem] = {}

    def add(self, item_id: Id, category: str) -> None:
        """A new item came."""
        self._waiting[item_id] = UnclickedItem(item_id, category, Showings(), Showings())

    def discard(self, item_id: Id) -> None:
        """An item went."""
        self._waiting.pop(item_id, None)

    def show(self, likes: Collection[str], items: Iterable[Id]) -> None:
        """Count a slate of somebody who says what he or she likes."""
        slate = set(items)
        for item in self._waiting.values():
            (item.to_fans if item.category in likes else item.to_others).add(shown=item.item_id in slate)

    def click(self, item_id: Id) -> None:
        """An item was clicked."""
        item = self._waiting.pop(item_id, None)
        if item is None:
            return
        self.clicked += 1
        for total, one in ((self.fans, item.to_fans), (self.others, item.to_others)):
            total.shown += one.shown
            total.slates += one.slates
        if item.to_fans.slates >= _ENOUGH:
            self.latest = item

    def in_words(self) -> str:
        """What all of them come to; empty before the first."""
        if not self.clicked:
            return ""
        return (
            f"{self.clicked:,} new items before their first click: in {self.fans.share:.1%} of the slates of people who"
            f" like their category, in {self.others.share:.1%} of others"
        )
