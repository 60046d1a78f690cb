"""The crossing's constraints name what there is in its source; its bench is hdl/tb's."""

import re

from tickpath_backends.hdl.verilated import RTL

SOURCE = (RTL / "clock_crossing.sv").read_text()
CONSTRAINTS = (RTL / "clock_crossing.xdc").read_text()
PAIRS = {("w_gray", "w_seen_1"), ("r_gray", "r_seen_1"), ("lost_gray", "lost_seen_1")}


def test_every_register_that_is_constrained_is_one():
    named = set(re.findall(r"(\w+)_reg\b", CONSTRAINTS))
    assert len(named) > 10
    for name in named - {"words"}:
        assert re.search(rf"\b{name}\b[^;\n]*<=", SOURCE) or f"{name}," in SOURCE, name
    assert "words[" in SOURCE
    for port in re.findall(r"get_ports (\w+)", CONSTRAINTS):
        assert re.search(rf"input  logic +{port},", SOURCE), port


def test_every_register_of_the_other_clock_is_sampled_by_a_marked_pair():
    """Each crossing signal is taken by a first flip-flop that is `async_reg`, and constrained."""
    first = dict(re.findall(r"(\w+_seen_1) <= (\w+);", SOURCE))
    assert {(source, name) for name, source in first.items()} == PAIRS
    for name in first:
        assert re.search(rf'\(\* async_reg = "true" \*\) logic[^;]*\b{name}\b', SOURCE), name
        assert re.search(rf"{name[:-1]}2 <= {name};", SOURCE), name
    for source, name in PAIRS:
        for kind in ("set_max_delay -datapath_only", "set_bus_skew"):
            line = rf"{kind} -from \[get_cells {source}_reg\[\*\]\] -to \[get_cells {name}_reg"
            assert re.search(line, CONSTRAINTS), (kind, source)


def test_no_other_path_goes_from_clock_to_clock():
    """What one clock assigns, the other reads through those pairs and the memory alone."""
    writer, reader = SOURCE.split("the reader's clock\n", 1)
    written = {
        side: set(re.findall(r"(\w+)(?:\[[^]]*\])? <= ", text)) - {"i"}  # of the loops
        for side, text in (("s", writer), ("m", reader))
    }
    assert not written["s"] & written["m"]
    body = {"s": writer.split("the writer's clock\n", 1)[1], "m": reader}
    for side, other in (("s", "m"), ("m", "s")):
        found = {name for name in written[other] if re.search(rf"\b{name}\b", body[side])}
        allowed = {source for source, _ in PAIRS}
        assert found <= allowed | {"words"}, (side, found)
