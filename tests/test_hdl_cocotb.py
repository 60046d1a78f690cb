"""Every block's cocotb bench (hdl/tb), run by pytest; `tickpath hdl sim` runs the same ones."""

import pytest
from click.testing import CliRunner

from tickpath.cli import main
from tickpath_backends.hdl import bench
from tickpath_backends.hdl.verilated import HDL


def test_every_bench_is_declared():
    assert set(bench.BENCHES) == {each.name for each in (HDL / "tb").iterdir() if each.is_dir()}


def test_a_block_that_is_none_is_one_line():
    done = CliRunner().invoke(main, ["hdl", "sim", "--block", "nothing"])
    assert done.exit_code == 2 and "risk" in done.output


@pytest.mark.skipif(bench.why_not() is not None, reason=str(bench.why_not()))
@pytest.mark.parametrize("block", bench.BENCHES)
def test_the_bench_passes(block, tmp_path):
    assert bench.run(block, tmp_path) == (bench.BENCHES[block].tests, 0)
