"""A simulated world whose tastes are known, for the demo, for regret and for tests."""

from stream_reco.simulate.arrivals import Visit
from stream_reco.simulate.delays import Delay
from stream_reco.simulate.generate import generate
from stream_reco.simulate.world import World

__all__ = ["Delay", "Visit", "World", "generate"]
