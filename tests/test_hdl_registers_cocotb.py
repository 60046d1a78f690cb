"""The cocotb bench of the registers (hdl/tb/registers), run by pytest."""

import pytest

from tickpath_backends.hdl import back_bench

if reason := back_bench.why_not():
    pytest.skip(reason, allow_module_level=True)


def test_the_bench_passes(tmp_path):
    assert back_bench.run("registers", tmp_path) == (back_bench.BENCHES["registers"].tests, 0)
