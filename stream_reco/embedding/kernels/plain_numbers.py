"""Numbers of callers, Python's or NumPy's, made plain: what is written to a file is read again as it was."""

from numbers import Integral, Real


def whole(subject: str, what: str, value: object, unit: str) -> int:
    """A whole number as a plain int. Raises TypeError for anything else."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{subject}: {what} is {value!r}, must be a whole number of {unit}; use int()")
    return int(value)


def number(subject: str, what: str, value: object) -> float:
    """A number as a plain float. Raises TypeError for anything else."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{subject}: {what} is {value!r}, must be a number; use float()")
    return float(value)
