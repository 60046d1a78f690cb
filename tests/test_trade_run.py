"""The whole trader against the simulated exchange, in one process: what stays right, whatever."""

import json
import socket
import threading
import time
from decimal import Decimal

import pytest

from tickpath.counters import Counter
from tickpath.exchange import command
from tickpath.operator_socket import ask
from tickpath.risk import Kill
from tickpath.session.ouch_event import End
from tickpath.wire.ouch50 import OUCH50_OUTBOUND
from trading import CREDENTIALS, Pit, pit


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


def begun(p: Pit, orders: int = 100) -> Pit:
    """With a trader that has sent some orders."""
    p.begin()
    p.until_ready()
    p.until(lambda: p.sent() >= orders)
    return p


def do(p: Pit, line: str) -> None:
    """An operator's command for the exchange."""
    venue = p.server.venue
    venue.operate(command.parse(command.read(line), venue), venue.now_ns)


def more(p: Pit, orders: int) -> None:
    before = p.sent()
    p.until(lambda: p.sent() >= before + orders, "no more orders")


def operator(p: Pit, line: str) -> dict:
    """A line to the trader's own socket, while it goes on."""
    answers: list[dict] = []
    path = str(p.directory / "control.sock")
    asking = threading.Thread(target=lambda: answers.append(ask(path, line, "trader")))
    asking.start()
    p.until(lambda: not asking.is_alive(), "no answer")
    return answers[0]


# ---------------------------------------------------------------- the same positions and orders


@pytest.mark.parametrize("protocol", ["ouch50", "ouch42"])
def test_positions_and_open_orders_are_the_exchanges(tmp_path, protocol):
    often = {"parameters": [1, 1]}
    with pit(tmp_path, exchange={"orders": {"protocol": protocol}}, strategy=often) as p:
        begun(p, 0)
        opened = 0
        for _ in range(5):
            more(p, 300)
            opened += len(p.check()["open"])
        assert opened > 10
        counters = p.live.engine.counters
        assert counters["executions"] > 50
        assert counters["executions_repeated"] == counters["responses_unknown_order"] == 0
        assert p.live.watch.unmatched == 0 and not p.live.difference


@pytest.mark.parametrize("protocol", ["ouch50", "ouch42"])
def test_a_killed_trader_goes_on_where_it_was(tmp_path, protocol):
    with pit(tmp_path, exchange={"orders": {"protocol": protocol}}) as p:
        begun(p)
        for _ in range(4):
            before = p.live.journal.highest_user_ref_num
            p.crash()
            do(p, "disconnect account=TRADER")
            p.begin()
            p.until_ready()
            p.check()
            more(p, 50)
            p.check()
            assert p.live.journal.highest_user_ref_num > before
        assert not p.live.difference


def test_orders_of_an_earlier_process_are_canceled(tmp_path):
    with pit(tmp_path) as p:
        begun(p)
        p.settle()
        p.until(lambda: p.live.engine.block.gate[0]["open_orders"] > 0)
        p.crash()
        p.begin(strategy={"parameters": [1 << 40, 1]})
        p.until_ready()
        p.until(lambda: not p.exchange_says()["open"])
        assert p.check()["open"] == {}
        assert any("of an earlier process" in note for note in p.live.desk.notes)


def test_the_strategy_is_off_while_orders_cannot_be_sent(tmp_path):
    with pit(tmp_path) as p:
        begun(p, 20)
        assert p.live.engine.block.get("strategy")
        do(p, "disconnect account=TRADER")
        p.until(lambda: not p.live.desk.is_ready)
        assert p.live.engine.block.get("strategy") == 0
        p.until_ready()
        more(p, 20)
        p.check()


# ---------------------------------------------------------------- what an exchange can do


@pytest.mark.parametrize(
    "fault",
    [
        "reject account=TRADER count=30",
        "delay account=TRADER ms=120",
        "disconnect_after account=TRADER messages=25",
        "garbage account=TRADER bytes=500",
        "freeze symbol=AAA answer=pending",
        "freeze symbol=AAA answer=reject",
        "halt symbol=BBB",
        "mass_cancel account=TRADER",
        "drop count=40",
    ],
)
def test_faults_of_the_exchange(tmp_path, fault):
    with pit(tmp_path) as p:
        begun(p, 60)
        do(p, fault)
        for _ in range(200):
            p.round()
        if "delay" in fault:
            do(p, "delay account=TRADER ms=0")
        if "freeze" in fault:
            do(p, "release symbol=AAA")
        if "halt" in fault:
            do(p, "resume symbol=BBB")
        more(p, 60)
        if "delay" in fault:
            p.until(lambda: p.live.watch.unmatched == 0)
        p.check()
        assert not p.live.difference and not p.live.engine.block.gate[0]["killed"]


def test_trades_that_are_broken(tmp_path):
    with pit(tmp_path) as p:
        begun(p, 0)
        p.until(lambda: p.live.engine.counters["executions"] >= 5)
        p.settle()
        traded = list(p.server.venue.ports[1]._traded)[-3:]
        for match in traded:
            do(p, f"break match={match}")
        p.check()
        assert p.live.engine.counters["executions_broken"] >= len(traded)
        assert p.live.watch.unmatched == 0


def test_the_day_ends(tmp_path):
    with pit(tmp_path) as p:
        begun(p)
        p.settle()
        ending = threading.Thread(target=p.server.end_day)
        ending.start()
        end = time.monotonic() + 10
        while p.live.desk.ended is None and time.monotonic() < end:
            p.live.round()
        p.live.run()
        ending.join()
        assert p.live.desk.ended.end is End.END_OF_SESSION
        assert p.trader_says()["open"] == {}
        assert p.trader_says()["positions"] == p.exchange_says()["positions"]


# ---------------------------------------------------------------- the feed


def test_lost_packets_of_the_feed_are_asked_for(tmp_path):
    with pit(tmp_path, exchange={"feed": {"loss": 0.05}}) as p:
        begun(p, 200)
        p.until(lambda: p.live.market.is_current)
        p.check()
        counters = p.live.engine.counters
        assert counters["gaps"] == counters["books_stale"] == 0
        assert p.server.venue.faults.counters["packets_dropped"] > 10
        assert p.live.market.counters["requests"] > 10
        # Packets go on being lost: the latest hole may be open still, and is closed.
        p.until(lambda: [e["recovery"] for e in p.live.state()["lines"]] == ["SYNCHRONISED"])


def test_without_anybody_to_ask_a_loss_is_a_gap(tmp_path):
    with pit(tmp_path, trade={"requests": None}) as p:
        p.begin()
        p.until_ready()
        for _ in range(50):
            p.round()
        gaps = p.live.engine.counters["gaps"]
        do(p, "drop count=1")
        p.until(lambda: p.live.engine.counters["gaps"] > gaps)
        books = p.live.engine.block.book
        assert books["stale"][books["venue"] > 0].all()
        assert [each["recovery"] for each in p.live.state()["lines"]] == ["STALE"]


def test_hostile_datagrams(tmp_path):
    """Garbage, huge counts, other sessions, numbers far beyond: counted, and the day goes on."""
    with pit(tmp_path) as p:
        begun(p, 20)
        hostile = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        session = p.server.venue.session.encode().ljust(10)
        where = tuple(p.server.addresses()["feed"])
        far = (1 << 40).to_bytes(8, "big")
        for round_number in range(200):
            hostile.sendto(bytes([round_number]) * (round_number % 19), where)
            hostile.sendto(b"OTHER     " + far + b"\0\1\0\4abcd", where)
            hostile.sendto(b"x" * 60_000, where)
            hostile.sendto(session + far + b"\xff\xf0" + b"\xff" * 30, where)
            hostile.sendto(session + (1).to_bytes(8, "big") + b"\xff\xf0" + b"\xff" * 30, where)
            p.round()
        hostile.close()
        more(p, 50)
        p.check()
        counters = p.live.engine.counters
        assert counters["mold_invalid"] and counters["sequence_jumps"]
        assert p.live.market.counters["packets_of_another_session"] >= 400
        assert counters["books_stale"] == 0


# ---------------------------------------------------------------- the second opinion


def executed(ref: int, match: int) -> bytes:
    return OUCH50_OUTBOUND["order_executed"].encode(
        timestamp=1, user_ref_num=ref, quantity=100, price=Decimal("150"), match_number=match,
    )  # fmt: skip


QUICK = {"reconcile_grace_ms": 300}


def test_a_fill_that_the_drop_copy_does_not_have(tmp_path):
    with pit(tmp_path, trade=QUICK) as p:
        begun(p, 50)
        p.settle()
        p.live.engine.feed_responses(b"\0\x24" + executed(1, 999_999))
        p.until(lambda: p.live.difference)
        assert p.live.engine.block.gate[0]["killed"] == Kill.STOP
        assert "engine" in p.live.difference[0] and "drop copy" in p.live.difference[0]
        before = p.live.journal.highest_user_ref_num
        p.until(lambda: p.live.engine.rejects_by_code.get("KILL_SWITCH", 0) > 0)
        assert p.live.journal.highest_user_ref_num == before  # cancels pass, nothing else


def test_a_fill_that_only_the_drop_copy_has(tmp_path):
    with pit(tmp_path, trade=QUICK) as p:
        begun(p, 50)
        p.server.drop_copy.sessions[1].publish(executed(1, 999_999), time.monotonic_ns())
        p.until(lambda: p.live.difference)
        assert "only the drop copy tells of it" in p.live.difference[0]
        assert p.live.engine.block.gate[0]["killed"] == Kill.STOP


def test_books_that_lack_orders(tmp_path):
    with pit(tmp_path) as p:
        begun(p, 20)
        p.live.engine.block.counter["value"][Counter.LEVEL_FULL] += 2
        p.until(lambda: p.live.engine.block.gate[0]["killed"] == Kill.STOP)
        assert any("2 orders found no room" in note for note in p.live.desk.notes)
        assert operator(p, "reset --why 'looked at it'")["done"] == "kill"
        before = p.sent()
        p.until(lambda: p.sent() > before + 10)
        assert not p.live.engine.block.gate[0]["killed"], "it is latched once for the same orders"


def test_the_kill_outlives_the_process(tmp_path):
    with pit(tmp_path) as p:
        begun(p, 20)
        assert operator(p, "kill --why 'enough for today'")["done"] == "kill"
        p.crash()
        p.begin()
        p.until_ready()
        assert p.live.engine.block.gate[0]["killed"] == Kill.STOP
        assert any("latched from before" in note for note in p.live.desk.notes)
        assert operator(p, "reset --why 'a new day'")["done"] == "kill"
        assert json.loads((tmp_path / "kill-switches.json").read_text()) == []
        more(p, 20)


def test_the_drop_copy_comes_back(tmp_path):
    with pit(tmp_path, trade=QUICK) as p:
        begun(p, 50)
        for connection in list(p.server.drop_copy._connections):
            connection.sock.shutdown(socket.SHUT_RDWR)
        p.until(lambda: not p.live.drop_copy.is_ready)
        more(p, 50)
        p.until(lambda: p.live.drop_copy.is_ready)
        more(p, 20)
        p.check()
        p.until(lambda: p.live.watch.unmatched == 0)
        assert not p.live.difference
        notes = [note.partition(" ")[2] for note in p.live.desk.notes if "drop copy" in note]
        assert len(notes) == 2 and notes[1] == "drop copy: the connection is there again"


# ---------------------------------------------------------------- operator and end


def test_an_operator_on_the_socket(tmp_path):
    with pit(tmp_path) as p:
        begun(p, 50)
        status = operator(p, "status")
        assert status["ready"] and status["drop_copy"] == "ready" and status["killed"] == "NONE"
        assert operator(p, "limit max_quantity 5 AAA --why careful")["done"] == "limit"
        p.until(lambda: p.live.engine.rejects_by_code.get("QUANTITY", 0) > 3)
        assert operator(p, "kill --why test")["done"] == "kill"
        assert operator(p, "cancel --why test")["done"] == "cancel_all"
        p.until(lambda: not p.exchange_says()["open"])
        assert operator(p, "orders") == {"orders": []}
        assert "required" in operator(p, "kill")["error"]
        p.check()


def test_the_end_cancels_and_logs_out(tmp_path):
    with pit(tmp_path) as p:
        begun(p, 100)
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                p.server.round(0.001)

        serving = threading.Thread(target=serve)
        serving.start()
        p.live.stop()
        p.live.run()
        stop.set()
        serving.join()
        assert p.live.desk.ended.end is End.LOGOUT
        result = p.live.result()
        assert result["open_own_orders"] == [] and p.exchange_says()["open"] == {}
        assert result["audit"]["records"] >= result["counters"]["orders_sent"]
        json.dumps(result)
