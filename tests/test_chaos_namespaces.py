"""Hosts in namespaces: who hears whom, and that a cut does what it says."""

import gc
import os
import socket

import pytest

from tickpath.chaos.namespaces import Network, why_not
from tickpath.namespace import inside

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
PORT = 5_000
TRIES = 100
"""Of what has to come through, on a machine that may be busy."""


def hears(network: Network, source: str, sink: str, tries: int = 3) -> bool:
    """Whether one of some datagrams comes through."""
    with inside(network.hosts[sink].namespace):
        receiving = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiving.bind((network.hosts[sink].address, PORT))
    with inside(network.hosts[source].namespace):
        sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiving, sending:
        receiving.settimeout(0.1)
        for _ in range(tries):
            sending.sendto(b"x", (network.hosts[sink].address, PORT))
            try:
                return receiving.recv(10) == b"x"
            except TimeoutError:
                pass
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
            heard_now = {
                pair: hears(network, *pair, tries=TRIES if is_heard else 3)
                for pair, is_heard in expected.items()
            }
            assert heard_now == expected
            network.heal("a")
            assert all(hears(network, *pair, tries=TRIES) for pair in expected)
    assert os.readlink("/proc/thread-self/ns/net") == ours


def test_nothing_is_left():
    gc.collect()  # what earlier tests left open in cycles
    before = len(os.listdir("/proc/self/fd"))
    Network(("a", "b")).close()
    assert len(os.listdir("/proc/self/fd")) == before
