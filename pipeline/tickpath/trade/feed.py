"""The market's sockets: MoldUDP64 datagrams as they come, and requests for those that are missing.

Datagrams are received into a ring of buffers and lent to the engine from there, so that a burst is
one call.  Which of them it is given, and when, is `catch_up`'s to say.
"""

import socket
import struct
from collections import Counter
from typing import NamedTuple

import numpy as np

from tickpath.config import ConfigError
from tickpath.packet import LINK_DATAGRAM, PACKET
from tickpath.session.tcp_stream import resolve
from tickpath.trade.config import split
from tickpath.wire.moldudp64 import HEARTBEAT, MOLDUDP64

BURST = 256
BUFFER_BYTES = 65_536
RECEIVE_BUFFER = 1 << 24
MULTICAST = 0b1110
"""The first four bits of a multicast address."""
_HEADER = MOLDUDP64["downstream_packet"]
_REQUEST = MOLDUDP64["request_packet"]
_CODES = {"u16": "H", "u64": "Q"}
_FIELDS = struct.Struct(">" + "".join(_CODES.get(f.kind, f"{f.size}s") for f in _HEADER.fields))

assert _FIELDS.size == _HEADER.length


class Header(NamedTuple):
    """What a MoldUDP64 packet begins with; the session as it is on the wire."""

    session: bytes
    sequence_number: int
    message_count: int


def header(datagram: bytes | memoryview) -> Header | None:
    """A packet's header; None where it is too short to have one."""
    if len(datagram) < _HEADER.length:
        return None
    return Header._make(_FIELDS.unpack_from(datagram))


class Feed:
    """The sockets of one line.  Raises `ConfigError` where they cannot be had."""

    def __init__(self, group: str, interface: str, requests: str | None) -> None:
        self.counters: Counter[str] = Counter()
        address, port = split(group)
        self._buffers = np.zeros((BURST, BUFFER_BYTES), np.uint8)
        self._views = [memoryview(row) for row in self._buffers]  # type: ignore[arg-type]
        self._packets = np.zeros(BURST, PACKET)
        self._packets["address"] = self._buffers.ctypes.data + BUFFER_BYTES * np.arange(BURST)
        self._packets["link"] = LINK_DATAGRAM
        self._packets["line"] = port
        self._packets["group"] = int.from_bytes(socket.inet_aton(address), "big")
        self._lengths = [0] * BURST
        try:
            self.live = _receiver(socket.inet_aton(address), port, socket.inet_aton(interface))
        except OSError as error:
            why = error.strerror or error
            raise ConfigError(f"trade.feed: {group} over {interface}: {why}") from None
        self.requests: socket.socket | None = None
        if requests is not None:
            self.requests = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.requests.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            self.requests.connect(resolve(*split(requests)))
            self.requests.setblocking(False)

    def sockets(self) -> list[socket.socket]:
        """What can become readable."""
        return [self.live] if self.requests is None else [self.live, self.requests]

    def poll(self, source: socket.socket) -> int:
        """Receive datagrams that have come, at most `BURST`; gives how many."""
        number = 0
        while number < BURST:
            try:
                self._lengths[number] = source.recv_into(self._views[number])
            except BlockingIOError:
                break
            except OSError:  # nobody answers requests there
                self.counters["receive_errors"] += 1
                break
            number += 1
        self.counters["packets"] += number
        return number

    def datagram(self, number: int) -> memoryview:
        """A datagram of the last poll, until the next one."""
        return self._views[number][: self._lengths[number]]

    def lend(self, first: int, end: int) -> np.ndarray:
        """Datagrams of the last poll for the engine, valid until the next poll."""
        packets = self._packets[first:end]
        packets["length"] = packets["wire_length"] = self._lengths[first:end]
        return packets

    def lend_again(self, datagrams: list[bytes]) -> np.ndarray:
        """Datagrams that were kept, at most `BURST`, as if they came now."""
        for number, datagram in enumerate(datagrams):
            self._views[number][: len(datagram)] = datagram
            self._lengths[number] = len(datagram)
        return self.lend(0, len(datagrams))

    def heartbeat(self, session: bytes, sequence_number: int) -> np.ndarray:
        """A heartbeat of our own, for the engine, as if it came to the group."""
        packet = _FIELDS.pack(session, sequence_number, HEARTBEAT)
        self._heartbeat = np.frombuffer(packet, np.uint8)  # as long as it is lent
        lent = self._packets[:1].copy()
        lent["address"] = self._heartbeat.ctypes.data
        lent["length"] = lent["wire_length"] = len(packet)
        return lent

    def request(self, session: bytes, first: int, number: int) -> None:
        """Ask for messages ``first`` and on; the answer comes to `requests`."""
        if self.requests is None:
            return
        packet = _REQUEST.encode(
            session=session.decode("latin-1"),
            sequence_number=first,
            requested_message_count=number,
        )
        try:
            self.requests.send(packet)
            self.counters["requests"] += 1
        except OSError:
            self.counters["requests_failed"] += 1

    def close(self) -> None:
        """Leave the group and close."""
        for each in self.sockets():
            each.close()


def _receiver(address: bytes, port: int, interface: bytes) -> socket.socket:
    """A socket that the group's datagrams come to; raises `OSError`."""
    receiving = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        receiving.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        receiving.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        receiving.setblocking(False)
        receiving.bind((socket.inet_ntoa(address), port))
        if address[0] >> 4 == MULTICAST:
            member = struct.pack("4s4s", address, interface)
            receiving.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
    except OSError:
        receiving.close()
        raise
    return receiving
