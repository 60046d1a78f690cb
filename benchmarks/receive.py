"""Bare receiving, by every way there is here: what a packet costs, and when it is there.

    python benchmarks/receive.py [METHOD ...] [--packets N] [--out FILE.json]

Numbered datagrams of 200 bytes cross a private veth pair; no engine takes them.  One-way latency is
from before the sender's system call to the packet being in the receiver's hands, at 20,000 packets
a second; the flood is as fast as the sender can; draining is what reading packets that wait already
costs, a clock reading each included.  Sender and receiver have a core each.  ``baseline`` in the
result is the table that an earlier prototype measured on the reference machine.
"""

import argparse
import os
import socket
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tickpath import latency
from tickpath.backend import RUN, BackendError, available
from tickpath.bench.result import write_result
from tickpath.bench.wire_plan import even
from tickpath.capture import create_capture
from tickpath.clock import calibrate, jitter
from tickpath.config import Afxdp, Config, Dpdk, Transport
from tickpath.environment import environment
from tickpath.latency import HISTOGRAM
from tickpath.wire.frame import ETHER_TYPE_IPV4, FRAME, IP_PROTOCOL_UDP
from tickpath_backends import native, veth
from tickpath_backends.exchange import ExchangeWire
from tickpath_backends.exchange_process import FRAME_BYTES, FRAMES

OUT = Path(__file__).parent / "results" / "receive.json"
SCHEMA = "tickpath.receive/1"
ADDRESS, PORT = "239.255.77.2", 26_500
PAYLOAD, RATE = 200, 20_000.0
FLOOD, DRAIN, DRAINS = 100_000, 400, 10
IDLE_NS, WAIT_S = 50_000_000, 0.02
RECEIVE_BUFFER, _SO_RCVBUFFORCE = 1 << 26, 33
NUMBER = struct.Struct(">Q")
NANO = 1_000_000_000

COLUMNS = ("p50_us", "p99_us", "p99_9_us", "flood_per_s", "drain_ns")
_TABLE: dict[str, tuple[float | None, ...]] = {
    "python blocking recv_into": (33.6, 56.7, 854, 937e3, None),
    "python busy recv_into": (2.32, 5.8, 100, 905e3, 1608),
    "C blocking recv": (31.1, 51, 678, 1.04e6, 635),
    "C busy recv": (1.73, 2.5, 13, 1.15e6, 753),
    "C busy recvmmsg": (2.04, 3.2, 27, 978e3, 782),
    "AF_PACKET TPACKET_V2": (1.52, 2.6, 15, 871e3, 231),
    "afxdp native": (1.42, 2.7, 17, 1.32e6, 133),
    "afxdp generic": (1.24, 2.7, 16, 1.49e6, 147),
    "dpdk net_af_xdp": (1.32, 2.6, 7.7, 1.40e6, 202),
    "dpdk net_af_packet": (1.33, 3.6, 15, 858e3, 266),
}
BASELINE = {
    "machine": "AMD EPYC, 2 cores, a virtual machine; Linux 6.18, Debian 12; 2026-11-21",
    "method": "best of 2 to 4 runs by a prototype's C sender and receivers, nice -20; draining by "
    "1,600 to 3,000 packets that wait; the flood's best rate without loss, by either sender",
    "rows": {name: dict(zip(COLUMNS, row, strict=True)) for name, row in _TABLE.items()},
}


class Method:
    """A way of receiving, as `ExchangeWire` opens a transport: in the receiver's namespace."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def open(self) -> None:
        """Take hold of its resources."""

    def close(self) -> None:
        """Let go of them."""

    def run(self, receive: Any) -> None:
        """Fill a ``struct receive``."""


class Socket(Method):
    """A UDP socket of the group."""

    waits = False

    def open(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
        self.socket.bind((ADDRESS, PORT))
        member = socket.inet_aton(ADDRESS) + socket.inet_aton(veth.ENGINE_ADDRESS)
        self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        if self.waits:
            self.socket.settimeout(WAIT_S)
            # By the kernel's timer: Python's would add a poll() before each call.
            self.socket.setblocking(True)
            timeout = struct.pack("ll", 0, int(WAIT_S * 1e6))
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        else:
            self.socket.setblocking(False)

    def close(self) -> None:
        self.socket.close()


class PythonSocket(Socket):
    """recv_into in Python."""

    def run(self, receive: Any) -> None:
        buffer = bytearray(2048)
        receive_into, now_ns = self.socket.recv_into, time.monotonic_ns
        quiet_since = 0
        arrived = receive.arrived_ns
        while receive.received < receive.number:
            begun = now_ns()
            try:
                receive_into(buffer)
            except BlockingIOError:
                if receive.finished[0]:
                    quiet_since = quiet_since or begun
                    if begun - quiet_since > receive.idle_ns:
                        return
                continue
            number = NUMBER.unpack_from(buffer)[0]
            arrived[number] = receive.ended_ns = now_ns()
            receive.received += 1
            receive.begun_ns = receive.begun_ns or begun
            quiet_since = 0


class PythonWaitingSocket(PythonSocket):
    """The same, asleep until something comes."""

    waits = True


class CSocket(Socket):
    """recv in C."""

    each = 1

    def run(self, receive: Any) -> None:
        native.load("receive").lib.receive_socket(receive, self.socket.fileno(), self.each)


class CWaitingSocket(CSocket):
    """The same, asleep until something comes."""

    waits = True


class CManySocket(CSocket):
    """recvmmsg in C."""

    each = 64


def _run_polled(receive: Any, poll: int, release: int, transport: Any, burst: int) -> None:
    module = native.load("receive")
    of = module.ffi.cast("void *", transport)
    module.lib.receive_polled(receive, poll, release, of, burst)


class Ring(Method):
    """AF_PACKET with a ring of TPACKET_V2."""

    def open(self) -> None:
        self.module = module = native.load("exchange")
        self.ring = module.ffi.new("struct ring *")
        name = self.config.transport.interface
        assert name is not None
        failed = module.lib.ring_open(self.ring, socket.if_nametoindex(name), FRAMES, FRAME_BYTES)
        if failed:
            raise BackendError(f"{name}: no ring: {os.strerror(-failed)}")

    def run(self, receive: Any) -> None:
        poll, release = (
            native.address(self.module, f"ring_{each}") for each in ("poll", "release")
        )
        ring = int(self.module.ffi.cast("uintptr_t", self.ring))
        _run_polled(receive, poll, release, ring, 64)

    def close(self) -> None:
        self.module.lib.ring_close(self.ring)


class OfTransport(Method):
    """One of our transports, polled as the engine's loop polls it."""

    name = ""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.transport = available("transports")[self.name].load()(config)

    def open(self) -> None:
        self.transport.open()

    def close(self) -> None:
        self.transport.close()

    def run(self, receive: Any) -> None:
        its = self.transport.native
        burst = self.config.transport.burst
        _run_polled(receive, its.poll, its.release, its.transport, burst)


def of_transport(name: str) -> type[OfTransport]:
    """The method of a transport."""
    return type(name, (OfTransport,), {"name": name})


_XDP, _PACKET = (
    f"--vdev=net_{each}" for each in ("af_xdp0,iface=any,busy_budget=0", "af_packet0,iface=any")
)
METHODS: dict[str, tuple[Callable[[Config], Method], Transport]] = {
    "python blocking recv_into": (PythonWaitingSocket, Transport()),
    "python busy recv_into": (PythonSocket, Transport()),
    "C blocking recv": (CWaitingSocket, Transport()),
    "C busy recv": (CSocket, Transport()),
    "C busy recvmmsg": (CManySocket, Transport()),
    "AF_PACKET TPACKET_V2": (Ring, Transport()),
    "udp": (of_transport("udp"), Transport()),
    "afxdp native": (of_transport("afxdp"), Transport(afxdp=Afxdp(mode="native"))),
    "afxdp generic": (of_transport("afxdp"), Transport(afxdp=Afxdp(mode="generic"))),
    "dpdk net_af_packet": (of_transport("dpdk"), Transport(dpdk=Dpdk(eal=[_PACKET]))),
    "dpdk net_af_xdp": (of_transport("dpdk"), Transport(dpdk=Dpdk(eal=[_XDP]))),
}


def why_not(name: str) -> str | None:
    """Why a method cannot run here."""
    parts = ["receive", "exchange"]
    chosen = METHODS[name][0]
    if isinstance(chosen, type) and issubclass(chosen, OfTransport):
        if chosen.name not in available("transports"):
            return f"there is no transport {chosen.name}{RUN}pip install -e ."
        parts.append(chosen.name)
    return next(filter(None, map(native.why_not, parts)), None) or veth.why_not()


def write_packets(path: Path, number: int) -> None:
    """A capture of numbered datagrams."""
    to = int.from_bytes(socket.inet_aton(ADDRESS), "big")
    length = FRAME["udp"].length + PAYLOAD
    mac = b"\x01\x00\x5e" + (to & 0x7FFFFF).to_bytes(3, "big")
    ethernet = FRAME["ethernet"].encode(
        destination=mac, source=bytes.fromhex(veth.EXCHANGE_MAC.replace(":", "")),
        ether_type=ETHER_TYPE_IPV4,
    )  # fmt: skip
    plain: dict[str, Any] = {
        "version_ihl": 0x45,
        "total_length": FRAME["ipv4"].length + length,
        "time_to_live": 1,
        "protocol": IP_PROTOCOL_UDP,
        "source_address": int.from_bytes(socket.inet_aton(veth.EXCHANGE_ADDRESS), "big"),
        "destination_address": to,
        **dict.fromkeys(("type_of_service", "identification", "flags_fragment_offset"), 0),
    }
    header = FRAME["ipv4"].encode(header_checksum=0, **plain)
    total = sum(struct.unpack(f">{len(header) // 2}H", header))
    header = FRAME["ipv4"].encode(header_checksum=~(total % 0xFFFF) & 0xFFFF, **plain)
    udp = FRAME["udp"].encode(source_port=PORT, destination_port=PORT, length=length, checksum=0)
    front, rest = ethernet + header + udp, bytes(PAYLOAD - NUMBER.size)
    with create_capture(path) as writer:
        for n in range(number):
            writer.write_bytes(front + NUMBER.pack(n) + rest, n)


class Receiver:
    """A ``struct receive`` and the array behind it."""

    def __init__(self, wire: ExchangeWire, number: int) -> None:
        module = native.load("receive")
        self.arrived_ns = np.zeros(number, np.uint64)
        self.arrived_ns[:] = 0  # touched, so that no page fault is in the measurement
        self.of = module.ffi.new("struct receive *")
        self.of.arrived_ns = module.ffi.cast("uint64_t *", self.arrived_ns.ctypes.data)
        self.of.number, self.of.idle_ns = number, IDLE_NS
        self.of.finished = module.ffi.cast("uint64_t *", wire.finished_address)

    @property
    def ns_per_packet(self) -> float:
        """Time between the first call that gave a packet and the last packet, a packet."""
        return (self.of.ended_ns - self.of.begun_ns) / max(int(self.of.received), 1)


def _played(wire: ExchangeWire, due_ns: np.ndarray, waits: bool) -> tuple[Receiver, Any]:
    """One run; ``waits``: all packets are there before the first is read."""
    receiver = Receiver(wire, len(due_ns))
    wire.prepare(due_ns, linger_ns=1_000_000)
    wire.start()
    while waits and not wire.is_finished:
        time.sleep(0.001)
    wire.transport.run(receiver.of)
    return receiver, wire.seen()


def measure(name: str, capture: Path, packets: int, core: int) -> dict[str, Any]:
    """One method: latency, flood, draining."""
    method, transport = METHODS[name]
    config = Config(transport=_sending(transport))
    with ExchangeWire(method, capture, config, [f"{ADDRESS}:{PORT}"], core) as wire:
        receiver, seen = _played(wire, even(RATE, packets), False)
        came = receiver.arrived_ns > 0
        took = np.maximum(receiver.arrived_ns[came].astype(np.int64) - seen.sent_ns[came], 0)
        histogram = np.zeros(1, HISTOGRAM)
        latency.record_values(np.uint64(histogram.ctypes.data), took.astype(np.uint64))
        flood, flooded = _played(wire, np.zeros(min(FLOOD, packets * 5), np.uint64), False)
        drained = [_played(wire, np.zeros(DRAIN, np.uint64), True)[0] for _ in range(DRAINS)]
        sent = flooded.sent_ns[flooded.sent_ns > 0]
        return {
            "method": name,
            "one_way_ns": latency.summary(histogram[0]),
            "lost": int(np.count_nonzero(~came)),
            "flood": {
                "sent": len(sent),
                "sent_per_s": round((len(sent) - 1) * NANO / max(int(sent[-1] - sent[0]), 1)),
                "received": int(flood.of.received),
                "received_per_s": round(NANO / flood.ns_per_packet) if flood.of.received else 0,
            },
            "drain_ns": round(statistics.median(each.ns_per_packet for each in drained), 1),
            "drain_ns_runs": [round(each.ns_per_packet, 1) for each in drained],
            "baseline": BASELINE["rows"].get(name),  # type: ignore[attr-defined]
        }


def _sending(transport: Transport) -> Transport:
    """`ExchangeWire` is told where orders go; none are sent here."""
    return msgspec.structs.replace(transport, orders_to=f"{veth.NOBODYS_ADDRESS}:31000")


def run(names: list[str], packets: int) -> dict[str, Any]:
    """Measure methods; gives the ``tickpath.receive/1`` object."""
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        raise BackendError("two cores are needed, one of them for the sender")
    sender, mine = sorted(allowed)[:2]
    os.sched_setaffinity(0, {mine})
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    clock = calibrate()
    before, rows, skipped = jitter(200.0, clock), [], {}
    with tempfile.TemporaryDirectory(prefix="tickpath-") as folder:
        capture = Path(folder, "numbered.pcap")
        write_packets(capture, max(packets, min(FLOOD, packets * 5)))
        for name in names:
            if reason := why_not(name):
                skipped[name] = reason
                continue
            print(f"{name} ...", file=sys.stderr)
            rows.append(measure(name, capture, packets, sender))
    return {
        "schema": SCHEMA,
        "packets": packets,
        "payload_bytes": PAYLOAD,
        "rate": RATE,
        "rows": rows,
        "skipped": skipped,
        "baseline": BASELINE,
        "cores": {"sender": sender, "receiver": mine},
        "jitter": {"before": before, "after": jitter(200.0, clock)},
        "environment": environment(clock),
    }


def show(result: dict[str, Any]) -> None:
    """Print the rows beside their baseline."""
    print(f"{'':28}{'p50 us':>10}{'p99':>10}{'p99.9':>10}{'flood/s':>12}{'drain ns':>10}  lost")
    for row in result["rows"]:
        took = row["one_way_ns"]
        figures = [f"{(took[each] or 0) / 1000:10.2f}" for each in ("p50", "p99", "p99_9")]
        flood = row["flood"]
        print(
            f"{row['method']:28}{''.join(figures)}{flood['received_per_s']:12,}"
            f"{row['drain_ns']:10.0f}  {row['lost']:,}, flood {flood['sent'] - flood['received']:,}"
        )
        if was := row["baseline"]:
            shown = "".join(f"{was[each]:10.2f}" for each in COLUMNS[:3])
            drain = f"{was['drain_ns']:10.0f}" if was["drain_ns"] else ""
            print(f"{'  baseline':28}{shown}{was['flood_per_s']:12,.0f}{drain}")
    for name, reason in result["skipped"].items():
        print(f"left out: {name}, {reason}")


def main() -> int:
    """Measure, print, write; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=", ".join(METHODS))
    parser.add_argument("--packets", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    if unknown := set(chosen.methods) - set(METHODS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    try:
        result = run(chosen.methods or list(METHODS), chosen.packets)
    except BackendError as error:
        print(f"receive.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("receive.py: interrupted", file=sys.stderr)
        return 130
    write_result(chosen.out, result)
    show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
