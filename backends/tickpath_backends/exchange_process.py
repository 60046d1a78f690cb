"""The process on the exchange's side of a wire-to-wire measurement.

``python -m tickpath_backends.exchange_process JOB`` is started by `tickpath_backends.exchange`.  It
reads a capture into memory once; then, for each line on its input, it plays packets by a plan
(`native/exchange.h`), takes orders, and writes what it saw to a file.  Sending and receiving are
one C loop on one core; Python is not in it.  Where orders come by TCP, a connection waits already
on the listener that the job names; it is accepted before the first packet.
"""

import ctypes
import gc
import json
import mmap
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import Any

import numpy as np

from tickpath.capture import CaptureError
from tickpath.namespace import enter
from tickpath.packet import PACKET
from tickpath.wire.frame import FRAME
from tickpath.wire.table import Message
from tickpath_backends import native
from tickpath_backends.file import FileTransport
from tickpath_backends.play import PlayError, end_with_parent, frame_socket

FIRST = -20
"""Scheduling priority: before all others on its core."""
FRAMES, FRAME_BYTES = 8192, 2048
"""The ring that orders arrive in."""
ORDERS, ORDER_BYTES = 1 << 20, 1 << 28
"""What there is room for in one run."""
TOUCHED = 1 << 25
ACCEPT_S = 5.0
ORDER = np.dtype([("arrived_ns", "<u8"), ("offset", "<u8"), ("length", "<u8")])


def held(path: str) -> tuple[np.ndarray, np.ndarray]:
    """A capture's packets in memory that is touched already, and their bytes."""
    transport = FileTransport([path])
    transport.open()
    parts: list[bytes] = []
    lengths: list[np.ndarray] = []
    try:
        while len(batch := transport.poll(4096)) or not transport.is_finished:
            rows = zip(batch["address"].tolist(), batch["length"].tolist(), strict=True)
            parts += [ctypes.string_at(address, length) for address, length in rows]
            lengths.append(batch["length"].astype(np.uint64))
            transport.release()
    finally:
        transport.close()
    raw = np.frombuffer(bytearray(b"".join(parts)), np.uint8)
    size = np.concatenate(lengths) if lengths else np.zeros(0, np.uint64)
    packets = np.zeros(len(size), PACKET)
    packets["address"] = raw.ctypes.data + np.cumsum(size) - size
    packets["length"] = packets["wire_length"] = size
    return packets, raw


def send_from(raw: np.ndarray, packets: np.ndarray, address: str) -> None:
    """Have packets (IPv4 behind an Ethernet header) come from ``address``, in place.

    Their UDP checksum is then none, which is allowed.
    """
    ip, udp = FRAME["ipv4"], FRAME["udp"]
    at = (packets["address"] - np.uint64(raw.ctypes.data)).astype(np.int64)
    at = (at + FRAME["ethernet"].length)[:, None]
    headers = raw[at + np.arange(ip.length)]

    def place(message: Message, name: str) -> slice:
        field = next(each for each in message.fields if each.name == name)
        return slice(field.offset, field.offset + field.size)

    headers[:, place(ip, "source_address")] = list(socket.inet_aton(address))
    headers[:, place(ip, "header_checksum")] = 0
    total = headers.view(">u2").astype(np.uint32).sum(axis=1)
    for _ in range(2):
        total = (total & 0xFFFF) + (total >> 16)
    headers[:, place(ip, "header_checksum")] = (~total).astype(">u2")[:, None].view(np.uint8)
    raw[at + np.arange(ip.length)] = headers
    of_udp = place(udp, "checksum")
    raw[at + ip.length + np.arange(of_udp.start, of_udp.stop)] = 0


class Exchange:
    """The C loop, its ring and its room for orders."""

    def __init__(self, job: dict[str, Any], shared: mmap.mmap, sender: socket.socket) -> None:
        module = native.load("exchange")
        self.ffi, self.lib = module.ffi, module.lib
        address = np.frombuffer(shared, np.uint8).ctypes.data
        self.page = self.ffi.cast("struct exchange_page *", address)
        self.packets, self._raw = held(job["capture"])
        if job["source"] is not None:
            send_from(self._raw, self.packets, job["source"])
        self._orders, self._bytes = np.zeros(ORDERS, ORDER), np.zeros(ORDER_BYTES, np.uint8)
        # Touched, so that no page fault is in the measurement of the first orders.
        self._orders["length"], self._bytes[:TOUCHED] = 1, 0
        self._x = x = self.ffi.new("struct exchange *")
        x.page, x.fd = self.page, sender.fileno()
        x.packets = self.ffi.cast("struct packet *", self.packets.ctypes.data)
        x.orders = self.ffi.cast("struct exchange_order *", self._orders.ctypes.data)
        x.bytes = self.ffi.cast("uint8_t *", self._bytes.ctypes.data)
        x.orders_room, x.bytes_room = ORDERS, ORDER_BYTES
        x.order_port, x.stream = job["order_port"], -1
        self._stream: socket.socket | None = None
        self._listener = job["listener"]
        if self._listener is None:
            self._open_ring(job)

    def _open_ring(self, job: dict[str, Any]) -> None:
        """The frames that orders are seen in: only for datagrams, as each frame costs a copy."""
        x = self._x
        index = socket.if_nametoindex(job["interface"])
        failed = self.lib.ring_open(self.ffi.addressof(x, "ring"), index, FRAMES, FRAME_BYTES)
        if failed:
            raise PlayError(f"{job['interface']}: no ring for orders: {os.strerror(-failed)}")

    def _accept(self) -> None:
        """The one connection that orders come by.  Raises `PlayError`."""
        with socket.socket(fileno=self._listener) as listener:
            listener.settimeout(ACCEPT_S)
            try:
                self._stream, _ = listener.accept()
            except OSError as error:
                reason = error.strerror or str(error)
                raise PlayError(f"no connection for orders: {reason}") from None
        self._stream.setblocking(False)
        self._x.stream, self._listener = self._stream.fileno(), None

    def run(self, job: dict[str, Any]) -> None:
        """Play by a plan and write what was seen.  Raises `PlayError`."""
        due_ns = np.load(job["due"]).astype(np.uint64)
        if len(due_ns) > len(self.packets):
            raise PlayError(f"a plan for {len(due_ns)} packets, of which {len(self.packets)} exist")
        if self._listener is not None:
            self._accept()
        sent_ns = np.zeros(len(due_ns), np.uint64)
        sent_ns[:] = 0  # touched: no page fault is in the measurement
        x = self._x
        x.due_ns = self.ffi.cast("uint64_t *", due_ns.ctypes.data)
        x.sent_ns = self.ffi.cast("uint64_t *", sent_ns.ctypes.data)
        x.number, x.linger_ns = len(due_ns), job["linger_ns"]
        x.refused = x.overflowed = x.calls = 0
        self.page.sent = self.page.orders = self.page.finished = 0
        self._dropped()
        gc.disable()
        failed = self.lib.exchange_run(x)
        gc.enable()
        if failed:
            raise PlayError(f"the exchange cannot go on: {os.strerror(-failed)}")
        number = int(self.page.orders)
        np.savez(
            job["out"],
            sent_ns=sent_ns,
            orders=self._orders[:number],
            bytes=self._bytes[: int(x.bytes_used)],
            counts=np.array([x.refused, x.overflowed, x.calls, self._dropped()], np.uint64),
        )

    def _dropped(self) -> int:
        """Frames that found no room in the ring since the last call; a stream loses nothing."""
        if self._x.stream >= 0:
            return 0
        seen, dropped = self.ffi.new("uint64_t *"), self.ffi.new("uint64_t *")
        self.lib.ring_counters(self.ffi.addressof(self._x, "ring"), seen, dropped)
        return int(dropped[0])


def main() -> int:
    """Run the jobs that come in, one a line; what fails is one line on stderr."""
    job = json.loads(sys.argv[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    end_with_parent(job["parent"])
    os.sched_setaffinity(0, {job["core"]})
    with suppress(OSError):  # who may not be is not first, and the tails say so
        os.setpriority(os.PRIO_PROCESS, 0, FIRST)
    try:
        shared = mmap.mmap(job["page"], 0)
        enter(job["namespace"])
        with frame_socket(job["interface"]) as sender:
            exchange = Exchange(job, shared, sender)
            print(json.dumps({"packets": len(exchange.packets)}), flush=True)
            for line in sys.stdin:
                exchange.run(json.loads(line))
                print("{}", flush=True)
    except (PlayError, CaptureError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
