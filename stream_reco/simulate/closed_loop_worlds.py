"""Three closed-loop worlds: a shop, a news site, a job board."""

from __future__ import annotations

from typing import Final

from stream_reco.simulate.closed_loop import SecondAction, WorldPlan
from stream_reco.simulate.delays import Delay
from stream_reco.simulate.world import ClickModel

_SECOND, _MINUTE, _HOUR, _DAY = 1_000.0, 60_000.0, 3_600_000, 24 * 3_600_000

SHOP: Final = WorldPlan(
    "shop",
    requests=3_000,
    requests_per_hour=300.0,
    click_delay=Delay(median_ms=20 * _SECOND, sigma=1.5, most_ms=2 * _HOUR),
    second=SecondAction("buy", 0.1, Delay(median_ms=10 * _MINUTE, sigma=1.0, most_ms=5 * _HOUR)),
    interests=1,
    interest_life=5.0,
    clicks=ClickModel(base=-5.4, match=7.0, ageing=0.0, quality=0.3, topic_skew=0.0, topic_spread=0.15),
)
"""Ten hours; a tenth of the items is renewed each hour. Who likes a category likes most of it."""
NEWS: Final = WorldPlan(
    "news",
    requests=6_000,
    requests_per_hour=600.0,
    click_delay=Delay(median_ms=8 * _SECOND, sigma=1.2, most_ms=_HOUR),
    second=SecondAction("share", 0.05, Delay(median_ms=3 * _MINUTE, sigma=1.0, most_ms=5 * _HOUR)),
    items=240,
    interests=2,
    item_life=0.2,
    interest_life=3.0,
    clicks=ClickModel(base=-3.7, match=5.0, ageing=3.0, quality=0.9, topic_skew=0.5, topic_spread=0.25),
)
"""Ten hours; an article lives for two of them, loses most of its readers, and some are read by nearly everybody."""
JOBS: Final = WorldPlan(
    "jobs",
    requests=3_000,
    requests_per_hour=12.5,
    click_delay=Delay(median_ms=2 * _MINUTE, sigma=2.0, most_ms=2 * _DAY),
    second=SecondAction("apply", 0.2, Delay(median_ms=8 * _HOUR, sigma=1.0, most_ms=5 * _DAY)),
    items=300,
    interests=1,
    item_life=3.0,
    interest_life=8.0,
    clicks=ClickModel(base=-5.5, match=6.6, ageing=0.5, quality=0.4, topic_skew=0.2, topic_spread=0.2),
)
"""Ten days; jobs stay open, few people click, nobody twice, and applications come hours to days later."""
WORLD_PLANS: Final = {plan.name: plan for plan in (SHOP, NEWS, JOBS)}
