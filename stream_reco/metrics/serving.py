"""Requests, candidates and slates, and the user contexts in Redis."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from stream_reco.metrics.registry import FAST, LIVE_SUM, NEWEST, REGISTRY, SLOW

REQUESTS: Final = Counter(
    "stream_reco_requests_total",
    "HTTP requests answered, by route template and status.",
    ["route", "status"],
    registry=REGISTRY,
)
REQUEST_SECONDS: Final = Histogram(
    "stream_reco_request_seconds",
    "Seconds from a request's last byte in to its answer's last byte out, by route template.",
    ["route"],
    buckets=FAST,
    registry=REGISTRY,
)
BODY_BYTES: Final = Gauge(
    "stream_reco_body_bytes",
    "Bytes of request bodies that are held, of serve.body_memory_megabytes.",
    registry=REGISTRY,
    multiprocess_mode=LIVE_SUM,
)
QUEUED_REQUESTS: Final = Gauge(
    "stream_reco_queued_requests",
    "HTTP requests that wait to be computed.",
    registry=REGISTRY,
    multiprocess_mode=LIVE_SUM,
)
QUEUE_SECONDS: Final = Histogram(
    "stream_reco_queue_seconds",
    "Seconds that HTTP requests waited until they were computed.",
    buckets=FAST,
    registry=REGISTRY,
)
SHED_REQUESTS: Final = Counter(
    "stream_reco_shed_requests_total",
    "HTTP requests that were not computed, by reason: full (too many waited), late (it waited too long), gone (its"
    " client had disconnected).",
    ["reason"],
    registry=REGISTRY,
)
CANDIDATES: Final = Counter(
    "stream_reco_candidates_total", "Candidates that a source brought into the blend.", ["source"], registry=REGISTRY
)
SLATE_ITEMS: Final = Counter(
    "stream_reco_slate_items_total",
    "Items that reached a slate, by the source that brought them.",
    ["source"],
    registry=REGISTRY,
)
NEAR_DUPLICATES: Final = Counter(
    "stream_reco_near_duplicates_total",
    "Candidates that were left out because a better one says nearly the same.",
    registry=REGISTRY,
)
VECTORS: Final = Gauge(
    "stream_reco_vectors", "Vectors of items in the vector index.", registry=REGISTRY, multiprocess_mode=NEWEST
)
VECTOR_LIST_BYTES: Final = Gauge(
    "stream_reco_vector_list_bytes",
    "Bytes of the inverted lists of the vector index, without the vectors; 0 while all searches are exact.",
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
VECTOR_SEARCHES: Final = Counter(
    "stream_reco_vector_searches_total",
    "Queries of the vector index, by way: lists, or exact (few vectors, few that pass, or lists that miss too many).",
    ["way"],
    registry=REGISTRY,
)
VECTOR_RECALL: Final = Gauge(
    "stream_reco_vector_recall",
    "Share of the 400 nearest vectors that the lists find, over the newest 32 queries that were compared with exact"
    " search; 1 while there are no lists.",
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
VECTOR_COMPARISONS: Final = Counter(
    "stream_reco_vector_comparisons_total",
    "Queries that were searched for again, exactly, by outcome: done, or overtaken (by a publication).",
    ["outcome"],
    registry=REGISTRY,
)
VECTOR_SHARE: Final = Gauge(
    "stream_reco_vector_share",
    "Share of the vectors that a search looks at; 1 while searches are exact.",
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
VECTOR_BUILDS: Final = Counter(
    "stream_reco_vector_builds_total",
    "Builds of the lists of the vector index, by outcome: done or failed.",
    ["outcome"],
    registry=REGISTRY,
)
VECTOR_BUILD_SECONDS: Final = Histogram(
    "stream_reco_vector_build_seconds",
    "Seconds to build the lists of the vector index, in the background.",
    buckets=SLOW,
    registry=REGISTRY,
)
SERVED_SLATES: Final = Counter(
    "stream_reco_served_slates_total",
    "Slates whose features of the moment were to go to Kafka, by what became of them: written, or dropped.",
    ["outcome"],
    registry=REGISTRY,
)
USER_COPIES: Final = Counter(
    "stream_reco_user_copies_total", "States of users that were written to Redis.", registry=REGISTRY
)
USER_COPIES_LOST: Final = Counter(
    "stream_reco_user_copies_lost_total",
    "Times that all users of a partition were written to Redis, by what it had: missing (new or emptied), or older"
    " (restored, or a replica that lagged).",
    ["found"],
    registry=REGISTRY,
)
SHARED_USERS: Final = Counter(
    "stream_reco_shared_users_total",
    "States of users that the learner had to write for scorers on its machine, by what became of them: written, or"
    " failed (it is tried again).",
    ["outcome"],
    registry=REGISTRY,
)
USER_STATES: Final = Counter(
    "stream_reco_user_states_total",
    "States of users that a scorer looked up, by where it came from: redis, shared (the file that a process on the same"
    " machine writes), memory (the store was away, or had an older one), nowhere (an unknown user).",
    ["source"],
    registry=REGISTRY,
)
