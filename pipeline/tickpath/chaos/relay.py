"""A wire that fails on purpose: a process through which everything between two hosts goes.

    python -m tickpath.chaos.relay '{"address": ..., NAME: {"kind": ..., "listen": ..., "to": ...}}'

    udp     datagrams in both directions, each client by a socket of its own
    feed    datagrams of one multicast group into another
    tcp     connections: bytes are only ever late, never lost

A line on its input says how bad it is from then on: ``{"seed": 1, "loss": 0.02, "twice": 0.01,
"delay_ms": 5, "jitter_ms": 3}``; what is not said is as it should be, and an empty object heals
everything.  Chance comes from the seed alone; which datagram meets it depends on when it comes.
Jitter overtakes: a datagram that draws less of it comes before one that was sent earlier.

At most `MOST_WAITING` datagrams wait at a time and at most `MOST_CLIENTS` clients are known; what
goes beyond is dropped, as a full switch does, and counted.  The counters are printed at the end of
the input.
"""

import heapq
import itertools
import json
import os
import random
import selectors
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Any

COMMAND = (sys.executable, "-m", "tickpath.chaos.relay")
MOST_WAITING = 1 << 16
MOST_CLIENTS = 64
MOST_TCP_BYTES = 1 << 22
READ_BYTES = 1 << 16
BURST = 64
BUFFER_BYTES = 1 << 22
LONGEST_WAIT_S = 0.1

Address = tuple[str, int]


def address_of(text: str) -> Address:
    """(host, port) of HOST:PORT."""
    host, _, port = text.rpartition(":")
    return host, int(port)


class Weather:
    """How bad the wire is, and what waits to be let through."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.set({})

    def set(self, said: dict[str, float]) -> None:
        """From now on it is like this."""
        self.loss, self.twice = said.get("loss", 0.0), said.get("twice", 0.0)
        self.delay_s = said.get("delay_ms", 0.0) / 1e3
        self.jitter_s = said.get("jitter_ms", 0.0) / 1e3
        self._chance = random.Random(said.get("seed", 0))

    def late_s(self) -> float:
        """How late the next piece is."""
        return self.delay_s + (self._chance.random() * self.jitter_s if self.jitter_s else 0.0)

    def datagram(self, send: Callable[[], None]) -> None:
        """Let a datagram through, or not, or twice, or later."""
        self.counters["datagrams"] += 1
        if self.loss and self._chance.random() < self.loss:
            self.counters["lost"] += 1
            return
        times = 1
        if self.twice and self._chance.random() < self.twice:
            self.counters["twice"] += 1
            times = 2
        for _ in range(times):
            late_s = self.late_s()
            if not late_s:
                send()
            elif len(self._due) >= MOST_WAITING:
                self.counters["overflowed"] += 1
            else:
                self.at(time.monotonic() + late_s, send)

    def at(self, when_s: float, do: Callable[[], None]) -> None:
        """Do something at a time."""
        heapq.heappush(self._due, (when_s, next(self._order), do))

    def let_through(self) -> float:
        """What is due now; gives how long nothing more is."""
        now_s = time.monotonic()
        while self._due and self._due[0][0] <= now_s:
            heapq.heappop(self._due)[2]()
        return max(0.0, self._due[0][0] - now_s) if self._due else LONGEST_WAIT_S


def _datagrams(sock: socket.socket) -> list[tuple[bytes, Address]]:
    found: list[tuple[bytes, Address]] = []
    while len(found) < BURST:
        try:
            found.append(sock.recvfrom(READ_BYTES))
        except BlockingIOError:
            break
        except OSError:  # nobody was there for something that was sent
            continue
    return found


def _udp_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
    return sock


class Udp:
    """Datagrams to one address, and the answers back."""

    def __init__(self, wire: "Wire", listen: Address, to: Address) -> None:
        self._wire, self._to = wire, to
        self._clients: dict[Address, socket.socket] = {}
        self._front = _udp_socket()
        self._front.bind(listen)
        wire.selector.register(self._front, selectors.EVENT_READ, self._forth)

    def _send(self, sock: socket.socket, raw: bytes, to: Address) -> None:
        try:
            sock.sendto(raw, to)
        except OSError:
            self._wire.weather.counters["sends_failed"] += 1

    def _forth(self) -> None:
        for raw, client in _datagrams(self._front):
            sock = self._clients.get(client)
            if sock is None:
                if len(self._clients) >= MOST_CLIENTS:
                    self._wire.weather.counters["clients_refused"] += 1
                    continue
                sock = self._clients[client] = _udp_socket()
                back = partial(self._back, sock, client)
                self._wire.selector.register(sock, selectors.EVENT_READ, back)
            self._wire.weather.datagram(partial(self._send, sock, raw, self._to))

    def _back(self, sock: socket.socket, client: Address) -> None:
        for raw, _ in _datagrams(sock):
            self._wire.weather.datagram(partial(self._send, self._front, raw, client))


class Feed:
    """Datagrams of one group into another."""

    def __init__(self, wire: "Wire", listen: Address, to: Address, interface: str) -> None:
        self._wire, self._to = wire, to
        here = socket.inet_aton(interface)
        self._in, self._out = _udp_socket(), _udp_socket()
        self._in.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._in.bind(listen)
        group = socket.inet_aton(listen[0]) + here
        self._in.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        self._out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, here)
        self._out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        wire.selector.register(self._in, selectors.EVENT_READ, self._forth)

    def _forth(self) -> None:
        for raw, _ in _datagrams(self._in):
            self._wire.weather.datagram(partial(self._send, raw))

    def _send(self, raw: bytes) -> None:
        try:
            self._out.sendto(raw, self._to)
        except OSError:
            self._wire.weather.counters["sends_failed"] += 1


class _Half:
    """One direction of a connection: what came is written no earlier than it is due."""

    def __init__(self, wire: "Wire", source: socket.socket, sink: socket.socket) -> None:
        self.wire, self.source, self.sink = wire, source, sink
        self.waiting: deque[tuple[float, bytes]] = deque()
        self.bytes = 0
        self.last_s = 0.0
        self.has_ended = False

    def read(self) -> bool:
        """Take what came; False once the source has ended."""
        try:
            raw = self.source.recv(READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            raw = b""
        if not raw:
            self.has_ended = True
            return False
        # In order, whatever each piece draws.
        self.last_s = max(self.last_s, time.monotonic() + self.wire.weather.late_s())
        self.waiting.append((self.last_s, raw))
        self.bytes += len(raw)
        return True

    def write(self) -> bool:
        """Write what is due; False where nobody takes it any more."""
        now_s = time.monotonic()
        while self.waiting and self.waiting[0][0] <= now_s:
            due_s, raw = self.waiting[0]
            try:
                sent = self.sink.send(raw)
            except BlockingIOError:
                return True
            except OSError:
                return False
            self.bytes -= sent
            if sent < len(raw):
                self.waiting[0] = due_s, raw[sent:]
                return True
            self.waiting.popleft()
        return True


class Tcp:
    """Connections to one address."""

    def __init__(self, wire: "Wire", listen: Address, to: Address) -> None:
        self._wire, self._to = wire, to
        self._listening = socket.create_server(listen, backlog=MOST_CLIENTS)
        self._listening.setblocking(False)
        self.halves: list[tuple[_Half, _Half]] = []
        wire.selector.register(self._listening, selectors.EVENT_READ, self._accept)
        wire.tcps.append(self)

    def _accept(self) -> None:
        try:
            near, _ = self._listening.accept()
        except OSError:
            return
        counters = self._wire.weather.counters
        if len(self.halves) >= MOST_CLIENTS:
            counters["clients_refused"] += 1
            near.close()
            return
        try:
            far = socket.create_connection(self._to, timeout=1.0)
        except OSError:
            counters["connections_failed"] += 1
            near.close()
            return
        counters["connections"] += 1
        for each in (near, far):
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = _Half(self._wire, near, far), _Half(self._wire, far, near)
        self.halves.append(pair)
        for half in pair:
            read = partial(self._read, half, pair)
            self._wire.selector.register(half.source, selectors.EVENT_READ, read)

    def _read(self, half: _Half, pair: tuple[_Half, _Half]) -> None:
        if half.bytes < MOST_TCP_BYTES and not half.read():
            self._close(pair)
        else:
            half.write()

    def _close(self, pair: tuple[_Half, _Half]) -> None:
        if pair not in self.halves:
            return
        self.halves.remove(pair)
        for half in pair:
            half.write()
            self._wire.selector.unregister(half.source)
        for half in pair:
            half.source.close()

    def write(self) -> float:
        """Write what is due; gives how long nothing more is."""
        wait_s = LONGEST_WAIT_S
        for pair in list(self.halves):
            for half in pair:
                if not half.write():
                    self._close(pair)
                    break
                if half.waiting:
                    wait_s = min(wait_s, max(0.0005, half.waiting[0][0] - time.monotonic()))
        return wait_s


class Wire:
    """All relays of the process, on one selector."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.selector = selectors.DefaultSelector()
        self.weather = Weather()
        self.tcps: list[Tcp] = []
        interface = said.pop("address")
        for each in said.values():
            listen, to = address_of(each["listen"]), address_of(each["to"])
            if each["kind"] == "udp":
                Udp(self, listen, to)
            elif each["kind"] == "tcp":
                Tcp(self, listen, to)
            else:
                Feed(self, listen, to, interface)

    def run(self) -> None:
        """Relay until the input ends."""
        is_over = False
        line = bytearray()

        def hear() -> None:
            nonlocal is_over
            raw = os.read(sys.stdin.fileno(), READ_BYTES)
            is_over = not raw
            line.extend(raw)
            while (end := line.find(b"\n")) >= 0:
                self.weather.set(json.loads(line[:end]))
                del line[: end + 1]

        self.selector.register(sys.stdin.fileno(), selectors.EVENT_READ, hear)
        while not is_over:
            wait_s = min([self.weather.let_through(), *(each.write() for each in self.tcps)])
            for key, _ in self.selector.select(wait_s):
                key.data()


def main() -> int:
    """Run what the argument says."""
    wire = Wire(json.loads(sys.argv[1]))
    wire.run()
    print(json.dumps(dict(wire.weather.counters)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
