"""Vector instructions for the block kernel, written in LLVM's own language.

numba offers no vectors, but it lets a function emit LLVM code. What is emitted here is LLVM's
target-independent vector code, which is right on any processor and fast where it has the
registers. One step, moving the non-empty entries of a list together, has no good form in it for
AVX2; there a table of permutations stands in, and only there an instruction is named.

All arrays are flat and one-dimensional; indices are uint64 and are not checked.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import codegen, config
from numba.extending import intrinsic

LANES = 64
vector_code: Callable[..., Any] = intrinsic  # said to be anything: what it makes is called by numba
_BIT, _BYTE = ir.IntType(1), ir.IntType(8)
_INT32, _INT64 = ir.IntType(32), ir.IntType(64)
_MASK = ir.VectorType(_BIT, LANES)


def host_features() -> frozenset[str]:
    """Return the processor features that numba compiles for, such as ``avx2``."""
    flat = config.CPU_FEATURES  # type: ignore[attr-defined]
    flat = codegen.get_host_cpu_features() if flat is None else flat
    return frozenset(word[1:] for word in flat.split(",") if word.startswith("+"))


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """Address of one element."""
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


def _load(builder: Any, pointer: Any, vector: Any) -> Any:
    """Load a vector from where its first element stands."""
    address = builder.bitcast(pointer, ir.PointerType(vector))
    return builder.load(address, align=vector.element.width // 8)


def _store(builder: Any, value: Any, pointer: Any) -> None:
    """Store a vector to where its first element stands."""
    address = builder.bitcast(pointer, ir.PointerType(value.type))
    builder.store(value, address, align=value.type.element.width // 8)


def _spread(builder: Any, scalar: Any, count: int) -> Any:
    """Vector of one value."""
    empty = ir.Constant(ir.VectorType(scalar.type, count), ir.Undefined)
    first = builder.insert_element(empty, scalar, ir.Constant(_INT32, 0))
    zeros = ir.Constant(ir.VectorType(_INT32, count), [0] * count)
    return builder.shuffle_vector(first, empty, zeros)


def _function(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    """LLVM's intrinsic function of that name, declared once in a module."""
    found = builder.module.globals.get(name)
    return found or ir.Function(builder.module, ir.FunctionType(result, arguments), name)


@vector_code
def greater64(typing, codes, at, threshold):  # type: ignore[no-untyped-def]
    """Return 64 bits: bit i tells whether ``codes[at + i] > threshold``."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array_type = signature.args[0]
        vector = ir.VectorType(context.get_data_type(array_type.dtype), LANES)
        start = _pointer(context, builder, array_type, *arguments[:2])
        limit = _spread(builder, arguments[2], LANES)
        above = builder.icmp_signed(">", _load(builder, start, vector), limit)
        return builder.bitcast(above, _INT64)

    return types.uint64(codes, types.uint64, codes.dtype), emit


@vector_code
def blend64(typing, plane, at, mask, bits, left, right):  # type: ignore[no-untyped-def]
    """Where bit i of ``mask`` is set, write ``plane[at + i]``: right where bit i of ``bits``."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array_type = signature.args[0]
        vector = ir.VectorType(context.get_data_type(array_type.dtype), LANES)
        start = _pointer(context, builder, array_type, *arguments[:2])
        mask, bits = (builder.bitcast(value, _MASK) for value in arguments[2:4])
        left, right = (_spread(builder, value, LANES) for value in arguments[4:])
        chosen = builder.select(bits, right, left)
        _store(builder, builder.select(mask, chosen, _load(builder, start, vector)), start)
        return context.get_dummy_value()

    uint64, value = types.uint64, plane.dtype
    return types.void(plane, uint64, uint64, uint64, value, value), emit


@vector_code
def blend64_of4(  # type: ignore[no-untyped-def]
    typing, plane, at, mask, bits, left_bits, right_bits, ll, lr, rl, rr
):
    """Do as `blend64`, in two levels: ``bits`` choose a side, the bits of a side its value."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array_type = signature.args[0]
        vector = ir.VectorType(context.get_data_type(array_type.dtype), LANES)
        start = _pointer(context, builder, array_type, *arguments[:2])
        mask, bits, left, right = (builder.bitcast(value, _MASK) for value in arguments[2:6])
        ll, lr, rl, rr = (_spread(builder, value, LANES) for value in arguments[6:])
        chosen = builder.select(bits, builder.select(right, rr, rl), builder.select(left, lr, ll))
        _store(builder, builder.select(mask, chosen, _load(builder, start, vector)), start)
        return context.get_dummy_value()

    uint64, value = types.uint64, plane.dtype
    return types.void(plane, *[uint64] * 5, *[value] * 4), emit


@vector_code
def copy8(typing, source, first, codes, at):  # type: ignore[no-untyped-def]
    """Copy eight elements: ``codes[at : at + 8] = source[first : first + 8]``."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(context.get_data_type(signature.args[2].dtype), 8)
        origin = _pointer(context, builder, signature.args[0], *arguments[:2])
        target = _pointer(context, builder, signature.args[2], *arguments[2:])
        _store(builder, _load(builder, origin, vector), target)
        return context.get_dummy_value()

    return types.void(source, types.uint64, codes, types.uint64), emit


@vector_code
def prefetch(typing, array, index):  # type: ignore[no-untyped-def]
    """Ask for the cache line of one element; harmless wherever it points."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *arguments)
        address = builder.bitcast(pointer, ir.PointerType(_BYTE))
        function = _function(
            builder, "llvm.prefetch.p0", ir.VoidType(), address.type, *[_INT32] * 3
        )
        how = [ir.Constant(_INT32, number) for number in (0, 3, 1)]  # read, keep, data
        builder.call(function, [address, *how])
        return context.get_dummy_value()

    return types.void(array, types.uint64), emit


def _compress(builder: Any, values: Any, kept: Any) -> Any:
    """Kept elements moved together, by one instruction of AVX-512."""
    vector = values.type
    name = f"llvm.experimental.vector.compress.v{vector.count}i{vector.element.width}"
    function = _function(builder, name, vector, vector, kept.type, vector)
    return builder.call(function, [values, kept, ir.Constant(vector, [0] * vector.count)])


def _permutations(builder: Any, words: int) -> Any:
    """For each set of kept elements out of four, where their 32-bit words come from."""
    name = f"gssm_cube.kept_words_{words}"
    row = ir.VectorType(_INT32, 4 * words)
    table = builder.module.globals.get(name)
    if table is None:
        kept = [[e for e in range(4) if chosen >> e & 1] for chosen in range(16)]
        places = [[words * e + w for e in chosen for w in range(words)] for chosen in kept]
        rows = [ir.Constant(row, place + [0] * (4 * words - len(place))) for place in places]
        table = ir.GlobalVariable(builder.module, ir.ArrayType(row, 16), name)
        table.linkage, table.global_constant = "internal", True
        table.initializer = ir.Constant(table.value_type, rows)
    return table


def _permute(builder: Any, values: Any, kept: Any) -> Any:
    """Kept elements of four moved together, by a table and AVX2."""
    words = values.type.element.width // 32
    number = builder.zext(builder.bitcast(kept, ir.IntType(4)), _INT64)
    table = _permutations(builder, words)
    places = builder.load(builder.gep(table, [ir.Constant(_INT64, 0), number]), align=16)
    if words == 2:
        name, vector = "llvm.x86.avx2.permd", places.type
    else:
        name, vector = "llvm.x86.avx.vpermilvar.ps", ir.VectorType(ir.FloatType(), 4)
    function = _function(builder, name, vector, vector, places.type)
    moved = builder.call(function, [builder.bitcast(values, vector), places])
    return builder.bitcast(moved, values.type)


def _emit_split(count: int, together: Callable[[Any, Any, Any], Any]) -> Callable[..., Any]:
    """Code that splits ``count`` entries of a list; ``together`` drops the empty ones."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def place(array: int, index: int) -> Any:
            number = arguments[index]
            return _pointer(context, builder, signature.args[array], arguments[array], number)

        wide, narrow = ir.VectorType(_INT64, count), ir.VectorType(_INT32, count)
        keys = _load(builder, place(0, 3), narrow)
        masks = _load(builder, place(1, 3), wide)
        bits = _load(builder, place(2, 4), wide)
        numbers = ir.Constant(wide, list(range(count)))
        inside = builder.icmp_signed("<", numbers, _spread(builder, arguments[5], count))
        zero, ones = ir.Constant(wide, [0] * count), ir.Constant(wide, [-1] * count)
        masks = builder.select(inside, masks, zero)
        lengths = []
        for part, index in ((builder.and_(masks, builder.xor(bits, ones)), 6),
                            (builder.and_(masks, bits), 7)):  # fmt: skip
            kept = builder.icmp_unsigned("!=", part, zero)
            _store(builder, together(builder, part, kept), place(1, index))
            _store(builder, together(builder, keys, kept), place(0, index))
            number = builder.zext(builder.bitcast(kept, ir.IntType(count)), _INT64)
            lengths.append(builder.ctpop(number))
        return builder.or_(lengths[0], builder.shl(lengths[1], ir.Constant(_INT64, 8)))

    return emit


@vector_code
def split8(typing, keys, masks, bits, at, bit_at, remaining, left, right):  # type: ignore[no-untyped-def]
    """Split eight entries, or those that remain; return how many went left + 256 x right.

    The parts are appended at ``left`` and ``right``; eight elements are written at either.
    """
    signature = types.uint64(keys, masks, bits, *[types.uint64] * 5)
    return signature, _emit_split(8, _compress)


@vector_code
def split4(typing, keys, masks, bits, at, bit_at, remaining, left, right):  # type: ignore[no-untyped-def]
    """Split four entries, or those that remain, as `split8` does."""
    together = _permute if "avx2" in host_features() else _compress
    signature = types.uint64(keys, masks, bits, *[types.uint64] * 5)
    return signature, _emit_split(4, together)
