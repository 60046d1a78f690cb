"""The cocotb bench of the encoder (hdl/tb/encode), run by pytest."""

import pytest

from tickpath_backends.hdl import back_bench

if reason := back_bench.why_not():
    pytest.skip(reason, allow_module_level=True)


def test_the_bench_passes(tmp_path):
    assert back_bench.run("encode", tmp_path) == (back_bench.BENCHES["encode"].tests, 0)
