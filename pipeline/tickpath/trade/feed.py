"""The market's sockets: MoldUDP64 datagrams as they come, and requests for those missed before.

Datagrams are received into a ring of buffers and lent to the engine from there, so that a burst is
one call.  At the start everything from the session's first message on is asked for, if there is
anybody to ask; what comes live meanwhile waits, and duplicates are the engine's to drop.
"""

import socket
import struct
from collections import Counter

import numpy as np

from tickpath.config import ConfigError
from tickpath.packet import LINK_DATAGRAM, PACKET
from tickpath.trade.config import split
from tickpath.wire.moldudp64 import MOLDUDP64

BURST = 256
BUFFER_BYTES = 65_536
RECEIVE_BUFFER = 1 << 24
_HEADER = MOLDUDP64["downstream_packet"]


class Feed:
    """The sockets of one line.  Raises `ConfigError` where they cannot be had."""

    def __init__(self, group: str, interface: str, requests: str | None) -> None:
        self.counters: Counter[str] = Counter()
        address, self.port = split(group)
        try:
            self.address = socket.inet_aton(address)
            self.socket = self._receiver(interface)
        except OSError as error:
            raise ConfigError(f"trade.feed: {group} over {interface}: {error}") from None
        self._group = int.from_bytes(self.address, "big")
        self._buffers = np.zeros((BURST, BUFFER_BYTES), np.uint8)
        self._packets = np.zeros(BURST, PACKET)
        self._packets["address"] = self._buffers.ctypes.data + BUFFER_BYTES * np.arange(BURST)
        self._packets["link"] = LINK_DATAGRAM
        self._packets["line"], self._packets["group"] = self.port, self._group
        self._views = [memoryview(row) for row in self._buffers]  # type: ignore[arg-type]
        self._requests: socket.socket | None = None
        if requests is not None:
            self._requests = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._requests.connect(split(requests))
            self._requests.setblocking(False)

    def _receiver(self, interface: str) -> socket.socket:
        receiving = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiving.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        receiving.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        receiving.setblocking(False)
        if self.address[0] >> 4 == 0b1110:
            receiving.bind((socket.inet_ntoa(self.address), self.port))
            member = struct.pack("4s4s", self.address, socket.inet_aton(interface))
            receiving.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        else:
            receiving.bind((socket.inet_ntoa(self.address), self.port))
        return receiving

    def sockets(self) -> list[socket.socket]:
        """What can become readable."""
        return [self.socket, *([self._requests] if self._requests else [])]

    def poll(self, source: socket.socket | None = None) -> np.ndarray:
        """Datagrams that have come, at most `BURST`, valid until the next call."""
        receiving, number = source or self.socket, 0
        while number < BURST:
            try:
                length = receiving.recv_into(self._views[number])
            except BlockingIOError:
                break
            except OSError:  # nobody answers requests there
                self.counters["receive_errors"] += 1
                break
            self._packets["length"][number] = self._packets["wire_length"][number] = length
            number += 1
        self.counters["packets"] += number
        return self._packets[:number]

    def datagram(self, packet: np.void) -> bytes:
        """A copy of a polled packet's bytes."""
        at = (int(packet["address"]) - self._buffers.ctypes.data) // BUFFER_BYTES
        return bytes(self._views[at][: int(packet["length"])])

    def lend(self, datagram: bytes) -> np.ndarray:
        """A datagram that was copied before, as if it came now; valid until the next call."""
        self._views[0][: len(datagram)] = datagram
        self._packets["length"][0] = self._packets["wire_length"][0] = len(datagram)
        return self._packets[:1]

    @property
    def requests(self) -> socket.socket | None:
        """Where answers to requests come."""
        return self._requests

    def request(self, session: str, first: int, number: int) -> None:
        """Ask for messages ``first`` and on; the answer comes like the feed, to another socket."""
        if self._requests is None:
            return
        packet = _HEADER.encode(session=session, sequence_number=first, message_count=number)
        try:
            self._requests.send(packet)
            self.counters["requests"] += 1
        except OSError:
            self.counters["requests_failed"] += 1

    def close(self) -> None:
        """Leave the group and close."""
        for each in self.sockets():
            each.close()


def header(datagram: bytes) -> tuple[str, int, int] | None:
    """(session, sequence number, message count) of a MoldUDP64 packet; None where it is none."""
    if len(datagram) < _HEADER.length:
        return None
    fields = _HEADER.decode(datagram)
    return fields["session"], fields["sequence_number"], fields["message_count"]
