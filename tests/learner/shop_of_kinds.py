"""A shop in which people click, and some of those who clicked buy for a price, soon after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream_reco.events import Action, Event, Impression

START = 1_700_000_000_000
ITEMS, USERS = 16, 40
_SPACING_MS = 200
_CLICK_MS, _BUY_MS = 2_000.0, 10_000.0
"""Mean delays, exponential: of a click after its impression, of a purchase after its click."""


@dataclass(frozen=True)
class ShopOfKinds:
    """What is true of each item, float64[ITEMS]: clicks are rare where purchases are frequent."""

    click: NDArray[np.float64] = field(default_factory=lambda: np.linspace(0.15, 0.55, ITEMS))
    buy_of_click: NDArray[np.float64] = field(default_factory=lambda: np.linspace(0.6, 0.1, ITEMS))
    price: NDArray[np.float64] = field(default_factory=lambda: np.tile([5.0, 40.0], ITEMS // 2))

    @property
    def buy(self) -> NDArray[np.float64]:
        """P(buy | shown)."""
        return self.click * self.buy_of_click

    @property
    def revenue(self) -> NDArray[np.float64]:
        """Expected price of what is bought on an impression."""
        return self.buy * self.price

    def log(self, impressions: int, seed: int = 0) -> list[Event]:
        """Events by time up to the last impression; every action names the request."""
        rng = np.random.default_rng(seed)
        events: list[Event] = []
        for number in range(impressions):
            user, item = int(rng.integers(USERS)), int(rng.integers(ITEMS))
            time, request = START + number * _SPACING_MS, f"r{number}"
            events.append(
                Impression(user_id=user, item_id=item, timestamp=time, event_id=f"i{number}", request_id=request)
            )
            if rng.random() < self.click[item]:
                time += 1 + int(rng.exponential(_CLICK_MS))
                events.append(_action(user, item, "click", time, request))
                if rng.random() < self.buy_of_click[item]:
                    time += 1 + int(rng.exponential(_BUY_MS))
                    price = float(self.price[item] * rng.uniform(0.5, 1.5))
                    events.append(_action(user, item, "buy", time, request, price))
        end = START + impressions * _SPACING_MS
        return sorted((one for one in events if one.timestamp < end), key=lambda event: event.timestamp)


def _action(user: int, item: int, kind: str, time: int, request: str, value: float | None = None) -> Action:
    return Action(
        user_id=user,
        item_id=item,
        action=kind,
        timestamp=time,
        event_id=f"{kind}-{request}",
        request_id=request,
        value=value,
    )


def users() -> Sequence[int]:
    """Some of those who come."""
    return range(0, USERS, 4)
