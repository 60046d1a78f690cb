"""The Alveo kernel's sources, and the kernel Verilated."""

from tickpath_backends.hdl import chain_model
from tickpath_backends.hdl.verilated import RTL, Library, build

SOURCES = (
    *chain_model.SOURCES,
    *(
        RTL / f"{name}.sv"
        for name in ("frame_reader", "record_writer", "mover_registers", "alveo_kernel")
    ),
)


def library(**parameters: int) -> Library:
    """The compiled kernel.  Raises `HdlError`."""
    return build(SOURCES, "alveo_kernel", parameters)
