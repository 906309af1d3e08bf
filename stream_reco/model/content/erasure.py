"""Which rows of the table of content are one user's own.

A key is a hash, and says nothing of its user; but for a fixed second number `mixed` can be inverted. What is said of
items has a row for everybody (`ITEM`) wherever it has one for a user (`OWN`), so the keys that are in the table are all
inverted as if they were of such rows, and the user's own key is made of what comes out. Of a key that is of something
else a number comes out that no item has, whose key is in no table but for a chance of one in 2^64.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.embedding.kernels.index import MULTIPLIERS
from stream_reco.model.content.pairs import ACTIVITY, GOLDEN, ITEM, OWN, key_of_row


def _inverse(odd: np.uint64) -> np.uint64:
    return np.uint64(pow(int(odd), -1, 1 << 64))


_GOLDEN, (_MULTIPLIER_1, _MULTIPLIER_2) = _inverse(GOLDEN), map(_inverse, MULTIPLIERS)


@njit(cache=True, nogil=True)
def _unshifted(z: np.uint64, bits: int) -> np.uint64:
    """Undo z ^ (z >> bits), of 22 bits or more."""
    return z ^ (z >> np.uint64(bits)) ^ (z >> np.uint64(2 * bits))


@njit(cache=True, nogil=True)
def first_of(mixed: int, second: int) -> int:
    """The number that `pairs.mixed` makes `mixed` of together with `second`; all are int64."""
    z = _unshifted(np.uint64(mixed), 31) * _MULTIPLIER_2
    z = _unshifted(z, 27) * _MULTIPLIER_1
    z = _unshifted(z, 30)
    return int(np.int64((z - np.uint64(second)) * _GOLDEN))


@njit(cache=True, nogil=True)
def _own_keys(keys: NDArray[np.int64], user_key: int) -> NDArray[np.int64]:
    count = keys.shape[0]
    own = np.empty(count + 2, np.int64)
    for at in range(count + 1):
        # No row has the key 0: what would have it has 1.
        key = keys[at] if at < count else 0
        value = first_of(first_of(key, 0), ITEM + 1)
        own[at] = key_of_row(OWN, user_key, value)
    own[count + 1] = key_of_row(ACTIVITY, user_key, 0)
    return own


def own_keys(keys: NDArray[np.int64], user_key: int) -> NDArray[np.int64]:
    """int64[n + 2]: among them the keys of all rows that are the user's own, where `keys` int64[n] are those in use.

    Most of them are in no table.
    """
    own: NDArray[np.int64] = _own_keys(keys, user_key)
    return own
