"""Cores, locked memory and huge pages, as far as this machine lets them be had."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tickpath.backend import TransportError
from tickpath.config import Transport
from tickpath_backends.placement import Placement, Region, huge_page_bytes

ROOT = Path(__file__).resolve().parents[1]


def test_pinning_and_its_end():
    before = os.sched_getaffinity(0)
    placement = Placement(Transport(cpu=max(before)))
    placement.undo()
    assert os.sched_getaffinity(0) == before
    placement.apply()
    try:
        assert os.sched_getaffinity(0) == {max(before)}
    finally:
        placement.undo()
    assert os.sched_getaffinity(0) == before
    expected = {"cpu": max(before), "lock_memory": False, "huge_pages": False}
    assert placement.environment == expected


def test_a_core_that_is_not_there():
    before = os.sched_getaffinity(0)
    with pytest.raises(TransportError, match=r"transport\.cpu: core 4095 is not one that"):
        Placement(Transport(cpu=4095)).apply()
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("size", [1, 4096, 100_000])
def test_memory_is_there_aligned_and_writable(size):
    region = Placement(Transport()).region(size)
    assert region.size >= size and region.size % 4096 == 0 and region.address % 4096 == 0
    ctypes.memset(region.address, 7, region.size)
    assert ctypes.string_at(region.address, size) == b"\7" * size
    region.close()
    region.close()


def test_huge_pages_are_had_or_named():
    size = huge_page_bytes()
    try:
        region = Region(1, huge=True)
    except TransportError as error:
        assert f"1 huge pages of {size >> 20} MiB are not free; run: echo 1 |" in str(error)
    else:
        assert region.size == size and region.address % size == 0
        region.close()


def test_the_size_of_huge_pages(tmp_path):
    assert huge_page_bytes(tmp_path) == 2 << 20
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1 kB\nHugepagesize:  1048576 kB\n")
    assert huge_page_bytes(tmp_path) == 1 << 30


def _locking(prelude: str) -> str:
    """What locking gives, in a process of its own that has reserved 64 GiB."""
    code = (
        "import mmap, os, resource\n"
        "from tickpath.backend import TransportError\n"
        "from tickpath.config import Transport\n"
        "from tickpath_backends.placement import Placement\n"
        "MAP_NORESERVE = 0x4000\n"
        "flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE\n"
        "reserved = mmap.mmap(-1, 1 << 36, flags=flags)\n"
        f"{prelude}\n"
        "try:\n"
        "    Placement(Transport(lock_memory=True)).apply()\n"
        "    print(next(each for each in open('/proc/self/status') if 'VmLck' in each))\n"
        "except TransportError as error:\n"
        "    print(error)\n"
    )
    paths = os.pathsep.join([f"{ROOT}/pipeline", f"{ROOT}/backends"])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root locks without a limit")
def test_locking_does_not_touch_what_is_only_reserved():
    """More than this machine has: it would fail, or take all memory."""
    assert "VmLck:" in _locking("")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root takes rights away from itself")
def test_memory_that_may_not_be_locked():
    drop = "resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536)); "
    said = _locking(drop + "os.setgroups([]); os.setgid(65534); os.setuid(65534)")
    assert said.startswith("transport.lock_memory: memory may not be locked; run: ulimit -l")
