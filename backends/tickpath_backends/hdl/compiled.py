"""A DSLX function with memory of its own, for Numba to call: see `hdl.aot`.

fields = compiled("itch_fields", "itch_fields")
message, length = fields.inputs         # accessors of its parameters ...
length.set_value(fields.at[1], 36)      # ... and where they stand
fields.call(*arguments, 0, 0, 0, 0)     # uint64 all but the last
fields.output.kind(fields.result)
"""

from typing import Any, NamedTuple

import numpy as np

from tickpath.memory import accessors


class Compiled(NamedTuple):
    """One compiled function with memory of its own, which lives as long as this does."""

    frame: Any
    call: Any
    inputs: tuple[Any, ...]  # accessors of its parameters
    output: Any
    at: tuple[np.uint64, ...]  # addresses of its parameters
    result: np.uint64
    table: np.uint64  # of the parameters' addresses

    @property
    def arguments(self) -> tuple[np.uint64, ...]:
        """What the call takes first."""
        return tuple(np.uint64(each) for each in self.frame.arguments)


def compiled(module: str, name: str) -> Compiled:
    """A function of hdl/dslx.  Raises `HdlError`."""
    from tickpath_backends.hdl import aot

    native = aot.native(module, name)
    frame = aot.Frame(native)
    return Compiled(
        frame,
        aot.external(native),
        tuple(accessors(f"{name}_{n}", each) for n, each in enumerate(native.parameters)),
        accessors(f"{name}_result", native.result),
        tuple(np.uint64(each.ctypes.data) for each in frame.inputs),
        np.uint64(frame.output.ctypes.data),
        np.uint64(frame.arguments[0]),
    )
