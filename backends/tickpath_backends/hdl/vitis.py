"""What Vivado's packaging script is told of the kernel: its sources and registers, as Tcl.

    python -m tickpath_backends.hdl.vitis > kernel.tcl          # hdl/vitis/Makefile does

So hdl/vitis/package.tcl holds no list of files and no offset.  Registers with an address of a
buffer are named with the port that they are of, by which v++ and XRT know what memory the kernel
needs; the others are for whoever looks at the kernel in a tool, but for those in rows.
"""

import os
import sys
from pathlib import Path

from tickpath_backends.hdl import kernel_model, mover_registers, registers, tree, verilated
from tickpath_backends.hdl.mover_registers import BASE

TOP = "tickpath_kernel"
BUFFERS = ("FRAMES_ADDRESS", "RECORDS_ADDRESS")


def sources() -> tuple[Path, ...]:
    """The kernel's files in their order, the wrapper last."""
    return (*kernel_model.SOURCES, tree.root() / "vitis" / f"{TOP}.v")


def headers() -> tuple[Path, ...]:
    """What they include."""
    found = {path for each in (verilated.RTL, tree.root() / "gen") for path in each.glob("*.svh")}
    return tuple(sorted(found))


def kernel_tcl(beside: Path) -> str:
    """The lists ``sources``, ``headers`` and ``registers``; paths from a folder on."""
    lines = ["# Written by python -m tickpath_backends.hdl.vitis."]
    for name, paths in (("sources", sources()), ("headers", headers())):
        lines += [f"set {name} {{", *(f"  {os.path.relpath(each, beside)}" for each in paths), "}"]
    lines += ["# name, offset, bits, port of the buffer", "set registers {"]
    own = [(each, 0) for each in registers.REGISTERS]
    for each, base in [*own, *((each, BASE) for each in mover_registers.REGISTERS)]:
        port = "m_axi" if base and each.name in BUFFERS else "-"
        if each.copies == 1:
            lines.append(f"  {each.name} {base + each.offset:#06x} {each.bits} {port}")
    lines += ["}", f"set address_bits {mover_registers.ADDRESS_BITS}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(kernel_tcl(Path.cwd()))
