"""Two network namespaces with a veth pair between them: a wire for tests, as root.

`wire()` makes them under names of this process's own and removes them whatever happens.  A socket
belongs to the namespace that its thread was in when it was made, and stays there.
"""

import contextlib
import ctypes
import itertools
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

CLONE_NEWNET = 0x40000000
DEADLINE_S = 30.0
_numbers = itertools.count()


def why_no_wire() -> str | None:
    """Why namespaces cannot be made here; None where they can."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "only root makes network namespaces"
    if shutil.which("ip") is None:
        return "ip is not installed (apt-get install iproute2)"
    name = f"tp{os.getpid()}probe"
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return None if done.returncode == 0 else f"no network namespaces here: {done.stderr.strip()}"


needs_wire = pytest.mark.skipif(why_no_wire() is not None, reason=why_no_wire() or "")


def ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
    return done.stdout


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """This thread in a namespace."""
    library = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        assert library.setns(there, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        yield
    finally:
        assert library.setns(home, CLONE_NEWNET) == 0
        os.close(home)
        os.close(there)


@dataclass
class Wire:
    """Namespace ``far`` sends from 10.98.0.1, namespace ``near`` receives at 10.98.0.2."""

    far: str
    near: str
    far_interface: str
    near_interface: str
    FAR = "10.98.0.1"
    NEAR = "10.98.0.2"

    def sender(self) -> socket.socket:
        """A UDP socket at the far end."""
        with inside(self.far):
            return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def listener(self, port: int = 0) -> socket.socket:
        """A UDP socket at the far end that receives; with a deadline."""
        sock = self.sender()
        sock.bind((self.FAR, port))
        sock.settimeout(DEADLINE_S)
        return sock

    def raw(self) -> socket.socket:
        """A socket at the far end that sends and gets whole frames."""
        with inside(self.far):
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
        sock.bind((self.far_interface, 0))
        sock.settimeout(DEADLINE_S)
        return sock


@contextlib.contextmanager
def wire(queues: int = 1) -> Iterator[Wire]:
    """Make it, up and running; gone afterwards."""
    unique = f"{os.getpid()}x{next(_numbers)}"
    made = Wire(f"tpf{unique}", f"tpn{unique}", "far0", "near0")
    each = ("numrxqueues", str(queues), "numtxqueues", str(queues))
    try:
        for name in (made.far, made.near):
            ip("netns", "add", name)
        ip(*("link", "add", "far0", *each, "netns", made.far, "type", "veth"),
           *("peer", "name", "near0", *each, "netns", made.near))  # fmt: skip
        for name, interface, address in (
            (made.far, "far0", made.FAR),
            (made.near, "near0", made.NEAR),
        ):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", interface)
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", interface, "up")
            ip("-n", name, "route", "add", "224.0.0.0/4", "dev", interface)
        wait_until_it_sends(made.far, "far0")
        wait_until_it_sends(made.near, "near0")
        yield made
    finally:
        for name in (made.far, made.near):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def wait_until_it_sends(name: str, interface: str) -> None:
    """The kernel switches a queue on in a worker of its own, some time after the carrier."""
    until(
        lambda: "state UP" in ip("-n", name, "link", "show", "dev", interface),
        f"{interface} is up",
    )


def until(happened: Callable[[], bool], what: str) -> None:
    """Wait for what is certain to happen soon; the deadline decides only that a test failed."""
    end = time.monotonic() + DEADLINE_S
    while not happened():
        assert time.monotonic() < end, f"did not happen: {what}"
        time.sleep(0.001)
