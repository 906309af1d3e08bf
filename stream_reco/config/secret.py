"""Redaction of secret settings in output and reports."""

from __future__ import annotations

from dataclasses import Field
from typing import Any

HIDDEN = "(secret)"


def visible(field: Field[Any], value: object) -> object:
    """`value` as it may be shown.

    The field's metadata `secret` is True, or a function of a text that leaves out what is secret.
    """
    secret = field.metadata.get("secret")
    if not secret or value is None:
        return value
    return secret(value) if callable(secret) and isinstance(value, str) else HIDDEN


def visible_text(field: Field[Any], value: object) -> str:
    """The same as Python writes it."""
    shown = visible(field, value)
    return HIDDEN if shown is HIDDEN else repr(shown)
