"""The process that plays captures onto the exchange's end of a private wire.

``python -m tickpath_backends.play JOB`` is started by `tickpath_backends.player`, which shares a
page of counters with it and gives it the namespace to send in.  It reads the captures as the file
transport does, in the same order; what has no packets (daily files, text) it packs into MoldUDP64
or Sequenced Unit datagrams as `tickpath serve` does.  It ends with its parent, whatever becomes of
that one, and never waits for more than 50 ms without looking up.
"""

import ctypes
import itertools
import json
import mmap
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from tickpath.capture import CaptureError
from tickpath.config import parse_group
from tickpath.namespace import enter
from tickpath.packet import LINK_DATAGRAM, LINK_MESSAGES, LINK_PITCH, PACKET
from tickpath.recovery import moldudp64, sequenced_unit
from tickpath.recovery.datagram import Datagram
from tickpath.serve.source import MAX_BYTES, SESSION, _daily
from tickpath_backends import native
from tickpath_backends.file import FileTransport

PACKETS_PER_READ = 4096
SOURCE_PORT = 30_000
UNIT = 1
"""The unit of messages of PITCH that came in no packet."""
_ETH_P_NONE = 0
_SOL_PACKET, _PACKET_QDISC_BYPASS = 263, 20
"""Of linux/socket.h and linux/if_packet.h; not in Python's socket module."""
_PR_SET_PDEATHSIG = 1
_WAIT_S = 0.0005
_SHIFT = 20
DONE, SLICE, STOPPED, GAVE_UP = range(4)


class PlayError(RuntimeError):
    """Captures that cannot be played; one line."""


class Packer:
    """Runs of bare messages as datagrams, numbered from one run to the next."""

    def __init__(self, group: str) -> None:
        self._address, self._port = parse_group(group)
        self._next = {LINK_MESSAGES: 1, LINK_PITCH: 1}
        self._kept = np.zeros(0, np.uint8)

    def packets(self, link: int, run: bytes) -> np.ndarray:
        """The run's datagrams, valid until the next call."""
        session = moldudp64.session_name(SESSION)
        first = self._next[link]
        if link == LINK_MESSAGES:
            codec: Any = moldudp64
            found: Iterator[Datagram] = (
                each for each, _ in _daily("", run, moldudp64, session, first)
            )
        else:
            codec = sequenced_unit
            found = _units(run, first)
        datagrams = []
        for each in found:
            datagrams.append(codec.join(each.session, each.unit, each.sequence, each.messages))
            self._next[link] = each.behind
        self._kept = np.frombuffer(b"".join(datagrams), np.uint8)
        lengths = np.array([len(each) for each in datagrams], np.uint64)
        packets = np.zeros(len(datagrams), PACKET)
        packets["address"] = self._kept.ctypes.data + np.cumsum(lengths) - lengths
        packets["length"] = packets["wire_length"] = lengths
        packets["link"], packets["group"] = LINK_DATAGRAM, self._address
        packets["line"] = self._port
        return packets


def _units(run: bytes, first: int) -> Iterator[Datagram]:
    """Messages of PITCH as packets of `UNIT`."""
    waiting: list[bytes] = []
    size = at = 0
    while at < len(run) and run[at] >= sequenced_unit.SHORTEST:
        message = run[at : at + run[at]]
        at += len(message)
        if len(waiting) == sequenced_unit.MAX_MESSAGES or size + len(message) > MAX_BYTES:
            yield Datagram(b"", UNIT, first, waiting)
            first += len(waiting)
            waiting, size = [], 0
        waiting.append(message)
        size += len(message)
    if waiting:
        yield Datagram(b"", UNIT, first, waiting)


def batches(transport: FileTransport, group: str) -> Iterator[np.ndarray]:
    """Packets as they go onto the wire; each array is valid until the next one."""
    packer = Packer(group)
    while len(packets := transport.poll(PACKETS_PER_READ)) or not transport.is_finished:
        at = 0
        is_run = np.isin(packets["link"], (LINK_MESSAGES, LINK_PITCH))
        for n in np.flatnonzero(is_run).tolist():
            if at < n:
                yield packets[at:n]
            each = packets[n]
            run = ctypes.string_at(int(each["address"]), int(each["length"]))
            yield packer.packets(int(each["link"]), run)
            at = n + 1
        if at < len(packets):
            yield packets[at:]
        transport.release()


def frame_socket(interface: str) -> socket.socket:
    """Sends frames as they are, past the queue, and receives none."""
    try:
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, _ETH_P_NONE)
        sender.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
        sender.bind((interface, _ETH_P_NONE))
    except OSError as error:
        raise PlayError(f"{interface}: frames cannot be sent: {error.strerror}") from None
    return sender


def end_with_parent(parent: int) -> None:
    """Have this process killed when its parent is gone, and at once where it is gone already."""
    libc: Any = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was over before that was said
        os._exit(1)


class Player:
    """The C player of one job, over the shared page."""

    def __init__(self, job: dict[str, Any], shared: mmap.mmap, sender: socket.socket) -> None:
        module = native.load("wire")
        self.ffi, self.lib = module.ffi, module.lib
        # A view of the page without a reference count: the map outlives this object.
        address = np.frombuffer(shared, np.uint8).ctypes.data
        self.page = self.ffi.cast("struct wire_page *", address)
        self._groups = groups_of(module, job["groups"])
        self._player = player = self.ffi.new("struct wire_player *")
        player.page, player.groups, player.fd = self.page, self._groups, sender.fileno()
        player.mtu, player.window, player.in_order = job["mtu"], job["window"], job["in_order"]
        player.keeps_tags = job["keeps_tags"]
        player.write_off_ns = job["write_off_ns"]
        if job["pace"] is not None:
            player.paced, player.window = 1, 0
            player.pace_scale = round((1 << _SHIFT) / job["pace"])
        self.ffi.memmove(player.mac, bytes.fromhex(job["mac"].replace(":", "")), 6)
        self.ffi.memmove(player.own_mac, bytes.fromhex(job["own_mac"].replace(":", "")), 6)
        player.own_address = parse_group(f"{job['own_address']}:0")[0]
        player.port = SOURCE_PORT
        self._first = self.ffi.new("uint64_t *")

    def play(self, packets: np.ndarray) -> int:
        """Send them all; gives DONE, STOPPED or GAVE_UP.  Raises `PlayError`."""
        self._first[0] = 0
        records = self.ffi.cast("struct packet *", packets.ctypes.data)
        while True:
            code = self.lib.wire_play(self._player, records, self._first, len(packets))
            if code < 0:
                raise PlayError(f"the wire takes no frames: {os.strerror(-code)}")
            if code != SLICE:
                return int(code)

    def await_go(self) -> bool:
        """Wait for the receiver; False where it has enough before it began."""
        self.page.ready = 1
        while not self.page.go and not self.page.stop:
            time.sleep(_WAIT_S)
        return not self.page.stop


def groups_of(module: Any, groups: list[str]) -> Any:
    """A ``struct wire_groups`` of ADDRESS:PORT texts.  Raises `PlayError`."""
    table = module.ffi.new("struct wire_groups *")
    for each in groups:
        if module.lib.wire_add_group(table, *parse_group(each)):
            most = int(module.lib.WIRE_MOST_GROUPS)
            raise PlayError(f"more than {most} groups: name those that matter in feed.groups")
    return table


def run(job: dict[str, Any]) -> int:
    """Play a job to its end; gives a WIRE_ code."""
    shared = mmap.mmap(job["page"], 0)
    enter(job["namespace"])
    transport = FileTransport(job["sources"])
    with frame_socket(job["interface"]) as sender:
        player = Player(job, shared, sender)
        page = player.page
        transport.open()
        try:
            found = batches(transport, job["group"])
            # Reading compiles at first: that is over before the receiver's clock starts.
            first = next(found, None)
            if not player.await_go():
                return STOPPED
            for packets in itertools.chain(() if first is None else (first,), found):
                page.position, page.total = transport.position
                code = player.play(packets)
                if code != DONE:
                    return code
            page.position, page.total = transport.position
            page.finished = 1
        finally:
            transport.close()
    return DONE


def main() -> int:
    """Run the job of the command line; what fails is one line on stderr."""
    job = json.loads(sys.argv[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    end_with_parent(job["parent"])
    if job["cpus"]:
        os.sched_setaffinity(0, job["cpus"])
    try:
        code = run(job)
    except (PlayError, CaptureError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    if code == GAVE_UP:
        print("the receiver took nothing for too long, again and again", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
