"""Which candidates have nearly the same words, or nearly the same given vectors: pairs worth a closer look.

Texts are compared as in All-Pairs (Bayardo, Ma and Srikant 2007): two of a large cosine have one of the few words in
common that weigh most in both, so that hardly any two need to be compared word by word.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.signals.content.fields import OF_TEXT
from stream_reco.signals.content.values import Values
from stream_reco.signals.content.vectors import VectorArray

MOST_COMPARED = 64
"""Others that a candidate is compared with, the best first, so that it is with the one of 200 copies that stays."""
_SLACK = 1.25
"""By so much more of a text than its heaviest words need be is looked at."""
_FEWEST_HEAVY, _MOST_HEAVY = 3, 5
"""Words of a text that are looked at, at least and at most. One or two of a short text would do, but that a repeated
one weighs more in one text than in another; of a long one, where none weighs much, five are fewer than would be
certain: a copy is missed that differs in all five."""
_BUCKETS = 2048
_CELLS = 512
"""For the words of one item, a power of two: there are 256 at most (`MOST_ENTRIES`)."""
_FIELD_FACTOR = np.int64(-7046029254386353131)
"""Odd, so that features with the same word have different keys."""
_GOLDEN, _SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(40)
_PAIRS, _FOURS = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
_EIGHTS, _ONES = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
_ROUNDING = 1e-9
"""A share is above a bound only by more than this."""
_FINE = 1 << 20
"""Weights are told apart to the millionth where whole texts are compared at once."""
_BITS = 64
"""Numbers of a vector, the first ones, of which each gives a bit: whether it is above their mean."""
_MOST_BITS_APART = 0.2
"""Share of these bits in which two vectors may differ that are then compared as a whole. An angle whose cosine is 0.98
is 0.064 of a half turn, and as many bits are expected to differ (Charikar 2002); of 64 a fifth are in 1 of 20,000."""
_LEAST_DIFFERENT = 8
"""Different numbers among the first of a vector that tells one thing from another; those that name categories by zeros
and ones have fewer."""
Pairs = NDArray[np.int32]
"""int32[p, 2]: indices of candidates, the better one first; by the worse one, from the best to the worst."""
_NO_PAIRS = np.empty((0, 2), dtype=np.int32)


def pairs_by_words(counts: NDArray[np.int32], said: Values, order: NDArray[np.int64], least: float) -> Pairs:
    """Candidates whose words have a cosine of at least `least`.

    `said` are the values of all, `counts` int32[n] of them of each, and `order` int64[n] has the best candidate first.
    All words of an item count, each feature as much as another; items without a text are like no other.
    """
    pairs: Pairs = _pairs_by_words(counts, said.fields, said.codes, said.weights, order, least)
    return pairs


@njit(cache=True, nogil=True)
def _bucket(key: int) -> int:
    return int(((np.uint64(key) * _GOLDEN) >> _SHIFT) % np.uint64(_BUCKETS))


@njit(cache=True, nogil=True)
def _texts(
    counts: NDArray[np.int32], fields: NDArray[np.int32], codes: NDArray[np.int64], weights: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Words of all, their weights, where those of each begin and end, sums of squares, and a checksum of each text."""
    n, most = counts.shape[0], codes.shape[0]
    keys, heavy = np.empty(most, np.int64), np.empty(most, np.float64)
    bounds, squares, sums = np.zeros(n + 1, np.int64), np.zeros(n), np.zeros(n, np.int64)
    at, end = 0, 0
    for one in range(n):
        for place in range(at, at + counts[one]):
            if fields[place] & OF_TEXT:
                key, weight = codes[place] + fields[place] * _FIELD_FACTOR, float(weights[place])
                keys[end], heavy[end] = key, weight
                squares[one] += weight * weight
                sums[one] += key * (1 + np.int64(weight * _FINE))
                end += 1
        at += counts[one]
        bounds[one + 1] = end
    return keys[:end], heavy[:end], bounds, squares, sums


@njit(cache=True, nogil=True)
def _cell(table: NDArray[np.int64], keys: NDArray[np.int64], key: int) -> int:
    """The cell of a word in a table of places in `keys`, or the free one where it belongs."""
    cell = _bucket(key) & (_CELLS - 1)
    while table[cell] >= 0 and keys[table[cell]] != key:
        cell = (cell + 1) & (_CELLS - 1)
    return int(cell)


@njit(cache=True, nogil=True)
def _fill(table: NDArray[np.int64], keys: NDArray[np.int64], mine: tuple[int, int], one: int) -> int:
    """Have a table hold the words at the places of text `one`, which is returned."""
    table[:] = -1
    for place in range(mine[0], mine[1]):
        table[_cell(table, keys, keys[place])] = place
    return one


@njit(cache=True, nogil=True)
def _product(
    table: NDArray[np.int64], keys: NDArray[np.int64], weights: NDArray[np.float64], first: int, last: int
) -> float:
    """The product of the words in a table with those at the places from `first` to `last`."""
    total = 0.0
    for place in range(first, last):
        same = table[_cell(table, keys, keys[place])]
        if same >= 0:
            total += weights[same] * weights[place]
    return total


@njit(cache=True, nogil=True)
def _heaviest(
    keys: NDArray[np.int64],
    weights: NDArray[np.float64],
    mine: tuple[int, int],
    share: float,
    places: NDArray[np.int64],
) -> int:
    """Fill `places` with those of the heaviest words that have a `share` of the squares; returns how many they are."""
    count, least, total = 0, 0.0, 0.0
    for place in range(mine[0], mine[1]):
        weight = weights[place]
        total += weight * weight
        if count == _MOST_HEAVY and weight < least:
            continue
        at = min(count, _MOST_HEAVY - 1)
        if count == _MOST_HEAVY and weight == least and keys[place] <= keys[places[at]]:
            continue
        count = min(count + 1, _MOST_HEAVY)
        while at > 0:
            before = places[at - 1]
            if weights[before] > weight or (weights[before] == weight and keys[before] > keys[place]):
                break
            places[at] = before
            at -= 1
        places[at] = place
        least = weights[places[count - 1]]
    left, needed = share * total, 0
    while needed < count and (left > 0.0 or needed < _FEWEST_HEAVY):
        left -= weights[places[needed]] ** 2
        needed += 1
    return needed


@njit(cache=True, nogil=True)
def _dominant(
    keys: NDArray[np.int64], weights: NDArray[np.float64], bounds: NDArray[np.int64], share: float
) -> NDArray[np.int64]:
    """int64[n]: the word that has more than a `share` of the squares of each text, 0 where none has.

    With a share of 1 − c² a text that lacks the word has a cosine below c with it, whatever else it says.
    """
    found = np.zeros(bounds.shape[0] - 1, np.int64)
    for one in range(found.shape[0]):
        total = 0.0
        for place in range(bounds[one], bounds[one + 1]):
            total += weights[place] ** 2
        for place in range(bounds[one], bounds[one + 1]):
            if weights[place] ** 2 > share * total:
                found[one] = keys[place]
                break
    return found


@njit(cache=True, nogil=True)
def _lacks(keys: NDArray[np.int64], first: int, last: int, word: int) -> bool:
    """Whether a word, where there is one, is not among the keys from `first` to `last`."""
    at = first
    while at < last and keys[at] != word:
        at += 1
    return word != 0 and at == last


@njit(cache=True, nogil=True)
def _pairs_by_words(
    counts: NDArray[np.int32],
    fields: NDArray[np.int32],
    codes: NDArray[np.int64],
    said_weights: NDArray[np.float32],
    order: NDArray[np.int64],
    least: float,
) -> NDArray[np.int32]:
    keys, weights, bounds, squares, sums = _texts(counts, fields, codes, said_weights)
    needed = 1.0 - least * least
    share, dominant = min(1.0, _SLACK * needed), _dominant(keys, weights, bounds, needed + _ROUNDING)
    heads, tails = np.full(_BUCKETS, -1, np.int32), np.full(_BUCKETS, -1, np.int32)
    following = np.full(_MOST_HEAVY * counts.shape[0], -1, np.int32)
    owners, words = np.empty(following.shape[0], np.int32), np.empty(following.shape[0], np.int64)
    looked_at, places = np.full(counts.shape[0], -1, np.int64), np.empty(_MOST_HEAVY, np.int64)
    table, tabled = np.full(_CELLS, -1, np.int64), -1
    pairs, found, listed = np.empty((MOST_COMPARED * counts.shape[0], 2), np.int32), 0, 0
    for one in order:
        mine = (bounds[one], bounds[one + 1])
        heavy = _heaviest(keys, weights, mine, share, places) if mine[0] < mine[1] else 0
        compared = 0
        for place in places[:heavy]:
            node = heads[_bucket(keys[place])]
            while node >= 0 and compared < MOST_COMPARED:
                other = owners[node]
                if words[node] == keys[place] and looked_at[other] != one:
                    looked_at[other] = one
                    compared += 1
                    same = sums[one] == sums[other] and bounds[other + 1] - bounds[other] == mine[1] - mine[0]
                    lacks = _lacks(keys, bounds[other], bounds[other + 1], dominant[one])
                    alike = same or not (lacks or _lacks(keys, mine[0], mine[1], dominant[other]))
                    if alike and not same:
                        tabled = _fill(table, keys, mine, one) if tabled != one else tabled
                        bound = least * np.sqrt(squares[one] * squares[other])
                        alike = _product(table, keys, weights, bounds[other], bounds[other + 1]) >= bound
                    if alike:
                        pairs[found, 0], pairs[found, 1] = other, one
                        found += 1
                node = following[node]
        for place in places[:heavy]:
            bucket = _bucket(keys[place])
            owners[listed], words[listed] = one, keys[place]
            if heads[bucket] < 0:
                heads[bucket] = listed
            else:
                following[tails[bucket]] = listed
            tails[bucket] = listed
            listed += 1
    return pairs[:found]


def wordless(counts: NDArray[np.int32], said: Values) -> NDArray[np.bool_]:
    """bool[n]: which candidates say nothing in words."""
    owners = np.repeat(np.arange(len(counts)), counts)
    words = np.bincount(owners[(said.fields & OF_TEXT) != 0], minlength=len(counts))
    without: NDArray[np.bool_] = words == 0
    return without


def pairs_by_vectors(array: VectorArray, slots: NDArray[np.int32], order: NDArray[np.int64]) -> Pairs:
    """Candidates whose vectors in an array begin alike; `order` int64[m] has some of the candidates, the best first."""
    known = order[slots[order] < len(array.present)]
    known = known[array.present[slots[known]]]
    if len(known) < 2:
        return _NO_PAIRS
    begin = array.rows[slots[known], :_BITS]
    places: NDArray[np.int64] = _near_in_bits(begin, int(_MOST_BITS_APART * begin.shape[1]))
    return known[places].astype(np.int32)


@njit(cache=True, nogil=True)
def _bits_of(vectors: NDArray[np.float32]) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Which numbers of each vector float32[n, d ≤ 64] are above their mean, and whether enough are different."""
    n, size = vectors.shape
    bits, telling = np.zeros(n, np.uint64), np.zeros(n, np.bool_)
    different = np.empty(_LEAST_DIFFERENT, np.float32)
    for one in range(n):
        mean, count = 0.0, 0
        for number in vectors[one]:
            mean += number / size
            known = count == _LEAST_DIFFERENT
            for before in range(count):
                known = known or different[before] == number
            if not known:
                different[count] = number
                count += 1
        telling[one] = count == _LEAST_DIFFERENT
        for place in range(size):
            if vectors[one, place] > mean:
                bits[one] |= np.uint64(1) << np.uint64(place)
    return bits, telling


@njit(cache=True, nogil=True)
def _ones(bits: int) -> int:
    """How many bits are set (Warren, "Hacker's Delight", 5-1)."""
    left = np.uint64(bits)
    left -= (left >> np.uint64(1)) & _PAIRS
    left = (left & _FOURS) + ((left >> np.uint64(2)) & _FOURS)
    return int((((left + (left >> np.uint64(4))) & _EIGHTS) * _ONES) >> np.uint64(56))


@njit(cache=True, nogil=True)
def _near_in_bits(vectors: NDArray[np.float32], most: int) -> NDArray[np.int64]:
    """int64[p, 2]: pairs of vectors that differ in at most so many bits; the later one is the second."""
    bits, telling = _bits_of(vectors)
    pairs, found = np.empty((MOST_COMPARED * bits.shape[0], 2), np.int64), 0
    for one in range(bits.shape[0]):
        first = found
        for other in range(one):
            apart = _ones(bits[one] ^ bits[other])
            if apart <= most and telling[one] and telling[other] and found < first + MOST_COMPARED:
                pairs[found, 0], pairs[found, 1] = other, one
                found += 1
    return pairs[:found]
