"""The cocotb benches (hdl/tb): what is built, with which parameters, run, and what they covered.

A bench is a top with parameters and a folder of hdl/tb with the module of its tests, so one folder
can serve several builds.  What Verilator made of a build is kept in the cache under a digest of all
that it is made of; a bench that finds it there starts at once.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from tickpath import jit
from tickpath_backends.hdl import (
    back_model,
    book_model,
    chain_model,
    coverage,
    kernel_model,
    parse_model,
    verilated,
)
from tickpath_backends.hdl.registers import Protocol
from tickpath_backends.hdl.verilated import HDL, RTL, HdlError

KEPT = 16
"""Builds that are kept in the cache."""
LOG = "sim.log"
"""What the simulator said, in the directory in which a bench ran."""


class Bench(NamedTuple):
    """A top, its sources and parameters, how many tests its bench has, its folder of hdl/tb."""

    top: str
    sources: tuple[Path, ...]
    parameters: Mapping[str, int]
    tests: int
    folder: str


_CROSSING = (RTL / "clock_crossing.sv",)
_WIRE = (*chain_model.SOURCES, *_CROSSING, RTL / "wire_top.sv")
_CHAIN = {"IW": 10, "WORDS": 1024}
"""A store of 8,192 slots: what a bench's sessions need, and a rescan of it is seen to its end."""
BENCHES = {
    "parse": Bench(
        "parse_top", parse_model.SOURCES, {"LOCATE_BITS": 8, "DEPTH": 1024}, 11, "parse"
    ),
    "book": Bench("book", book_model.SOURCES, {"IW": 6}, 11, "book"),
    "risk": Bench("risk", back_model.RISK, {"DEPTH": 8}, 5, "risk"),
    "encode": Bench(
        "encode_top", back_model.ENCODE, {"PROTOCOL": int(Protocol.OUCH50), "DEPTH": 4}, 6, "encode"
    ),
    "registers": Bench("registers", back_model.REGISTERS, {"PROFILE": 0x00084000}, 7, "registers"),
    "back": Bench("back_top", back_model.SOURCES, {"STAMP_BITS": 6}, 11, "back"),
    "kernel": Bench(
        "alveo_kernel",
        kernel_model.SOURCES,
        {"IW": 8, "LOCATE_BITS": 4, "OPERATIONS": 256, "WORDS": 1024},
        8,
        "kernel",
    ),
    "wire": Bench("wire_top", _WIRE, _CHAIN, 6, "wire"),
    "clock_crossing": Bench("clock_crossing", _CROSSING, {"WAITS": 0}, 59, "clock_crossing"),
    "chain": Bench("chain", chain_model.SOURCES, _CHAIN, 20, "chain"),
    "chain_128": Bench("chain", chain_model.SOURCES, _CHAIN | {"DW": 128}, 20, "chain"),
    "clock_crossing_waits": Bench("clock_crossing", _CROSSING, {"WAITS": 1}, 59, "clock_crossing"),
}
LONG = frozenset({"chain_128"})
"""Benches that the default run of the tests leaves out."""


def why_not() -> str | None:
    """Why no bench can run here, and the command that mends it; None: it can."""
    for package in ("cocotb", "cocotbext.axi", "cocotbext.eth"):
        try:
            found = find_spec(package)
        except ModuleNotFoundError:
            found = None
        if found is None:
            return f"{package} is not installed; run: pip install 'tickpath[hdl]'"
    return verilated.why_not()


def run(block: str, directory: Path, seed: int = 1, has_waves: bool = False) -> tuple[int, int]:
    """Build a block's top, or find it built, and run its bench in a directory; (tests, failures).

    The directory gets the results, `LOG`, `coverage.FILE`, and with waves every signal.  Changes
    this process' environment, since simulators take theirs from it.  Raises `HdlError`.
    """
    if reason := why_not():
        raise HdlError(reason)
    from cocotb_tools.runner import get_results, get_runner

    bench = BENCHES[block]
    os.environ.update(verilated.environment())
    runner = get_runner("verilator")
    built = _built(runner, bench, has_waves)
    (directory / coverage.FILE).unlink(missing_ok=True)
    log = directory / LOG
    sys.path.insert(0, str(HDL.parent))  # the runner gives the simulator's Python this one's
    try:
        report = runner.test(
            hdl_toplevel=bench.top,
            hdl_toplevel_lang="verilog",
            test_module=f"hdl.tb.{bench.folder}.test_{bench.folder}",
            build_dir=built,
            test_dir=directory,
            seed=seed,
            waves=has_waves,
            parameters=dict(bench.parameters),
            extra_env={"TICKPATH_BLOCK": block},
            log_file=log,
        )
        ran, failed = get_results(report)
    except RuntimeError:
        raise HdlError(f"{block}: the simulation did not end; {log} says why") from None
    finally:
        sys.path.remove(str(HDL.parent))
    return ran, failed


def _built(runner: Any, bench: Bench, has_waves: bool) -> Path:
    """The directory of a build, made where the cache has none."""
    from cocotb_tools.config import libs_dir

    # The program looks for cocotb's libraries where they are now: elsewhere it is another one.
    flags = f"cocotb {libs_dir}{' waves' if has_waves else ''}"
    digest = verilated.digest_of(bench.sources, bench.top, bench.parameters, flags)
    target = jit._cache_home() / "hdl" / "bench" / f"{bench.top}-{digest}"
    if target.exists():
        os.utime(target)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=target.parent))
    log = target.parent / f"{target.name}.log"
    try:
        runner.build(
            sources=list(bench.sources),
            hdl_toplevel=bench.top,
            parameters=dict(bench.parameters),
            build_args=["-Wno-fatal", "-Wno-lint", f"-I{RTL}", f"-I{back_model.GEN}"],
            build_dir=work,
            timescale=("1ns", "1ps"),
            always=True,
            waves=has_waves,
            log_file=log,
        )
        for path in work.glob("*"):  # objects and sources of C++: only the program is run again
            if path.suffix in (".cpp", ".o", ".a", ".h", ".d", ".gch"):
                path.unlink()
        try:
            work.rename(target)
        except OSError:
            if not target.exists():  # else another process was first, with the same
                raise
    except RuntimeError:
        raise HdlError(f"{bench.top} cannot be built; {log} says why") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    made = (path for path in target.parent.iterdir() if path.is_dir())
    for old in sorted(made, key=lambda path: -path.stat().st_mtime)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
        old.with_name(f"{old.name}.log").unlink(missing_ok=True)
    return target
