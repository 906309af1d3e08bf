"""The numeric features of a candidate, in their order, by family."""

from __future__ import annotations

from stream_reco.signals.settings import CONTEXT_FIELDS, TIME_FIELDS

FAMILIES: dict[str, tuple[str, ...]] = {
    "popularity": ("decayed_5m", "decayed_15m", "decayed_1h", "decayed_6h", "decayed_1d", "decayed_7d", "ever"),
    "windows": ("clicks_5m", "clicks_1h", "clicks_1d"),
    "share": ("share_5m", "share_15m", "share_1h"),
    "velocity": ("velocity_5m_15m", "velocity_15m_1h", "velocity_1h_1d"),
    "age": ("since_first", "since_last"),
    "shown": ("shown_6h", "shown_7d", "rate_6h", "rate_7d"),
    "covisits": (
        "after_1_2h",
        "after_1_7d",
        "after_2_2h",
        "after_2_7d",
        "after_3_2h",
        "after_3_7d",
        "after_all_2h",
        "after_all_7d",
        "after_1_share",
        "after_all_share",
        "after_best_share",
    ),
    "next": (
        "next_1_20m",
        "next_1_2h",
        "next_1_7d",
        "next_all_2h",
        "next_1_20m_share",
        "next_1_2h_share",
        "next_all_share",
    ),
    "context": (*(f"lift_{field}" for field in range(CONTEXT_FIELDS)), "lift_all"),
    "recency": ("since_action", "actions", "actions_1h", *(f"age_{field}" for field in range(TIME_FIELDS))),
    # What joins later stands behind, and is 0 where nothing is known: features on disk are filled up with zeros.
    "fatigue": ("passed_over", "was_shown", "since_shown"),
    "neighbours": ("neighbours_all", "neighbours_best", "neighbours_users"),
    "disliked": ("disliked_all", "disliked_best", "disliked_features"),
}
"""Family → the names of its features."""
LEARNED_FAMILIES = ("item", "user", "context_rows", "history", "match")
"""Families of inputs that are not numbers but rows of the embedding tables, and what the two towers make of them."""

FEATURES: tuple[str, ...] = tuple(name for names in FAMILIES.values() for name in names)
"""Names of the columns of a feature matrix."""

FIRST_FEATURES = FEATURES[: FEATURES.index("passed_over")]
"""Those of releases up to 0.2.0: a network or a row without names of its columns has these."""


def start_of(family: str) -> int:
    """The first column of a family."""
    return FEATURES.index(FAMILIES[family][0])
