"""The cocotb benches of the blocks (hdl/tb): what is built, with which parameters, and run."""

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from tickpath_backends.hdl import back_model, book_model, parse_model, verilated
from tickpath_backends.hdl.registers import Protocol
from tickpath_backends.hdl.verilated import HDL, HdlError


class Bench(NamedTuple):
    """A top, its sources, its parameters, and how many tests its bench has."""

    top: str
    sources: tuple[Path, ...]
    parameters: Mapping[str, int]
    tests: int


BENCHES = {
    "parse": Bench("parse_top", parse_model.SOURCES, {"LOCATE_BITS": 8, "DEPTH": 1024}, 11),
    "book": Bench("book", book_model.SOURCES, {"IW": 6}, 11),
    "risk": Bench("risk", back_model.RISK, {"DEPTH": 8}, 5),
    "encode": Bench(
        "encode_top", back_model.ENCODE, {"PROTOCOL": int(Protocol.OUCH50), "DEPTH": 4}, 5
    ),
    "registers": Bench("registers", back_model.REGISTERS, {"PROFILE": 0x00084000}, 6),
    "back": Bench("back_top", back_model.SOURCES, {"STAMP_BITS": 6}, 10),
}


def why_not() -> str | None:
    """Why no bench can run here, and the command that mends it; None: it can."""
    for package in ("cocotb", "cocotbext.axi"):
        try:
            found = find_spec(package)
        except ModuleNotFoundError:
            found = None
        if found is None:
            return f"{package} is not installed; run: pip install 'tickpath[hdl]'"
    return verilated.why_not()


def run(block: str, directory: Path, seed: int = 1, has_waves: bool = False) -> tuple[int, int]:
    """Build a block's top in a directory and run its bench; (tests, failures).

    With waves, every signal is kept in the directory.  Changes this process' environment, since
    simulators take theirs from it.  Raises `HdlError`.
    """
    if reason := why_not():
        raise HdlError(reason)
    from cocotb_tools.runner import get_results, get_runner

    bench = BENCHES[block]
    os.environ.update(verilated.environment())
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HDL.parent), *sys.path])
    runner = get_runner("verilator")
    includes = [f"-I{folder}" for folder in (verilated.RTL, back_model.GEN)]
    runner.build(
        sources=list(bench.sources),
        hdl_toplevel=bench.top,
        parameters=dict(bench.parameters),
        build_args=["-Wno-fatal", "-Wno-lint", *includes],
        build_dir=directory,
        timescale=("1ns", "1ps"),
        always=True,
        waves=has_waves,
    )
    report = runner.test(
        hdl_toplevel=bench.top,
        test_module=f"hdl.tb.{block}.test_{block}",
        build_dir=directory,
        test_dir=directory,
        seed=seed,
        waves=has_waves,
    )
    ran, failed = get_results(report)
    return ran, failed
