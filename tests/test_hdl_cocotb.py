"""Every block's cocotb bench (hdl/tb), run by pytest; `tickpath hdl sim` runs the same ones."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from tickpath.cli import main
from tickpath_backends.hdl import bench, coverage
from tickpath_backends.hdl.error import HdlError
from tickpath_backends.hdl.verilated import HDL


def test_every_bench_is_declared():
    folders = {each.name for each in (HDL / "tb").iterdir() if each.is_dir()}
    assert {each.folder for each in bench.BENCHES.values()} == folders


def test_a_block_that_is_none_is_one_line():
    done = CliRunner().invoke(main, ["hdl", "sim", "--block", "nothing"])
    assert done.exit_code == 2 and "risk" in done.output


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    done = CliRunner().invoke(main, ["hdl", "sim", "--block", "risk", "--out", str(file)])
    assert done.exit_code == 2 and done.output == f"tickpath: {file}/risk: Not a directory\n"


@pytest.mark.skipif(bench.why_not() is not None, reason=str(bench.why_not()))
def test_a_program_of_another_installation_is_not_taken(tmp_path, monkeypatch):
    """It looks for cocotb's libraries where they were, and they may be gone."""
    from cocotb_tools import config

    class Runner:
        def build(self, log_file, **_):
            logs.append(log_file)
            raise RuntimeError

    logs: list[Path] = []
    monkeypatch.setenv("TICKPATH_CACHE_DIR", str(tmp_path))
    for _ in range(2):
        with pytest.raises(HdlError, match="parse_top cannot be built; "):
            bench._built(Runner(), bench.BENCHES["parse"], False)
        monkeypatch.setattr(config, "libs_dir", tmp_path / "another")
    assert logs[0] != logs[1]


def test_ctrl_c_is_one_line(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "run", interrupted)
    done = CliRunner().invoke(main, ["hdl", "sim", "--out", str(tmp_path)])
    assert (done.exit_code, done.output) == (130, "tickpath: interrupted\n")


@pytest.mark.skipif(bench.why_not() is not None, reason=str(bench.why_not()))
@pytest.mark.parametrize(
    "block",
    [
        pytest.param(each, marks=pytest.mark.long) if each in bench.LONG else each
        for each in bench.BENCHES
    ],
)
def test_the_bench_passes(block, tmp_path):
    done = bench.run(block, tmp_path)
    assert done == (bench.BENCHES[block].tests, 0), (tmp_path / bench.LOG).read_text()[-6000:]
    covered = coverage.read(tmp_path)
    assert covered is not None and covered["block"] == bench.BENCHES[block].folder
    hit, bins, _ = coverage.totals(covered)
    assert hit == bins > 0
