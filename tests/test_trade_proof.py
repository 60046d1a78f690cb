"""The proof that trading rests on: our positions and open orders are the exchange's, whatever dies.

Long: 100,000 orders with replacements and cancels and a checkpoint every 5,000; 200 kills -9 of
either side, or both, at random moments, while trading, starting and recovering.
"""

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway_house import free_port
from tickpath.config import ConfigError
from tickpath.operator_socket import ask
from tickpath.session.ouch_message import DIALECTS
from tickpath.session.ouch_message import Kind as Meant
from tickpath.session.store import Journal
from tickpath.session.store_record import Kind
from trading import CREDENTIALS, free_udp_port, pit

TICKPATH = [sys.executable, "-m", "tickpath.cli"]
PATIENCE_S = 240.0
SETTLE_S = 60.0
"""How long both sides may take to say the same once nothing new is sent."""


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


# ---------------------------------------------------------------- many orders


def orders_end_to_end(directory: Path, protocol: str, orders: int, every: int) -> None:
    said = {"exchange": {"orders": {"protocol": protocol}}, "strategy": {"parameters": [1, 3]}}
    with pit(directory, **said) as p:
        p.begin()
        p.until_ready()
        opened = 0
        for checkpoint in range(every, orders + 1, every):
            while p.sent() < checkpoint:
                # In portions, because `until` has a limit of time.
                portion = min(checkpoint, p.sent() + 500)
                p.until(lambda most=portion: p.sent() >= most)
            opened += len(p.check()["open"])
        counters = p.live.engine.counters
        port = p.server.venue.ports[1].counters
        print(
            f"{protocol}: {p.sent():,} orders, {port['enter']:,} new, {port['replace']:,} "
            f"replacements, {port['cancel']:,} cancels, {counters['executions']:,} executions, "
            f"{opened:,} open at {orders // every} checkpoints"
        )
        assert port["replace"] > orders // 20 and port["cancel"] > orders // 20 and opened
        assert counters["executions"] > orders // 50
        assert counters["executions_repeated"] == counters["responses_unknown_order"] == 0
        p.until(lambda: p.live.watch.unmatched == 0, "only one session tells of a trade")
        assert not p.live.difference


@pytest.mark.parametrize("protocol", ["ouch50", "ouch42"])
def test_orders_end_to_end(tmp_path, protocol):
    orders_end_to_end(tmp_path, protocol, 2_000, 500)


@pytest.mark.long
@pytest.mark.parametrize("protocol", ["ouch50", "ouch42"])
def test_a_hundred_thousand_orders_end_to_end(tmp_path, protocol):
    orders_end_to_end(tmp_path, protocol, 100_000, 5_000)


# ---------------------------------------------------------------- kill -9


class Day:
    """An exchange and a trader as processes of their own, over one session."""

    def __init__(self, directory: Path, protocol: str, cancel_at_start: bool) -> None:
        self.directory, self.protocol = directory, protocol
        # Of the two that are TCP's, TCP has to say so: its own connections avoid what it gives.
        ports = [free_udp_port(), free_udp_port(), free_port(), free_port()]
        feed, requests, orders, copy = (f"127.0.0.1:{port}" for port in ports)
        (directory / "exchange.toml").write_text(
            f'symbols = ["AAA=150", "BBB=20", "CCC=75"]\n[flow]\nrate = 2000.0\n'
            f'[feed]\ngroup = "{feed}"\nrequest_port = {ports[1]}\n'
            f"[orders]\nport = {ports[2]}\ndrop_copy_port = {ports[3]}\n"
            f'protocol = "{protocol}"\n'
        )
        (directory / "trade.toml").write_text(
            f'[trade]\nfeed = "{feed}"\nrequests = "{requests}"\norders = "{orders}"\n'
            f'drop_copy = "{copy}"\ndirectory = "{directory / "trader"}"\n'
            f"start_timeout_ms = 120_000\nreconcile_grace_ms = 20_000\n"
            f"cancel_at_start = {json.dumps(cancel_at_start)}\n"
            f"[trade.session]\nreconnect_first_ns = 20_000_000\n"
            f"reconnect_longest_ns = 200_000_000\nmax_attempts = 1_000\n"
            f"catch_up_ns = 200_000_000\nsettle_timeout_ns = 1_000_000_000\n"
            f'[orders]\nprotocol = "{protocol}"\n[strategy]\nparameters = [2, 1]\n'
            f"[capacity]\nsymbols = 64\norders = 1_048_576\n"
            f'[risk]\nmax_position = 1_000_000\noff = ["self_match", "price_collar"]\n'
        )
        self.processes: dict[str, subprocess.Popen] = {}
        path = os.environ.get("PYTHONPATH", "")
        here = str(Path(__file__).parent)
        self._environment = os.environ | {"PYTHONPATH": f"{here}:{path}"}

    def start(self, which: str) -> None:
        flags = {
            "exchange": ["--journal", str(self.directory / "day"), "--control", self.control],
            "trader": ["--strategy", f"{Path(__file__).parent / 'trading.py'}:busy"],
        }[which]
        command, config = {
            "exchange": ("exchange", "exchange.toml"), "trader": ("trade", "trade.toml"),
        }[which]  # fmt: skip
        with (self.directory / f"{which}.out").open("ab") as out:
            self.processes[which] = subprocess.Popen(
                [*TICKPATH, command, "--config", str(self.directory / config), "--json", *flags],
                stdout=out,
                stderr=out,
                env=self._environment,
                cwd=self.directory,
            )

    def kill(self, which: str) -> None:
        self.processes[which].kill()
        self.processes[which].wait()

    def close(self) -> None:
        for which in self.processes:
            self.kill(which)

    @property
    def control(self) -> str:
        return str(self.directory / "exchange.sock")

    def exchange(self, line: str) -> dict:
        return ask(self.control, line, "exchange")

    def trader(self, line: str) -> dict:
        return ask(str(self.directory / "trader" / "control.sock"), line, "trader")

    def until(self, done, what: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(ConfigError):  # it does not answer yet
                if done():
                    return
            for which, each in self.processes.items():
                assert each.poll() is None, f"{which} ended: {self.output(which)}"
            assert time.monotonic() < end, f"{what}: {self.output('trader')}"
            time.sleep(0.02)

    def output(self, which: str) -> str:
        return (self.directory / f"{which}.out").read_text()[-2_000:]

    def until_ready(self) -> None:
        self.until(lambda: self.exchange("status")["session"], "no exchange")
        self.until(lambda: self.trader("status")["ready"], "the session is not ready")

    def until_trading(self) -> None:
        self.until_ready()
        before = self.trader("status")["counters"].get("orders_sent", 0)

        def has_sent() -> bool:
            return self.trader("status")["counters"].get("orders_sent", 0) > before + 5

        self.until(has_sent, "no orders")

    # ------------------------------------------------------------ the checkpoint

    def says(self) -> tuple[dict, dict]:
        """What trader and exchange say of positions, cash, shares traded and open orders."""
        name = "user_ref_num" if self.protocol == "ouch50" else "cl_ord_id"
        there = {
            "positions": {
                symbol: (row["position"], row["cash"], row["bought"] + row["sold"])
                for symbol, row in self.exchange("positions account=TRADER")["positions"].items()
                if row["bought"] or row["sold"]
            },
            "open": {
                row["key"]: row["leaves_qty"]
                for row in self.exchange("orders account=TRADER")["orders"]
            },
        }
        here = {
            "positions": {
                row["symbol"]: (row["position"], round(row["cash"] * 10_000), row["day_quantity"])
                for row in self.trader("positions")["positions"]
                if row["day_quantity"]
            },
            "open": {row[name]: row["leaves_qty"] for row in self.trader("orders")["orders"]},
        }
        return here, there

    def check(self) -> None:
        """Nothing new is sent; then both say the same, and neither has counted anything twice."""
        self.until_ready()
        self.trader("kill --why checkpoint")
        end = time.monotonic() + SETTLE_S
        while True:
            here, there = self.says()
            status = self.trader("status")
            if here == there and not status["unmatched_executions"]:
                break
            assert time.monotonic() < end, f"{here}\n{there}\n{self.output('trader')}"
            time.sleep(0.05)
        assert status["counters"].get("executions_repeated", 0) == 0
        assert status["differs_from_drop_copy"] == []
        counters = self.exchange("status")["accounts"]["TRADER"]["counters"]
        assert counters.get("repeated", 0) == 0
        self.trader("reset --why checkpoint")

    def numbers_sent(self) -> list[int]:
        """Of every new order in the trader's journal, in the order of sending."""
        dialect = DIALECTS[self.protocol]
        path = self.directory / "trader" / "orders.journal"
        with Journal(path, protocol=self.protocol, fsync="none") as journal:
            sent = [dialect.request(each.payload) for each in journal.entries(Kind.SENT)]
        return [each.number for each in sent if each.kind in (Meant.ENTER, Meant.REPLACE)]


@contextlib.contextmanager
def day(directory: Path, protocol: str, cancel_at_start: bool) -> Iterator[Day]:
    made = Day(directory, protocol, cancel_at_start)
    try:
        made.start("exchange")
        made.start("trader")
        yield made
    finally:
        made.close()


def kills(directory: Path, seed: int, number: int) -> None:
    """So many kills in one day; the seed says who, when, and how often while it starts."""
    chance = random.Random(f"kills {seed}")
    protocol = "ouch42" if seed % 3 == 2 else "ouch50"
    with day(directory, protocol, cancel_at_start=seed % 2 == 0) as d:
        d.until_trading()
        killed = 0
        while killed < number:
            victims = chance.choice(
                (["trader"], ["trader"], ["exchange"], ["exchange"], ["exchange", "trader"])
            )
            time.sleep(chance.random())
            for which in victims:
                d.kill(which)
            killed += 1
            for which in victims:
                d.start(which)
            if killed < number and chance.random() < 0.3:  # again, while it starts
                time.sleep(chance.random() * 4)
                again = chance.choice(victims)
                d.kill(again)
                killed += 1
                d.start(again)
            d.check()
            d.until_trading()
        d.check()
        final = d.exchange("status")["accounts"]["TRADER"]["counters"]
        traded = sum(row["bought"] + row["sold"] for row in
                     d.exchange("positions account=TRADER")["positions"].values())  # fmt: skip
        d.kill("trader")
        numbers = d.numbers_sent()
        print(f"seed {seed} {protocol}: {killed} kills, {len(numbers):,} orders, {traded:,} shares")
        assert numbers == sorted(set(numbers)), "an order was sent twice"
        assert final.get("enter", 0) + final.get("replace", 0) <= len(numbers)
        assert traded > 0


def test_kill_9_at_random_moments(tmp_path):
    kills(tmp_path, 0, 4)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 21))
def test_two_hundred_kills_at_random_moments(tmp_path, seed):
    kills(tmp_path, seed, 10)
