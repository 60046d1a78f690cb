"""A network interface: what it is, and what happens to it while packets come from it.

`find` says what the kernel knows of one.  `Watch` hears, from the moment it is made, of changes
that cost packets: down and up, another MTU, deletion.  They are told by the kernel in order and
kept by it until read, so none is missed between two looks, unless so many come that it says itself
that some were lost.
"""

import contextlib
import errno
import fcntl
import socket
import struct
from pathlib import Path
from typing import NamedTuple

from tickpath.backend import TransportError
from tickpath_backends import netlink

_NEW_LINK, _DELETED_LINK, _GET_LINK = 16, 17, 18
_LINK_GROUP = 1
_INFO = struct.Struct("=BxHiII")  # family, hardware type, index, flags, change
_ADDRESS, _NAME, _MTU, _LINK_INFO, _RECEIVE_QUEUES, _XDP = 1, 3, 4, 18, 32, 43
_INFO_KIND = 1
_XDP_ATTACHED, _XDP_PROGRAM = 2, 4
_UP, _LOOPBACK, _CARRIER = 0x1, 0x8, 0x10000
_ETHTOOL, _DRIVER_INFO, _CHANNELS = 0x8946, 3, 0x3C
_DRIVER_INFO_BYTES = 196
_CHANNEL_COUNTS = struct.Struct("=9I")  # command, 4 maxima, then: receive, transmit, other, both
_MOST_CHANGES = 64
XDP_MODES = {0: None, 1: "native", 2: "generic", 3: "hardware", 4: "several"}


class Interface(NamedTuple):
    """An interface as the kernel describes it."""

    name: str
    ifindex: int
    mtu: int
    mac: bytes
    is_up: bool
    has_carrier: bool
    is_loopback: bool
    receive_queues: int
    kind: str | None
    """``veth``, ``bridge`` and so on; None: hardware."""
    xdp_mode: str | None
    """How an XDP program is attached to it; None: there is none."""
    xdp_program: int


def find(name: str) -> Interface:
    """The interface of a name.  Raises `TransportError`."""
    body = _INFO.pack(0, 0, 0, 0, 0) + netlink.pack(_NAME, name.encode() + b"\0")
    try:
        return _interface(netlink.ask(_GET_LINK, body))
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.ERANGE, errno.EINVAL):
            names = ", ".join(each for _, each in socket.if_nameindex())
            reason = f"there is no interface {name!r}; here are: {names}"
        else:
            reason = f"interface {name!r}: {error.strerror or error}"
        raise TransportError(f"transport.interface: {reason}") from None


def _interface(body: bytes) -> Interface:
    _, _, index, flags, _ = _INFO.unpack_from(body)
    found = netlink.unpack(body[_INFO.size :])
    xdp = netlink.unpack(found.get(_XDP, b""))
    kind = netlink.unpack(found.get(_LINK_INFO, b"")).get(_INFO_KIND)
    return Interface(
        name=_text(found.get(_NAME, b"")),
        ifindex=index,
        mtu=_number(found.get(_MTU, b"")),
        mac=found.get(_ADDRESS, b""),
        is_up=bool(flags & _UP),
        has_carrier=bool(flags & _CARRIER),
        is_loopback=bool(flags & _LOOPBACK),
        receive_queues=_number(found.get(_RECEIVE_QUEUES, b"")),
        kind=_text(kind) if kind else None,
        xdp_mode=XDP_MODES.get(_number(xdp.get(_XDP_ATTACHED, b"")), "unknown"),
        xdp_program=_number(xdp.get(_XDP_PROGRAM, b"")),
    )


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode(errors="replace")


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "little")


def driver(name: str) -> str | None:
    """The interface's driver, by ethtool; None where it does not say."""
    room = bytearray(struct.pack("=I", _DRIVER_INFO) + bytes(_DRIVER_INFO_BYTES - 4))
    try:
        _ethtool(name, room)
    except OSError:
        return None
    return _text(bytes(room[4:36])) or None


def receive_queues(interface: Interface) -> int:
    """How many receive queues are in use: the card's channels, else what the kernel has made."""
    room = bytearray(struct.pack("=I", _CHANNELS) + bytes(_CHANNEL_COUNTS.size - 4))
    try:
        _ethtool(interface.name, room)
    except OSError:
        return max(1, interface.receive_queues)
    receive, _, _, both = _CHANNEL_COUNTS.unpack(room)[5:]
    return max(1, receive + both)


def _ethtool(name: str, room: bytearray) -> None:
    import ctypes

    buffer = (ctypes.c_char * len(room)).from_buffer(room)
    request = struct.pack("=16sQ", name.encode(), ctypes.addressof(buffer)) + bytes(16)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _ETHTOOL, request)


def numa_node(name: str, root: Path = Path("/")) -> int | None:
    """The memory node that a card is plugged into; None for virtual ones and single nodes."""
    try:
        node = int((root / f"sys/class/net/{name}/device/numa_node").read_text())
    except (OSError, ValueError):
        return None
    return node if node >= 0 else None


class Watch:
    """What happens to one interface, in sentences and counted."""

    def __init__(self, interface: Interface) -> None:
        """Raises `OSError` where the kernel gives no notifications."""
        self.name, self._ifindex = interface.name, interface.ifindex
        self._mtu, self._runs = interface.mtu, interface.is_up and interface.has_carrier
        self._socket: socket.socket | None = netlink.listen(_LINK_GROUP)
        self.is_gone, self._is_behind = False, False
        self.findings: list[str] = []
        self.counters = {"interface_down": 0, "interface_up": 0, "mtu_changes": 0}

    def look(self) -> None:
        """Take in what has happened since the last look; a bounded number of notifications."""
        for _ in range(_MOST_CHANGES):
            if self._socket is None:
                return
            try:
                raw = self._socket.recv(1 << 16)
            except BlockingIOError:
                if not self._is_behind:
                    return
                self._is_behind = False
                self._ask()  # only now is there room for the answer
                continue
            except OSError:  # ENOBUFS: more came than the kernel keeps
                self._is_behind = True
                self._note(f"{self.name}: some of what happened to it was not told by the kernel")
                continue
            for kind, body in netlink.messages(raw):
                self._change(kind, body)

    def _ask(self) -> None:
        """Have the kernel say what it is now; the answer comes among the notifications."""
        assert self._socket is not None
        question = netlink.request(_GET_LINK, _INFO.pack(0, 0, self._ifindex, 0, 0))
        with contextlib.suppress(OSError):
            self._socket.send(question)

    def _change(self, kind: int, body: bytes) -> None:
        if self.is_gone:
            return
        is_gone = kind == netlink.ERROR and netlink.error_of(body) == errno.ENODEV
        if not is_gone:
            if kind not in (_NEW_LINK, _DELETED_LINK):
                return
            now = _interface(body)
            if now.ifindex != self._ifindex:
                return
        if is_gone or kind == _DELETED_LINK:
            self.is_gone = True
            self._note(f"{self.name} was deleted: nothing comes from it any more")
            return
        runs = now.is_up and now.has_carrier
        if runs != self._runs:
            self._runs = runs
            self.counters["interface_up" if runs else "interface_down"] += 1
            state = "came up again" if runs else "went down: packets were lost meanwhile"
            self._note(f"{self.name} {state}")
        if now.mtu and now.mtu != self._mtu:
            self.counters["mtu_changes"] += 1
            self._note(f"{self.name}: its MTU changed from {self._mtu} to {now.mtu}")
            self._mtu = now.mtu

    def _note(self, finding: str) -> None:
        """Each sentence once: an interface that flaps must not fill the report."""
        if finding not in self.findings:
            self.findings.append(finding)

    def close(self) -> None:
        """Hear no more; what was heard stays."""
        self.look()
        if self._socket is not None:
            self._socket.close()
        self._socket = None
