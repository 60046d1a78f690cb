"""A card that is software: tests/xrt_double.cpp with a Verilated kernel behind it, in this process.

The double takes the place of the library that the native part was linked with, by its name.  So the
native part that is tested is compiled as an installation compiles it.
"""

import ctypes
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np

from tickpath_backends import build
from tickpath_backends.hdl import chain_model, kernel_model, verilated

SOURCE = Path(__file__).with_name("xrt_double.cpp")
LIBRARY = "libxrt_coreutil.so.2"
BROKEN = (
    *("whole", "no xrt", "no card", "no kernel", "lost", "stuck", "short put", "short get"),
    *("read error", "write error", "not put"),
)
INPUTS = (
    "rst",
    *(f"s_axi_control_{each}" for each in ("awaddr", "awvalid", "wdata", "wstrb", "wvalid")),
    *(f"s_axi_control_{each}" for each in ("bready", "araddr", "arvalid", "rready")),
    *(f"m_axi_{each}" for each in ("awready", "wready", "bresp", "bvalid", "arready")),
    *(f"m_axi_{each}" for each in ("rdata", "rresp", "rlast", "rvalid")),
)
OUTPUTS = (
    *(f"s_axi_control_{each}" for each in ("awready", "wready", "bresp", "bvalid")),
    *(f"s_axi_control_{each}" for each in ("arready", "rdata", "rresp", "rvalid")),
    *(f"m_axi_{each}" for each in ("awaddr", "awlen", "awvalid", "wdata", "wlast", "wvalid")),
    *(f"m_axi_{each}" for each in ("bready", "araddr", "arlen", "arvalid", "rready")),
)


def why_not() -> str | None:
    """Why there can be no double here."""
    missing = build.lacking("alveo")
    return f"{missing[0]}; run: {missing[1]}" if missing else verilated.why_not()


class Double:
    """The library in this process, and the native part over it."""

    def __init__(self, directory: Path) -> None:
        """Compile both; once a process, since a library is loaded once."""
        made = directory / LIBRARY
        headers = build._xrt()
        command = ["g++", "-O2", "-std=c++17", "-fPIC", "-shared", "-Wall", "-Wextra"]
        command += [f"-I{headers}", f"-Wl,-soname,{LIBRARY}", str(SOURCE), "-luuid"]
        command += ["-o", str(made)]
        subprocess.run(command, check=True)
        self.library = ctypes.CDLL(str(made), mode=ctypes.RTLD_GLOBAL)
        self.library.double_cycles.restype = ctypes.c_uint64
        path = build.build("alveo", directory)
        spec = importlib.util.spec_from_file_location("tickpath_backends._alveo", path)
        self.module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)
        sys.modules["tickpath_backends._alveo"] = self.module

    def attach(self, made: verilated.Library, seed: int = 1) -> None:
        """Put a fresh kernel behind it."""
        self.model = verilated.Model(made, seed)
        inputs = self.model.inputs.view(np.uint64).reshape(-1)
        outputs = self.model.outputs.view(np.uint64).reshape(-1)
        self.places = (
            chain_model._places(made.inputs, INPUTS),
            chain_model._places(made.outputs, OUTPUTS),
        )
        self.library.double_attach(
            *(ctypes.c_uint64(each) for each in (made.step_address, self.model.handle)),
            *(ctypes.c_uint64(each.ctypes.data) for each in (inputs, outputs)),
            *(ctypes.c_void_p(each.ctypes.data) for each in self.places),
            ctypes.c_uint64(seed),
        )

    def breaks(self, what: str, after: int = 0) -> None:
        """Let something go wrong, from that many register accesses on."""
        self.library.double_break(BROKEN.index(what), ctypes.c_uint64(after))


def library(**parameters: int) -> verilated.Library:
    """The compiled kernel, with small memories where nothing else is said."""
    return kernel_model.library(**{"IW": 10, "LOCATE_BITS": 8, "OPERATIONS": 1024, **parameters})
