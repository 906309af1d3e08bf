"""All that is counted, as arrays that begin, grow, travel and are forgotten together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_reco.signals.counters import (
    LONGEST_SHOWN,
    WINDOW_SPANS,
    clear_counters,
    empty_counters,
    grown_counters,
    put_counters,
    take_counters,
    with_spare_numbers,
)
from stream_reco.signals.decayed_lists import (
    clear_rows,
    drop_keys,
    empty_lists,
    grown_lists,
    put_lists,
    take_lists,
    with_spare,
)
from stream_reco.signals.growing import Parts, capacity_for, grown, put, take
from stream_reco.signals.observe import Counts, DecayedTotals
from stream_reco.signals.settings import (
    CONTEXT_FIELDS,
    CONTEXT_HALF_LIVES_MS,
    NEXT_HALF_LIVES_MS,
    PAIR_HALF_LIVES_MS,
    RECENT,
    TOGETHER_HALF_LIVES_MS,
    SignalSettings,
)

_CONTEXT_WIDTH = 64
"""Context values kept for each item."""
_POPULAR_WIDTH = 64
"""Items kept for each context value."""
_MOST_NEW = RECENT + 1
"""Rows of a family that one action may give their first key: those of its item and of the user's recent ones."""
_ONE_ROW = np.zeros(1, dtype=np.int32)
_FIELD_ROWS = np.arange(CONTEXT_FIELDS, dtype=np.int32)


def empty_counts(settings: SignalSettings) -> Counts:
    """Counts of nothing."""
    rows = 1024
    return Counts(
        items=empty_counters(rows),
        everything=empty_counters(1),
        pairs=empty_lists(rows, settings.pair_width, PAIR_HALF_LIVES_MS),
        following=empty_lists(rows, settings.pair_width, NEXT_HALF_LIVES_MS),
        together=empty_lists(rows, settings.pair_width, TOGETHER_HALF_LIVES_MS),
        contexts=empty_lists(rows, _CONTEXT_WIDTH, CONTEXT_HALF_LIVES_MS),
        popular=empty_lists(rows, _POPULAR_WIDTH, CONTEXT_HALF_LIVES_MS),
        values=DecayedTotals(np.zeros(rows, dtype=np.float64), np.zeros(rows, dtype=np.int64)),
        fields=DecayedTotals(np.zeros(CONTEXT_FIELDS, dtype=np.float64), np.zeros(CONTEXT_FIELDS, dtype=np.int64)),
    )


def grown_counts(counts: Counts, slots: int, values: int) -> Counts:
    """The same counts with room for at least that many item slots and context values."""
    if slots > len(counts.items.stamps):
        room = capacity_for(slots, len(counts.items.stamps))
        counts = counts._replace(
            items=grown_counters(counts.items, room),
            pairs=grown_lists(counts.pairs, room),
            following=grown_lists(counts.following, room),
            together=grown_lists(counts.together, room),
            contexts=grown_lists(counts.contexts, room),
        )
    if values > len(counts.values.stamps):
        room = capacity_for(values, len(counts.values.stamps))
        counts = counts._replace(
            popular=grown_lists(counts.popular, room),
            values=DecayedTotals(*(grown(array, room, 0) for array in counts.values)),
        )
    return counts


def with_spare_rows(counts: Counts) -> Counts:
    """The same counts with room for what one action may add."""
    items, _, pairs, following, together, contexts, popular, _, _ = counts
    families = pairs, following, together, contexts, popular
    if int(items.used[0]) < len(items.decayed) and all(
        int(one.used[0]) + _MOST_NEW <= len(one.keys) for one in families
    ):
        return counts
    return counts._replace(
        items=with_spare_numbers(items, 1),
        pairs=with_spare(pairs, _MOST_NEW),
        following=with_spare(following, _MOST_NEW),
        together=with_spare(together, _MOST_NEW),
        contexts=with_spare(contexts, _MOST_NEW),
        popular=with_spare(popular, _MOST_NEW),
    )


def forget_items(
    counts: Counts, slots: NDArray[np.int32], touched: NDArray[np.bool_], touched_values: NDArray[np.bool_]
) -> None:
    """Forget item slots int32[n] wherever they are counted, and mark the rows that this changed."""
    gone = np.zeros(len(touched), dtype=np.bool_)
    gone[slots] = True
    drop_keys(counts.pairs, gone, touched)
    drop_keys(counts.following, gone, touched)
    drop_keys(counts.together, gone, touched)
    drop_keys(counts.popular, gone, touched_values)
    clear_rows(counts.pairs, slots)
    clear_rows(counts.following, slots)
    clear_rows(counts.together, slots)
    clear_rows(counts.contexts, slots)
    clear_counters(counts.items, slots)
    touched[slots] = True


def forget_values(
    counts: Counts, values: NDArray[np.int32], touched: NDArray[np.bool_], touched_values: NDArray[np.bool_]
) -> None:
    """Forget context values int32[n] wherever they are counted, and mark the rows that this changed."""
    gone = np.zeros(len(touched_values), dtype=np.bool_)
    gone[values] = True
    drop_keys(counts.contexts, gone, touched)
    clear_rows(counts.popular, values)
    counts.values.weights[values] = 0
    counts.values.stamps[values] = 0
    touched_values[values] = True


def turn_counts_back(counts: Counts, time: int, touched_values: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Take what was counted later than `time` (ms) as counted then; bool[slots]: the items that this changed.

    Context values that it changed are marked in `touched_values`.
    """
    changed: NDArray[np.bool_] = np.zeros(len(counts.items.stamps), dtype=np.bool_)
    changed |= counts.items.stamps > time
    for family in (counts.pairs, counts.following, counts.together, counts.contexts):
        changed |= (family.stamps > time)[family.numbers]
    touched_values |= (counts.popular.stamps > time)[counts.popular.numbers] | (counts.values.stamps > time)
    for stamped in counts:
        np.minimum(stamped.stamps, time, out=stamped.stamps)
    for counters in (counts.items, counts.everything):
        np.minimum(counters.first_seen, time, out=counters.first_seen)
        np.minimum(counters.buckets, time // WINDOW_SPANS, out=counters.buckets)
    return changed


def take_counts(counts: Counts, rows: NDArray[np.int32], values: NDArray[np.int32]) -> Parts:
    """Copies of the rows of item slots and context values, and of what is counted over all of them."""
    parts: Parts = {"rows": rows, "values": values}
    parts |= take_counters(counts.items, rows, "items.")
    parts |= take_lists(counts.pairs, rows, "pairs.")
    parts |= take_lists(counts.following, rows, "following.")
    parts |= take_lists(counts.together, rows, "together.")
    parts |= take_lists(counts.contexts, rows, "contexts.")
    parts |= take_lists(counts.popular, values, "popular.")
    parts |= take(counts.values, DecayedTotals._fields, values, "tally.")
    parts |= take_counters(counts.everything, _ONE_ROW, "everything.")
    return parts | take(counts.fields, DecayedTotals._fields, _FIELD_ROWS, "fields.")


def put_counts(counts: Counts, parts: Mapping[str, NDArray[Any]]) -> Counts:
    """The counts with what `take_counts` took. Raises ValueError where it was taken under other settings."""
    rows, values = parts["rows"], parts["values"]
    parts = _with_impressions(parts)
    has_together = "together.keys" in parts  # not up to version 0.2.0
    counts = counts._replace(
        items=put_counters(counts.items, rows, parts, "items."),
        everything=put_counters(counts.everything, _ONE_ROW, parts, "everything."),
        pairs=put_lists(counts.pairs, rows, parts, "pairs."),
        following=put_lists(counts.following, rows, parts, "following."),
        together=put_lists(counts.together, rows, parts, "together.") if has_together else counts.together,
        contexts=put_lists(counts.contexts, rows, parts, "contexts."),
        popular=put_lists(counts.popular, values, parts, "popular."),
    )
    put(counts.values, DecayedTotals._fields, values, parts, "tally.")
    put(counts.fields, DecayedTotals._fields, _FIELD_ROWS, parts, "fields.")
    return counts


def _with_impressions(parts: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
    """Add the totals of impressions, which releases up to 0.2.0 did not keep: what has not decayed stands for them."""
    missing = [family for family in ("items.", "everything.") if f"{family}impressions" not in parts]
    found = {
        f"{family}impressions": np.ceil(parts[f"{family}decayed"][:, LONGEST_SHOWN]).astype(np.int64)
        for family in missing
    }
    return {**parts, **found} if missing else parts
