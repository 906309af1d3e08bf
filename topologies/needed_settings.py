"""Settings without which a worker cannot work."""

from __future__ import annotations


def given(value: str, name: str, why: str) -> str:
    """The value of the setting `name`. Raises ValueError, which says `why` it is needed, where it is empty."""
    if not value:
        raise ValueError(f"{name} is not set: {why} (STREAM_RECO_{name.replace('.', '_').upper()})")
    return value
