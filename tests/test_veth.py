"""Private wires: what crosses them, and that nothing of them stays, however a run ends."""

import gc
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tickpath.backend import BackendError
from tickpath.namespace import OURS, inside
from tickpath_backends import veth
from tickpath_backends.veth import Veth

REASON = veth.why_not()
needs_wire = pytest.mark.skipif(REASON is not None, reason=f"no private wire: {REASON}")


def namespace() -> str:
    return os.readlink(OURS)


def interfaces() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


def names_in(end: veth.End) -> set[str]:
    with inside(end.namespace):
        return interfaces()


@needs_wire
def test_the_ends_are_in_namespaces_of_their_own():
    before, ours = interfaces(), namespace()
    with Veth() as wire:
        assert names_in(wire.engine) == {"lo", wire.engine.interface}
        assert names_in(wire.exchange) == {"lo", wire.exchange.interface}
        assert interfaces() == before and namespace() == ours
    assert interfaces() == before and namespace() == ours


@needs_wire
def test_multicast_and_unicast_cross_the_wire():
    with Veth(addresses=["10.1.2.3"]) as wire:
        with inside(wire.engine.namespace):
            receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            receiver.bind(("", 4000))
            receiver.settimeout(5)
            member = socket.inet_aton("239.1.2.3") + socket.inet_aton(wire.engine.address)
            receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        with inside(wire.exchange.namespace):
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.sendto(b"to a group", ("239.1.2.3", 4000))
        assert receiver.recv(100) == b"to a group"
        sender.sendto(b"to the engine", (wire.engine.address, 4000))
        assert receiver.recv(100) == b"to the engine"
        receiver.close()
        sender.close()


@needs_wire
def test_the_wire_takes_what_it_was_made_for():
    with Veth(mtu=9000, queues=2) as wire, inside(wire.engine.namespace):
        shown = subprocess.run(["ip", "-d", "link"], capture_output=True, text=True).stdout
        assert "mtu 9000" in shown and "numrxqueues 2" in shown and "numtxqueues 2" in shown


@needs_wire
def test_two_wires_at_once_do_not_meet():
    with Veth() as one, Veth() as other:
        names = {os.fstat(end.namespace).st_ino for end in (one.engine, other.engine)}
        assert len(names) == 2


@needs_wire
def test_an_error_inside_leaves_the_thread_where_it_was():
    ours = namespace()
    with pytest.raises(ValueError), Veth() as wire, inside(wire.engine.namespace):
        assert namespace() != ours
        raise ValueError
    assert namespace() == ours


@needs_wire
def test_what_ip_refuses_is_one_line():
    gc.collect()  # what earlier tests left open in cycles
    files = len(os.listdir("/proc/self/fd"))
    with pytest.raises(BackendError, match="a private wire cannot be set up: ip: "), Veth(mtu=1):
        pass
    assert len(os.listdir("/proc/self/fd")) == files


HOLD = """
import time
from tickpath_backends.veth import Veth
with Veth() as wire:
    print(wire.engine.namespace, wire.exchange.namespace, flush=True)
    time.sleep(60)
"""


def _namespaces_of(pid: int, numbers: list[str]) -> set[int]:
    return {os.stat(f"/proc/{pid}/fd/{number}").st_ino for number in numbers}


def _used() -> set[int]:
    """Network namespaces that a process is in or holds open."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = [*(process / "fd").iterdir(), process / "ns" / "net"]
            for link in links:
                text = os.readlink(link)
                if text.startswith("net:["):
                    found.add(int(text[5:-1]))
        except OSError:  # it is over
            continue
    return found


@needs_wire
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_run_leaves_nothing(number):
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert child.stdout
    held = _namespaces_of(child.pid, child.stdout.readline().split())
    assert held <= _used()
    child.send_signal(number)
    child.wait(60)
    deadline = time.monotonic() + 60
    while held & _used() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not held & _used()


def test_without_root_the_reason_and_the_command_are_said(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    reason = veth.why_not()
    assert reason and "need root; run: sudo" in reason
    with pytest.raises(BackendError, match="need root"), Veth():
        pass


def test_without_ip_the_package_is_named(monkeypatch):
    monkeypatch.setattr(veth.shutil, "which", lambda name: None)
    assert "sudo apt-get install iproute2" in (veth.why_not() or "")
