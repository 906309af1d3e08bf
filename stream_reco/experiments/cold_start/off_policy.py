"""What a policy that is greedy on what the loop learned from one half of a log would have earned in the other half."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_reco.datasets import Log
from stream_reco.embedded import Engine
from stream_reco.events import Action, Event, Id, Impression, ItemEvent
from stream_reco.measure.off_policy import Estimate, snips

LOGGED = "random"
"""The policy whose log is learned from and estimated on: each item of a campaign is as likely at each place."""
SHARES = (0.0, 0.1, 0.25, 0.5)
"""Policies: uniform over the best share of the items by score; 0: only over the very best, which is greedy."""
_BATCH = 256


def policy_of(event: Event) -> object:
    """The policy that an event of the log is of; None for what has none."""
    return (event.context or {}).get("policy") if isinstance(event, Impression | Action) else None


class OffPolicyRun:
    """Learns from the first half of the random log and scores all items for each impression of the second."""

    def __init__(self, engine: Engine, watch: Callable[[int], None] = lambda _: None) -> None:
        self.seconds = {"ingest": 0.0, "score": 0.0}
        self._engine, self._watch = engine, watch
        self._items: defaultdict[str, list[Id]] = defaultdict(list)

    def run(self, log: Log) -> dict[str, Any]:
        """The figures of all policies. Raises ValueError where the log has no impression of the random policy."""
        shown = [event for event in log if isinstance(event, Impression)]
        random = [event for event in shown if policy_of(event) == LOGGED]
        if len(random) < 2:
            raise ValueError(f"the log has no impressions of the policy {LOGGED!r}")
        middle = random[len(random) // 2].timestamp
        self._learn(event for event in log if event.timestamp < middle)
        clicked = {event.request_id for event in log if isinstance(event, Action)}
        later = [event for event in random if event.timestamp >= middle]
        rewards = np.array([event.request_id in clicked for event in later], dtype=np.float64)
        propensities = np.array([event.propensity or 0.0 for event in later])
        ranks, sizes = self._ranks(later)
        logged = {name: [event for event in shown if policy_of(event) == name] for name in _policies(shown)}
        return {
            "evaluated": len(later),
            "learned": {"impressions": len(random) - len(later)},
            "policies": {
                **{f"logged: {name}": _as_dict(_logged(events, clicked, middle)) for name, events in logged.items()},
                **{
                    title(share): _as_dict(estimate_share(rewards, propensities, ranks, sizes, share))
                    for share in SHARES
                },
            },
        }

    def _learn(self, events: Iterator[Event]) -> None:
        batch: list[Event] = []
        count = 0
        for event in events:
            if isinstance(event, ItemEvent):
                self._items[_campaign(event.item_id)].append(event.item_id)
            elif policy_of(event) != LOGGED:
                continue
            batch.append(event)
            if len(batch) == _BATCH:
                count += self._ingest(batch)
                self._watch(count)
                batch = []
        self._ingest(batch)
        self._engine.finish()
        self._engine.sync()

    def _ingest(self, batch: Sequence[Event]) -> int:
        started = time.perf_counter()
        self._engine.ingest(batch)
        self.seconds["ingest"] += time.perf_counter() - started
        return len(batch)

    def _ranks(self, shown: Sequence[Impression]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of each impression the place of its item in the order of the scores, from 0, and how many items there are."""
        ranks, sizes = np.zeros((2, len(shown)), dtype=np.int64)
        started = time.perf_counter()
        for at, event in enumerate(shown):
            items = self._items[_campaign(event.item_id)]
            scores = self._engine.score(event.user_id, items, now=event.timestamp, context=event.context)
            order = np.argsort(-scores, kind="stable")
            ranks[at] = int(np.flatnonzero(order == items.index(event.item_id))[0])
            sizes[at] = len(items)
        self.seconds["score"] += time.perf_counter() - started
        return ranks, sizes


def title(share: float) -> str:
    """The name of a policy."""
    return f"best {share:.0%} by score" if share else "greedy by score"


def _campaign(item_id: Id) -> str:
    return str(item_id).rpartition("-")[0]


def _policies(shown: Sequence[Impression]) -> list[str]:
    return sorted({str(policy_of(event)) for event in shown})


def _logged(events: Sequence[Impression], clicked: set[Id | None], middle: int) -> Estimate:
    """What a policy earned in the second half of its own log."""
    rewards = [float(event.request_id in clicked) for event in events if event.timestamp >= middle]
    return snips(rewards, np.ones(len(rewards)), np.ones(len(rewards)))


def estimate_share(
    rewards: NDArray[np.float64],
    propensities: NDArray[np.float64],
    ranks: NDArray[np.int64],
    sizes: NDArray[np.int64],
    share: float,
) -> Estimate:
    """What is earned by choosing at random among the best `share` of the items, at least one.

    Of each of n impressions whether it was clicked, with which probability its item was shown, and the item's place
    `ranks` from 0 among `sizes` items.
    """
    chosen = np.maximum(1, (share * sizes).astype(np.int64))
    return snips(rewards, propensities, (ranks < chosen) / chosen)


def _as_dict(estimate: Estimate) -> dict[str, float]:
    low, high = estimate.interval()
    return {
        "click_through": estimate.value,
        "low": low,
        "high": high,
        "count": estimate.count,
        "effective_samples": estimate.effective_samples,
    }
