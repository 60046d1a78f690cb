"""Hosts that are network namespaces of this process, on one switch that can cut each of them off.

    host --- veth --- port \
    host --- veth --- port  }  a bridge in a namespace of its own
    host --- veth --- port /

No namespace has a name: each lives as long as this process, or a child in it, holds it open.  So
nothing can be left behind, not even by ``kill -9``: the children die with this process
(`processes`), and the kernel takes bridge and pairs away with the last of them.

Everybody knows everybody's link address beforehand, so nothing is lost to a question for it.  A cut
is silent, as a broken cable is: frames do not arrive and nobody is told.  ``both`` takes the port
of the switch down; ``out`` sends what the host says to nobody, by link addresses that nobody has;
``in`` does that to what all others say to it, and its port floods no multicast.
"""

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from tickpath.backend import BackendError
from tickpath.chaos.error import ChaosError
from tickpath.namespace import inside, made

NETWORK = "198.19.77"
"""Of the range for benchmarks of devices (RFC 2544): nobody's."""
INTERFACE, BRIDGE = "eth0", "switch"
NOBODY = "02:54:4b:ff:ff:ff"
MOST_HOSTS = 32
_IP_TIMEOUT_S = 20

Direction = Literal["both", "in", "out"]


class Host(NamedTuple):
    """A namespace on the switch; ``namespace`` is the open file that keeps it."""

    name: str
    namespace: int
    address: str
    mac: str
    port: str


def why_not() -> str | None:
    """Why there can be no hosts here, as one line; None where there can be."""
    if not shutil.which("ip"):
        return "there is no ip command; run: apt-get install iproute2"
    if os.geteuid() != 0:
        return "network namespaces need root; take --network loopback without"
    try:
        os.close(made())
    except BackendError as error:  # root of a container may not
        return f"{error}; or take --network loopback"
    return None


def _ip(namespace: int, commands: Iterable[str], passed: tuple[int, ...] = ()) -> None:
    """Run ``ip`` with several commands in a namespace.  Raises `ChaosError`."""
    batch = "\n".join(commands) + "\n"
    with inside(namespace):
        try:
            done = subprocess.run(
                ["ip", "-batch", "-"],
                input=batch,
                text=True,
                capture_output=True,
                pass_fds=passed,
                timeout=_IP_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise ChaosError(f"the network of hosts: ip took {_IP_TIMEOUT_S} s") from None
    if done.returncode:
        reason = " ".join(done.stderr.split("\n")[0].split())
        raise ChaosError(f"the network of hosts cannot be set up: ip: {reason}")


def _set(namespace: int, settings: dict[str, str]) -> None:
    with inside(namespace):
        for name, value in settings.items():
            path = Path("/proc/sys/net", name)
            if path.exists():  # a kernel without IPv6 has none of its settings
                path.write_text(value)


class Network:
    """See the module's text.  Use it as a context manager, or call `close`."""

    def __init__(self, names: Iterable[str]) -> None:
        """Raises `ChaosError` where there can be none."""
        if reason := why_not():
            raise ChaosError(reason)
        self.hosts: dict[str, Host] = {}
        self._cut: dict[str, Direction] = {}
        self._open: list[int] = []
        try:
            self._switch = self._new()
            settings = {"ipv6/conf/all/disable_ipv6": "1", "ipv6/conf/default/disable_ipv6": "1"}
            _set(self._switch, settings)
            made = f"link add {BRIDGE} type bridge stp_state 0 mcast_snooping 0"
            _ip(self._switch, ["link set lo up", made, f"link set {BRIDGE} up"])
            for number, name in enumerate(names, 1):
                if number > MOST_HOSTS:
                    raise ChaosError(f"more than {MOST_HOSTS} hosts")
                self._add(number, name)
            for host in self.hosts.values():
                self._introduce(host, {})
        except BaseException:
            self.close()
            raise

    def _new(self) -> int:
        self._open.append(made())
        return self._open[-1]

    def _add(self, number: int, name: str) -> None:
        host = Host(
            name, self._new(), f"{NETWORK}.{number}", f"02:54:4b:00:00:{number:02x}", f"p{number}"
        )
        settings = {"ipv6/conf/all/disable_ipv6": "1", "ipv4/conf/all/rp_filter": "0"}
        _set(host.namespace, settings)
        pair = (
            f"link add {INTERFACE} address {host.mac} type veth peer name {host.port} "
            f"netns /proc/self/fd/{self._switch}"
        )
        _ip(host.namespace, [pair], (self._switch,))
        ups = [f"link set {host.port} master {BRIDGE}", f"link set {host.port} up"]
        _ip(self._switch, ups)
        _ip(
            host.namespace,
            [
                "link set lo up",
                f"addr add {host.address}/24 dev {INTERFACE}",
                f"link set {INTERFACE} up",
                f"route add 224.0.0.0/4 dev {INTERFACE}",
            ],
        )
        self.hosts[name] = host

    def _introduce(self, host: Host, wrong: dict[str, str]) -> None:
        """Tell a host the link addresses of all others, ``wrong`` ones by name among them."""
        others = [each for each in self.hosts.values() if each is not host]
        _ip(
            host.namespace,
            [
                f"neigh replace {each.address} lladdr {wrong.get(each.name, each.mac)} "
                f"nud permanent dev {INTERFACE}"
                for each in others
            ],
        )

    # ------------------------------------------------------------ cuts

    def cut(self, name: str, direction: Direction = "both") -> None:
        """Cut a host off, in both directions or in one."""
        host = self.hosts[name]
        self._cut[name] = direction
        if direction == "both":
            _ip(self._switch, [f"link set {host.port} down"])
        elif direction == "out":
            self._introduce(host, dict.fromkeys(self.hosts, NOBODY))
        else:
            _ip(self._switch, [f"link set {host.port} type bridge_slave mcast_flood off"])
            for each in self.hosts.values():
                if each is not host:
                    _ip(each.namespace, [self._neighbour(host, NOBODY)])

    def heal(self, name: str) -> None:
        """Undo the cut of a host; nothing where there is none."""
        direction = self._cut.pop(name, None)
        host = self.hosts[name]
        if direction == "both":
            _ip(self._switch, [f"link set {host.port} up"])
        elif direction == "out":
            self._introduce(host, {})
        elif direction == "in":
            _ip(self._switch, [f"link set {host.port} type bridge_slave mcast_flood on"])
            for each in self.hosts.values():
                if each is not host:
                    _ip(each.namespace, [self._neighbour(host, host.mac)])

    @staticmethod
    def _neighbour(host: Host, mac: str) -> str:
        return f"neigh replace {host.address} lladdr {mac} nud permanent dev {INTERFACE}"

    # ------------------------------------------------------------ the end

    def close(self) -> None:
        """Let go of all namespaces; the kernel takes them away with their last process."""
        while self._open:
            os.close(self._open.pop())

    def __enter__(self) -> "Network":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
