"""The settings of one run of a command."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stream_reco.terminal.errors import Misuse

if TYPE_CHECKING:
    from stream_reco.config import Loaded, Settings


def settings_of(config: Path | None, flags: Mapping[str, object] | None = None) -> Loaded[Settings]:
    """Defaults, then the file, then the environment, then `flags` (`{"slate.keep_seen": True}`; None is not given)."""
    from stream_reco.config import ConfigError, load

    try:
        return load(config, os.environ, flags)
    except ConfigError as error:
        raise Misuse(str(error)) from error
