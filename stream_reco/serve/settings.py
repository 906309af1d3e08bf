"""Settings of serving: the HTTP server, the precision of the rows that it reads, and slates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from stream_reco.sync import Precision

Positive = Annotated[int, Meta(ge=1)]
TokenHash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class ServeSettings:
    """Where the API listens, who may use it, how much one request may ask for, and what it is answered from."""

    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    """Address to listen on. Beyond loopback a token is required."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    """TCP port; 0 takes a free one."""
    token: Annotated[str, Meta(min_length=16, max_length=512)] | None = field(
        default=None, repr=False, metadata={"secret": True}
    )
    """A bearer token that clients must send; best given as an environment variable."""
    token_hashes: tuple[TokenHash, ...] = ()
    """SHA-256 of further bearer tokens, in hexadecimal, so that no configuration file holds a secret."""
    allowed_hosts: tuple[str, ...] = ()
    """Names besides loopback ones that the Host header may carry where no token is required."""
    open_metrics: bool = False
    """Whether /metrics is readable without a token."""
    max_body_bytes: Positive = 16 * 1024 * 1024
    """Longest request body."""
    body_memory_megabytes: Positive = 128
    """Memory for the bodies of all requests that are read or answered at a time; beyond it they get 503."""
    max_events: Positive = 10_000
    """Most events in one batch."""
    max_k: Positive = 1_000
    """Longest slate."""
    max_items: Positive = 10_000
    """Most items in one score request, and in `exclude`."""
    max_backlog: Positive = 1_000_000
    """Events that wait to be learned from before new ones are answered with 429."""
    queue_requests: Positive = 100
    """Requests that wait to be computed before others are answered with 503; status and health never wait."""
    queue_seconds: Annotated[float, Meta(gt=0)] = 0.5
    """How long a request may wait to be computed before it is answered with 503."""
    future_seconds: Annotated[float, Meta(ge=0)] = 300.0
    """An event further ahead of the clock than this is rejected."""
    body_seconds: Annotated[float, Meta(gt=0)] = 30.0
    """How long a client may take to send its body."""
    workers: Annotated[int, Meta(ge=0)] | None = None
    """Processes that answer requests beside the one that learns; 0: one process does both. By default one for each
    processor but the learner's, at most four."""
    row_precision: Precision = "float32"
    """What a replica keeps embedding rows in. `bfloat16` takes half the bytes, `int8` (a scale a row) and `tanh8`
    (tanh × 127) about a quarter; what each loses is said in `stream_reco.embedding.replica.precision`."""


Share = Annotated[float, Meta(ge=0.0, le=1.0)]
MOST_WEIGHT = 1e12
"""Largest weight of an objective: with any value a score stays a number of 32 bits."""
Weight = Annotated[float, Meta(ge=0.0, le=MOST_WEIGHT)]


@dataclass(frozen=True)
class SlateSettings:
    """How ranked candidates become a slate."""

    keep_seen: bool = False
    """Whether items that the user has taken a positive action on stay in; those of a negative action never do."""
    dislike_penalty: Share = 0.5
    """Share of its score that an item just like one that the user dislikes loses in the order of a slate."""
    diversity: Share = 0.0
    """Weight of being unlike what is above, against the score (1 − λ of MMR); 0 ranks by score alone."""
    near_duplicate: Share = 0.9
    """Cosine of the words of two items from which only the better one is a candidate, if nothing else that both say
    tells them apart; items with given vectors and no text go by these. 1 leaves all in."""
    cap_feature: str | None = None
    """An item feature, such as "brand", of which no value may fill more of a slate than `cap` places."""
    cap: Positive = 3
    newcomers: Share = 0.05
    """Share of a slate, at its end, that goes to new items that people act on and the ranker would not show yet.

    Of 20 places one, of 10 none.
    """
    explore: Share = 0.1
    """Share of a slate that is explored: drawn by what the model does not know, new items first.

    Every item carries the probability of its place. 0 leaves nothing to chance.
    """
    first_impressions: Positive = 20
    """Impressions of an item before it counts as known; those that lack fewest are explored most."""
    completion: Annotated[float, Meta(ge=0.0, le=10.0)] = 2.0
    """How far new items go up that were begun: their log-odds are raised by this times the share of their first
    impressions that they have had, until they have all.

    So they become known one after another. Half of a slate, at its end, goes to items for this alone at most. Only
    the order of a slate changes by it, never a score; 0, or an `explore` of 0: not at all."""
    fatigue: Annotated[float, Meta(ge=0.0, le=10.0)] = 0.3
    """How far items go down that the user was shown again and again: from the fourth time on odds are divided by
    (times − 2) to this power.

    Times of a day ago count half. Only the order of a slate changes by it, never a score; 0: not at all."""
    objectives: Mapping[str, Weight] = field(default_factory=dict)
    """Kind of action, or `kind.value` → its weight: scores are the sum of weight × probability, and order slates.

    Empty: the score is the probability that the user acts on the item, whatever the kind. A request may bring its
    own."""
