"""Vectors of 32 numbers inside compiled code.

Numba leaves it to LLVM to find vector instructions in loops, and what it finds keeps sums in memory and uses
half the width that a processor has. In terms of these vectors, sums stay in registers; LLVM splits them into
as many registers as the processor needs, so that the code is as portable as a loop.

Arrays are C-contiguous and addressed by flat position.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, overload, register_model

from chainrule.kernels.plans import LANES

__all__ = [
    "add_totals",
    "exp",
    "load",
    "maximum",
    "minimum",
    "splat",
    "store",
    "where_positive",
]

# Products and sums may be fused, and sums reordered.
_FLAGS = ("contract", "reassoc", "nsz", "arcp")
_INDEX = ir.IntType(32)
# Of an intrinsic's own arguments the first, the typing context, is not one of its caller's.
_intrinsic: Any = intrinsic


class VectorType(types.Type):
    """The type of a vector whose lanes are of one floating-point type."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Vector({dtype})")


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Any) -> None:
        lane = ir.FloatType() if vector.dtype == types.float32 else ir.DoubleType()
        super().__init__(manager, vector, ir.VectorType(lane, LANES))


def _is_array(array: Any) -> bool:
    return isinstance(array, types.Array) and array.layout == "C" and isinstance(array.dtype, types.Float)


def _pointer(context: Any, builder: Any, signature: Any, arguments: Any, lanes: int) -> Any:
    """Return where `lanes` numbers lie in the array that is the first argument, from the second on."""
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    offset = context.cast(builder, arguments[1], signature.args[1], types.intp)
    lane = context.get_data_type(signature.args[0].dtype)
    return builder.bitcast(builder.gep(array.data, [offset]), ir.VectorType(lane, lanes).as_pointer())


def _load(builder: Any, pointer: Any, dtype: Any) -> Any:
    # Without it LLVM would take for granted that the address is a multiple of the vector's size.
    loaded = builder.load(pointer)
    loaded.align = dtype.bitwidth // 8
    return loaded


@_intrinsic
def load(typing: Any, array: Any, offset: Any) -> Any:
    """Return the vector that begins at a flat position of an array."""
    if not (_is_array(array) and isinstance(offset, types.Integer)):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _load(builder, _pointer(context, builder, signature, arguments, LANES), array.dtype)

    return VectorType(array.dtype)(array, offset), generate


@_intrinsic
def store(typing: Any, array: Any, offset: Any, vector: Any) -> Any:
    """Write a vector to a flat position of an array."""
    if not (_is_array(array) and vector == VectorType(array.dtype)):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        stored = builder.store(arguments[2], _pointer(context, builder, signature, arguments, LANES))
        stored.align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, offset, vector), generate


@_intrinsic
def splat(typing: Any, number: Any, like: Any) -> Any:
    """Return a vector of the type of another that holds one number in every lane."""
    if not (isinstance(number, types.Number) and isinstance(like, VectorType)):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lane = context.cast(builder, arguments[0], number, like.dtype)
        anything = ir.Constant(arguments[1].type, ir.Undefined)
        first = builder.insert_element(anything, lane, ir.Constant(_INDEX, 0))
        return builder.shuffle_vector(first, anything, _lanes([0] * LANES))

    return like(number, like), generate


def _lanes(numbers: list[int]) -> Any:
    return ir.Constant(ir.VectorType(_INDEX, len(numbers)), numbers)


def _lane_by_lane(instruction: str) -> Any:
    """Return the intrinsic of an arithmetic instruction on two vectors."""

    @_intrinsic
    def combine(typing: Any, a: Any, b: Any) -> Any:
        if not (isinstance(a, VectorType) and a == b):
            return None

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, instruction)(*arguments, flags=_FLAGS)

        return a(a, b), generate

    return combine


def _overload(function: Callable[..., Any], combine: Any) -> None:
    """Let an operator take two vectors, or a vector and a number."""

    @overload(function, strict=False)
    def of_vectors(a: Any, b: Any) -> Any:
        if isinstance(a, VectorType) and isinstance(b, VectorType):
            return lambda a, b: combine(a, b)
        if isinstance(a, VectorType) and isinstance(b, types.Number):
            return lambda a, b: combine(a, splat(b, a))
        if isinstance(a, types.Number) and isinstance(b, VectorType):
            return lambda a, b: combine(splat(a, b), b)
        return None


for _function, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _overload(_function, _lane_by_lane(_instruction))


def _chosen(relation: str) -> Any:
    """Return the intrinsic that takes from each lane the number that stands in a relation to the other."""

    @_intrinsic
    def choose(typing: Any, a: Any, b: Any) -> Any:
        if not (isinstance(a, VectorType) and a == b):
            return None

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.select(builder.fcmp_unordered(relation, *arguments), *arguments)

        return a(a, b), generate

    return choose


# Of a NaN in `a`, each lane keeps it.
maximum: Any = _chosen(">")
minimum: Any = _chosen("<")


@_intrinsic
def where_positive(typing: Any, condition: Any, vector: Any) -> Any:
    """Return the lanes of a vector where the condition is above zero, and zero elsewhere."""
    if not (isinstance(vector, VectorType) and condition == vector):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        zero = ir.Constant(arguments[0].type, None)
        return builder.select(builder.fcmp_ordered(">", arguments[0], zero), arguments[1], zero)

    return vector(condition, vector), generate


@_intrinsic
def exp(typing: Any, vector: Any) -> Any:
    """Return the exponential of each lane: right to 2e-7 in single precision, down to 1e-38."""
    if not isinstance(vector, VectorType):
        return None
    return vector(vector), _single_exp if vector.dtype == types.float32 else _exp_lane_by_lane


def _exp_lane_by_lane(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Return the library's function of each lane."""
    lane = arguments[0].type.element
    one = builder.module.declare_intrinsic("llvm.exp", [lane])
    result = ir.Constant(arguments[0].type, ir.Undefined)
    for n in range(LANES):
        index = ir.Constant(_INDEX, n)
        value = builder.call(one, [builder.extract_element(arguments[0], index)])
        result = builder.insert_element(result, value, index)
    return result


# exp(r) for |r| <= log(2) / 2, highest power first: the minimax polynomial of Cephes (Moshier 1989).
_EXP = (
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    5.0000001201e-1,
    1,
    1,
)
# log(2) in two parts, of which the first has few digits: multiples of it are exact.
_LOG_2 = (0.693359375, -2.12194440e-4)


def _single_exp(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Return 2^k exp(r) for x = k log 2 + r, in vector instructions."""
    kind = arguments[0].type
    integers = ir.VectorType(ir.IntType(32), LANES)

    def same(number: float, of: Any = kind) -> Any:
        return ir.Constant(of, [number] * LANES)

    def chosen(relation: str, a: Any, b: Any) -> Any:
        return builder.select(builder.fcmp_ordered(relation, a, b), a, b)

    x = chosen("<", chosen(">", arguments[0], same(-87.3)), same(88.3))
    # Beside so large a number, single precision has no room for what is behind the point.
    rounded = builder.fadd(builder.fmul(x, same(1.4426950408889634)), same(1.5 * 2**23))
    k = builder.fsub(rounded, same(1.5 * 2**23))
    for part in _LOG_2:
        x = builder.fsub(x, builder.fmul(k, same(part)), flags=("contract",))
    value = same(_EXP[0])
    for coefficient in _EXP[1:]:
        value = builder.fadd(builder.fmul(value, x), same(coefficient), flags=("contract",))
    exponent = builder.add(builder.fptosi(k, integers), same(127, integers))
    return builder.fmul(value, builder.bitcast(builder.shl(exponent, same(23, integers)), kind))


def _halves_added(builder: Any, vector: Any) -> Any:
    """Return a vector of half the length, the sums of the first and the second half."""
    half = vector.type.count // 2
    first = builder.shuffle_vector(vector, vector, _lanes([*range(half)]))
    second = builder.shuffle_vector(vector, vector, _lanes([*range(half, 2 * half)]))
    return builder.fadd(first, second, flags=_FLAGS)


def _neighbours_added(builder: Any, a: Any, b: Any) -> Any:
    """Return in each group of four lanes the two sums of neighbours in a, then the two in b."""
    count = a.type.count
    lanes = [start + lane for lane in range(0, count, 4) for start in (0, 2, count, count + 2)]
    first = builder.shuffle_vector(a, b, _lanes(lanes))
    second = builder.shuffle_vector(a, b, _lanes([lane + 1 for lane in lanes]))
    return builder.fadd(first, second, flags=_FLAGS)


@_intrinsic
def add_totals(typing: Any, array: Any, offset: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """Add the lanes of each of four vectors to one of four numbers of an array, from a flat position on."""
    if not (_is_array(array) and a == VectorType(array.dtype) and a == b == c == d):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        parts = list(arguments[2:])
        while parts[0].type.count > 16:
            parts = [_halves_added(builder, part) for part in parts]
        pairs = [_neighbours_added(builder, *parts[:2]), _neighbours_added(builder, *parts[2:])]
        total = _neighbours_added(builder, *pairs)
        while total.type.count > 4:
            total = _halves_added(builder, total)
        pointer = _pointer(context, builder, signature, arguments, 4)
        total = builder.fadd(total, _load(builder, pointer, array.dtype), flags=_FLAGS)
        builder.store(total, pointer).align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, offset, a, b, c, d), generate
