"""Hosts in namespaces: who hears whom, and that a cut does what it says."""

import os
import socket

import pytest

from tickpath.chaos.namespaces import Network, inside, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
PORT = 5_000


def hears(network: Network, source: str, sink: str) -> bool:
    """Whether a datagram comes through."""
    with inside(network.hosts[sink].namespace):
        receiving = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiving.bind((network.hosts[sink].address, PORT))
    with inside(network.hosts[source].namespace):
        sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiving, sending:
        receiving.settimeout(0.3)
        sending.sendto(b"x", (network.hosts[sink].address, PORT))
        try:
            return receiving.recv(10) == b"x"
        except TimeoutError:
            return False


def test_cuts():
    heard = {
        "both": {"ab": False, "ba": False, "bc": True},
        "out": {"ab": False, "ba": True, "bc": True},
        "in": {"ab": True, "ba": False, "bc": True},
    }
    ours = os.readlink("/proc/thread-self/ns/net")
    with Network(("a", "b", "c")) as network:
        for direction, expected in heard.items():
            network.cut("a", direction)  # type: ignore[arg-type]
            assert {pair: hears(network, *pair) for pair in expected} == expected
            network.heal("a")
            assert all(hears(network, *pair) for pair in expected)
    assert os.readlink("/proc/thread-self/ns/net") == ours


def test_nothing_is_left():
    before = len(os.listdir("/proc/self/fd"))
    Network(("a", "b")).close()
    assert len(os.listdir("/proc/self/fd")) == before
