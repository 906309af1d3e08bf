"""The fused sparse update: sum duplicates, reject what is not finite, step the optimizer, mark the row touched."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.embedding.kernels.index import GOLDEN, IGNORED, REFUSED
from stream_reco.embedding.kernels.optimizer import KIND_ADAGRAD, KIND_ADAM, KIND_ROWWISE_ADAGRAD, KIND_SGD
from stream_reco.embedding.kernels.pointers import Pointer, doubles_of, floats_at
from stream_reco.embedding.kernels.rows import AHEAD, DIM, STRIDE, approach_floats, memory_of, row_address, touch

# Squares of what is below stay far inside float32, so that an accumulator cannot be driven to infinity.
LARGEST_GRADIENT = np.float32(1e15)
# A gradient of 0 with eps = 0 divides 0 by this instead of by 0. Kernels that divide are compiled with NumPy's error
# model: Python's checks every divisor, one number at a time.
LEAST_DIVISOR = np.float32(1e-30)


@njit(cache=True, nogil=True, error_model="numpy")
def step_adam(address: int, gradient: int, dim: int, hyper: Pointer) -> None:
    row, g = floats_at(address), floats_at(gradient)
    first, second = floats_at(address + dim * 4), floats_at(address + dim * 8)
    steps = row[3 * dim] + np.float32(1)
    row[3 * dim] = steps
    keep1, keep2 = np.float32(hyper[1]), np.float32(hyper[2])
    new1, new2 = np.float32(1 - hyper[1]), np.float32(1 - hyper[2])
    rate = np.float32(hyper[0] / (1 - hyper[1] ** steps))
    root = np.float32(np.sqrt(1 - hyper[2] ** steps))
    eps = np.float32(hyper[3])
    for j in range(dim):
        m = keep1 * first[j] + new1 * g[j]
        v = keep2 * second[j] + new2 * g[j] * g[j]
        first[j] = m
        second[j] = v
        row[j] -= rate * m / max(np.sqrt(v) / root + eps, LEAST_DIVISOR)


@njit(cache=True, nogil=True, error_model="numpy")
def step_ftrl(address: int, gradient: int, dim: int, hyper: Pointer) -> None:
    row, g = floats_at(address), floats_at(gradient)
    linear, squares = floats_at(address + dim * 4), floats_at(address + dim * 8)
    alpha, beta = np.float32(hyper[0]), np.float32(hyper[1])
    l1, l2 = np.float32(hyper[2]), np.float32(hyper[3])
    for j in range(dim):
        n = squares[j] + g[j] * g[j]
        sigma = (np.sqrt(n) - np.sqrt(squares[j])) / alpha
        z = linear[j] + g[j] - sigma * row[j]
        squares[j] = n
        linear[j] = z
        excess = max(abs(z) - l1, np.float32(0))
        strength = (beta + np.sqrt(n)) / alpha + l2
        row[j] = -np.copysign(excess, z) / strength if strength > 0 else np.float32(0)


@njit(cache=True, nogil=True, error_model="numpy")
def step_row(address: int, gradient: int, dim: int, kind: int, hyper: Pointer) -> None:
    """One optimizer step of the row at `address` by the gradient at `gradient`, both float32."""
    row, g, state = floats_at(address), floats_at(gradient), floats_at(address + dim * 4)
    rate, eps = np.float32(hyper[0]), np.float32(hyper[1])
    if kind == KIND_ADAGRAD:
        for j in range(dim):
            total = state[j] + g[j] * g[j]
            state[j] = total
            row[j] -= rate * g[j] / max(np.sqrt(total) + eps, LEAST_DIVISOR)
    elif kind == KIND_SGD:
        for j in range(dim):
            row[j] -= rate * g[j]
    elif kind == KIND_ROWWISE_ADAGRAD:
        squares = 0.0
        for j in range(dim):
            squares += np.float64(g[j]) * np.float64(g[j])
        state[0] += np.float32(squares / dim)
        pace = max(np.sqrt(state[0]) + eps, LEAST_DIVISOR)
        for j in range(dim):
            row[j] -= rate * g[j] / pace
    elif kind == KIND_ADAM:
        step_adam(address, gradient, dim, hyper)
    else:
        step_ftrl(address, gradient, dim, hyper)


@njit(cache=True, nogil=True)
def is_sound(gradient: int, dim: int) -> bool:
    g = floats_at(gradient)
    bad = 0
    for j in range(dim):
        bad |= not (abs(g[j]) <= LARGEST_GRADIENT)
    return bad == 0


@njit(cache=True, nogil=True)
def chain_duplicates(rows: NDArray[np.int64], first: NDArray[np.int32], following: NDArray[np.int32]) -> None:
    """first[i] ≥ 0 where i is the first position of its row; following[i] = the row's next position, or -1."""
    size = 2
    while size < 2 * len(rows):
        size *= 2
    heads = np.full(size, -1, np.int32)
    for i in range(len(rows)):
        at = ((rows[i] * GOLDEN) >> 20) & (size - 1)
        while heads[at] >= 0 and rows[heads[at]] != rows[i]:
            at = (at + 1) & (size - 1)
        following[i] = -1
        first[i] = -1
        if heads[at] < 0:
            heads[at] = i
            first[i] = i
        else:
            following[first[heads[at]]] = i
            first[heads[at]] = i


@njit(cache=True, nogil=True)
def copy_vector(source: int, target: int, dim: int) -> None:
    for j in range(dim):
        floats_at(target)[j] = floats_at(source)[j]


@njit(cache=True, nogil=True)
def add_vector(source: int, target: int, dim: int) -> None:
    for j in range(dim):
        floats_at(target)[j] += floats_at(source)[j]


@njit(cache=True, nogil=True)
def update_rows(
    rows: NDArray[np.int64],
    gradients: NDArray[np.float32],
    shared: int,
    kind: int,
    hyper: NDArray[np.float64],
    store: NDArray[np.int64],
) -> bool:
    """Step each row once by the sum of its gradients float32[n, dim]; True if the shared default row was stepped.

    Row -1 stands for the row at address `shared`; with shared = 0 its gradients are ignored and counted. `store` are
    the addresses that `memory_of` takes.
    """
    memory, settings = memory_of(store), doubles_of(hyper)
    head, data, layout = memory.head, memory.data, memory.layout
    n, dim = len(rows), layout[DIM]
    first, following = np.empty(n, np.int32), np.empty(n, np.int32)
    chain_duplicates(rows, first, following)
    total = np.empty(dim, np.float32)
    source, sums = np.int64(gradients.ctypes.data), np.int64(total.ctypes.data)
    stepped_shared = False
    for i in range(n):
        if i + AHEAD < n and rows[i + AHEAD] >= 0:
            approach_floats(row_address(data, layout, rows[i + AHEAD]), layout[STRIDE])
        if rows[i] < 0 and shared == 0:
            head[IGNORED] += 1
            continue
        if first[i] < 0:
            continue
        gradient = source + i * dim * 4
        if following[i] >= 0:
            copy_vector(gradient, sums, dim)
            later = following[i]
            while later >= 0:
                add_vector(source + later * dim * 4, sums, dim)
                later = following[later]
            gradient = sums
        if not is_sound(gradient, dim):
            head[REFUSED] += 1
        elif rows[i] < 0:
            step_row(shared, gradient, dim, kind, settings)
            stepped_shared = True
        else:
            step_row(row_address(data, layout, rows[i]), gradient, dim, kind, settings)
            touch(rows[i], head, memory.bits)
    # The sums were read through their address; this keeps their memory until here.
    total[0] = 0
    return stepped_shared
