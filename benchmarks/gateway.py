"""What the order gateway adds: from the node's hand-over to the first byte at the exchange.

    python benchmarks/gateway.py [--orders N] [--rate PER_SECOND] [--out FILE.json]

An exchange of this script's own (a SoupBinTCP server that accepts every order) and the node are one
thread, which spins; the gateway is a process of its own (`tickpath gateway`), with ``spin``.  An
order's time begins before `GatewayClient.hand_over` and ends when the exchange's socket has its
first byte; its answer's ends when `GatewayClient.poll` has given it.  ``direct`` is the same order
by an `OrderSession` in this thread, without a gateway.  Every order and answer is compared.  Two
cores are needed that nobody else uses: `environment` in the result says how busy they were.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tickpath.bench.result import write_result
from tickpath.environment import environment
from tickpath.failover.gateway_client import GatewayClient
from tickpath.failover.gateway_event import Answer, Stands, Welcomed
from tickpath.session import soup
from tickpath.session.ouch import OrderSession
from tickpath.session.ouch_event import SessionState
from tickpath.session.ouch_message import DIALECTS, Kind
from tickpath.session.ouch_settings import OrderSettings
from tickpath.session.store import Journal
from tickpath.session.tcp import OrderLine
from tickpath.wire.gateway import Session

SCHEMA = "tickpath.benchmark.gateway/1"
OUT = Path(__file__).parent / "results" / "gateway.json"
OUCH = DIALECTS["ouch50"]
WARM_UP = 500
PATIENCE_NS = 30_000_000_000
RATES = {"messages_per_second": 10**7, "message_burst": 10**6}


class Exchange:
    """Accepts a login and every order."""

    def __init__(self) -> None:
        session = soup.ServerSession("BENCH")
        self._acceptor = soup.Acceptor(lambda username, password: session)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.address: tuple[str, int] = self._listener.getsockname()
        self._sock: socket.socket | None = None
        self._server: Any = None
        self.orders: list[bytes] = []

    def poll(self) -> int:
        """Take what came; gives when its first byte was there, 0 where nothing came."""
        if self._sock is None:
            try:
                self._sock, (host, _) = self._listener.accept()
            except BlockingIOError:
                return 0
            self._sock.setblocking(False)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._server = self._acceptor.accept(time.monotonic_ns(), host)
        now_ns = time.monotonic_ns
        try:
            received = self._sock.recv(1 << 16)
        except BlockingIOError:
            received = None
        came_ns = now_ns() if received else 0
        if received is not None:
            for event in self._server.receive(received, now_ns()):
                if isinstance(event, soup.Unsequenced):
                    self._answer(event.payload)
        self._server.tick(now_ns())
        output = self._server.take_output()
        if output:
            self._sock.sendall(output)
        return came_ns

    def _answer(self, message: bytes) -> None:
        request, outbound = OUCH.request(message), OUCH.outbound
        if request.kind is Kind.QUERY:
            answer = outbound["account_query_response"].encode(next_user_ref_num=1)
        else:
            self.orders.append(message)
            answer = outbound["order_accepted"].encode(
                user_ref_num=request.key, quantity=request.quantity
            )
        self._server.session.publish(answer, time.monotonic_ns())


def order(number: int) -> bytes:
    """A new order."""
    return OUCH.inbound["enter_order"].encode(user_ref_num=number, side="B", quantity=100)


def until(is_done: Callable[[], Any], what: str) -> Any:
    """Spin; raises `SystemExit` where it takes too long."""
    end_ns = time.monotonic_ns() + PATIENCE_NS
    while not (found := is_done()):
        if time.monotonic_ns() > end_ns:
            raise SystemExit(f"gateway benchmark: {what} did not come")
    return found


def measure(
    exchange: Exchange,
    send: Callable[[int, bytes], Any],
    answers: Callable[[], int],
    count: int,
    rate: float,
) -> dict[str, Any]:
    """``send`` orders one by one; ``answers`` says how many of the session have come."""
    there, back = np.zeros(count, np.int64), np.zeros(count, np.int64)
    before, pause_ns = answers(), int(1e9 / rate)
    for at in range(-WARM_UP, count):
        message = order(at + WARM_UP + 1)
        begun_ns = time.monotonic_ns()
        send(at + WARM_UP, message)
        came_ns = until(exchange.poll, "an order")
        answered_ns = time.monotonic_ns()
        until(lambda: answers() > before, "an answer")  # noqa: B023 - called at once
        before = answers()
        if at >= 0:
            there[at], back[at] = came_ns - begun_ns, time.monotonic_ns() - answered_ns
        while time.monotonic_ns() < begun_ns + pause_ns:
            exchange.poll(), answers()
    expected = [order(number + 1) for number in range(WARM_UP + count)]
    if exchange.orders != expected:
        raise SystemExit("gateway benchmark: the exchange has other orders than were sent")
    return {"order_us": percentiles(there), "answer_us": percentiles(back)}


def percentiles(times_ns: np.ndarray) -> dict[str, float]:
    """Microseconds."""
    wanted = {"p50": 50, "p90": 90, "p99": 99, "p99_9": 99.9, "max": 100}
    found = {name: round(float(np.percentile(times_ns, p)) / 1e3, 2) for name, p in wanted.items()}
    return {"min": round(float(times_ns.min()) / 1e3, 2), **found}


def through_gateway(directory: Path, count: int, rate: float, fsync: str) -> dict[str, Any]:
    """By a gateway in a process of its own."""
    exchange = Exchange()
    host, port = exchange.address
    file = directory / "gateway.toml"
    file.write_text(
        f'[gateway]\nlisten = "127.0.0.1:0"\norders = "{host}:{port}"\nspin = true\n'
        f'directory = "{directory / "gw"}"\nfsync = "{fsync}"\nlog_bytes = 0\n'
        "[gateway.session]\n" + "".join(f"{name} = {value}\n" for name, value in RATES.items())
    )
    code = "from tickpath.command_gateway import gateway; gateway()"
    names = {"TICKPATH_USERNAME": "BENCH", "TICKPATH_PASSWORD": "bench"}
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--config", str(file), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **names},
    )
    assert process.stdout is not None
    try:
        listen = json.loads(process.stdout.readline())["listen"]
        client = GatewayClient((listen[0], listen[1]), "bench")
        stands: list[Stands] = []
        given = 0

        def poll() -> int:
            nonlocal given
            for event in client.poll():
                given += isinstance(event, Answer)
                if isinstance(event, Stands | Welcomed):
                    stands.append(event if isinstance(event, Stands) else event.stands)
            return given

        def is_up() -> bool:
            exchange.poll(), poll()
            return bool(stands) and stands[-1].session_state is Session.UP

        until(is_up, "the session")
        position = 0

        def send(number: int, message: bytes) -> None:
            nonlocal position
            client.hand_over(1, position, number, len(message).to_bytes(2, "big") + message)
            position += 2 + len(message)

        return measure(exchange, send, poll, count, rate)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def directly(directory: Path, count: int, rate: float, fsync: Any) -> dict[str, Any]:
    """By an order session in this thread."""
    exchange = Exchange()
    journal = Journal(directory / "direct.journal", protocol="ouch50", fsync=fsync)
    session = OrderSession(
        journal,
        "BENCH",
        soup.Secret("bench"),
        now_ns=time.monotonic_ns(),
        settings=OrderSettings(**RATES),
    )
    line = OrderLine(session, exchange.address)
    given = 0

    def poll() -> int:
        nonlocal given
        given += sum(isinstance(event, soup.Sequenced) for event in line.poll(0.0))
        return given

    def is_up() -> bool:
        exchange.poll(), poll()
        return session.state is SessionState.READY

    until(is_up, "the session")
    with journal:
        result = measure(exchange, lambda _, message: line.send([message]), poll, count, rate)
        line.close()
    return result


def main() -> None:
    """Measure both, print and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=2_000.0, help="orders a second")
    parser.add_argument("--fsync", choices=["none", "interval", "always"], default="none")
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    result: dict[str, Any] = {"schema": SCHEMA, "orders": asked.orders, "rate": asked.rate}
    result["fsync"] = asked.fsync
    for name, run in (("direct", directly), ("gateway", through_gateway)):
        with tempfile.TemporaryDirectory() as directory:
            result[name] = run(Path(directory), asked.orders, asked.rate, asked.fsync)
    result["environment"] = environment()
    write_result(asked.out, result)
    for name in ("direct", "gateway"):
        for what, times in result[name].items():
            print(f"{name:8} {what:10} {'  '.join(f'{k} {v}' for k, v in times.items())}")


if __name__ == "__main__":
    main()
