"""The wire that fails: what comes through, late, twice or never, by the seed."""

import json
import socket
import subprocess
import time

import pytest

from tickpath.chaos.layout import free_port
from tickpath.chaos.relay import COMMAND, Weather

STREAM, DATAGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
PATIENCE_S = 60.0


def passed(**said) -> list[int]:
    weather, seen = Weather(), []
    weather.set(said)
    for number in range(1_000):
        weather.datagram(lambda n=number: seen.append(n))
    while weather._due:
        weather.let_through()
    return seen


def test_good_weather_changes_nothing():
    assert passed() == list(range(1_000))


def test_loss_and_repetition_are_the_seed_s():
    seen = passed(seed=3, loss=0.1, twice=0.1)
    assert seen == passed(seed=3, loss=0.1, twice=0.1) != passed(seed=4, loss=0.1, twice=0.1)
    assert 850 < len(set(seen)) < 950 and 50 < len(seen) - len(set(seen)) < 150


def test_delay_keeps_the_order_and_jitter_does_not():
    assert passed(delay_ms=1) == list(range(1_000))
    late = passed(seed=1, jitter_ms=20)
    assert sorted(late) == list(range(1_000)) != late


@pytest.fixture
def wire():
    """(addresses by name, a function that sets the weather) of a relay's process."""
    far_udp, far_tcp = (socket.socket(socket.AF_INET, kind) for kind in (DATAGRAM, STREAM))
    for each in (far_udp, far_tcp):
        each.bind(("127.0.0.1", 0))
        each.settimeout(PATIENCE_S)
    far_tcp.listen()
    near = {"udp": ("127.0.0.1", free_port(DATAGRAM)), "tcp": ("127.0.0.1", free_port(STREAM))}
    said = {"address": "127.0.0.1"} | {
        kind: {
            "kind": kind,
            "listen": "{}:{}".format(*near[kind]),
            "to": "{}:{}".format(*far.getsockname()),
        }
        for kind, far in (("udp", far_udp), ("tcp", far_tcp))
    }
    process = subprocess.Popen(
        [*COMMAND, json.dumps(said)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )

    def weather(**said: float) -> None:
        process.stdin.write(json.dumps(said).encode() + b"\n")
        process.stdin.flush()

    try:
        yield near, far_udp, far_tcp, weather, process
    finally:
        process.kill()
        process.communicate()
        far_udp.close()
        far_tcp.close()


def connected(address: tuple[str, int]) -> socket.socket:
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return socket.create_connection(address, timeout=PATIENCE_S)
        except ConnectionError:
            assert time.monotonic() < end, "the relay does not listen"
            time.sleep(0.01)


def test_a_process_relays_both_ways_and_counts(wire):
    near, far_udp, far_tcp, weather, process = wire
    with connected(near["tcp"]) as here, socket.socket(socket.AF_INET, DATAGRAM) as asking:
        there, _ = far_tcp.accept()
        there.settimeout(PATIENCE_S)

        def settled() -> None:
            """What the relay was told or sent before is done: its selector has gone round."""
            for _ in range(2):
                here.sendall(b"?")
                assert there.recv(1) == b"?"

        here.sendall(b"x" * 100_000)
        seen = bytearray()
        while len(seen) < 100_000:
            seen += there.recv(65_536)
        there.sendall(b"back")
        assert here.recv(10) == b"back"
        asking.settimeout(PATIENCE_S)
        asking.sendto(b"question", near["udp"])
        raw, whence = far_udp.recvfrom(100)
        assert raw == b"question"
        far_udp.sendto(b"answer", whence)
        assert asking.recv(100) == b"answer"
        weather(loss=1.0)
        settled()
        for _ in range(5):
            asking.sendto(b"nothing", near["udp"])
        settled()
        weather()
        settled()
        asking.sendto(b"again", near["udp"])
        assert far_udp.recv(100) == b"again"
        there.close()
        assert here.recv(10) == b""
    out, _ = process.communicate(timeout=PATIENCE_S)
    counters = json.loads(out)
    assert counters["lost"] == 5 and counters["datagrams"] == 8 and counters["connections"] == 1
