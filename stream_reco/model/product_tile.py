"""A tile of a matrix product whose sums stay in registers, which compiled loops over arrays do not achieve.

A loop over arrays loads and stores each sum again with every four products, and LLVM's vectorizer only looks at the
innermost loop. So the few instructions of a tile are written in LLVM's own terms; the loops around it are in
`dense_layers`.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

ROWS = 4
"""Rows that are multiplied together: so often is a weight used once it is loaded. Buffers have a multiple of it."""
UNIT = 8
"""Numbers of a vector register of AVX2. Matrices have a multiple of so many inputs and outputs, zeros behind their own,
so that no loop has a remainder."""
_BYTES = 4
_INT32, _INT64 = ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(ir.FloatType(), UNIT)
_ALL_OF_FIRST = ir.Constant(ir.VectorType(_INT32, UNIT), [0] * UNIT)

Builder = Any
"""llvmlite's, which has no types."""


class _Matrix:
    """The memory of a two-dimensional array of float32 whose rows are contiguous, in code that is being generated."""

    def __init__(self, builder: Builder, array: Any) -> None:
        self._builder, self._data = builder, array.data
        stride = cgutils.unpack_tuple(builder, array.strides, 2)[0]
        self._row = builder.udiv(stride, _INT64(_BYTES))

    def at(self, row: Any, column: Any) -> Any:
        """The place of one number."""
        return self._builder.gep(self._data, [self._builder.add(self._builder.mul(row, self._row), column)])

    def vector(self, row: Any, column: Any) -> Any:
        """The place of `UNIT` numbers."""
        return self._builder.bitcast(self.at(row, column), _VECTOR.as_pointer())


def _in_all_places(builder: Builder, number: Any) -> Any:
    """A vector that has the number everywhere."""
    first = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), number, _INT32(0))
    return builder.shuffle_vector(first, ir.Constant(_VECTOR, ir.Undefined), _ALL_OF_FIRST)


def _generate(builder: Builder, matrices: tuple[_Matrix, _Matrix, _Matrix], place: Any, vectors: int) -> None:
    """The tile of `ROWS` rows and `vectors` · UNIT columns at `place`: (row, column, inputs), at least one input."""
    (x, weight, out), (first, column, inputs) = matrices, place
    rows = [builder.add(first, _INT64(row)) for row in range(ROWS)]
    columns = [builder.add(column, _INT64(UNIT * vector)) for vector in range(vectors)]
    sums = [(row, out.vector(row, at)) for row in rows for at in columns]
    begun, entry = [builder.load(place, align=_BYTES) for _, place in sums], builder.block
    # x · y + z in one step where the processor has one, else in two.
    step = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), f"llvm.fmuladd.v{UNIT}f32"
    )
    loop, done = builder.append_basic_block("tile"), builder.append_basic_block("tiled")
    builder.branch(loop)
    builder.position_at_end(loop)
    k, totals = builder.phi(_INT64), [builder.phi(_VECTOR) for _ in sums]
    weights = [builder.load(weight.vector(k, at), align=_BYTES) for at in columns]
    inputs_of = [_in_all_places(builder, builder.load(x.at(row, k))) for row in rows]
    added = [
        builder.call(step, [inputs_of[at // vectors], weights[at % vectors], total]) for at, total in enumerate(totals)
    ]
    following = builder.add(k, _INT64(1))
    k.add_incoming(_INT64(0), entry)
    k.add_incoming(following, loop)
    for total, before, after in zip(totals, begun, added, strict=True):
        total.add_incoming(before, entry)
        total.add_incoming(after, loop)
    builder.cbranch(builder.icmp_signed("<", following, inputs), loop, done)
    builder.position_at_end(done)
    for (_, at), total in zip(sums, added, strict=True):
        builder.store(total, at, align=_BYTES)


def _tile(vectors: int) -> Any:
    def tile(_typing: Any, x: Any, weight: Any, out: Any, row: Any, column: Any) -> Any:  # noqa: ARG001 - its arguments
        def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Any:
            arrays = [
                context.make_array(kind)(context, builder, argument)
                for kind, argument in zip(signature.args[:3], arguments[:3], strict=True)
            ]
            inputs = cgutils.unpack_tuple(builder, arrays[1].shape, 2)[0]
            x, weight, out = (_Matrix(builder, array) for array in arrays)
            _generate(builder, (x, weight, out), (*arguments[3:], inputs), vectors)
            return context.get_dummy_value()

        return types.void(x, weight, out, types.int64, types.int64), generate

    return intrinsic(tile)


add_wide_tile = _tile(2)
"""(x, weight, out, row, column): out[row : row + ROWS, column : column + 2 · UNIT] += the same of x @ weight."""
add_tile = _tile(1)
"""The same for `UNIT` columns."""
WIDE = 2 * UNIT
