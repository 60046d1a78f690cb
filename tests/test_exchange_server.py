"""The venue on real sockets: logins, answers, feed, operator, kill and restart."""

import contextlib
import json
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from itch_messages import mold, run, split
from patient_clock import PatientClock
from tickpath import Config, Engine
from tickpath.cli import main
from tickpath.config import Capacity
from tickpath.exchange.config import Exchange
from tickpath.exchange.event import BUY, SELL
from tickpath.exchange.server import Server, new_session
from tickpath.operator_socket import MAX_LINE
from tickpath.session import soup
from tickpath.session.soup_framing import framed
from tickpath.wire import appendage
from tickpath.wire.ouch50 import OUCH50_INBOUND, OUCH50_OUTBOUND

ENGINE = Config(capacity=Capacity(symbols=64, orders=1 << 16, overflow_levels=4096, trades=1024))
ROUNDS = 2_000
"""Rounds that anything may take; each waits a little for the sockets."""
MULTICAST = "239.255.77.9"


def enter(number: int, **values: Any) -> bytes:
    common = {
        "side": "B", "quantity": 100, "symbol": "AAA", "price": Decimal("149.00"),
        "time_in_force": "0", "display": "Y", "capacity": "P",
        "inter_market_sweep_eligibility": "N", "cross_type": "N", "clordid": "X",
    }  # fmt: skip
    message = OUCH50_INBOUND["enter_order"]
    return appendage.encode_message(message, {}, **(common | values), user_ref_num=number)


class Client:
    """A SoupBinTCP client on a socket, which a test moves by hand."""

    def __init__(self, address: list, username: str = "ONE", **login: Any) -> None:
        self.sock = socket.create_connection(tuple(address), timeout=5)
        self.sock.setblocking(False)
        password = soup.Secret(login.pop("password", ""))
        self.soup = soup.Client(username, password, now_ns=time.monotonic_ns(), **login)
        self.events: list[soup.Event] = []
        self.raw = b""

    def move(self) -> None:
        now_ns = time.monotonic_ns()
        with contextlib.suppress(BlockingIOError, ConnectionError):
            received = self.sock.recv(1 << 16)
            self.raw += received
            more = self.soup.receive if received else lambda _, now: self.soup.disconnected(now)
            self.events += more(received, now_ns)
        self.events += self.soup.tick(now_ns)
        with contextlib.suppress(OSError):
            self.sock.sendall(self.soup.take_output())

    def send(self, message: bytes) -> None:
        self.events += self.soup.send(message, time.monotonic_ns())

    @property
    def said(self) -> list[str]:
        """Names of the messages that came."""
        raw = [each.payload for each in self.events if isinstance(each, soup.Sequenced)]
        return [appendage.decode_message(OUCH50_OUTBOUND, each)["message"] for each in raw]

    def close(self) -> None:
        self.sock.close()


class Floor:
    """A server and its clients in one thread; ``until`` moves all of them."""

    def __init__(self, server: Server, feed: socket.socket) -> None:
        self.server, self.feed = server, feed
        self.clients: list[Client] = []
        self.packets: list[bytes] = []

    def client(self, username: str = "ONE", where: str = "ouch", **login: Any) -> Client:
        made = Client(self.server.addresses()[where], username, **login)
        self.clients.append(made)
        return made

    def until(self, done: Callable[[], Any], what: str = "") -> None:
        for _ in range(ROUNDS):
            self.server.round(0.001)
            for each in self.clients:
                each.move()
            with contextlib.suppress(BlockingIOError):
                while True:
                    self.packets.append(self.feed.recv(1 << 16))
            if done():
                return
        raise AssertionError(what or "it never happened")


def config(port: int, **said: Any) -> Exchange:
    common = {
        "symbols": ["AAA=150", "BBB=20"],
        "session": "T1",
        "accounts": [
            {"username": "ONE", "cancel_on_disconnect": True},
            {"username": "TWO", "password": "secret"},
        ],
        "flow": {"kind": "none"},
        "feed": {"group": f"127.0.0.1:{port}"},
    }
    return msgspec.convert(common | said, Exchange)


@contextlib.contextmanager
def floor(said: dict[str, Any] | None = None, **options: Any) -> Iterator[Floor]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as feed:
        feed.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        feed.bind(("127.0.0.1", 0))
        feed.setblocking(False)
        with Server(config(feed.getsockname()[1], **(said or {})), **options) as server:
            made = Floor(server, feed)
            if not options.get("wait_for_login"):
                server.open_day()
            yield made
            for each in made.clients:
                each.close()


def logged_in(client: Client) -> Callable[[], bool]:
    return lambda: client.soup.is_logged_in


# ---------------------------------------------------------------- accounts


def test_an_account_trades_and_its_drop_copy_says_so():
    with floor() as f:
        one, copy = f.client(), f.client(where="drop_copy")
        two = f.client("TWO", password="secret")
        f.until(lambda: all(c.soup.is_logged_in for c in (one, two, copy)))
        one.send(enter(1))
        f.until(lambda: "order_accepted" in one.said)
        two.send(enter(1, side="S"))
        f.until(lambda: "order_executed" in one.said and "order_executed" in two.said)
        one.send(OUCH50_INBOUND["account_query"].encode())
        f.until(lambda: "account_query_response" in one.said)
        told = ["system_event", "order_accepted", "order_executed"]
        assert one.said == [*told, "account_query_response"] and two.said == told
        f.until(lambda: copy.said == told)
        copy.send(enter(2))  # read only
        f.until(lambda: f.server.drop_copy.counters["messages_refused"])
        assert f.server.venue.ports[1].counters["enter"] == 1


def test_a_lost_client_is_told_what_it_missed():
    with floor({"accounts": [{"username": "ONE"}]}) as f:
        one = f.client()
        f.until(logged_in(one))
        one.send(enter(1))
        f.until(lambda: len(one.said) == 2)
        one.close()
        f.clients.remove(one)
        f.until(lambda: not f.server.venue.connected)
        f.server.venue.matching.orders[1]  # still there
        again = f.client(session="T1", sequence=2)
        f.until(lambda: again.said)
        assert again.said == ["order_accepted"] and again.soup.session == "T1"
        from_start = f.client(sequence=1)  # takes the session over
        told = ["system_event", "order_accepted"]
        f.until(lambda: from_start.said == told and again.soup.closed is not None)


def test_who_may_log_in():
    with floor() as f:
        for username, password, sequence in (
            ("TWO", "wrong", 1), ("NONE", "", 1), ("ONE", "", 99),
        ):  # fmt: skip
            client = f.client(username, password=password, sequence=sequence)
            f.until(lambda client=client: client.soup.closed)
            assert isinstance(client.events[-1], soup.Closed)
        good = f.client("two", password="secret")
        f.until(logged_in(good))


def test_orders_go_with_the_connection_where_wanted():
    with floor() as f:
        one, two = f.client(), f.client("TWO", password="secret")
        f.until(lambda: one.soup.is_logged_in and two.soup.is_logged_in)
        one.send(enter(1))
        two.send(enter(1))
        f.until(lambda: len(f.server.venue.matching.orders) == 2)
        newer = f.client()  # a newer login is no lost connection
        f.until(lambda: newer.soup.is_logged_in and one.soup.closed)
        assert len(f.server.venue.matching.orders) == 2
        newer.close()
        two.close()
        f.clients.clear()
        f.until(lambda: not f.server.venue.connected)
        assert [o.owner for o in f.server.venue.matching.orders.values()] == [2]


def test_faults_reach_the_wire():
    with floor() as f:
        one, two = f.client(), f.client("TWO", password="secret")
        f.until(lambda: one.soup.is_logged_in and two.soup.is_logged_in)
        f.server._operate("disconnect_after account=ONE messages=1", time.monotonic_ns())
        one.send(enter(1))
        f.until(lambda: one.soup.closed)
        assert f.server.orders.counters["closed_closed_here"] == 1
        before = len(two.raw)
        f.server._operate("garbage account=TWO bytes=40", time.monotonic_ns())
        f.until(lambda: len(two.raw) >= before + 40)
        assert f.server.orders.counters["garbage_bytes"] == 40


def test_who_does_not_read_is_not_read_from_and_cut_off_in_the_end():
    with floor({"orders": {"timeout_ms": 1_600}}, clock=PatientClock()) as f:
        deaf, two = f.client(), f.client("TWO", password="secret")
        f.until(lambda: deaf.soup.is_logged_in and two.soup.is_logged_in)
        f.clients.remove(deaf)
        deaf.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        query = OUCH50_INBOUND["account_query"].encode()
        rest = b"".join(framed("unsequenced_data", query) for _ in range(200_000))

        def shout() -> bool:
            nonlocal rest
            with contextlib.suppress(BlockingIOError, ConnectionError):
                while rest:
                    rest = rest[deaf.sock.send(rest[: 1 << 20]) :]
            return bool(f.server.orders.counters)

        f.until(shout)
        assert set(f.server.orders.counters) <= {
            "closed_slow_reader", "closed_receive_timeout",
        }  # fmt: skip
        waited = f.server.orders.sessions[1].next_sequence
        assert waited < 200_000
        two.send(enter(1))
        f.until(lambda: "order_accepted" in two.said)
        deaf.close()


# ---------------------------------------------------------------- the feed


def _messages(packets: list[bytes]) -> list[bytes]:
    return [m for p in packets if p[18:20] != b"\xff\xff" for m in split(p[20:])]


def test_the_feed_builds_the_books():
    with floor({"flow": {"rate": 3_000}, "symbols": 8}) as f:
        f.until(lambda: f.server.venue.matching.trade_count > 50)
        f.until(lambda: f.server.feed.next_deadline is None)
        engine = Engine(ENGINE)
        engine.feed(run(_messages(f.packets)))
        if engine.messages != f.server.venue.downstream.next_sequence - 1:
            pytest.skip("the machine dropped packets")
        counters = engine.counters
        assert counters["unknown_order_ref"] == counters["crossed_book"] == 0
        shown = [
            (o.ref, locate, side, o.price, o.shown)
            for locate, book in f.server.venue.matching.books.items()
            for side in (BUY, SELL)
            for o in book.orders(side)
            if o.shown
        ]
        assert [tuple(row) for row in engine.resting().tolist()] == shown


def test_missed_messages_can_be_asked_for():
    with floor() as f:
        f.until(lambda: f.packets)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.setblocking(False)
            request = mold([], 2, b"T1".ljust(10), number=2)
            asking.sendto(request, tuple(f.server.addresses()["requests"]))
            answers: list[bytes] = []

            def answered() -> bool:
                with contextlib.suppress(BlockingIOError):
                    answers.append(asking.recv(1 << 16))
                return bool(answers)

            f.until(answered)
        assert split(answers[0][20:]) == _messages(f.packets)[1:3]


def test_multicast_stays_on_this_machine():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as feed:
        feed.bind(("", 0))
        feed.setblocking(False)
        member = struct.pack("4s4s", socket.inet_aton(MULTICAST), socket.inet_aton("127.0.0.1"))
        try:
            feed.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        except OSError as error:
            pytest.skip(f"no multicast over loopback here: {error}")
        said = {"feed": {"group": f"{MULTICAST}:{feed.getsockname()[1]}"}}
        with Server(config(0, **said)) as server:
            server.open_day()
            f = Floor(server, feed)
            f.until(lambda: f.packets)
            assert f.packets[0][:10] == b"T1".ljust(10)


# ---------------------------------------------------------------- the day


def test_the_day_can_wait_for_the_first_login():
    with floor({"flow": {"rate": 1_000}}, wait_for_login=True) as f:
        for _ in range(5):
            f.server.round(0.001)
        assert not f.server.is_open and f.server.venue.downstream.next_sequence == 1
        one = f.client()
        f.until(lambda: f.packets and one.said)
        assert one.said == ["system_event"]
        assert int.from_bytes(f.packets[0][10:18], "big") == 1


def test_the_day_ends_for_everybody():
    with floor() as f:
        one = f.client()
        f.until(logged_in(one))
        one.send(enter(1))
        f.until(lambda: len(one.said) == 2)
        f.server.stop()
        f.server.run()
        f.until(lambda: one.soup.closed)
        assert one.said == ["system_event", "order_accepted", "canceled", "system_event"]
        assert any(isinstance(each, soup.EndOfSession) for each in one.events)
        ends = [packet for packet in f.packets if packet[18:20] == b"\xff\xff"]
        assert ends and {packet[10:18] for packet in ends} == {
            f.server.venue.downstream.next_sequence.to_bytes(8, "big")
        }


def test_session_names_grow():
    names = [new_session(1_700_000_000 + step) for step in (0, 1, 60, 10**7)]
    assert names == sorted(names) and len(set(names)) == 4 and len(names[0]) == 8


# ---------------------------------------------------------------- operator


class Operator:
    def __init__(self, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(path)
        self.sock.setblocking(False)
        self.raw = b""
        self.is_closed = False

    def ask(self, f: Floor, line: str) -> dict[str, Any]:
        self.sock.sendall(line.encode() + b"\n")
        self.raw = b""
        f.until(lambda: self._read().endswith(b"\n"))
        return json.loads(self.raw)

    def _read(self) -> bytes:
        with contextlib.suppress(BlockingIOError):
            received = self.sock.recv(1 << 16)
            self.raw += received
            self.is_closed = not received
        return self.raw


def test_an_operator_asks_and_commands(tmp_path):
    path = str(tmp_path / "control")
    with floor(control=path) as f:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        operator = Operator(path)
        status = operator.ask(f, "status")
        assert status["session"] == "T1" and set(status["connections"]) == {
            "orders", "drop_copy", "feed", "glimpse", "control",
        }  # fmt: skip
        assert operator.ask(f, "halt symbol=AAA") == {"state": "H"}
        assert f.server.venue.matching.books[1].state == "H"
        assert "no symbol 'ZZZ'" in operator.ask(f, "halt symbol=ZZZ")["error"]
        assert operator.ask(f, '{"do": "orders", "account": "ONE"}') == {
            "account": "ONE",
            "orders": [],
        }
        operator.sock.sendall(b"x" * (MAX_LINE + 10))
        f.until(lambda: operator._read() and operator.is_closed)
        assert f.server.control is not None
        assert f.server.control.counters["lines_too_long"] == 1
        operator.sock.close()
    assert not os.path.exists(path)


def test_a_control_socket_that_was_left_behind_is_replaced(tmp_path):
    path = str(tmp_path / "control")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(path)
    with floor(control=path) as f:
        refused = CliRunner().invoke(main, ["exchange", "--control", path, "--duration", "0"])
        assert refused.exit_code == 2 and "another exchange listens there" in refused.stderr
        assert Operator(path).ask(f, "status")["is_over"] is False


# ---------------------------------------------------------------- the command


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["exchange", *arguments])
    assert result.exit_code == 2 and result.stdout == "", result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("tickpath: ")
    return line


def test_mistakes_are_one_line(tmp_path):
    assert "which file? a recorded flow" in refused("--config", _toml(tmp_path))
    assert "no exchange answers" in refused("--control", str(tmp_path / "none"), "--ask", "status")
    assert "name the venue's --control" in refused("--ask", "status")
    assert "feed.group" in refused("--multicast", "239.1.1.1", "--duration", "0")
    assert "flow.rate" in refused("--rate", "-5")
    assert "symbols" in refused("--symbols", "0")
    assert "cannot be read" in refused("--config", str(tmp_path / "none.toml"))
    assert "none.itch" in refused("--recorded", str(tmp_path / "none.itch"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert "cannot be listened to" in refused("--ouch", port, "--symbols", "A")


def _toml(tmp_path: Path) -> str:
    path = tmp_path / "x.toml"
    path.write_text("[flow]\nkind = 'recorded'\n")
    return str(path)


class Process:
    """`tickpath exchange` as a user runs it."""

    def __init__(self, *arguments: str) -> None:
        paths = os.pathsep.join(p for p in sys.path if p)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tickpath.cli", "exchange", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": paths},
        )  # fmt: skip

    def line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        text = self.process.stdout.readline()
        if not text:
            assert self.process.stderr is not None
            raise AssertionError(self.process.stderr.read())
        return json.loads(text)

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        code = self.process.wait(20)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return code


def _move(client: Client, done: Callable[[], Any], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, (client.said, client.events[-1:])
        client.move()
        time.sleep(0.001)


def test_a_killed_exchange_goes_on(tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as feed:
        feed.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        feed.bind(("127.0.0.1", 0))
        feed.setblocking(False)
        arguments = [
            *("--symbols", "AAA=150", "--rate", "500", "--seed", "3", "--json"),
            *("--multicast", f"127.0.0.1:{feed.getsockname()[1]}"),
            *("--journal", str(tmp_path / "day"), "--control", str(tmp_path / "control")),
        ]
        first = Process(*arguments)
        ready = first.line()
        assert ready["ready"] and ready["recovered_inputs"] is None
        client = Client(ready["ouch"], "TRADER")
        _move(client, lambda: client.soup.is_logged_in)
        for number in range(1, 21):
            client.send(enter(number, price=Decimal(100 + number)))
        _move(client, lambda: client.said.count("order_accepted") == 20)
        last = client.soup.next_sequence
        assert first.end(signal.SIGKILL) == -signal.SIGKILL
        client.close()

        second = Process(*arguments)
        again = second.line()
        assert again["session"] == ready["session"] and again["recovered_inputs"] >= 21
        client = Client(again["ouch"], "TRADER", session=again["session"], sequence=last)
        _move(client, lambda: client.soup.is_logged_in)
        client.send(enter(20))  # sent again: taken for a repetition
        client.send(enter(21, price=Decimal("99.00")))
        _move(client, lambda: "order_accepted" in client.said)
        asked = subprocess.run(
            [sys.executable, "-m", "tickpath.cli", "exchange", "--control",
             str(tmp_path / "control"), "--ask", "orders account=TRADER", "--json"],
            capture_output=True, text=True, timeout=120,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )  # fmt: skip
        orders = json.loads(asked.stdout)["orders"]
        assert [order["key"] for order in orders] == list(range(1, 22))
        assert second.end(signal.SIGTERM) == 0
        client.close()
        assert [each.name for each in (tmp_path / "day").iterdir()] == [
            f"exchange-{ready['session']}.journal"
        ]
        # What the feed said before and after is one stream without a hole.
        packets: dict[int, bytes] = {}
        with contextlib.suppress(BlockingIOError):
            while True:
                packet = feed.recv(1 << 16)
                count = int.from_bytes(packet[18:20], "big")
                if 0 < count < 0xFFFF:
                    packets[int.from_bytes(packet[10:18], "big")] = packet
        wanted = 1
        for sequence, packet in sorted(packets.items()):
            assert sequence == wanted
            wanted = sequence + int.from_bytes(packet[18:20], "big")
        assert wanted > 100


def test_a_signal_ends_the_day_cleanly():
    process = Process("--symbols", "AAA", "--json")
    process.line()
    process.process.send_signal(signal.SIGINT)
    end = process.line()
    assert end["session"] and end["messages"] > 10
    assert process.process.wait(20) == 0
    for stream in (process.process.stdout, process.process.stderr):
        assert stream is not None
        stream.close()
