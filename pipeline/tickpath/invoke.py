"""Calling a user's compiled function by address, with its error status as a number.

The address is that of the function in Numba's own calling convention, whose status tells whether
the function raised.  So the engine's machine code does not depend on the strategy (it is compiled
and cached once), a call costs 1.7 ns, and an exception is a number here instead of unwinding the
loop.  (A `numba.types.FunctionType` argument does the same, but converting it costs 43 us at each
crossing from Python: measured with Numba 0.68.)
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

ARGUMENTS = (types.uint64, types.int64, types.int64, types.int64)
"""What a strategy is called with: engine, book, kind, flags."""
SIGNATURE = types.void(*ARGUMENTS)


@intrinsic
def invoke(context, address, engine, book, kind, flags):
    """Call the strategy at ``address``; 0 where it returned, another number where it raised."""

    def generate(context, builder, signature, args):
        convention = context.call_conv
        pointer = convention.get_function_type(types.void, ARGUMENTS).as_pointer()
        function = builder.inttoptr(args[0], pointer)
        status, _ = convention.call_function(builder, function, types.void, ARGUMENTS, args[1:])
        return builder.sext(status.code, ir.IntType(64))

    return types.int64(types.uint64, *ARGUMENTS), generate
