"""Settings of the retrieve room."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RetrieveSettings:
    """How many candidates each source may propose for one request."""

    trending: int = 100
    """From each of the trending lists, one for each half-life."""
    covisits: int = 40
    """From each of the newest items of the user."""
    neighbours: int = 10
    """From each of the newest items of the user: those that share most users with it, however long ago."""
    context: int = 40
    """From each value of the request's context."""
    fresh: int = 50
    """Half of them items that were shown least, the other half all items in turn, a share for each request.

    It is also what fills up where the other sources give too few; without it a slate may be short.
    """
    tower: int = 100
    interests: int = 60
    """Shared by the medoids that were drawn for the request."""
    content: int = 60
    """Items with the values that content expects the user to act on: half of them the newest, half in turn. To these
    come half as many that were shown least and are most like the medoids by what is said of them."""
    limit: int = 600
    """Candidates of one request at most."""
    without: tuple[str, ...] = ()
    """Sources to leave out: trending, covisits, neighbours, context, fresh, tower, interests, content."""
    exact_below: int = 50_000
    """Vectors below which a server compares each query with all of them; from there on it builds an index."""
    least_recall: float = 0.95
    """Share of the 400 nearest vectors that the index has to find: below it, exact search takes over."""
