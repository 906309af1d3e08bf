"""Values of the compose file as compose would give them to a container."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

VARIABLE = re.compile(r"\$\{(\w+)(:[-?])?([^}]*)\}")
SECRET = "x" * 24
"""What stands for every secret."""


def filled(value: Any) -> str:
    """A value with secrets and defaults filled in."""
    return VARIABLE.sub(lambda found: SECRET if found[2] == ":?" else found[3], str(value)).replace("$$", "$")


def environment(service: Mapping[str, Any]) -> dict[str, str]:
    """The variables of a service."""
    return {name: filled(value) for name, value in service.get("environment", {}).items()}
