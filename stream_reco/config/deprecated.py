"""Settings that have another name now; the old one works for one release more, and a warning names the new one."""

from __future__ import annotations

import logging
from dataclasses import replace

from stream_reco.config.origin import Given

_LOGGER = logging.getLogger(__name__)
_OF_ONE_MODEL = (
    "item_dim",
    "tower_dim",
    "user_dim",
    "context_dim",
    "request_dim",
    "cross_layers",
    "cross_rank",
    "hidden",
    "without",
)
RENAMED = {
    **{f"model.{name}": f"model.two_tower_dcn.{name}" for name in _OF_ONE_MODEL},
    "slate.exploration": "slate.explore",
    "training.odds_weight": "model.two_tower_dcn.odds_weight",
    "training.tower_weight": "model.two_tower_dcn.tower_weight",
}
"""Old key → new key. Before 0.2.0 there was one model, whose settings were the room's own; up to 0.2.0 each place was
explored by itself, with a chance that is now the share of a slate."""


def renamed(given: Given) -> Given:
    """The same under its present name."""
    new = RENAMED.get(given.key)
    if new is None:
        return given
    _LOGGER.warning(
        "the setting %s (%s) is called %s now: the old name goes with the next release", given.key, given.origin, new
    )
    section, _, name = new.rpartition(".")
    return replace(given, section=section, name=name)
