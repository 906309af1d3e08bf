"""All arms by name, and what each is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from stream_reco.experiments.shop.arm import Arm, ArmSlate, SlotArm
from stream_reco.experiments.shop.feature_arms import LinUcb, RidgeOnTastes
from stream_reco.experiments.shop.item_arms import ItemNeighbours, MostPopular, RandomArm, ThompsonPerItem
from stream_reco.experiments.shop.plan import OURS, TITLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream_reco.config import Settings
    from stream_reco.events import Event
    from stream_reco.simulate.closed_loop import ClosedLoopWorld

_HALF_LIVES = 10
"""Of the most popular within a run."""


class OracleArm:
    """The best slate that there is, from the world's own probabilities."""

    def __init__(self, world: ClosedLoopWorld) -> None:
        self._world = world

    def slate(self, user: int, k: int, now: int) -> ArmSlate:
        """Return the k items that the user is most likely to click."""
        return ArmSlate(self._world.oracle_slate(user, k, now))

    def observe(self, events: Sequence[Event]) -> None:
        """Learn nothing: it knows."""


def _popular(seed: int, world: ClosedLoopWorld) -> MostPopular:
    return MostPopular(seed, world.plan.length_ms / _HALF_LIVES)


_SLOT_ARMS: Mapping[str, Callable[[int, ClosedLoopWorld], SlotArm]] = {
    "random": lambda seed, _: RandomArm(seed),
    "popular": _popular,
    "neighbours": lambda seed, _: ItemNeighbours(seed),
    "thompson": lambda seed, _: ThompsonPerItem(seed),
    "linucb": lambda seed, _: LinUcb(seed),
    "ridge": lambda seed, _: RidgeOnTastes(seed),
}


def make_arm(name: str, seed: int, world: ClosedLoopWorld, settings: Settings) -> Arm:
    """The arm of a name in `TITLES`; `settings` are those of the engine. Raises KeyError for another name."""
    if name == OURS:
        # Only here: it takes seconds to load, and the other arms need none of it.
        from stream_reco.experiments.shop.engine_arm import EngineArm

        return EngineArm(settings)
    return OracleArm(world) if name == "oracle" else _SLOT_ARMS[name](seed, world)


assert {*_SLOT_ARMS, OURS, "oracle"} == set(TITLES)
