"""The settings of one command."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stream_reco.terminal.errors import Misuse
from stream_reco.terminal.log_options import Format

if TYPE_CHECKING:
    from stream_reco.config import Loaded, Settings


def settings_of(config: Path | None, flags: Mapping[str, object] | None = None) -> Loaded[Settings]:
    """Defaults, overridden by the file, the environment and `flags` (`{"slate.keep_seen": True}`; None: not given).

    Raises `Misuse` with all problems at once.
    """
    from stream_reco.config import ConfigError, load

    try:
        return load(config, os.environ, flags)
    except ConfigError as error:
        raise Misuse(str(error)) from error


def loop_settings(config: Path | None, flags: dict[str, object], format_: Format) -> Settings:
    """The settings for a log of this format: in MovieLens only good ratings are positive."""
    from stream_reco.datasets.movielens import POSITIVE_FROM

    loaded = settings_of(config, flags)
    if format_ is Format.movielens and loaded.origins["labels.positive_from"].kind == "default":
        loaded = settings_of(config, flags | {"labels.positive_from": {"rating": POSITIVE_FROM}})
    return loaded.settings
