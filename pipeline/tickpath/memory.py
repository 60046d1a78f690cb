"""Raw memory for hot code: loads, stores, prefetch, bit counts, the cycle counter, accessors.

Hot functions take addresses (``uint64``), not arrays: Numba then emits no reference counting,
measured at 6x.  The safety this gives up comes back in the checked variant
(``TICKPATH_CHECKED=1``): every accessor verifies its address against the block that holds its
records and against the record's alignment, every read of a message against the message, and the
first violation is recorded (`violations`) instead of being followed.  Tests and fuzzing run so.

All unsigned fields load as ``uint64`` and all signed ones as ``int64``; never mix the two in one
expression, because Numba would make it a float.
"""

import types as python_types
from enum import IntEnum
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tickpath.jit import CHECKED, cold, leaf

U64 = types.uint64
I64 = types.int64
_I64 = ir.IntType(64)

llvm.initialize_native_asmparser()

# ---------------------------------------------------------------- bare loads and stores


def _pointer(builder, address, bits):
    return builder.inttoptr(address, ir.IntType(bits).as_pointer())


def _describe(builder, access, tag, constant=False):
    """Tell LLVM what a load or store may overlap with.

    Accesses with different tags (a record's field each, wire bytes together) never touch the same
    memory; without this every store to an order would make all that is known of levels, sides and
    counters be loaded again.  Accesses without a tag may overlap with anything.
    """
    module = builder.module
    if tag is not None:
        root = module.add_metadata(["tickpath"])
        kind = module.add_metadata([tag, root, _I64(0)])
        access.set_metadata("tbaa", module.add_metadata([kind, kind, _I64(0)]))
    if constant:
        access.set_metadata("invariant.load", module.add_metadata([]))


def _load(bits, offset=0, swap=False, signed=False, tag=None, constant=False):
    """An intrinsic that loads ``bits`` bits at ``address + offset``, unaligned.

    ``constant`` is for memory that no compiled function ever writes.
    """
    result = I64 if signed else U64

    @intrinsic
    def load(context, address):
        def generate(context, builder, signature, args):
            at = builder.add(args[0], _I64(offset))
            value = builder.load(_pointer(builder, at, bits))
            value.align = 1
            _describe(builder, value, tag, constant)
            if swap and bits > 8:
                bswap = builder.module.declare_intrinsic("llvm.bswap", [ir.IntType(bits)])
                value = builder.call(bswap, [value])
            if bits == 64:
                return value
            return builder.sext(value, _I64) if signed else builder.zext(value, _I64)

        return result(types.uint64), generate

    return load


def _store(bits, offset=0, swap=False, signed=False, tag=None):
    """An intrinsic that stores the low ``bits`` bits of a value at ``address + offset``."""
    accepted = I64 if signed else U64

    @intrinsic
    def store(context, address, value):
        def generate(context, builder, signature, args):
            low = args[1] if bits == 64 else builder.trunc(args[1], ir.IntType(bits))
            if swap and bits > 8:
                bswap = builder.module.declare_intrinsic("llvm.bswap", [ir.IntType(bits)])
                low = builder.call(bswap, [low])
            at = builder.add(args[0], _I64(offset))
            done = builder.store(low, _pointer(builder, at, bits))
            done.align = 1
            _describe(builder, done, tag)
            return context.get_dummy_value()

        return types.void(types.uint64, accepted), generate

    return store


def constant_load(offset: int):
    """A load of a 64-bit field at ``address + offset`` that compiled code never writes."""
    return _load(64, offset, constant=True)


load_u8, load_u16, load_u32, load_u64 = _load(8), _load(16), _load(32), _load(64)
store_u8, store_u16, store_u32, store_u64 = _store(8), _store(16), _store(32), _store(64)
load_i64 = _load(64, signed=True)


@intrinsic
def load_acquire(context, address):
    """A 64-bit word that another process stores: what it stored before can be read after this."""

    def generate(context, builder, signature, args):
        return builder.load_atomic(_pointer(builder, args[0], 64), "acquire", 8)

    return U64(types.uint64), generate


@intrinsic
def store_release(context, address, value):
    """Store a 64-bit word for another process: whoever sees it sees all that was stored before."""

    def generate(context, builder, signature, args):
        builder.store_atomic(args[1], _pointer(builder, args[0], 64), "release", 8)
        return context.get_dummy_value()

    return types.void(types.uint64, U64), generate


@intrinsic
def prefetch(context, address):
    """Bring the cache line at ``address`` close, for writing.  Never faults."""

    def generate(context, builder, signature, args):
        pointer = ir.IntType(8).as_pointer()
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, word, word, word])
        name = "llvm.prefetch.p0"
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        builder.call(function, [_pointer(builder, args[0], 8), word(1), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(types.uint64), generate


@intrinsic
def leading_zeros(context, value):
    """Leading zero bits of a ``uint64`` that is not zero (undefined for zero)."""

    def generate(context, builder, signature, args):
        return builder.ctlz(args[0], ir.IntType(1)(1))

    return U64(types.uint64), generate


@intrinsic
def trailing_zeros(context, value):
    """Trailing zero bits of a ``uint64`` that is not zero (undefined for zero)."""

    def generate(context, builder, signature, args):
        return builder.cttz(args[0], ir.IntType(1)(1))

    return U64(types.uint64), generate


@intrinsic
def cycles(context):
    """The processor's cycle counter: cheap, not serialising (about 10 ns here)."""

    def generate(context, builder, signature, args):
        kind = ir.FunctionType(_I64, [])
        name = "llvm.readcyclecounter"
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        return builder.call(function, [])

    return U64(), generate


@intrinsic
def copy_bytes(context, target, source, count):
    """Copy ``count`` bytes; the two ranges must not overlap."""

    def generate(context, builder, signature, args):
        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, pointer, _I64, ir.IntType(1)])
        name = "llvm.memcpy.p0.p0.i64"
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        to, frm = _pointer(builder, args[0], 8), _pointer(builder, args[1], 8)
        builder.call(function, [to, frm, args[2], ir.IntType(1)(0)])
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.uint64), generate


# ---------------------------------------------------------------- the checked variant

RANGES_PER_REGION = 64
"""Blocks alive at once that the checked variant can tell apart."""
MAX_REGIONS = 128
_HEADER = 8
_RANGE = 3
_BOUNDS = np.zeros(_HEADER + MAX_REGIONS * RANGES_PER_REGION * _RANGE, np.uint64)
"""[violations, first address, first region, message begin, message end, run begin, run end, 0],
then per region its ranges (begin, end, bytes from record to record); an unused one is zeros."""
_BOUNDS_SYMBOL = "tickpath_bounds"
llvm.add_symbol(_BOUNDS_SYMBOL, _BOUNDS.ctypes.data)

MESSAGE_REGION = 254
RUN_REGION = 255


@intrinsic
def _bounds(context):
    """Address of the bounds table: an external symbol, so that cached code finds this process's."""

    def generate(context, builder, signature, args):
        module = builder.module
        known = module.globals.get(_BOUNDS_SYMBOL)
        table = known or ir.GlobalVariable(module, _I64, _BOUNDS_SYMBOL)
        return builder.ptrtoint(table, _I64)

    return U64(), generate


_ZERO, _EIGHT, _SIXTEEN = np.uint64(0), np.uint64(8), np.uint64(16)
_RANGES = np.uint64(_HEADER * 8)
_RANGE_BYTES = np.uint64(_RANGE * 8)
_REGION_BYTES = np.uint64(RANGES_PER_REGION * _RANGE * 8)
_LIMIT = np.uint64(RANGES_PER_REGION)


@cold
def _violate(table, address, region):
    count = load_u64(table)
    store_u64(table, count + np.uint64(1))
    if count == _ZERO:
        store_u64(table + _EIGHT, address)
        store_u64(table + _SIXTEEN, region)


@cold
def violate_index(index, region):
    """Record an index beyond its region's count."""
    _violate(_bounds(), index, region)


@cold
def _record_is_valid(address, size, region):
    """True where ``address`` is that of a record of ``region`` in some registered block."""
    table = _bounds()
    at = table + _RANGES + region * _REGION_BYTES
    for _ in range(_LIMIT):
        begin, end = load_u64(at), load_u64(at + _EIGHT)
        if begin <= address and address + size <= end:
            if (address - begin) % load_u64(at + _SIXTEEN) == _ZERO:
                return True
        at += _RANGE_BYTES
    _violate(table, address, region)
    return False


@cold
def _bytes_are_valid(address, size, region):
    """True where the bytes lie in the message (or run of messages) that was lent last."""
    table = _bounds()
    pair = table + np.uint64(24 if region == np.uint64(MESSAGE_REGION) else 40)
    if load_u64(pair) <= address and address + size <= load_u64(pair + _EIGHT):
        return True
    _violate(table, address, region)
    return False


if CHECKED:

    @leaf
    def lend_message(begin, end):
        """State the bytes that message accessors may read from now on (checked variant only)."""
        store_u64(_bounds() + np.uint64(24), begin)
        store_u64(_bounds() + np.uint64(32), end)

    @leaf
    def lend_run(begin, end):
        """State the bytes that look-ahead and framing may read (checked variant only)."""
        store_u64(_bounds() + np.uint64(40), begin)
        store_u64(_bounds() + np.uint64(48), end)
else:

    @leaf
    def lend_message(begin, end):
        """State the bytes that message accessors may read from now on (checked variant only)."""

    @leaf
    def lend_run(begin, end):
        """State the bytes that look-ahead and framing may read (checked variant only)."""


def _checked_load(raw, valid, size, region, signed):
    size, region = np.uint64(size), np.uint64(region)
    nothing = np.int64(0) if signed else np.uint64(0)

    @leaf
    def load(address):
        return raw(address) if valid(address, size, region) else nothing

    return load


def _checked_store(raw, valid, size, region):
    size, region = np.uint64(size), np.uint64(region)

    @leaf
    def store(address, value):
        if valid(address, size, region):
            raw(address, value)

    return store


def _ranges() -> np.ndarray:
    return _BOUNDS[_HEADER:].reshape(MAX_REGIONS, RANGES_PER_REGION, _RANGE)


def register(region: int, records: np.ndarray) -> None:
    """Tell the checked variant that there are records of ``region``.

    They may be longer than the region's own, if they begin with the same fields.
    """
    begin = records.ctypes.data
    for known in _ranges()[region]:
        if not known[1]:
            known[:] = begin, begin + records.nbytes, records.itemsize
            return
    raise MemoryError(f"more than {RANGES_PER_REGION} blocks alive in the checked variant")


def unregister(begin: int, end: int) -> None:
    """Forget every registered range inside ``[begin, end)``."""
    known = _ranges()
    known[(known[..., 0] >= begin) & (known[..., 1] <= end)] = 0


def violations() -> tuple[int, int, int]:
    """(count, first address, first region) recorded by the checked variant in this process."""
    return int(_BOUNDS[0]), int(_BOUNDS[1]), int(_BOUNDS[2])


# ---------------------------------------------------------------- accessors


def accessors(name: str, dtype: np.dtype, region: int | None = None) -> python_types.ModuleType:
    """A namespace with one load and one store per field of a record dtype.

    ``space.field(address)`` loads, ``space.set_field(address, value)`` stores, ``space.SIZE`` is
    the record's size as ``uint64``.  It is a module because Numba resolves a module's attributes
    when it compiles: hot code reads ``order.quantity(o)`` and pays nothing for it.  ``region`` is
    where the checked variant knows such records to be; None for records outside the block, whose
    addresses only the caller can know.
    """
    space: Any = python_types.ModuleType(name)
    space.SIZE = np.uint64(dtype.itemsize)
    assert dtype.fields is not None, f"{name} is not a record dtype"
    for field, (kind, offset, *_) in dtype.fields.items():
        if kind.kind not in "ui":
            continue
        signed = kind.kind == "i"
        tag = f"{name}.{field}"
        load = _load(kind.itemsize * 8, offset, signed=signed, tag=tag)
        store = _store(kind.itemsize * 8, offset, signed=signed, tag=tag)
        if CHECKED and region is not None:
            load = _checked_load(load, _record_is_valid, dtype.itemsize, region, signed)
            store = _checked_store(store, _record_is_valid, dtype.itemsize, region)
        setattr(space, field, load)
        setattr(space, "set_" + field, store)
    return space


def constants(numbers: type[IntEnum]) -> python_types.ModuleType:
    """A namespace with an enumeration's members as ``uint64``, for hot code to compare with."""
    space: Any = python_types.ModuleType(numbers.__name__)
    for each in numbers:
        setattr(space, each.name, np.uint64(each))
    return space


_WIRE = "wire"
_FORTY_EIGHT = np.uint64((1 << 48) - 1)


def wire_load(bits: int, offset: int, big: bool, size: int, region: int = MESSAGE_REGION):
    """A load of a wire field, in the message's byte order.

    A 48-bit field is loaded with the two bytes in front of it, which are the message's too.
    In the checked variant the whole message (``size`` bytes) must have been lent.
    """
    if bits == 48:
        assert offset >= 2, "nothing stands in front of this 48-bit field"
        wide = _load(64, offset - 2, swap=big, tag=_WIRE)

        @leaf
        def raw(address):
            return wide(address) & _FORTY_EIGHT if big else wide(address) >> _SIXTEEN
    else:
        raw = _load(bits, offset, swap=big, tag=_WIRE)
    if not CHECKED:
        return raw
    return _checked_load(raw, _bytes_are_valid, size, region, False)


def wire_store(bits: int, offset: int, big: bool):
    """A store of a wire field into an outgoing message, in the message's byte order."""
    return _store(bits, offset, swap=big, tag=_WIRE)
