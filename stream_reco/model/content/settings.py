"""Settings of the content model: what is crossed with what, and how far each coefficient may go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

Variance = Annotated[float, Meta(ge=0.0, le=100.0)]


@dataclass(frozen=True)
class ContentSettings:
    """Prior variances of the parts, on the log-odds; 0 leaves a part out.

    A variance is that of a coefficient where a candidate has one of the part, and of all of them together where it has
    more, but for `equal`.

    Features that nobody sends cost nothing: where neither the user nor the item has any, this model says nothing.
    """

    item: Variance = 0.25
    """Of a value of an item, for everybody."""
    user: Variance = 0.25
    """Of a value of a user, for all items."""
    cross: Variance = 0.25
    """Of a value of a user together with a value of an item."""
    equal: Variance = 4.0
    """Of a feature of a user and one of an item that say the same."""
    context: Variance = 0.1
    """Of a value of the context together with a value of an item."""
    own: Variance = 0.5
    """Of any other value of an item, for one user."""
    words: Variance = 1.5
    """Of a word of an item's texts, for one user: a text is told by few of its words, each of which weighs little."""
    appeal: Variance = 0.1
    """Of a value of a user, for one item."""
    popularity: Variance = 0.25
    """Of one item, for everybody."""
    activity: Variance = 0.25
    """Of one user, for all items."""
