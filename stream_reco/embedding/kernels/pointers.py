"""What kernels do with raw memory and Numba has no word for: pointers, prefetching, a line's slots compared at once."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

LINE_BYTES = 64
WORDS = LINE_BYTES // 8

# What a kernel returns is an int64 or bool of its own, which the type checker knows neither as int nor as np.int64.
Scalar = Any
# Inner functions of kernels take raw pointers: to pass an array costs two atomic counts and seven arguments a call.
Pointer = Any


def _words_at(typing_context: Any, address: Any) -> Any:  # noqa: ARG001
    """The int64 words that start at an address."""
    return types.CPointer(types.int64)(types.int64), _as_pointer


def _floats_at(typing_context: Any, address: Any) -> Any:  # noqa: ARG001
    """The float32 numbers that start at an address."""
    return types.CPointer(types.float32)(types.int64), _as_pointer


def _doubles_at(typing_context: Any, address: Any) -> Any:  # noqa: ARG001
    """The float64 numbers that start at an address."""
    return types.CPointer(types.float64)(types.int64), _as_pointer


def _bytes_at(typing_context: Any, address: Any) -> Any:  # noqa: ARG001
    """The uint8 numbers that start at an address."""
    return types.CPointer(types.uint8)(types.int64), _as_pointer


def _prefetch(typing_context: Any, address: Any) -> Any:  # noqa: ARG001
    """Ask for the cache line at an address, without waiting for it."""
    return types.void(types.int64), _emit_prefetch


def _tops_that_are(typing_context: Any, address: Any, half: Any) -> Any:  # noqa: ARG001
    """Bit i is set where word i of the line at an address has this upper half, 0 to 2**32 - 1: int64, 0 to 255."""
    return types.int64(types.int64, types.int64), _emit_tops_that_are


def _lowest_bit(typing_context: Any, bits: Any) -> Any:  # noqa: ARG001
    """The place of the lowest bit that is set; there must be one."""
    return types.int64(types.int64), _emit_lowest_bit


words_at: Any = intrinsic(_words_at)
floats_at: Any = intrinsic(_floats_at)
doubles_at: Any = intrinsic(_doubles_at)
bytes_at: Any = intrinsic(_bytes_at)
prefetch: Any = intrinsic(_prefetch)
tops_that_are: Any = intrinsic(_tops_that_are)
lowest_bit: Any = intrinsic(_lowest_bit)


def _as_pointer(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))


def _emit_prefetch(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
    pointer, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [pointer, flag, flag, flag])
    function = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
    # For reading (0), kept in every cache level (3), data (1).
    builder.call(function, [builder.inttoptr(arguments[0], pointer), flag(0), flag(3), flag(1)])
    return context.get_dummy_value()


def _emit_tops_that_are(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
    word, flag = ir.IntType(64), ir.IntType(32)
    line = ir.VectorType(word, WORDS)
    address, half = arguments
    words = builder.load(builder.inttoptr(address, line.as_pointer()), align=8)
    single = builder.insert_element(ir.Constant(line, ir.Undefined), half, flag(0))
    everywhere = ir.Constant(ir.VectorType(flag, WORDS), [0] * WORDS)
    wanted = builder.shuffle_vector(single, ir.Constant(line, ir.Undefined), everywhere)
    same = builder.icmp_unsigned("==", builder.lshr(words, ir.Constant(line, [32] * WORDS)), wanted)
    return builder.zext(builder.bitcast(same, ir.IntType(WORDS)), word)


def _emit_lowest_bit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
    return builder.cttz(arguments[0], ir.IntType(1)(1))


@njit(cache=True, nogil=True)
def words_of(array: NDArray[np.int64]) -> Pointer:
    """The array's memory; the array must outlive the pointer."""
    return words_at(np.int64(array.ctypes.data))


@njit(cache=True, nogil=True)
def words_from(array: NDArray[np.int64], place: int) -> Pointer:
    """The array's memory from a place on."""
    return words_at(np.int64(array.ctypes.data) + place * 8)


@njit(cache=True, nogil=True)
def bytes_of(array: NDArray[np.uint8]) -> Pointer:
    """The array's memory; the array must outlive the pointer."""
    return bytes_at(np.int64(array.ctypes.data))


@njit(cache=True, nogil=True)
def doubles_of(array: NDArray[np.float64]) -> Pointer:
    """The array's memory; the array must outlive the pointer."""
    return doubles_at(np.int64(array.ctypes.data))
