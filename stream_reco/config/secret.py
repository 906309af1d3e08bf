"""Redaction of secret settings in output and reports."""

from __future__ import annotations

import re
from dataclasses import Field
from typing import Any

HIDDEN = "(secret)"


def visible(field: Field[Any], value: object) -> object:
    """`value` as it may be shown: the field's metadata `secret` is True, or a function that leaves it out."""
    secret = field.metadata.get("secret")
    if not secret or value is None:
        return value
    return secret(value) if callable(secret) else HIDDEN


def visible_text(field: Field[Any], value: object) -> str:
    """The same as Python writes it."""
    shown = visible(field, value)
    return HIDDEN if shown is HIDDEN else repr(shown)


def without_password(address: object) -> object:
    """An address as text without the user's name and password; anything but text is hidden entirely."""
    if not isinstance(address, str):
        return HIDDEN
    named = re.sub(r"//.*@", "//***@", address, flags=re.DOTALL)
    return re.sub(r"(?i)((?:password|username)=)[^&]*", r"\1***", named)
