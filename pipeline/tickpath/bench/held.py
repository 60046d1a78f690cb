"""A generated session that is wholly in memory, so that no measurement waits for a file.

It is held twice, made in one go: as packets on the wire, and as the same messages back to back as
a daily file has them.  Both lie on huge pages where the kernel gives any, as the packet buffers of
a receive queue do; all of it has been written, so reading it causes no page fault.
"""

import ctypes
import mmap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tickpath.bench import kernels
from tickpath.bench.error import BenchError
from tickpath.capture import open_capture
from tickpath.generate import SessionPlan
from tickpath.generate.session import Session
from tickpath.generate.truth import Truth
from tickpath.packet import LINK_MESSAGES, LINK_PITCH, PACKET
from tickpath.state import HUGE

_MAP_NORESERVE = 0x4000  # Linux; not in the mmap module of Python 3.11
MESSAGE_BYTES = 64
"""Most bytes of a message with its prefix, and of a `PACKET` record."""
FRAMED_BYTES = 2 * (MESSAGE_BYTES + int(kernels.HEADERS))
"""Most bytes that a message takes on the wire: alone in its packet, with a heartbeat before it."""
MORE = 1 << 22
"""Room for what a session has beside its messages: heartbeats, the end of the session."""
FILE_BYTES = 1 << 35
"""Most bytes of a daily file; only what is used of them takes memory."""


def huge_page_bytes() -> int | None:
    """Bytes of this process that lie on huge pages; None where the kernel does not say."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("AnonHugePages:")]
    return int(found[0]) * 1024 if found else None


class HugeBytes:
    """Bytes in one mapping on huge pages, appended to up to ``most``."""

    def __init__(self, most: int) -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        self._map = mmap.mmap(-1, most + HUGE, flags=flags)
        self._map.madvise(mmap.MADV_HUGEPAGE)
        whole = np.frombuffer(self._map, np.uint8)
        self._room = whole[-whole.ctypes.data % HUGE :][:most]
        self.used = 0

    @property
    def address(self) -> int:
        """Where the first byte is."""
        return int(self._room.ctypes.data)

    @property
    def bytes(self) -> np.ndarray:
        """What was appended so far, ``uint8[used]``."""
        return self._room[: self.used]

    def append(self, address: int, length: int) -> int:
        """Copy ``length`` bytes; where they begin now."""
        assert self.used + length <= len(self._room), "more bytes than there were said to be"
        to = self.address + self.used
        ctypes.memmove(to, address, length)
        self.used += length
        return to

    def reserve(self, length: int) -> int:
        """Make room for ``length`` bytes that the caller writes; where they begin."""
        assert self.used + length <= len(self._room), "more bytes than there were said to be"
        self.used += length
        return self.address + self.used - length


@dataclass(frozen=True)
class HeldSession:
    """A session in memory, and what is true of it (None: nobody knows)."""

    messages: np.ndarray  # uint8: messages back to back, each behind (of PITCH, with) its length
    run: np.ndarray  # PACKET: the same as a daily file lends them, in one run of messages
    packets: np.ndarray  # PACKET[n]: the same as MoldUDP64 packets; none where not asked for
    truth: Truth | None
    resting: np.ndarray | None  # generate.truth.RESTING, in the order in which they would trade
    owners: tuple[HugeBytes, ...]

    def write(self, path: Path) -> Path:
        """Write the messages as a daily file."""
        self.messages.tofile(path)
        return path


def _run(messages: np.ndarray, link: int) -> np.ndarray:
    run = np.zeros(1, PACKET)
    run["address"], run["link"] = messages.ctypes.data, link
    run["length"] = run["wire_length"] = len(messages)
    return run


def hold(
    plan: SessionPlan,
    *,
    packets: bool = True,
    progress: Callable[[int], None] | None = None,
) -> HeldSession:
    """Generate the session of ``plan`` into memory, PITCH without packets.

    Raises `GenerateError`.
    """
    is_pitch = plan.feed == "pitch"
    assert not (packets and is_pitch), "packets of PITCH are not taken apart here"
    session = Session(plan)
    messages = HugeBytes(plan.messages * MESSAGE_BYTES + MORE)
    owners, kept = [messages], np.zeros(0, PACKET)
    if packets:
        wire = HugeBytes(plan.messages * FRAMED_BYTES + MORE)
        records = HugeBytes(plan.messages * MESSAGE_BYTES + MORE)
        owners += [wire, records]
        for batch in session.packets():
            _keep(batch, wire, records)
            if progress:
                progress(session.messages_made)
        kept = records.bytes.view(PACKET)
        size = int((kept["length"] - np.uint32(kernels.HEADERS)).sum(dtype=np.uint64))
        to = messages.reserve(size)
        kernels.strip(np.uint64(records.address), np.uint64(len(kept)), np.uint64(to))
    else:
        for chunk in session.messages():
            messages.append(chunk.ctypes.data, len(chunk))
            if progress:
                progress(session.messages_made)
    return HeldSession(
        messages=messages.bytes,
        run=_run(messages.bytes, LINK_PITCH if is_pitch else LINK_MESSAGES),
        packets=kept,
        truth=session.truth,
        resting=session.resting_orders(),
        owners=tuple(owners),
    )


def hold_file(path: str | Path) -> HeldSession:
    """Read a daily file into memory, up to its last whole message.

    Raises `CaptureError` where it cannot be read, `BenchError` where it is no daily file.
    """
    with open_capture(path) as capture:
        if capture.kind != "itch":
            raise BenchError(f"{path}: is a {capture.kind} file; the peers read daily files only")
        messages = HugeBytes(FILE_BYTES)
        runs = []
        for batch in capture.batches():
            kept = batch.copy()
            for each in kept:
                each["address"] = messages.append(int(each["address"]), int(each["length"]))
            runs.append(kept)
    return HeldSession(
        messages=messages.bytes,
        run=np.concatenate(runs),
        packets=np.zeros(0, PACKET),
        truth=None,
        resting=None,
        owners=(messages,),
    )


def _keep(batch: np.ndarray, wire: HugeBytes, records: HugeBytes) -> None:
    """Keep a batch of lent packets: their bytes, which lie together, and their records."""
    if not len(batch):
        return
    begin = int(batch["address"].min())
    end = int((batch["address"] + batch["length"]).max())
    to = wire.append(begin, end - begin)
    kept = batch.copy()
    kept["address"] += np.uint64((to - begin) & (1 << 64) - 1)
    records.append(kept.ctypes.data, kept.nbytes)
