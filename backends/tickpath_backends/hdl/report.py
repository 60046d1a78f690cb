"""`tickpath hdl report`: what is known of the hardware, on one page.

Nothing is measured here.  The page puts together what was: the sources' own structure, the figures
and the coverage that the benches wrote (`tickpath hdl sim`), a replay through ``fpga-sim``
(`tickpath replay --json`), and area and logic depth as they are checked in (hdl/synth).  What is
missing is left out, and the page says so and by which command it would be there.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tickpath.report import units
from tickpath.report.markup import Html, Page, joined, table, tag
from tickpath.report.panels import card, cards, findings_banner
from tickpath_backends.hdl import bench, coverage, placement, report_replay, structure
from tickpath_backends.hdl.chain_model import CLOCK_MHZ
from tickpath_backends.hdl.diagram import drawing
from tickpath_backends.hdl.error import HdlError
from tickpath_backends.hdl.verilated import HDL

PERIOD_NS = 1e3 / CLOCK_MHZ
NOT_PLACED = "scheduled for 322 MHz, not placed"


class Stage(NamedTuple):
    """A row of the table of cycles: where its figure is, and the most that it may be."""

    name: str
    what: str
    block: str
    figure: str
    at_most: int


STAGES = (
    Stage("parse", "last byte of the message to its fields", "chain", "parse", 2),
    Stage("book", "fields taken to new top of book", "book", "accepted to top of book", 8),
    Stage("trigger", "top of book to intent", "chain", "trigger", 1),
    Stage("risk", "intent to verdict, with table read", "chain", "risk", 7),
    Stage("encode", "verdict to first word of the order", "chain", "encode", 1),
    Stage("whole path", "last byte to first word of the order", "chain", "word to word", 19),
)
CROSSINGS = (
    ("wire to core", "clock_crossing", "wire to core"),
    ("core to wire", "clock_crossing", "core to wire"),
    ("wire to wire: both crossings and the chain", "wire", "word to word, with both crossings"),
)


def build(sim: Path, replay: Mapping[str, Any] | None = None) -> Page:
    """The page, with what the benches left in ``sim``'s directories.  Raises `HdlError`."""
    covered = {name: coverage.read(sim / name) for name in bench.BENCHES}
    seen = {name: each for name, each in covered.items() if each is not None}
    synthesis = _synthesis()
    page = Page(
        title="tickpath hardware",
        subtitle=f"Ethernet words in, order words out, at a core clock of {CLOCK_MHZ} MHz "
        f"({PERIOD_NS:.3f} ns): {NOT_PLACED}",
    )
    found = _findings(covered, synthesis) + report_replay.findings(replay)
    page.add(findings_banner(found, "Every bin that can be hit was hit."))
    page.add(_headline(seen))
    _diagram(page, seen)
    _cycles(page, seen)
    _crossings(page, seen)
    report_replay.panel(page, replay)
    _area(page, synthesis)
    _placed(page)
    _coverage(page, covered)
    return page


# ---------------------------------------------------------------- what is read


def _synthesis() -> dict[str, dict[str, Any]]:
    found = {}
    for path in sorted((HDL / "synth").glob("*.json")):
        report = json.loads(path.read_text())
        if "area" in report:
            found[path.stem] = report
    return found


def _measured(seen: Mapping[str, Any], block: str, figure: str) -> dict[str, Any] | None:
    return seen.get(block, {}).get("measured", {}).get(figure)


def _findings(covered: Mapping[str, Any], synthesis: Mapping[str, Any]) -> list[str]:
    made = []
    seen = {name: each for name, each in covered.items() if each is not None}
    for name, each in covered.items():
        if each is None:
            made.append(f"{name}: its bench has not run here: tickpath hdl sim --block {name}")
        elif each["missing"]:
            made.append(f"{name}: {len(each['missing'])} bins were not hit.")
    for stage in STAGES:
        figure = _measured(seen, stage.block, stage.figure)
        if figure and figure["most"] > stage.at_most:
            made.append(f"{stage.name} took {figure['most']} cycles, at most {stage.at_most}.")
    for name, report in synthesis.items():
        if (depth := report.get("logic_ps", 0) / 1e3) > PERIOD_NS:
            made.append(
                f"{name}: the longest path through logic alone is {depth:.2f} ns by yosys' delays, "
                f"a cycle has {PERIOD_NS:.3f}."
            )
    return made


# ---------------------------------------------------------------- panels


def _headline(seen: Mapping[str, Any]) -> Html:
    parts = []
    if whole := _measured(seen, "chain", "word to word"):
        cycles = int(whole["most"])
        note = f"in each of {whole['count']:,} orders that waited for nothing"
        parts.append(card("word to word", f"{cycles} cycles", note, accent=True))
        parts.append(card("at 322.27 MHz", f"{cycles * PERIOD_NS:.0f} ns", "without the crossings"))
    if both := _measured(seen, "wire", "word to word, with both crossings"):
        text = f"{both['least']:.0f} to {both['most']:.0f} ns"
        parts.append(card("with both crossings", text, "by the clocks' phases; no MAC"))
    sums = [coverage.totals(each) for each in seen.values()]
    if sums:
        hit, bins = (sum(each[n] for each in sums) for n in (0, 1))
        parts.append(
            card("functional coverage", f"{hit:,} of {bins:,}", f"in {len(sums)} of the benches")
        )
    return cards(parts) if parts else Html("")


def _diagram(page: Page, seen: Mapping[str, Any]) -> None:
    modules = structure.read(HDL / "rtl", HDL / "gen")
    generated = frozenset(path.stem for path in (HDL / "gen").glob("*.sv"))
    notes = {"clock_crossing": "2 to 3 cycles"}
    if parse := _measured(seen, "chain", "parse"):
        notes["parse_top"] = f"{int(parse['most'])} cycles"
    if book := _measured(seen, "chain", "book"):
        notes["book_top"] = f"{int(book['most'])} cycles"
    back = [_measured(seen, "chain", name) for name in ("trigger", "risk", "encode")]
    if all(back):
        notes["back_top"] = f"{int(sum(each['most'] for each in back if each))} cycles"
    page.panel(
        "The blocks",
        "Read from the SystemVerilog: what each block is made of, and below, which nets go from "
        "one to another. Blue rows are generated from DSLX. The ground is the core's clock; the "
        "crossings stand between it and the wire's 156.25 MHz.",
        drawing(modules, generated, notes),
    )


def _cycles(page: Page, seen: Mapping[str, Any]) -> None:
    title = "Cycles by stage"
    rows = []
    for stage in STAGES:
        figure = _measured(seen, stage.block, stage.figure)
        if figure is None:
            continue
        least, most = int(figure["least"]), int(figure["most"])
        is_met = most <= stage.at_most
        rows.append(
            (
                stage.name,
                stage.what,
                stage.at_most,
                most if least == most else f"{least} to {most}",
                f"{most * PERIOD_NS:.1f} ns",
                tag("span", "yes" if is_met else "no", class_=f"verdict-{is_met}"),
            )
        )
    if not rows:
        page.left_out(title, "no bench of the chain has run here: tickpath hdl sim --block chain")
        return
    page.panel(
        title,
        "Measured in the benches, for operations and orders that wait for nothing. The stages "
        "do not add up to the whole path by one: the cycle in which the book takes an operation, "
        "which the chain has between parse and book. What waits (a symbol under repair, an order "
        "behind another one) takes longer: see the replay.",
        table(("stage", "from and to", "at most", "measured", "time", "met"), rows, text_columns=2),
    )


def _crossings(page: Page, seen: Mapping[str, Any]) -> None:
    rows = []
    for name, block, key in CROSSINGS:
        if figure := _measured(seen, block, key):
            rows.append((name, f"{figure['least']:.1f}", f"{figure['most']:.1f}", figure["count"]))
    if not rows:
        page.left_out("The clock crossings", "not run: tickpath hdl sim --block clock_crossing")
        return
    page.panel(
        "The clock crossings",
        "In nanoseconds, over the phases of 156.25 and 322.27 MHz: from the edge that takes a "
        "word to the one that shows it, which is 2 to 3 cycles of the clock it comes to. In the "
        "last row from the beginning of the cycle of the message's last word to that of the "
        "order's first. Without MAC, PCS and transceiver.",
        table(("", "least", "most", "words"), rows),
    )


def _placed(page: Page) -> None:
    rows = []
    for top in placement.PLACEABLE:
        try:
            each = placement.checked_in(top)
        except HdlError:
            rows.append((top, *[units.NOTHING] * 4, "has not run"))
            continue
        area = [units.whole(each["area"][key]) for key in ("lut4", "ff", "bram18", "dsp")]
        rows.append((top, *area, f"{each['clock_mhz']:.0f} MHz"))
    page.panel(
        "Placed and routed on an ECP5",
        "By yosys and nextpnr, as checked in (tickpath hdl synth --place): a proxy. No free tool "
        "places UltraScale+; this part (LFE5U-85F-8) is 40 nm and has LUTs of four inputs. Blocks "
        "with the book's memories do not fit.",
        table(("top", "LUT4", "FF", "BRAM18", "DSP", "clock"), rows),
    )


_AREA = ("lut_logic", "lut_ram", "ff", "carry4", "bram18", "uram", "dsp")


def _area(page: Page, synthesis: Mapping[str, Any]) -> None:
    rows = []
    for name, report in synthesis.items():
        depth_ns = report.get("logic_ps", 0) / 1e3
        is_met = depth_ns <= PERIOD_NS
        area = [units.whole(report["area"].get(key)) for key in _AREA]
        depth = tag("span", f"{depth_ns:.2f} ns", class_=f"verdict-{is_met}")
        rows.append((report.get("top", name), *area, depth))
    page.panel(
        "Area and logic depth",
        f"yosys' mapping for UltraScale+, as checked in (tickpath hdl synth): {NOT_PLACED} and not "
        "routed. The depth is the longest path through cells alone, by the delays of a 7-series "
        f"-1, without routing; a cycle has {PERIOD_NS:.3f} ns.",
        table(("top", "LUT", "LUT as RAM", "FF", "CARRY4", "BRAM18", "URAM", "DSP", "depth"), rows),
    )


def _coverage(page: Page, covered: Mapping[str, Any]) -> None:
    rows: list[tuple[Any, ...]] = []
    details = []
    for name, each in covered.items():
        if each is None:
            rows.append((name, units.NOTHING, units.NOTHING, units.NOTHING, "has not run"))
            continue
        hit, bins, beyond = coverage.totals(each)
        missing = ", ".join(each["missing"][:6]) or "none"
        rows.append((name, hit, bins, beyond, missing))
        details.append(_groups(name, each))
    page.panel(
        "Functional coverage",
        "What has to happen in each bench, declared before, and what did. A bench fails where a "
        "bin is missed; bins that cannot be hit are declared with the reason.",
        table(("bench", "hit", "bins", "cannot be hit", "missing"), rows),
        tag("details", tag("summary", "by group"), tag("div", *details, class_="groups")),
    )


def _groups(name: str, each: Mapping[str, Any]) -> Html:
    lines = []
    for group, found in each["groups"].items():
        counts = found["bins"].values()
        lines.append((group, f"{sum(n > 0 for n in counts)} of {len(counts)}", sum(counts)))
    reasons = [
        tag("li", f"{group}: {bin_}: {reason}")
        for group, found in each["groups"].items()
        for bin_, reason in found["unreachable"].items()
    ]
    listed = tag("ul", joined(reasons)) if reasons else ""
    return tag("div", tag("h3", name), table(("group", "bins", "hits"), lines), listed)
