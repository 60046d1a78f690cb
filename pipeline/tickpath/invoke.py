"""Calling a user's compiled function by address, with its error as a number.

The address is that of the function in Numba's own calling convention, which tells whether the
function raised and what.  So the engine's machine code does not depend on the strategy (it is
compiled and cached once), a call costs 1.7 ns, and an exception is a number here instead of
unwinding the loop.  (A `numba.types.FunctionType` argument does the same, but converting it costs
43 us at each crossing from Python: measured with Numba 0.68.)
"""

import ctypes
import pickle
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

ARGUMENTS = (types.uint64, types.int64, types.int64, types.int64)
"""What a strategy is called with: engine, book, kind, flags."""
SIGNATURE = types.void(*ARGUMENTS)


@intrinsic
def invoke(context, address, engine, book, kind, flags):
    """Call the strategy at ``address``; 0 where it returned, else a number for `explain`."""

    def generate(context, builder, signature, args):
        convention = context.call_conv
        pointer = convention.get_function_type(types.void, ARGUMENTS).as_pointer()
        function = builder.inttoptr(args[0], pointer)
        status, _ = convention.call_function(builder, function, types.void, ARGUMENTS, args[1:])
        word = ir.IntType(64)
        what = builder.or_(builder.ptrtoint(status.excinfoptr, word), word(1))
        return builder.select(status.is_error, what, word(0))

    return types.uint64(types.uint64, *ARGUMENTS), generate


class _ExceptionRecord(ctypes.Structure):
    """Numba's description of a raised exception (`numba.core.callconv.excinfo_t`)."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("length", ctypes.c_int32),
        ("hashed", ctypes.c_void_p),
        ("unwrap", ctypes.c_void_p),
        ("allocated", ctypes.c_int32),
    ]


def explain(error: int) -> str:
    """What was raised, from the number that `invoke` gave: ``ValueError: text (FILE, line N)``.

    Arguments that were computed at run time are not kept; the exception's type always is.
    """
    address = error & ~1
    if not address:
        return "an exception"
    record = _ExceptionRecord.from_address(address)
    raised: Any = pickle.loads(ctypes.string_at(record.data, record.length))
    kind, arguments, where = (*raised, None, None, None)[:3]
    text = getattr(kind, "__name__", str(kind))
    if arguments and not record.unwrap:
        text += ": " + ", ".join(str(argument) for argument in arguments)
    return f"{text} ({where[1]}, line {where[2]})" if where else text
