"""Layers of a network on a few rows at a time, compiled: what a forward pass is made of where nothing is learned.

Products are computed here and not by a library: the matrices of one request are so small that a library's call, its
packing and its threads cost as much as the arithmetic. Rows are taken four at a time, always, so that a row's result
has the same bits whatever stands beside it.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.model.product_tile import ROWS, UNIT, WIDE, add_tile, add_wide_tile

_LARGEST = np.float32(7.90531110763549805)
"""Beyond it the tangent is 1 but for rounding."""
# A rational function that minimises the relative error within that range, as Eigen has it (Eigen/src/Core/
# MathFunctionsImpl.h, `ptanh_float`); it is 3e-7 from the tangent at most, and many are computed at once.
_P1, _P3, _P5 = np.float32(4.89352455891786e-03), np.float32(6.37261928875436e-04), np.float32(1.48572235717979e-05)
_P7, _P9 = np.float32(5.12229709037114e-08), np.float32(-8.60467152213735e-11)
_P11, _P13 = np.float32(2.00018790482477e-13), np.float32(-2.76076847742355e-16)
_Q0, _Q2 = np.float32(4.89352518554385e-03), np.float32(2.26843463243900e-03)
_Q4, _Q6 = np.float32(1.18534705686654e-04), np.float32(1.19825839466702e-06)
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)


@njit(cache=True, nogil=True)
def add_product(x: NDArray[np.float32], weight: NDArray[np.float32], out: NDArray[np.float32], rows: int) -> None:
    """out[i] += x[i] @ weight for the first `rows` and those up to the next multiple of `ROWS`.

    `weight` is float32[inputs, outputs], both multiples of `UNIT`.
    """
    outputs = weight.shape[1]
    wide = outputs - outputs % WIDE if weight.shape[0] else 0
    for row in range(0, rows, ROWS):
        for column in range(0, wide, WIDE):
            add_wide_tile(x, weight, out, row, column)
        if wide < outputs and weight.shape[0]:
            add_tile(x, weight, out, row, wide)


@njit(cache=True, nogil=True)
def spread(bias: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Let each row of float32[n, outputs] be the bias float32[outputs]."""
    for row in range(out.shape[0]):
        for at in range(out.shape[1]):
            out[row, at] = bias[at]


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def dot(x: NDArray[np.float32], y: NDArray[np.float32]) -> np.float32:
    """The inner product of two vectors of one length."""
    total = np.float32(0.0)
    for at in range(x.shape[0]):
        total += x[at] * y[at]
    return total


@njit(cache=True, nogil=True, fastmath={"contract"})
def bound(x: NDArray[np.float32]) -> None:
    """Each number of float32[n, m] becomes its hyperbolic tangent."""
    for row in range(x.shape[0]):
        for at in range(x.shape[1]):
            t = min(max(x[row, at], -_LARGEST), _LARGEST)
            s = t * t
            p = _P1 + s * (_P3 + s * (_P5 + s * (_P7 + s * (_P9 + s * (_P11 + s * _P13)))))
            x[row, at] = t * p / (_Q0 + s * (_Q2 + s * (_Q4 + s * _Q6)))


@njit(cache=True, nogil=True)
def rectify(x: NDArray[np.float32]) -> None:
    """Each negative number of float32[n, m] becomes 0."""
    for row in range(x.shape[0]):
        for at in range(x.shape[1]):
            x[row, at] = max(x[row, at], np.float32(0.0))


@njit(cache=True, nogil=True)
def linear(x: NDArray[np.float32], weight: NDArray[np.float32], bias: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32[n, outputs filled up]: `x` float32[n, inputs] times a `transposed` weight, and a `filled_up` bias."""
    count = x.shape[0]
    size = -(-count // ROWS) * ROWS
    read, out = np.zeros((size, weight.shape[0]), np.float32), np.empty((size, weight.shape[1]), np.float32)
    for row in range(count):
        for at in range(x.shape[1]):
            read[row, at] = x[row, at]
    spread(bias, out)
    add_product(read, weight, out, count)
    return out[:count]


def transposed(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32[inputs, outputs], contiguous, of float32[outputs, inputs] as networks keep it, filled up to `UNIT`."""
    outputs, inputs = weight.shape
    turned = np.zeros((inputs + -inputs % UNIT, outputs + -outputs % UNIT), dtype=np.float32)
    turned[:inputs, :outputs] = weight.T
    return turned


def filled_up(bias: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32[outputs] as in `transposed`; a copy."""
    return np.append(bias, np.zeros(-len(bias) % UNIT, dtype=np.float32))


def sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of log-odds the probabilities, small ones to the last digits; of any size without overflow."""
    above: NDArray[np.float32] = np.exp(np.minimum(x, _ZERO))
    return np.divide(above, _ONE + np.exp(-np.abs(x)), out=above)
