"""The page about the hardware, and the structure that its drawing is of."""

import json
import random
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from itch_messages import run
from silicon import market
from streams import CAPACITY
from tickpath import Config
from tickpath.backend import Backend
from tickpath.cli import main
from tickpath.profile import Gate, Imbalance, Profile, Symbol, SymbolLimits
from tickpath.replay import Plan, replay
from tickpath.report import units
from tickpath_backends.file import FileTransport
from tickpath_backends.fpga_sim import SimExecutor
from tickpath_backends.hdl import bench, coverage, report, report_replay, structure, verilated
from tickpath_backends.hdl.coverage import Coverage
from tickpath_backends.hdl.error import HdlError
from tickpath_backends.hdl.verilated import HDL

REPLAY = {
    "schema": "tickpath.replay/1",
    "backend": "fpga-sim",
    "sources": ["/captures/<one>.pcap"],
    "packets": 576,
    "messages": 26_000,
    "latency_cycles": {"count": 96, "min": 19, "p50": 19, "p90": 25, "p99": 47, "max": 48},
    "latency_at_clock_ns": {"clock_mhz": 322.27, "min": 59.0, "p50": 59.0, "max": 148.9},
    "orders": {"sent": 96, "rejected": 469},
    "profile": {"rejects_by_check": {"position": 460, "price_collar": 9, "halt": 0}},
    "chain": {"cycles": 106_771, "counters": {"tops": 24_835, "intents": 565}},
    "findings": ["fpga-sim: AAPL left what the hardware holds"],
}


def write(directory, block, figures=(), missed=()):
    """What a bench leaves behind."""
    made = Coverage(block)
    made.declare("type in lane", ["A in 0", "X in 7"], {"never": "there is <none> of it"})
    made.hit("type in lane", "A in 0", 3)
    if not missed:
        made.hit("type in lane", "X in 7")
    for name, value in figures:
        made.measured(name, value, times=10)
    (directory / block).mkdir()
    (directory / block / coverage.FILE).write_text(json.dumps(made.report()))


@pytest.fixture
def sim(tmp_path):
    cycles = (("parse", 2), ("book", 9), ("trigger", 1), ("risk", 6), ("encode", 1))
    write(tmp_path, "chain", (*cycles, ("word to word", 19)))
    write(tmp_path, "book", (("accepted to top of book", 8),))
    return tmp_path


def test_every_stage_of_the_table_is_a_row(sim):
    text = report.build(sim, REPLAY).render()
    for stage in report.STAGES:
        assert f"<td>{stage.name}</td><td>{stage.what}</td>" in text
    rows = re.findall(r">(yes|no)<", text)
    assert rows == ["yes"] * len(report.STAGES)
    assert "19 cycles" in text and "59 ns" in text
    assert "not placed" in text and "there is &lt;none&gt; of it" in text
    assert len(text) < 200_000, "there is no plot on it, so plotly is not carried"


def test_a_stage_that_takes_longer_and_a_missed_bin_are_findings(tmp_path):
    write(tmp_path, "chain", (("word to word", 20),), missed=True)
    text = report.build(tmp_path).render()
    assert "whole path took 20 cycles, at most 19" in text and "chain: 1 bins were not hit" in text
    assert 'verdict-False">no' in text
    assert "Left out: none was given: tickpath hdl report --replay" in text


def test_what_has_not_run_is_said(tmp_path):
    text = report.build(tmp_path).render()
    assert "Left out: no bench of the chain has run here" in text
    for name in bench.BENCHES:
        assert f"tickpath hdl sim --block {name}" in text


def test_the_command_writes_the_page(sim, tmp_path):
    given, out = tmp_path / "replay.json", tmp_path / "pages" / "hdl.html"
    given.write_text(json.dumps(REPLAY))
    command = ["hdl", "report", "--sim", str(sim), "--replay", str(given), "--out", str(out)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0 and done.output.split() == [str(out)]
    assert out.read_text().startswith("<!DOCTYPE html>")
    given.write_text("{}")
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2 and "no tickpath.replay/1" in done.output
    given.write_text(json.dumps(REPLAY | {"backend": "software", "latency_cycles": None}))
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2 and "of backend software, which has no latency" in done.output
    with pytest.raises(HdlError, match="no replay's JSON"):
        report_replay.read(tmp_path / "nothing.json")


def panel_of(text, title):
    """The text of a panel, tags taken away."""
    found = re.search(rf"<h2[^>]*>{title}.*?</section>", text, re.S)
    assert found, title
    return " ".join(re.sub(r"<[^>]+>", " ", found[0]).split())


def test_a_replay_says_what_it_was_of(sim):
    text = report.build(sim, REPLAY).render()
    panel = panel_of(text, "A replay through fpga-sim")
    assert "chain over &lt;one&gt;.pcap, cycle by cycle" in panel and "at 322.27 MHz" in panel
    assert "messages 26,000 " in panel and "cycles for each message 4.11" in panel
    assert "refused by count position 460 price collar 9" in panel and "halt" not in panel
    assert "The replay: fpga-sim: AAPL left what the hardware holds" in text
    card = REPLAY | {"backend": "alveo", "latency_at_clock_ns": {"clock_mhz": 299.8}}
    panel = panel_of(report.build(sim, card).render(), "A replay through alveo")
    assert "on a card over" in panel and "nanoseconds at 299.8 MHz" in panel


@pytest.mark.skipif(verilated.why_not() is not None, reason=str(verilated.why_not()))
def test_a_real_replay_is_on_the_page(sim, tmp_path):
    """What the command prints is what the page takes: every figure of it is a cell."""
    given = Profile(
        symbols={name: Symbol(Imbalance(1, 1)) for name in ("AAPL", "MSFT")},
        gate=Gate(unknown_trading_state="trade"),
        limits=SymbolLimits(max_long=2_000, max_short=2_000),
    )
    path, out = tmp_path / "market.itch", tmp_path / "replay.json"
    path.write_bytes(run(market(random.Random(81), 2_000)))
    backend = Backend("fpga-sim", FileTransport, SimExecutor)
    result = replay(backend, Config(capacity=CAPACITY), Plan([path]), profile=given)
    out.write_text(json.dumps(result))
    panel = panel_of(report.build(sim, report_replay.read(out)).render(), "A replay through")
    cycles, in_ns = result["latency_cycles"], result["latency_at_clock_ns"]
    assert cycles["count"] == result["orders"]["sent"] > 3 and "market.itch" in panel
    keys = ("min", "p50", "p90", "p99", "p99_9", "p99_99", "max", "mean")
    for show, row in ((units.whole, cycles), (units.nanoseconds, in_ns)):
        cells = " ".join(show(row[key]) for key in keys)
        assert f"word to word {cycles['count']} {cells}" in panel
    for name, value in (
        ("messages", result["messages"]),
        ("cycles of the core", result["chain"]["cycles"]),
        ("orders sent", result["orders"]["sent"]),
        ("intents refused", result["orders"]["rejected"]),
    ):
        assert value > 3 and f"{name} {value:,}" in panel


# ---------------------------------------------------------------- structure


def modules():
    return structure.read(HDL / "rtl", HDL / "gen")


def test_every_instance_in_the_sources_is_found():
    """Counted another way: by what stands in front of `.clk(clk)` or the first port."""
    found = modules()
    names = "|".join(found)
    for path in (HDL / "rtl").glob("*.sv"):
        text = re.sub(r"//[^\n]*", "", path.read_text())
        if "`define SIDE" in text:
            continue
        for body in re.finditer(r"\bmodule\s+(\w+)(.*?)\bendmodule", text, re.S):
            wanted = re.findall(rf"^\s+({names})\s*(?=#\(|\w+ \()", body[2], re.M)
            assert [each.module for each in found[body[1]].instances] == wanted, path.name


def test_macros_are_put_in():
    sides = [each for each in modules()["book"].instances if each.module == "side"]
    assert [each.name for each in sides] == ["side_b", "side_a"]
    assert sides[0].nets["blocked"] == {"blocked_b"}


def test_nets_between_the_blocks_of_the_chain():
    found = structure.links(modules(), "chain")
    assert {"op", "symbol", "price", "order_ref"} <= set(found["front", "book"])
    assert "top_bid_px" in found["book", "back"] and "group_we" in found["back", "front"]
    assert ("book", "front") not in found


def test_a_directory_without_modules_is_one_line(tmp_path):
    with pytest.raises(HdlError, match="no modules there"):
        structure.read(Path(tmp_path))
