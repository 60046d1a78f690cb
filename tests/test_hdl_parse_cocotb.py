"""The cocotb bench of the front (hdl/tb/parse), run by pytest."""

import os
import sys
from importlib.util import find_spec

import pytest

from tickpath_backends.hdl import parse_model, verilated

if reason := verilated.why_not():
    pytest.skip(reason, allow_module_level=True)
if find_spec("cocotb") is None or find_spec("cocotbext") is None:
    pytest.skip(
        "cocotb is not installed; run: pip install 'tickpath[hdl]'", allow_module_level=True
    )


def test_the_bench_passes(tmp_path, monkeypatch):
    from cocotb_tools.runner import get_results, get_runner

    for name, value in verilated.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(verilated.HDL.parent), *sys.path]))
    runner = get_runner("verilator")
    runner.build(
        sources=list(parse_model.SOURCES),
        hdl_toplevel="parse_top",
        parameters={"LOCATE_BITS": 8, "DEPTH": 1024},
        build_args=[
            *("-Wno-fatal", "-Wno-lint"),
            *(f"-I{folder}" for folder in (verilated.RTL, verilated.HDL / "gen")),
        ],
        build_dir=tmp_path,
        timescale=("1ns", "1ps"),
        always=True,
    )
    report = runner.test(
        hdl_toplevel="parse_top",
        test_module="hdl.tb.parse.test_parse",
        build_dir=tmp_path,
        test_dir=tmp_path,
        seed=1,
    )
    ran, failed = get_results(report)
    assert failed == 0
    assert ran == 11
