"""Two interfaces that are given, as a wire: what is sent at one comes in at the other.

An interface is named as ``eth1``, in this process's network namespace, or as ``venue/eth1``, in a
named one (``ip netns``).  Nothing is set up and nothing is changed: both have to be up, to have an
IPv4 address each, and to reach each other.  They must not share a namespace, because a kernel takes
what it sends to itself past the wire.

The worst case is a wire that is not one: what is checked are addresses and routes, and packets that
do not arrive show as loss.
"""

import fcntl
import os
import socket
import struct
from contextlib import ExitStack
from pathlib import Path

from tickpath.backend import BackendError, TransportError
from tickpath.config import parse_group
from tickpath.namespace import OURS, inside
from tickpath_backends import interface, neighbour
from tickpath_backends.interface import Interface
from tickpath_backends.veth import ETHERNET_MTU, End

NAMED = Path("/run/netns")
_GET_ADDRESS = 0x8915  # SIOCGIFADDR
_REQUEST = struct.Struct("=16s24x")
_ADDRESS = slice(20, 24)


class Given:
    """The wire: ``exchange`` is the sender's end, ``engine`` the receiver's.

    Use it as a context manager.  Raises `BackendError`, one line, where there is no such wire.
    """

    kind = "given interfaces"

    def __init__(self, sender: str, receiver: str) -> None:
        self.names = sender, receiver
        self._stack = ExitStack()

    def __enter__(self) -> "Given":
        try:
            sender, receiver = (self._end(name) for name in self.names)
            if os.fstat(sender.namespace).st_ino == os.fstat(receiver.namespace).st_ino:
                raise BackendError(
                    f"--interface: {self.names[0]} and {self.names[1]} are in one network "
                    "namespace, where nothing goes from one to the other by the wire; run: sudo "
                    f"ip netns add venue && sudo ip link set {sender.interface} netns venue"
                )
            for name, here, there in (
                (self.names[1], receiver, sender),
                (self.names[0], sender, receiver),
            ):
                _check_way(name, here, there)
        except BaseException:
            self.close()
            raise
        self.exchange, self.engine = sender, receiver
        self.orders_at, self.orders_mac = sender.address, sender.mac
        """Where orders go to: the sender's end itself."""
        return self

    def _end(self, name: str) -> End:
        """One of them, as it is."""
        namespace, slash, device = name.rpartition("/")
        path = NAMED / namespace if slash else Path(OURS)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            there = ", ".join(sorted(each.name for each in NAMED.glob("*"))) or "none"
            raise BackendError(
                f"--interface {name}: network namespace {namespace!r}: {error.strerror}; here "
                f"are: {there}; run: sudo ip netns add NAME"
            ) from None
        self._stack.callback(os.close, descriptor)
        with inside(descriptor):
            found = _checked(name, device, f"ip -n {namespace}" if slash else "ip")
            address = _address_of(device)
        if address is None:
            raise BackendError(
                f"--interface {name}: it has no IPv4 address; run: sudo "
                f"{f'ip -n {namespace}' if slash else 'ip'} addr add ADDRESS/24 dev {device}"
            )
        return End(device, descriptor, found.mac.hex(":"), address)

    def close(self) -> None:
        """Let go of the namespaces; the interfaces are as they were."""
        self._stack.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def _checked(name: str, device: str, command: str) -> Interface:
    """The interface, if it can be one end of a wire.  Raises `BackendError`."""
    try:
        found = interface.find(device)
    except TransportError as error:
        raise BackendError(f"--interface {name}: {str(error).partition(': ')[2]}") from None
    if found.is_loopback:
        raise BackendError(f"--interface {name}: it is the loopback interface, which is no wire")
    if not found.is_up:
        raise BackendError(
            f"--interface {name}: it is down; run: sudo {command} link set {device} up"
        )
    if not found.has_carrier:
        raise BackendError(f"--interface {name}: it has no carrier: is the other end up?")
    if found.mtu < ETHERNET_MTU:
        raise BackendError(
            f"--interface {name}: its MTU is {found.mtu}, {ETHERNET_MTU} is needed; run: sudo "
            f"{command} link set {device} mtu {ETHERNET_MTU}"
        )
    return found


def _address_of(device: str) -> str | None:
    """The interface's first IPv4 address; None where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            raw = fcntl.ioctl(any_socket, _GET_ADDRESS, _REQUEST.pack(device.encode()))
        except OSError:
            return None
    return socket.inet_ntoa(raw[_ADDRESS])


def _check_way(name: str, here: End, there: End) -> None:
    """The kernel has to reach the other end by this interface.  Raises `BackendError`."""
    with inside(here.namespace):
        try:
            way = neighbour.route(parse_group(f"{there.address}:0")[0])
        except TransportError as error:
            raise BackendError(f"--interface {name}: {error}") from None
        if way.interface != socket.if_nametoindex(here.interface):
            raise BackendError(
                f"--interface {name}: the way to {there.address}, the other end's, is not by it; "
                f"give both addresses of one subnet, or run: ip route add {there.address} dev "
                f"{here.interface}"
            )
