"""The other side of a wire-to-wire measurement: a wire with an open-loop exchange on it.

    with ExchangeWire(UdpTransport, "day.pcap", config, groups, core=0) as wire:
        wire.prepare(due_ns)
        wire.start()
        while not wire.is_finished:
            live.step()               # over wire.transport
        seen = wire.seen()

The exchange is a process of its own (`exchange_process`), pinned to its core.  Latency is the
difference of two of its own clock readings: before the system call that sent the trigger, and when
the order was seen in its receive ring.  Nothing of the system under test is in them.  The wire is a
private one, or two interfaces that are given (`given`); there packets come from the exchange's own
address, which a kernel believes, and a socket that nobody reads keeps it from refusing the orders.

With ``egress="tcp"`` orders do not leave by the transport but by `ExchangeWire.orders`, the order
session's connection over the same wire, made before the first run and kept for all: SoupBinTCP's
unsequenced data packets, which the exchange reads between sends.  There is no login, and nothing
is answered.
"""

import json
import mmap
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from tickpath.backend import BackendError, Native
from tickpath.config import Config, parse_group
from tickpath.namespace import inside
from tickpath.session.soup_framing import payload_of
from tickpath.session.tcp_stream import Stream
from tickpath.wire.soupbintcp import SOUPBINTCP
from tickpath_backends import native, veth
from tickpath_backends.given import Given
from tickpath_backends.player import END_S, LOOK_S, PAGE_BYTES, START_S, on_wire

LEAD_NS = 10_000_000
"""From `start` to the first packet."""
LINGER_NS, DRAIN_LINGER_NS = 100_000_000, 1_000_000
"""How long orders are waited for behind the last packet."""
EGRESSES = ("udp", "tcp")
CONNECT_S = 2.0
"""Somebody listens already: longer than this means that the transport takes the answers."""


class Seen(NamedTuple):
    """What the exchange saw in one run; times are CLOCK_MONOTONIC."""

    start_ns: int
    sent_ns: np.ndarray  # uint64 a packet, before the system call; 0: not sent
    arrived_ns: np.ndarray  # uint64 an order, in order of arrival
    orders: list[bytes]  # of TCP what its packet carries; whole where that is no order's packet
    refused: int  # packets for which the wire had no room
    overflowed: int  # orders that the exchange had no room for
    calls: int  # system calls that sent
    dropped: int  # orders that its ring had no room for


class ExchangeWire:
    """See the module's text."""

    def __init__(
        self,
        transport: Callable[[Config], Any],
        capture: str | os.PathLike[str],
        config: Config,
        groups: Sequence[str],
        core: int,
        egress: str = "udp",
        interfaces: Sequence[str] = (),
    ) -> None:
        """The exchange is kept on ``core``.  ``config`` must have ``transport.orders_to`` where
        ``egress`` is "udp", and must not where it is "tcp".  ``interfaces`` are the sender's and
        the receiver's; none: a private wire.
        """
        if egress not in EGRESSES or (egress == "udp") != (config.transport.orders_to is not None):
            raise ValueError(f"egress {egress!r} with orders_to {config.transport.orders_to!r}")
        self.egress = egress
        self.orders: Stream | None = None
        """Where orders are to be written to, while it is open; None: the transport sends them."""
        self._class, self._capture, self._config = transport, os.path.abspath(capture), config
        self._groups, self._core, self._interfaces = list(groups), core, tuple(interfaces)
        self._stack = ExitStack()
        self._is_open = False
        self._start_ns = 0

    @staticmethod
    def why_not() -> str | None:
        """Why there can be none here, as ``reason; run: command``; None where there can."""
        return native.why_not("exchange") or veth.why_not()

    @staticmethod
    def check(interfaces: Sequence[str]) -> None:
        """Whether two interfaces are a wire, before anything takes long.  Raises `BackendError`."""
        with Given(*interfaces):
            pass

    def __enter__(self) -> "ExchangeWire":
        if reason := self.why_not():
            raise BackendError(f"wire to wire cannot be measured: {reason}")
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def _open(self) -> None:
        enter = self._stack.enter_context
        self._wire: veth.Veth | Given
        if self._interfaces:
            self._wire = enter(Given(*self._interfaces))
        else:
            self._wire = enter(veth.Veth())
        self._folder = Path(enter(tempfile.TemporaryDirectory(prefix="tickpath-")))
        memory = os.memfd_create("tickpath-exchange")
        self._stack.callback(os.close, memory)
        os.ftruncate(memory, PAGE_BYTES)
        module = native.load("exchange")
        self._shared = np.frombuffer(mmap.mmap(memory, PAGE_BYTES), np.uint8)
        self._page = module.ffi.cast("struct exchange_page *", self._shared.ctypes.data)
        self.config = on_wire(
            self._config, self._wire, self._groups, orders_at=self._wire.orders_at
        )
        if self._interfaces and self.egress == "udp":
            self._swallow()
        listener = self._listen() if self.egress == "tcp" else None
        self._start_child(memory, listener)
        with inside(self._wire.engine.namespace):
            self.transport = self._class(self.config)
            self._is_open = True  # as far as it comes: what it holds by then is to be closed too
            self.transport.open()
        if listener is not None:
            # After the transport: only so does it show whether TCP passes by it.
            self._connect(listener.getsockname())

    def _swallow(self) -> None:
        """Have the kernel take the orders' copies, which it would else refuse by ICMP."""
        assert self.config.transport.orders_to is not None
        port = parse_group(self.config.transport.orders_to)[1]
        with inside(self._wire.exchange.namespace):
            sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._stack.enter_context(sink)
        sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # full at once: the rest is dropped
        try:
            sink.bind((self._wire.orders_at, port))
        except OSError as error:
            raise BackendError(
                f"transport.orders_to: port {port} at {self._wire.orders_at}: {error.strerror}"
            ) from None

    def _listen(self) -> socket.socket:
        """A socket for one connection, which the kernel accepts before the exchange asks for it."""
        with inside(self._wire.exchange.namespace):
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._stack.enter_context(listener)
        listener.bind((self._wire.exchange.address, 0))
        listener.listen(1)
        return listener

    def _connect(self, address: tuple[str, int]) -> None:
        with inside(self._wire.engine.namespace):
            connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._stack.enter_context(connection)
        connection.settimeout(CONNECT_S)
        try:
            connection.connect(address)
        except OSError as error:
            reason = error.strerror or str(error)
            raise BackendError(
                f"no TCP connection passes by the transport, which may take all packets: {reason}"
            ) from None
        self.orders = Stream(connection)

    def _start_child(self, memory: int, listener: socket.socket | None) -> None:
        here, orders_to = self._wire.exchange, self._config.transport.orders_to
        job = {
            "capture": self._capture,
            "namespace": here.namespace,
            "page": memory,
            "interface": here.interface,
            "order_port": parse_group(orders_to)[1] if orders_to is not None else 0,
            "listener": listener.fileno() if listener is not None else None,
            "parent": os.getpid(),
            "core": self._core,
            "source": here.address if self._interfaces else None,
        }
        self._errors: IO[bytes] = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tickpath_backends.exchange_process", json.dumps(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            pass_fds=(here.namespace, memory, *([listener.fileno()] if listener else [])),
            start_new_session=True,
            text=True,
        )
        self._stack.callback(self._end_child)

    def _end_child(self) -> None:
        self._page.stop = 1
        child = self._child
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                stream.close()
        try:
            child.wait(END_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def _answer(self) -> None:
        """Wait for the exchange's next line.  Raises `BackendError` where it is over."""
        assert self._child.stdout is not None
        if not self._child.stdout.readline():
            self._child.wait(END_S)
            self._errors.seek(0)
            lines = self._errors.read().decode(errors="replace").strip().splitlines()
            raise BackendError(f"the exchange ended: {lines[-1] if lines else 'without a word'}")

    def prepare(self, due_ns: np.ndarray, linger_ns: int = LINGER_NS) -> None:
        """Give the exchange a plan, uint64 ns after the start for each packet; it is ready then.

        Raises `BackendError`.
        """
        if not self._start_ns:
            self._answer()  # it has read its capture
        page = self._page
        page.start_ns = page.ready = page.finished = 0
        np.save(self._folder / "due.npy", due_ns)
        self._out = self._folder / "seen.npz"
        job = {"due": str(self._folder / "due.npy"), "out": str(self._out), "linger_ns": linger_ns}
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(job) + "\n")
        self._child.stdin.flush()
        deadline_s = time.monotonic() + START_S
        while not page.ready:
            if self._child.poll() is not None:
                self._answer()
            if time.monotonic() > deadline_s:
                raise BackendError(f"the exchange is not ready after {START_S:.0f} seconds")
            time.sleep(LOOK_S)
        self._start_ns = 1

    def start(self) -> None:
        """Time 0 of the plan is `LEAD_NS` from now."""
        self._start_ns = time.monotonic_ns() + LEAD_NS
        self._page.start_ns = self._start_ns

    @property
    def facts(self) -> dict[str, str]:
        """What the wire is, for a result."""
        ends = (self._wire.exchange, self._wire.engine)
        names = self._interfaces or [each.interface for each in ends]
        return {"kind": self._wire.kind, "sender": names[0], "receiver": names[1]}

    @property
    def is_finished(self) -> bool:
        """True when all was sent and no order is waited for any more, or it is over."""
        return bool(self._page.finished) or self._child.poll() is not None

    @property
    def finished_address(self) -> int:
        """Where the number is that is not 0 when the exchange has ended: for loops in C."""
        module = native.load("exchange")
        return int(module.ffi.cast("uintptr_t", module.ffi.addressof(self._page, "finished")))

    def seen(self) -> Seen:
        """What it saw in the run that has finished.  Raises `BackendError`."""
        self._answer()
        with np.load(self._out) as found:
            sent_ns, orders, raw, counts = (
                found[name] for name in ("sent_ns", "orders", "bytes", "counts")
            )
        whole = raw.tobytes()
        ends = zip(orders["offset"].tolist(), orders["length"].tolist(), strict=True)
        messages = [whole[at : at + length] for at, length in ends]
        if self.egress == "tcp":
            messages = [_order_in(packet) for packet in messages]
        refused, overflowed, calls, dropped = (int(each) for each in counts)
        return Seen(
            self._start_ns,
            sent_ns,
            orders["arrived_ns"].copy(),
            messages,
            refused,
            overflowed,
            calls,
            dropped,
        )

    def drain_ns(self, packets: int, times: int) -> list[float]:
        """What receiving a waiting packet costs, in ns, without any engine: ``times`` samples.

        Each time so many packets are sent while nobody polls.  Empty where none came.
        Raises `BackendError`.
        """
        module = native.load("exchange")
        found: list[float] = []
        burst = self.config.transport.burst
        records = module.ffi.new("struct packet[]", burst)
        transport: Native = self.transport.native
        state = module.ffi.cast("void *", transport.transport)
        drained = module.ffi.new("struct drained *")
        for _ in range(times):
            self.prepare(np.zeros(packets, np.uint64), linger_ns=DRAIN_LINGER_NS)
            self.start()
            while not self.is_finished:
                time.sleep(LOOK_S)
            self.seen()
            module.lib.exchange_drain(
                transport.poll, transport.release, state, records, burst, drained
            )
            if drained.packets:
                found.append(drained.ns / drained.packets)
        return found

    def close(self) -> None:
        """End the exchange, close the transport, let go of the wire."""
        try:
            if self._is_open:
                self._is_open = False
                with inside(self._wire.engine.namespace):
                    self.transport.close()
        finally:
            self._stack.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def _order_in(packet: bytes) -> bytes:
    """What a packet, from its type on, carries; all of it where it is not unsequenced data."""
    layout = SOUPBINTCP["unsequenced_data"]
    whole = bytes(SOUPBINTCP.type_offset) + packet
    is_order = whole[SOUPBINTCP.type_offset : layout.length] == layout.type.encode()
    return payload_of(layout, whole) if is_order else packet
