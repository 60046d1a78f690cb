"""Blocks placed on an ECP5: what is checked in is of blocks that there are, and still true."""

import json

import pytest

from tickpath_backends.hdl import placement
from tickpath_backends.hdl.verilated import HdlError

needs_nextpnr = pytest.mark.skipif(placement.why_not() is not None, reason=str(placement.why_not()))
SLOW = [each for each in placement.PLACEABLE if each not in placement.QUICK]
FOUND = {"top": "risk", "part": "LFE5U-85F-8", "area": {"lut4": 1}, "clock_mhz": 90.0}


def test_what_is_checked_in_is_of_blocks_that_there_are():
    assert {path.stem for path in placement.PLACED.glob("*.json")} == set(placement.PLACEABLE)
    for top in placement.PLACEABLE:
        known = placement.checked_in(top)
        assert known["top"] == top and 20 < known["clock_mhz"] < 400 and known["area"]["ff"] > 0


def test_what_cannot_be_placed_says_so(monkeypatch):
    monkeypatch.setattr(placement, "why_not", lambda: None)
    with pytest.raises(HdlError, match="'book' is not placed; those that are: mold_splitter"):
        placement.place("book")
    monkeypatch.setattr(placement, "why_not", lambda: "no nextpnr")
    with pytest.raises(HdlError, match="no nextpnr"):
        placement.place("risk")


def test_a_clock_that_falls_is_exit_code_1(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(placement, "PLACED", tmp_path)
    monkeypatch.setattr(placement, "place", lambda top: {**FOUND, "top": top})
    assert placement.main(["--check", "risk"]) == 2  # there is nothing to compare with
    assert placement.main(["risk"]) == 0 == placement.main(["--check", "risk"])
    known = json.loads((tmp_path / "risk.json").read_text())
    assert known == FOUND
    (tmp_path / "risk.json").write_text(json.dumps({**FOUND, "clock_mhz": 101.0}))
    assert placement.main(["--check", "risk"]) == 1
    assert "risk: slower" in capsys.readouterr().err


@needs_nextpnr
@pytest.mark.parametrize("top", placement.QUICK)
def test_a_quick_block_is_no_slower(top):
    assert not placement.is_slower(placement.place(top), placement.checked_in(top))


@pytest.mark.long
@needs_nextpnr
@pytest.mark.parametrize("top", SLOW)
def test_a_block_is_no_slower(top):
    assert not placement.is_slower(placement.place(top), placement.checked_in(top))
