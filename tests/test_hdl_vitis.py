"""Packaging for Vitis, as far as it goes without Vitis: lists, ports, the top's lint, errors."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from tickpath_backends.hdl import chain_model, mover_registers, registers, verilated, vitis
from tickpath_backends.hdl.generate import constant_files
from tickpath_backends.hdl.registers import Protocol

VITIS = verilated.HDL / "vitis"
_PORT = re.compile(r"^\s*(input|output)\s+(?:wire|logic)\s*(\[[^\]]*\])?\s*(\w+)", re.MULTILINE)
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def ports(path):
    return {name: (way, width) for way, width, name in _PORT.findall(path.read_text())}


def test_the_package_has_every_file_of_the_kernel():
    text = vitis.kernel_tcl(VITIS)
    named = set(re.findall(r"^  (\S+\.s?vh?)$", text, re.MULTILINE))
    found = {(VITIS / each).resolve() for each in named}
    assert found == {*(p.resolve() for p in (*vitis.sources(), *vitis.headers()))}
    assert {*chain_model.SOURCES} <= {*vitis.sources()} and all(p.exists() for p in found)
    included = {
        name
        for path in vitis.sources()
        for name in re.findall(r'`include "(.+)"', path.read_text())
    }
    assert included <= {path.name for path in vitis.headers()}


def test_registers_are_told_once_each():
    rows = re.findall(r"^  ([A-Z_]+) (0x\w+) (\d+) (\S+)$", vitis.kernel_tcl(VITIS), re.MULTILINE)
    offsets = [int(at, 16) for _, at, _, _ in rows]
    assert len({*offsets}) == len(offsets) and max(offsets) < 1 << mover_registers.ADDRESS_BITS
    told = {name: (int(at, 16), port) for name, at, _, port in rows}
    assert told["IDENTITY"] == (registers.BY_REGISTER["IDENTITY"].offset, "-")
    buffers = {name for name, (_, port) in told.items() if port == "m_axi"}
    assert buffers == {"FRAMES_ADDRESS", "RECORDS_ADDRESS"}


def test_the_wrapper_has_the_kernels_ports():
    outer = ports(VITIS / f"{vitis.TOP}.v")
    inner = ports(verilated.RTL / "alveo_kernel.sv")
    assert outer.pop("ap_clk") and outer.pop("ap_rst_n")
    assert inner.pop("clk") and inner.pop("rst")
    assert outer == inner


def test_the_movers_constants_are_what_the_declaration_gives():
    made = constant_files()["movers.svh"]
    assert (verilated.HDL / "gen" / "movers.svh").read_text() == made
    assert "FRAMES_ADDRESS_AT = 32'h18" in made


def test_a_header_and_a_record():
    head = mover_registers.header(5, 60)
    assert head.to_bytes(8, "big") == b"tp\x00\x00\x00\x05\x00\x3c"
    assert [mover_registers.record_type(each).itemsize for each in Protocol] == [64, 64, 256]
    ends = [each.offset + 4 * each.words for each in mover_registers.REGISTERS]
    starts = [each.offset for each in mover_registers.REGISTERS[1:]]
    assert all(end <= start for end, start in zip(ends, starts, strict=False))


@pytest.mark.skipif(verilated.why_not() is not None, reason=str(verilated.why_not()))
def test_the_top_has_no_warning_of_its_own():
    own = {"alveo_kernel", "frame_reader", "record_writer", "mover_registers", vitis.TOP}
    folders = [f"-I{path}" for path in (verilated.RTL, verilated.HDL / "gen")]
    command = ["verilator", "--lint-only", "-Wall", "-Wno-fatal", "-Wno-UNUSEDSIGNAL"]
    command += ["--top-module", vitis.TOP, *folders, *map(str, vitis.sources())]
    done = subprocess.run(command, env=verilated.environment(), capture_output=True, text=True)
    said = [
        line
        for line in done.stderr.splitlines()
        if line.startswith("%") and any(f"{name}.s" in line or f"{name}.v" in line for name in own)
    ]
    assert said == []
    assert "%Error:" not in done.stderr


@needs_make
@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["kernel"], "no vivado here: source settings64.sh"),
        (["PROTOCOL=ouch99"], "PROTOCOL is ouch50, ouch42 or fix44, not ouch99"),
        (["CONNECT=else"], "CONNECT is replay or network, not else"),
        (["CONNECT=network"], "CONNECT=network needs NETWORK_XO=FILE.xo"),
    ],
)
def test_make_without_the_tools_says_so_in_a_line(tmp_path, options, line):
    for path in VITIS.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    command = ["make", "-C", str(tmp_path), f"PYTHON={sys.executable}", *options]
    env = {**os.environ, "PATH": "/usr/bin:/bin", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 2 and line in done.stderr
    assert "Traceback" not in done.stderr
