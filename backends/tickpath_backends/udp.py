"""The udp transport: kernel sockets, polled without ever waiting.

There is one socket a group, bound to the group's own address, so that the kernel says which group a
datagram is of without being asked for each.  A and B lines are groups like any other.  What the
kernel drops because a receive buffer is full it counts per socket; the counter is read where it is
asked for (SO_MEMINFO), which, unlike SO_RXQ_OVFL, costs packets nothing and also knows of drops
after which nothing came any more.
"""

import fcntl
import socket
import struct
from typing import Any

from tickpath.backend import TransportError
from tickpath.config import Config, parse_group
from tickpath_backends import interface, multicast, native
from tickpath_backends.interface import Interface
from tickpath_backends.live import LiveTransport
from tickpath_backends.multicast import Group
from tickpath_backends.placement import Placement, Region

_SO_RCVBUFFORCE, _SO_BUSY_POLL, _SO_TIMESTAMPING, _SO_MEMINFO = 33, 46, 37, 55
_MEMINFO = struct.Struct("=9I")
_MEMINFO_RECEIVE_BUFFER, _MEMINFO_DROPS = 1, 8
_RX_HARDWARE, _RX_SOFTWARE, _SOFTWARE, _RAW_HARDWARE = 1 << 2, 1 << 3, 1 << 4, 1 << 6
_SET_CARD_TIMESTAMPS, _CARD_STAMPS_ALL = 0x89B0, 1
NO_STAMPS, KERNEL_STAMPS, CARD_STAMPS = 0, 1, 2
MOST_LOOKS = 3
"""Groups that are looked at one after the other; more than these and one epoll_wait is cheaper."""
LEAST_BUFFER, MOST_BUFFER = 2048, 16_384
"""Bytes of a packet's buffer: what the MTU needs within these bounds."""


class UdpTransport(LiveTransport):
    """Lends datagrams (`LINK_DATAGRAM`) of the configured groups."""

    NAME = "udp"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._groups: list[Group] = []
        self._sockets: list[tuple[Group, socket.socket]] = []
        self._orders: socket.socket | None = None
        self._interface: Interface | None = None
        self._placement = Placement(config.transport)
        self._region: Region | None = None
        self._stamps = NO_STAMPS
        self._buffer_bytes = 0

    @staticmethod
    def why_not() -> str | None:
        """It needs its native part, and nothing else."""
        return native.why_not("udp")

    def open(self) -> None:
        """Bind and join every group.  Raises `TransportError`."""
        if self.is_open:
            raise TransportError("udp: already open")
        module = native.load("udp")
        self._findings, self._counted, self._watch = [], {}, None
        try:
            self._open(module)
        except BaseException:
            self.close()
            raise

    def _open(self, module: Any) -> None:
        transport = self._config.transport
        self._groups = multicast.groups(self._config)
        self._interface = interface.find(transport.interface) if transport.interface else None
        if self._interface:
            self._watch = interface.Watch(self._interface)
        self._stamps = self._choose_stamps()
        for group in self._groups:
            self._sockets.append((group, _bound(group, self._interface)))
            self._tune(group, self._sockets[-1][1])
        if transport.orders_to is not None:
            self._orders = self._connected(transport.orders_to, transport.orders_from)
        self._placement.apply()
        self._buffer_bytes = _buffer_bytes(self._interface)
        self._region = self._placement.region(transport.buffers * self._buffer_bytes)
        entries = module.ffi.new("struct udp_group[]", len(self._sockets))
        for entry, (group, sock) in zip(entries, self._sockets, strict=True):
            entry.address, entry.port, entry.socket = group.address, group.port, sock.fileno()
        state = module.lib.udp_new(
            entries,
            len(entries),
            module.ffi.cast("uint8_t *", self._region.address),
            self._buffer_bytes,
            transport.buffers,
            self._stamps,
            len(entries) > MOST_LOOKS and not transport.udp.busy_poll_us,
            self._orders.fileno() if self._orders else -1,
        )
        if state == module.ffi.NULL:
            raise TransportError("udp: no memory")
        self._started(module, state)

    def _choose_stamps(self) -> int:
        """Whose timestamps can be had; less than was asked for is a finding."""
        asked = self._config.transport.udp.timestamps
        if asked != "hardware":
            return NO_STAMPS if asked == "none" else KERNEL_STAMPS
        reason = "transport.interface is not set"
        if self._interface:
            reason = _switch_on_card_stamps(self._interface.name)
        if not reason:
            return CARD_STAMPS
        self._findings.append(f"udp: no hardware timestamps ({reason}): the kernel's are taken")
        return KERNEL_STAMPS

    def _tune(self, group: Group, sock: socket.socket) -> None:
        """Buffer, timestamps and busy polling of a group's socket."""
        udp = self._config.transport.udp
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, udp.receive_buffer)
        except OSError:  # not root: what net.core.rmem_max allows
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, udp.receive_buffer)
        # The kernel keeps twice what it is asked for, for its own records of each packet.
        given = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
        if given < udp.receive_buffer:
            self._findings.append(
                f"udp: {group}: receive buffer of {given} bytes instead of {udp.receive_buffer}; "
                f"run: sudo sysctl net.core.rmem_max={udp.receive_buffer}"
            )
        if self._stamps:
            flags = _RX_SOFTWARE | _SOFTWARE
            if self._stamps == CARD_STAMPS:
                flags |= _RX_HARDWARE | _RAW_HARDWARE
            sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPING, flags)
        if udp.busy_poll_us:
            try:
                sock.setsockopt(socket.SOL_SOCKET, _SO_BUSY_POLL, udp.busy_poll_us)
            except OSError as error:
                finding = f"udp: no busy polling in the driver: {error.strerror}"
                if finding not in self._findings:
                    self._findings.append(finding)

    def _connected(self, to: str, source: str | None) -> socket.socket:
        """The socket that orders leave by."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            if self._interface and Group(*parse_group(to)).is_multicast:
                member = struct.pack("=4s4si", bytes(4), bytes(4), self._interface.ifindex)
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, member)
            if source is not None:
                multicast.bind(sock, Group(*parse_group(source)), "transport.orders_from")
            host, _, port = to.rpartition(":")
            sock.connect((host, int(port)))
        except OSError as error:
            sock.close()
            reason = error.strerror or error
            raise TransportError(f"transport.orders_to: {to} cannot be reached: {reason}") from None
        except BaseException:
            sock.close()
            raise
        return sock

    def close(self) -> None:
        """Leave the groups and free everything; what was lent is gone."""
        if self._module is not None:
            module, state = self._module, self._state
            self._stopped()
            module.lib.udp_free(state)
        if self._watch:
            self._watch.close()
        for _, sock in self._sockets:
            sock.close()
        self._sockets.clear()
        if self._orders:
            self._orders.close()
        self._orders = None
        if self._region:
            self._region.close()
        self._region = None
        self._placement.undo()

    @property
    def counters(self) -> dict[str, int]:
        """By cause; ``kernel_drops``: a receive buffer was full."""
        found = super().counters
        if self.is_open:
            found["kernel_drops"] = sum(_memory(sock)[_MEMINFO_DROPS] for _, sock in self._sockets)
        return found

    @property
    def environment(self) -> dict[str, Any]:
        """For a result: sockets, buffers, timestamps, placement."""
        card = self._interface
        return {
            "transport": "udp",
            "interface": card.name if card else None,
            "driver": interface.driver(card.name) if card else None,
            "mtu": card.mtu if card else None,
            "numa_node": interface.numa_node(card.name) if card else None,
            "groups": [str(group) for group in self._groups],
            "receive_buffer_bytes": [
                _memory(sock)[_MEMINFO_RECEIVE_BUFFER] // 2 for _, sock in self._sockets
            ],
            "timestamps": ("none", "software", "hardware")[self._stamps],
            "busy_poll_us": self._config.transport.udp.busy_poll_us,
            "burst": self._config.transport.burst,
            "buffers": self._config.transport.buffers,
            "buffer_bytes": self._buffer_bytes,
            **self._placement.environment,
        }


def _bound(group: Group, card: Interface | None) -> socket.socket:
    """A socket that gets what is sent to a group, on an interface or on any.

    Raises `TransportError`.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if group.is_multicast:
            # Others may listen too: the kernel gives each its own copy.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        multicast.bind(sock, group, "feed.groups")
        if group.is_multicast:
            multicast.join(sock, group, card)
        elif card:
            name = card.name.encode()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
    except BaseException:
        sock.close()
        raise
    return sock


def _memory(sock: socket.socket) -> tuple[int, ...]:
    """The kernel's account of a socket's memory (``linux/sock_diag.h``)."""
    return _MEMINFO.unpack(sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))


def _buffer_bytes(card: Interface | None) -> int:
    needed = LEAST_BUFFER if card is None else max(LEAST_BUFFER, min(card.mtu, MOST_BUFFER))
    return 1 << (needed - 1).bit_length()


def _switch_on_card_stamps(name: str) -> str:
    """Why the card does not stamp what it receives; empty where it does from now on."""
    import ctypes

    wanted = (ctypes.c_int * 3)(0, 0, _CARD_STAMPS_ALL)  # flags, transmit, receive filter
    request = struct.pack("=16sQ", name.encode(), ctypes.addressof(wanted)) + bytes(16)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            fcntl.ioctl(sock, _SET_CARD_TIMESTAMPS, request)
        except OSError as error:
            return f"{name}: {error.strerror}"
    return "" if wanted[2] else f"{name}: it stamps no ordinary packets"
