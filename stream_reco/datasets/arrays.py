"""Arrow columns of any type as arrays of the few types that the readers handle."""

from __future__ import annotations

from typing import Any

import pyarrow as pa


def one_array(column: Any) -> Any:
    """Return the chunks of a column as one array, of a plain kind if there is one that holds the same.

    A column of nulls becomes text, so that it is missing values and not a wrong type. Decimals without a fraction
    become text too unless they all fit int64: as ids they are what their digits say.
    """
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], type=array.type)
    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    if pa.types.is_null(kind):
        return array.cast(pa.string())
    if pa.types.is_decimal(kind) and kind.scale == 0:
        return _whole(array)
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return array.cast(pa.binary())
    if pa.types.is_string_view(kind):
        array = array.cast(pa.string())
    return _readable(array)


def _whole(array: Any) -> Any:
    try:
        return array.cast(pa.int64())
    except pa.ArrowInvalid:
        return array.cast(pa.string())


def _readable(array: Any) -> Any:
    """Text whose bytes are not all UTF-8 as binary, so that one bad cell spoils its own row alone."""
    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        return array
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return array.cast(pa.large_binary()).cast(pa.binary())
    return array
