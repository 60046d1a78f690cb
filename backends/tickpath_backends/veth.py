"""A private wire: two network namespaces of this process alone, a veth pair between them.

The namespaces have no names: they live as long as this process, or a child that was given one,
holds them open.  So nothing can be left behind, not by Ctrl-C and not by ``kill -9``: when the last
holder is gone the kernel takes both ends of the pair away, with every socket and XDP program on
them.  A debugger reaches one by ``nsenter --net=/proc/PID/fd/FD`` (`End.namespace`).

Frames cross unchanged: no checksum offload, no segmentation offload, no IPv6
chatter, neighbours known beforehand.
"""

import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tickpath.backend import RUN, BackendError
from tickpath.namespace import inside, made

ENGINE_IF, EXCHANGE_IF = "tickpath-rx", "tickpath-tx"
ENGINE_MAC, EXCHANGE_MAC = "02:54:49:43:4b:01", "02:54:49:43:4b:02"
ENGINE_ADDRESS, EXCHANGE_ADDRESS = "198.18.0.1", "198.18.0.2"
"""Of the range for benchmarks of devices (RFC 2544), which no capture's groups are in."""
NOBODYS_ADDRESS, NOBODYS_MAC = "198.18.0.3", "02:54:49:43:4b:03"
"""The engine knows the way to it, and nobody has it: what is sent there reaches the exchange's end,
where a packet socket sees it, and no kernel answers."""
ETHERNET_MTU, LARGEST_MTU = 1500, 65_535

_SIOCETHTOOL = 0x8946
_OFFLOADS = {"rx-checksum": 0x15, "tx-checksum": 0x17, "tso": 0x1F, "gso": 0x24, "gro": 0x2C}
"""ETHTOOL_SRXCSUM and its like (linux/ethtool.h)."""
_ETHTOOL_VALUE = struct.Struct("=II")
_IFREQ = struct.Struct("=16sQ16x")


@dataclass(frozen=True)
class End:
    """One end of the wire; ``namespace`` is the open file that keeps its namespace alive."""

    interface: str
    namespace: int
    mac: str
    address: str


def why_not() -> str | None:
    """Why there can be no private wire here, as ``reason; run: command that mends it``."""
    if not shutil.which("ip"):
        return f"no ip command, which sets up private interfaces{RUN}sudo apt-get install iproute2"
    if os.geteuid() != 0:
        return f"private network namespaces need root{RUN}sudo -E env PATH=$PATH tickpath ..."
    return None


def _ip(commands: Iterable[str], passed: tuple[int, ...] = ()) -> None:
    """Run ``ip`` with several commands at once, in the namespace that this thread is in."""
    batch = "\n".join(commands) + "\n"
    done = subprocess.run(
        ["ip", "-batch", "-"], input=batch, text=True, capture_output=True, pass_fds=passed
    )
    if done.returncode:
        reason = " ".join(done.stderr.split("\n")[0].split())
        raise BackendError(f"a private wire cannot be set up: ip: {reason}")


def _quiet(interface: str) -> None:
    """No chatter and no filters: addresses of captures are anybody's."""
    settings = {
        "ipv6/conf/all/disable_ipv6": "1",
        f"ipv6/conf/{interface}/disable_ipv6": "1",
        "ipv4/conf/all/rp_filter": "0",
        f"ipv4/conf/{interface}/rp_filter": "0",
        f"ipv4/conf/{interface}/accept_local": "1",
        f"ipv4/conf/{interface}/route_localnet": "1",
        "ipv4/igmp_max_memberships": "4096",
    }
    for name, value in settings.items():
        path = Path("/proc/sys/net", name)
        if path.exists():  # a kernel without IPv6 has none of its settings
            path.write_text(value)


def _set_offload(interface: str, command: int, value: int) -> None:
    """What the interface cannot be told it does not do either."""
    asked = ctypes.create_string_buffer(_ETHTOOL_VALUE.pack(command, value))
    request = _IFREQ.pack(interface.encode(), ctypes.addressof(asked))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket, suppress(OSError):
        fcntl.ioctl(any_socket, _SIOCETHTOOL, request)


class Veth:
    """The wire: ``engine`` is the receiver's end, ``exchange`` the sender's.

    ``addresses`` are IPv4 addresses, beside its own, that the engine's end answers to: unicast
    groups of a capture.  Use it as a context manager.  Raises `BackendError` where there can be
    none.
    """

    kind = "veth, private namespaces"
    orders_at, orders_mac = NOBODYS_ADDRESS, None
    """Where an exchange takes orders that leave by a transport."""

    def __init__(
        self, *, mtu: int = ETHERNET_MTU, queues: int = 1, addresses: Iterable[str] = ()
    ) -> None:
        self.mtu, self.queues, self.addresses = mtu, queues, list(addresses)
        self._open: list[int] = []

    def __enter__(self) -> "Veth":
        if reason := why_not():
            raise BackendError(f"a private wire: {reason}")
        try:
            for _ in range(2):
                self._open.append(made())
            at_engine, at_exchange = self._open
            self.engine = End(ENGINE_IF, at_engine, ENGINE_MAC, ENGINE_ADDRESS)
            self.exchange = End(EXCHANGE_IF, at_exchange, EXCHANGE_MAC, EXCHANGE_ADDRESS)
            self._lay()
            self._set_up(self.engine, self.exchange, self.addresses)
            self._set_up(self.exchange, self.engine, ())
        except BaseException:
            self.close()
            raise
        return self

    def _lay(self) -> None:
        queues = f"numrxqueues {self.queues} numtxqueues {self.queues}"
        link = (
            f"link add {ENGINE_IF} mtu {self.mtu} address {ENGINE_MAC} {queues} type veth peer "
            f"name {EXCHANGE_IF} mtu {self.mtu} address {EXCHANGE_MAC} {queues} "
            f"netns /proc/self/fd/{self.exchange.namespace}"
        )
        with inside(self.engine.namespace):
            _ip([link], passed=(self.exchange.namespace,))

    def _set_up(self, end: End, other: End, addresses: Iterable[str]) -> None:
        name = end.interface
        with inside(end.namespace):
            _quiet(name)
            for command in _OFFLOADS.values():
                _set_offload(name, command, 0)
            _ip(
                [
                    "link set lo up",
                    f"addr add {end.address}/24 dev {name}",
                    *(f"addr add {each}/32 dev {name}" for each in addresses),
                    f"link set {name} up",
                    f"neigh add {other.address} lladdr {other.mac} nud permanent dev {name}",
                    f"neigh add {NOBODYS_ADDRESS} lladdr {NOBODYS_MAC} nud permanent dev {name}",
                    f"route add 224.0.0.0/4 dev {name}",
                ]
            )

    def close(self) -> None:
        """Let go of both namespaces; the kernel takes the pair away with the last holder's."""
        while self._open:
            os.close(self._open.pop())

    def __exit__(self, *_: object) -> None:
        self.close()
