"""Where a live transport runs: on which core, and in which memory.

`udp`, `afxdp` and `dpdk` share it.  What the configuration asks for and the machine does not give
is an error, because a measurement made without it would be believed to be made with it.  Pinning is
undone at the end; locking is not, since pages of others in the process may rely on it by then.
"""

import ctypes
import errno
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np

from tickpath.backend import TransportError
from tickpath.config import Transport

_MAP_HUGETLB = 0x40000
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_PAGE = mmap.PAGESIZE


def huge_page_bytes(root: Path = Path("/")) -> int:
    """Size of the machine's huge pages; 2 MiB where it does not say."""
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("Hugepagesize:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        pass
    return 2 << 20


class Region:
    """Memory for packets, touched beforehand so that no page fault comes later."""

    def __init__(self, size: int, huge: bool) -> None:
        """Raises `TransportError` where there are no huge pages and they must be."""
        unit = huge_page_bytes() if huge else _PAGE
        self.size = -(-size // unit) * unit
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | (_MAP_HUGETLB if huge else 0)
        try:
            self._map = mmap.mmap(-1, self.size, flags=flags)
        except OSError:
            if not huge:
                raise TransportError(
                    f"no memory for {self.size} bytes of packet buffers; set transport.buffers "
                    "lower"
                ) from None
            pages = self.size // unit
            raise TransportError(
                f"transport.huge_pages: {pages} huge pages of {unit >> 20} MiB are not free; "
                f"run: echo {pages} | sudo tee -a /proc/sys/vm/nr_hugepages"
            ) from None
        if not huge and hasattr(mmap, "MADV_HUGEPAGE"):
            self._map.madvise(mmap.MADV_HUGEPAGE)
        self._bytes: np.ndarray | None = np.frombuffer(self._map, np.uint8)
        self._bytes[::_PAGE] = 0
        self.address = int(self._bytes.ctypes.data)

    def close(self) -> None:
        """Give it back; nothing may be lent from it any more."""
        if self._bytes is not None:
            self._bytes = None
            self._map.close()


class Placement:
    """What `transport.cpu`, `lock_memory` and `huge_pages` ask for, as far as it is done here."""

    def __init__(self, config: Transport) -> None:
        self._config = config
        self._before: set[int] | None = None

    def apply(self) -> None:
        """Pin the calling thread and lock memory.  Raises `TransportError`."""
        if self._config.cpu is not None:
            before = os.sched_getaffinity(0)
            _pin(self._config.cpu, before)
            self._before = before
        if self._config.lock_memory:
            _lock()

    def region(self, size: int) -> Region:
        """Memory for packets.  Raises `TransportError`."""
        return Region(size, self._config.huge_pages)

    def undo(self) -> None:
        """Let the thread run where it did before."""
        if self._before is not None:
            os.sched_setaffinity(0, self._before)
        self._before = None

    @property
    def environment(self) -> dict[str, Any]:
        """For a result; JSON-ready."""
        return {
            "cpu": self._config.cpu,
            "lock_memory": self._config.lock_memory,
            "huge_pages": self._config.huge_pages,
        }


def _pin(cpu: int, allowed: set[int]) -> None:
    try:
        os.sched_setaffinity(0, {cpu})
    except OSError:
        cores = ", ".join(map(str, sorted(allowed)))
        raise TransportError(
            f"transport.cpu: core {cpu} is not one that this process may use: {cores}"
        ) from None


def _lock() -> None:
    """Pages are locked as they are touched: the engine reserves far more than it uses."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT):
        code = ctypes.get_errno()
        fix = "; run: ulimit -l unlimited, or give it CAP_IPC_LOCK"
        why = "memory may not be locked" if code in (errno.EPERM, errno.ENOMEM) else ""
        raise TransportError(f"transport.lock_memory: {why or os.strerror(code)}{fix}")
