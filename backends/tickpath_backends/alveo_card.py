"""The kernel on a card, as the chain that an executor drives: registers, frames in, records out.

XRT is reached by the native part (``native/alveo.cpp``); what is written and moved is decided here.
A transfer is a buffer of frames, each behind a header that the kernel checks, so memory that did
not arrive is a fault with a frame's number and not another feed.  While the kernel reads, this side
takes records from a ring that the kernel does not overwrite.  Nothing is waited for without an end:
a card on which nothing moves for `PATIENCE_S` is an error that says how far it came.

What the card does not give: best prices (they are the chain's own, two cycles apart), and
the cycle in which a verdict fell.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tickpath import jit
from tickpath.backend import RUN
from tickpath.memory import copy_bytes, store_u64
from tickpath_backends import native
from tickpath_backends.hdl import chain_model, mover_registers, registers
from tickpath_backends.hdl.chain_model import ACCESS, TOP, VERDICT, Chain, Outcome
from tickpath_backends.hdl.error import HdlError
from tickpath_backends.hdl.mover_registers import Action, Kind, State
from tickpath_backends.hdl.profile import BY_NAME, bits_of
from tickpath_backends.hdl.registers import Protocol

XCLBIN, DEVICE = "TICKPATH_XCLBIN", "TICKPATH_ALVEO"
"""Environment variables: the path of the kernel's xclbin; the card's index, 0 by default."""
KERNEL = "tickpath_kernel"
FRAMES_BYTES = 16 << 20
SLOTS = 1 << 15
PATIENCE_S = 2.0
READY_S = 2.0
_NONE = np.zeros(0, np.uint64)
_INTENT_BITS = sum(bits_of(kind) for _, kind in BY_NAME["Intent"].fields)
_VERDICT_BITS = sum(bits_of(kind) for _, kind in BY_NAME["Verdict"].fields)
_HEADER = np.uint64(mover_registers.header(0, 0))


def why_not() -> str | None:
    """Why no card can be used here, and what mends it; None: there is one, and an xclbin."""
    if reason := native.why_not("alveo"):
        return reason
    module = native.load("alveo")
    text = _text(module)
    count = module.lib.alveo_devices(text)
    if count < 0:
        return f"XRT does not work here: {_said(module, text)}{RUN}{_set_up()}"
    if count == 0:
        return f"XRT is here, but it knows no card{RUN}xbutil examine"
    path = os.environ.get(XCLBIN)
    if not path:
        return f"no xclbin is named{RUN}export {XCLBIN}=PATH (hdl/vitis builds one)"
    if not os.path.isfile(path):
        return f"{XCLBIN}: no file {path}{RUN}make -C hdl/vitis"
    return None


def open_card(protocol: Protocol) -> "Card":
    """The card and the xclbin that the environment names.  Raises `HdlError`."""
    path, index = os.environ.get(XCLBIN, ""), os.environ.get(DEVICE, "0")
    if not index.isdecimal():
        raise HdlError(f"{DEVICE}: a card's index, not {index!r}")
    return Card(path, int(index), protocol)


def _set_up() -> str:
    """The command after which XRT finds its own libraries."""
    amd = Path("/opt/xilinx/xrt/setup.sh")
    if amd.exists():
        return f"source {amd}"
    # Debian's XRT looks for its libraries in a folder lib/, where Debian does not put them.
    links = "ln -sf /usr/lib/*/libxrt*.so* ~/.xrt/lib/"
    return f"mkdir -p ~/.xrt/lib && {links} && export XILINX_XRT=~/.xrt"


def _text(module: Any) -> Any:
    return module.ffi.new("char []", module.lib.ALVEO_TEXT)


def _said(module: Any, text: Any) -> str:
    return str(module.ffi.string(text).decode(errors="replace")) or "no reason given"


@jit.entry
def _fill(frames, first, buffer, header):
    """Frames from number ``first`` on into a buffer, as many as fit; (frames, words)."""
    at, room = 0, len(buffer)
    base = np.uint64(buffer.ctypes.data)
    n = first
    while n < len(frames):
        length = np.int64(frames[n].length)
        words = (length + 7) // 8
        if at + 8 * (1 + words) > room:
            break
        number = np.uint64(n - first) << np.uint64(16)
        store_u64(base + np.uint64(at), header | number | np.uint64(length))
        if words > 0:
            store_u64(base + np.uint64(at + 8 * words), np.uint64(0))
        copy_bytes(base + np.uint64(at + 8), frames[n].address, np.uint64(length))
        at += 8 * (1 + words)
        n += 1
    return n - first, at // 8


class Card(Chain):
    """A chain that is on a card.  What a host does with its registers is `Chain`'s."""

    def __init__(self, xclbin: str, index: int, protocol: Protocol = Protocol.OUCH50) -> None:
        """Open, load, reset.  Raises `HdlError`, one line."""
        self.protocol = protocol
        self._record = mover_registers.record_type(protocol)
        self._module = native.load("alveo")
        self._text = _text(self._module)
        self._numbered = self._taken = 0
        ffi, lib = self._module.ffi, self._module.lib
        path, kernel = ffi.new("char []", os.fsencode(xclbin)), ffi.new("char []", KERNEL.encode())
        options = ffi.new("struct alveo_options *")
        options.device, options.xclbin, options.kernel = index, path, kernel
        options.frames_bytes = FRAMES_BYTES
        options.records_bytes = SLOTS * self._record.itemsize
        memory = ffi.new("struct alveo_memory *")
        self._card = lib.alveo_open(options, memory, self._text)
        if self._card == ffi.NULL:
            raise HdlError(f"card {index}, {xclbin}: {_said(self._module, self._text)}")
        self._frames = np.frombuffer(ffi.buffer(memory.frames, FRAMES_BYTES), np.uint8)
        ring = ffi.buffer(memory.records, options.records_bytes)
        self._ring = np.frombuffer(ring, self._record)
        try:
            self._begin(int(memory.frames_address), int(memory.records_address))
        except HdlError:
            self.close()
            raise

    def _begin(self, frames_address: int, records_address: int) -> None:
        """Look what is loaded, reset it, tell it where the buffers are."""
        self._expect("MOVER_IDENTITY", mover_registers.IDENTITY)
        self._expect("MOVER_VERSION", mover_registers.VERSION)
        self._put("ACTION", 1 << Action.RESET)
        began = time.monotonic()
        while not self._get("STATE") >> State.READY & 1:
            if time.monotonic() - began > READY_S:
                raise HdlError(f"the kernel is not ready {READY_S:g} s after reset")
        own = registers.BY_REGISTER
        found = self._access([(own[name].offset, 0, 0) for name in ("IDENTITY", "VERSION")])
        if found[0] != registers.IDENTITY or found[1] >> 16 != registers.VERSION >> 16:
            raise HdlError(
                f"the xclbin is of other registers: {found[0]:#x}, version {found[1]:#x}"
            )
        profile = self._access([(own["PROFILE"].offset, 0, 0)])[0] & 0xFF
        if profile != self.protocol:
            name = Protocol(profile).name if profile in list(Protocol) else profile
            raise HdlError(f"the xclbin sends {name}, the configuration {self.protocol.name}")
        self._expect("RECORD_WORDS", self._record.itemsize // 8)
        for name, address in (
            ("FRAMES_ADDRESS", frames_address),
            ("RECORDS_ADDRESS", records_address),
        ):
            if address % mover_registers.ALIGNMENT:
                raise HdlError(f"XRT gave a buffer at {address:#x}, which is not aligned")
            self._put(name, address & 0xFFFFFFFF)
            self._put(name, address >> 32, 4)
        self._put("RECORDS_MASK", SLOTS - 1)

    def _expect(self, name: str, value: int) -> None:
        found = self._get(name)
        if found != value:
            raise HdlError(f"the xclbin is of another kernel: {name} is {found:#x}, not {value:#x}")

    # ------------------------------------------------------------ registers

    def _access(self, accesses: Sequence[tuple[int, int, int]]) -> list[int]:
        """(offset, value, is write) in order; gives the values.  Raises `HdlError`."""
        ffi, lib = self._module.ffi, self._module.lib
        if self._card is None:
            raise HdlError("the card is closed")
        records = ffi.new("struct alveo_access []", len(accesses))
        for record, (offset, value, is_write) in zip(records, accesses, strict=True):
            record.offset, record.value, record.is_write = offset, value, is_write
        made = lib.alveo_access(self._card, records, len(accesses), self._text)
        if made != len(accesses):
            offset, _, is_write = accesses[made]
            what = "writing" if is_write else "reading"
            raise HdlError(f"{what} register {offset:#06x}: {_said(self._module, self._text)}")
        return [int(each.value) for each in records]

    def _get(self, name: str) -> int:
        at = mover_registers.BASE + mover_registers.BY_REGISTER[name].offset
        return self._access([(at, 0, 0)])[0]

    def _put(self, name: str, value: int, plus: int = 0) -> None:
        at = mover_registers.BASE + mover_registers.BY_REGISTER[name].offset + plus
        self._access([(at, value, 1)])

    def access(self, accesses: Sequence[tuple[int, int, bool]]) -> np.ndarray:
        """Make (offset, value, is write) on the chain.  Raises `HdlError`."""
        made = np.zeros(len(accesses), ACCESS)
        if accesses:
            made["value"] = self._access([(at, value, int(w)) for at, value, w in accesses])
        return made

    @property
    def cycle(self) -> int:
        """Cycles since reset."""
        return self.value("CYCLE")

    @property
    def dropped(self) -> dict[str, int]:
        """What the movers did not record, by name; in a replay nothing."""
        names = ("VERDICTS_DROPPED", "COPIES_DROPPED")
        return {name.lower(): self._get(name) for name in names}

    def clock_mhz(self, seconds: float = 0.05) -> float:
        """The clock that the kernel runs at, measured.  Raises `HdlError` where it stands."""
        first, began = self.cycle, time.perf_counter()
        time.sleep(seconds)
        last, ended = self.cycle, time.perf_counter()
        if last <= first:
            raise HdlError("the kernel's clock stands still")
        return (last - first) / (ended - began) / 1e6

    # ------------------------------------------------------------ a run

    def run(
        self,
        frames: np.ndarray,
        accesses: np.ndarray | None = None,
        gaps: np.ndarray | None = None,
        most_waiting: int = mover_registers.MOST_WAITING,
        ready: np.ndarray | None = None,
        is_timed: bool = False,
    ) -> Outcome:
        """Feed frames (`chain_model.FRAME`) that lie in memory; tops and ``fed`` are empty.

        Of the other arguments only ``most_waiting`` is the card's.  Raises `HdlError`.
        """
        if accesses is not None or gaps is not None or ready is not None or is_timed:
            raise HdlError("on a card there are no cycles to choose")
        lengths = frames["length"]
        if len(lengths) and (lengths.max() > mover_registers.LONGEST_FRAME or not lengths.min()):
            wrong = lengths[(lengths > mover_registers.LONGEST_FRAME) | (lengths == 0)][0]
            raise HdlError(
                f"a frame of {wrong} bytes; it takes 1 to {mover_registers.LONGEST_FRAME}"
            )
        self._put("MOST_WAITING", most_waiting)
        taken: list[np.ndarray] = []
        at = 0
        while at < len(frames):
            count, words = _fill(frames, at, self._frames, _HEADER)
            self._transfer(count, words, at, taken)
            at += count
        records = np.concatenate(taken) if taken else np.zeros(0, self._record)
        kinds = records["trailer"]["kind"]
        orders = _order_bytes(records[kinds == Kind.ORDER])
        verdicts = _verdicts(records[kinds == Kind.VERDICT])
        return Outcome(np.zeros(0, TOP), verdicts, orders, np.zeros(0, np.int64))

    def _transfer(self, count: int, words: int, first: int, taken: list[np.ndarray]) -> None:
        """One buffer of frames, until all that it brings is written."""
        lib = self._module.lib
        if lib.alveo_put(self._card, 8 * words, self._text):
            raise HdlError(f"frames to the card: {_said(self._module, self._text)}")
        self._put("FRAMES_WORDS", words)
        self._put("ACTION", 1 << Action.START)
        before: tuple[int, ...] = ()
        moved = time.monotonic()
        while True:
            state = self._get("STATE")
            now = tuple(map(self._get, ("WORDS_READ", "FRAMES_FED", "RECORDS_WRITTEN")))
            self._take(now[2], taken)
            self._judge(state, first + now[1])
            if state >> State.REST & 1 and not state >> State.READING & 1:
                break
            if now != before:
                before, moved = now, time.monotonic()
            elif time.monotonic() - moved > PATIENCE_S:
                raise HdlError(
                    f"nothing moved on the card for {PATIENCE_S:g} s: {now[0]} of {words} words "
                    f"read, {now[1]} of {count} frames fed, state {state:#x}"
                )
        # It rested behind the count that was read with that state, or before it.
        self._take(self._get("RECORDS_WRITTEN"), taken)
        if now[0] != words or now[1] != count:
            raise HdlError(f"the card fed {now[1]} of {count} frames, {now[0]} of {words} words")

    def _judge(self, state: int, frame: int) -> None:
        """Raise what the state says went wrong."""
        if state >> State.READ_FAULT & 1:
            raise HdlError(f"the card's memory could not be read behind frame {frame}")
        if state >> State.FRAME_FAULT & 1:
            raise HdlError(f"frame {frame} did not arrive on the card: its header is another")
        if state >> State.WRITE_FAULT & 1:
            raise HdlError("the card's memory could not be written: orders are not recorded")

    def _take(self, written: int, taken: list[np.ndarray]) -> None:
        """Records up to number ``written``, from the ring."""
        while (count := written - self._taken & 0xFFFFFFFF) > 0:
            if count > SLOTS:
                raise HdlError(f"the card says it wrote {count} records into {SLOTS} slots")
            slot = self._taken % SLOTS
            count = min(count, SLOTS - slot)
            size = self._record.itemsize
            lib = self._module.lib
            if lib.alveo_get(self._card, slot * size, count * size, self._text):
                raise HdlError(f"records from the card: {_said(self._module, self._text)}")
            records = self._ring[slot : slot + count].copy()
            numbers = np.arange(self._taken, self._taken + count, dtype=np.uint64)
            wrong = np.flatnonzero(records["trailer"]["number"] != numbers.astype(np.uint32))
            if len(wrong):
                raise HdlError(f"record {self._taken + int(wrong[0])} did not arrive from the card")
            self._taken += count
            self._put("RECORDS_TAKEN", self._taken & 0xFFFFFFFF)
            taken.append(records)

    def close(self) -> None:
        """Give the card back; it can be closed more than once."""
        if self._card is not None and self._card != self._module.ffi.NULL:
            self._module.lib.alveo_close(self._card)
        self._card = None


def _order_bytes(records: np.ndarray) -> np.ndarray:
    """Records of orders with ``data`` and ``length``, as `chain_model.ORDER` has them."""
    data = records["data"]
    made = np.zeros(len(records), np.dtype([("length", "u8"), ("data", "u1", data.shape[1:])]))
    made["data"], made["length"] = data, records["trailer"]["length"]
    return made


def _verdicts(records: np.ndarray) -> np.ndarray:
    """Records of verdicts as `VERDICT`; cycles are 0."""
    made = np.zeros(len(records), VERDICT)
    words = np.ascontiguousarray(records["data"]).view("<u8")
    whole, rest = divmod(_INTENT_BITS, 64)
    for n in range(whole):
        made["intent"][:, n] = words[:, n]
    made["intent"][:, whole] = words[:, whole] & np.uint64((1 << rest) - 1)
    made["verdict"] = words[:, whole] >> np.uint64(rest) & np.uint64((1 << _VERDICT_BITS) - 1)
    return made


assert _INTENT_BITS // 64 < 4 and _INTENT_BITS % 64 + _VERDICT_BITS <= 64
assert chain_model.QUIET <= mover_registers.QUIET
