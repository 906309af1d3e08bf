"""Texts that spell integers: exactly as a signed 64-bit integer prints, without a sign or a zero too many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stream_reco.events import is_canonical_integer


def whole_column(array: Any) -> NDArray[np.int64] | None:
    """Return int64[n] of an Arrow column of text in which every cell spells an integer, else None."""
    kind = array.type
    if array.null_count or not (pa.types.is_string(kind) or pa.types.is_binary(kind)):
        return None
    try:
        text = array.cast(pa.string())
        numbers = text.cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    if not pc.all(pc.equal(numbers.cast(pa.string()), text)).as_py():
        return None
    whole: NDArray[np.int64] = numbers.to_numpy(zero_copy_only=False)
    return whole


def integers_of(words: Sequence[str | bytes]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where in n words integers are spelt, int64[m], and the integers themselves, int64[m]."""
    found = [
        (place, int(word))
        for place, word in enumerate(words)
        if word[-1:].isdigit() and len(word) <= len("-9223372036854775808") and _is_canonical(word)
    ]
    pairs = np.array(found, dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _is_canonical(word: str | bytes) -> bool:
    if isinstance(word, str):
        return is_canonical_integer(word)
    return word.isascii() and is_canonical_integer(word.decode("ascii"))
