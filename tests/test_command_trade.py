"""`tickpath trade` and `tickpath ctl` as a user has them: two commands, and what goes wrong."""

import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tickpath import Engine
from tickpath.cli import main
from tickpath.exchange.server import Server
from tickpath.packet import PACKET
from tickpath.recovery.engine_lines import EngineLines
from tickpath.trade.run import Trader
from trading import CREDENTIALS, exchange_config, free_udp_port, trade_config

TICKPATH = [sys.executable, "-m", "tickpath.cli"]
QUOTER = "tickpath.samples:two_sided_quoter"
PATIENCE_S = 120.0


@pytest.fixture(autouse=True, scope="module")
def compiled():
    """A trader's first start compiles for longer than anybody waits for here: do that before."""
    engine = Engine()
    engine.process(np.zeros(0, PACKET))
    engine.go_on()
    EngineLines.warm_up()


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


def wait_for(done, what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end, what
        time.sleep(0.01)


@contextlib.contextmanager
def process(*command: str, cwd: Path, **said) -> Iterator[subprocess.Popen]:
    running = subprocess.Popen(
        [*TICKPATH, *command], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        **said,
    )  # fmt: skip
    try:
        yield running
    finally:
        if running.poll() is None:
            running.kill()
        running.communicate()


@contextlib.contextmanager
def exchange(directory: Path) -> Iterator[tuple[Path, subprocess.Popen]]:
    """The first of the two commands; gives the directory that the trader will have."""
    group = f"239.255.78.13:{free_udp_port()}"
    command = ["exchange", "--trade-config", "trade.toml", "--multicast", group]
    with process(*command, "--json", cwd=directory) as running:
        assert running.stdout is not None
        session = json.loads(running.stdout.readline())["session"]
        yield directory / f"tickpath-trade-{session}", running


def ctl(directory: Path, *words: str) -> tuple[int, dict]:
    result = CliRunner().invoke(main, ["ctl", str(directory), *words])
    return result.exit_code, json.loads(result.stdout or "{}")


def orders_sent(directory: Path) -> int:
    code, status = ctl(directory, "status")
    return status["counters"].get("orders_sent", 0) if code == 0 else 0


TRADE = ("trade", "--config", "trade.toml", "--strategy", QUOTER)


# ---------------------------------------------------------------- two commands


def test_two_commands_an_operator_and_a_signal(tmp_path):
    with exchange(tmp_path) as (directory, _):
        with process(*TRADE, "--json", cwd=tmp_path) as running:
            wait_for(lambda: orders_sent(directory) > 10, "no orders")
            assert ctl(directory, "books")[0] == 0
            assert ctl(directory / "control.sock", "kill", "--why", "test")[1]["done"] == "kill"
            assert ctl(directory, "positions")[0] == 0
            code, answer = ctl(directory, "nonsense")
            assert code == 1 and "invalid choice" in answer["error"]
            running.send_signal(signal.SIGTERM)
            out, err = running.communicate(timeout=PATIENCE_S)
        assert running.returncode == 0, err
        result = json.loads(out)
        assert result["schema"] == "tickpath.trade/1" and result["open_own_orders"] == []
        assert result["killed"] == "STOP" and not result["differs_from_drop_copy"]
        assert "Traceback" not in err and f"trading; tickpath ctl {directory.name} status" in err
        assert not (directory / "control.sock").exists()
        log = (directory / "session.log").read_text()
        assert "login_request username=TRADER password=***" in log
        assert CREDENTIALS["TICKPATH_PASSWORD"] not in log
        for audit in directory.glob("decisions-*.audit"):
            assert CliRunner().invoke(main, ["audit", "verify", str(audit)]).exit_code == 0


def test_the_exchange_ends_the_day(tmp_path):
    with exchange(tmp_path) as (directory, venue):
        with process(*TRADE, cwd=tmp_path) as running:
            wait_for(lambda: orders_sent(directory) > 0, "no orders")
            venue.send_signal(signal.SIGTERM)
            out, err = running.communicate(timeout=PATIENCE_S)
        assert running.returncode == 0, err
        assert "messages, " in out and "orders sent" in out
        assert "order session ended: the exchange ended the session" in err


def test_the_screen_on_a_terminal(tmp_path):
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    raw = b""
    with exchange(tmp_path) as (directory, _):
        running = subprocess.Popen(
            [*TICKPATH, *TRADE], cwd=tmp_path, stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)
        os.set_blocking(master, False)

        def read(until: bytes = b"live") -> bool:
            nonlocal raw
            with contextlib.suppress(BlockingIOError, OSError):
                raw += os.read(master, 1 << 16)
            return until in raw

        try:
            wait_for(read, "no live order on the screen")
            running.send_signal(signal.SIGINT)
            wait_for(lambda: read() and running.poll() is not None, "it does not end")
            before = -1
            while len(raw) > before:  # one read gives a part of what waits
                before = len(raw)
                read()
        finally:
            if running.poll() is None:
                running.kill()
            running.wait()
        assert running.returncode == 0, raw[-2_000:]
        assert directory.exists()
    shown = raw.decode(errors="replace")
    begin, end = shown.index("\x1b[?1049h"), shown.rindex("\x1b[?1049l")
    assert "position" in shown[begin:end] and "tick to order" in shown[begin:end]
    assert "orders sent" in shown[end:] and "is ready at message" in shown[end:]
    os.close(master)


# ---------------------------------------------------------------- what goes wrong


def trade(*flags: str) -> tuple[int, str]:
    """Exit code and what was said, in this process: for what ends before anything is sent."""
    result = CliRunner().invoke(main, ["trade", *flags, "--json"])
    if not isinstance(result.exception, SystemExit | None):
        raise result.exception
    return result.exit_code, result.stderr


def refused(*flags: str) -> str:
    """The one line of an error."""
    code, said = trade(*flags)
    lines = [line for line in said.splitlines() if not line.startswith("tickpath: compiling")]
    assert code == 2 and len(lines) == 1 and lines[0].startswith("tickpath: "), (code, said)
    return lines[0]


@pytest.fixture
def file(tmp_path):
    """Writes a configuration of a trader that finds nobody."""

    def write(**trade_table) -> str:
        table = {
            "feed": f"127.0.0.1:{free_udp_port()}",
            "orders": "127.0.0.1:1",
            "directory": str(tmp_path / "dir"),
            "start_timeout_ms": 100,
        } | trade_table
        lines = [f"{name} = {json.dumps(value)}" for name, value in table.items()]
        path = tmp_path / "trade.toml"
        path.write_text("[trade]\n" + "\n".join(lines) + "\n[capacity]\nsymbols = 64\n")
        return str(path)

    return write


def test_no_configuration(tmp_path):
    assert "cannot be read: No such file" in refused("--config", str(tmp_path / "none.toml"))


def test_no_exchange(file):
    assert "no packet came to" in refused("--config", file())


def test_no_credentials(file, monkeypatch):
    monkeypatch.delenv("TICKPATH_PASSWORD")
    said = refused("--config", file())
    assert "no credentials: TICKPATH_PASSWORD not set" in said
    assert "not a regular file" in refused("--config", file(credentials="/dev/null"))


def test_no_such_strategy(file):
    said = refused("--config", file(), "--strategy", "tickpath.samples:none")
    assert "has no function none" in said


def test_an_address_of_another_machine(file):
    said = refused("--config", file(feed="192.0.2.1:5000"))
    assert "trade.feed: 192.0.2.1:5000 over 127.0.0.1: Cannot assign requested address" in said


def test_a_name_that_is_nobodys(file):
    assert "no IPv4 address" in refused("--config", file(orders="no.such.host.invalid:1"))


def test_a_directory_that_cannot_be(file, tmp_path):
    (tmp_path / "taken").write_text("")
    said = refused("--config", file(directory=str(tmp_path / "taken" / "dir")))
    assert "trade.directory: " in said and "Not a directory" in said


def test_another_trader_in_the_directory(file, tmp_path):
    where = {name: ["127.0.0.1", free_udp_port()] for name in
             ("feed", "requests", "ouch", "drop_copy")}  # fmt: skip
    config = trade_config({**where, "protocol": "ouch50"}, tmp_path / "dir")
    with Trader(config):
        said = refused("--config", file())
    assert "another process has this journal open" in said


def test_a_journal_that_is_none(file, tmp_path):
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "orders.journal").write_bytes(b"something else entirely")
    assert "not an order journal" in refused("--config", file())


@contextlib.contextmanager
def serving(tmp_path, **said) -> Iterator[str]:
    """A venue in this process while the trader is one of its own; gives the configuration."""
    import threading

    with Server(exchange_config(free_udp_port(), **said)) as server:
        server.open_day()
        is_over = threading.Event()

        def serve() -> None:
            while not is_over.is_set():
                server.round(0.002)

        thread = threading.Thread(target=serve)
        thread.start()
        where = server.addresses()
        names = {"feed": "feed", "requests": "requests", "orders": "ouch"}
        table = {name: "{}:{}".format(*where[key]) for name, key in names.items()}
        path = tmp_path / "served.toml"
        lines = [f"{name} = {json.dumps(value)}" for name, value in table.items()]
        directory = f"directory = {json.dumps(str(tmp_path / 'dir'))}"
        path.write_text("\n".join(["[trade]", *lines, directory, "[capacity]", "symbols = 64", ""]))
        try:
            yield str(path)
        finally:
            is_over.set()
            thread.join()


def test_a_wrong_password(tmp_path):
    account = {"username": "TRADER", "password": "another"}
    with serving(tmp_path, accounts=[account]) as path:
        code, said = trade("--config", path)
    assert code == 2 and said.splitlines()[-1].startswith("tickpath: 127.0.0.1:")
    assert "user name or password is wrong" in said and "check TICKPATH_USERNAME" in said


def test_another_days_journal(tmp_path):
    with serving(tmp_path, session="T1") as path:
        assert trade("--config", path, "--duration", "3")[0] == 0
    with serving(tmp_path, session="T2") as path:
        code, said = trade("--config", path, "--duration", "60")
    assert code == 2 and "another day has begun: name another trade.directory" in said


def test_a_strategy_that_raises_is_a_finding(tmp_path):
    source = tmp_path / "raising.py"
    source.write_text(
        "from numba import njit\n@njit\ndef mine(engine, book, kind, flags):\n"
        "    raise ValueError\n"
    )
    with serving(tmp_path) as path:
        code, _ = trade("--config", path, "--strategy", f"{source}:mine", "--duration", "5")
    assert code == 1


def test_ctl_without_a_trader(tmp_path):
    result = CliRunner().invoke(main, ["ctl", str(tmp_path), "status"])
    assert result.exit_code == 2 and "no trader answers" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_trade_config_of_an_exchange(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("precious = 1\n")
    result = CliRunner().invoke(
        main, ["exchange", "--trade-config", str(path), "--duration", "0", "--multicast",
               f"127.0.0.1:{free_udp_port()}"]
    )  # fmt: skip
    assert result.exit_code == 2 and "was not written by this option" in result.stderr
    assert path.read_text() == "precious = 1\n"
    missing = str(tmp_path / "no" / "dir.toml")
    result = CliRunner().invoke(
        main, ["exchange", "--trade-config", missing, "--duration", "0", "--multicast",
               f"127.0.0.1:{free_udp_port()}"]
    )  # fmt: skip
    assert result.exit_code == 2 and "cannot be written" in result.stderr
