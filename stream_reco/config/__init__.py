"""Settings: one frozen tree, from a TOML file, the environment and flags, with all problems reported at once."""

from stream_reco.config.describe import Line, describe
from stream_reco.config.load import ConfigError, Loaded, load, load_tree
from stream_reco.config.origin import Origin
from stream_reco.config.tree import Settings

__all__ = ["ConfigError", "Line", "Loaded", "Origin", "Settings", "describe", "load", "load_tree"]
