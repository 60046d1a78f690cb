"""`tickpath node` and `tickpath mirror` as users have them: files, questions, what goes wrong."""

import socket
import subprocess
import sys
import threading

import pytest
from click.testing import CliRunner

from cluster import toml
from gateway_house import free_port
from tickpath.cli import main
from tickpath.exchange.trade_config import MARK, text
from tickpath.failover import pair
from tickpath.failover.control import Control, ask, tell
from tickpath.failover.control_error import ControlError
from tickpath.failover.node_config import load

WHERE = {
    "feed": ("239.255.77.1", 26477),
    "requests": ("127.0.0.1", 5),
    "ouch": ("127.0.0.1", 6),
    "drop_copy": ("127.0.0.1", 7),
    "glimpse": None,
    "feed_b": None,
    "session": "DAY1",
    "interface": "127.0.0.1",
    "protocol": "ouch42",
}


def run(*arguments: object):
    return CliRunner().invoke(main, [str(each) for each in arguments])


@pytest.fixture
def trade(tmp_path):
    path = tmp_path / "trade.toml"
    path.write_text(text(WHERE))
    return path


def test_a_pairs_files_are_written_and_can_be_read(trade):
    done = run("node", "--write-pair", trade)
    assert done.exit_code == 0, done.output
    commands = done.stdout.splitlines()
    assert [each.split()[1] for each in commands] == ["witness", "gateway", "node", "node"]
    a, b = (load(trade.with_name(f"node-{name}.toml")) for name in "ab")
    assert a.node.peers["b"].ring == b.node.ring and b.node.peers["a"].control == a.node.control
    assert a.orders.protocol == "ouch42" and a.trade.orders == "127.0.0.1:6"
    assert 'orders = "127.0.0.1:6"' in trade.with_name("gateway.toml").read_text()
    assert run("node", "--write-pair", trade).exit_code == 0  # its own files it writes anew
    trade.with_name("gateway.toml").write_text("# mine\n")
    again = run("node", "--write-pair", trade)
    assert again.exit_code == 2 and "was not written by --write-pair" in again.output
    assert MARK in trade.read_text() and pair.MARK not in trade.read_text()


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({"lease": "paper"}, "node.lease: paper: there are witness, etcd, redis, kubernetes"),
        ({"name": "b"}, "node.peers: b is this node's own name"),
        ({"name": "two words"}, "node.name"),
        ({"ring": "/dev/shm/tickpath-b"}, "every node has a ring of its own"),
        ({"role": {"lease_renew_ns": 10**9}}, "at least two renewals"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_a_node_cannot_be_is_one_line(tmp_path, said, what):
    peers = {"b": {"ring": "/dev/shm/tickpath-b", "control": "127.0.0.1:9"}}
    path = tmp_path / "node.toml"
    path.write_text(toml({"node": {"peers": peers, **said}}))
    done = run("node", "--config", path)
    assert done.exit_code == 2 and what in done.output
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("tickpath: ")


def test_no_file_and_no_node(tmp_path, trade):
    assert run("node").exit_code == 2
    assert "cannot be read" in run("node", "--config", tmp_path / "none.toml").output
    run("node", "--write-pair", trade)
    done = run("node", "--config", trade.with_name("node-a.toml"), "--ask", "status")
    assert done.exit_code == 1 and "does the node run?" in done.output


def test_without_its_package_it_says_what_to_install(trade):
    run("node", "--write-pair", trade)
    program = "import sys; sys.modules['zmq'] = None; from tickpath.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "node", "--config", str(trade.with_name("node-a.toml"))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "pip install 'tickpath[failover]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_questions_are_answered_and_errors_told():
    address = f"127.0.0.1:{free_port()}"
    heard = []

    def answer(question):
        heard.append(question)
        if question["ask"] == "much":
            return {"number": 7}, bytes(range(256)) * 10_000
        return {"error": "no such question"}, b""

    control = Control(address, answer)
    try:
        with socket.socket() as other, pytest.raises(ControlError, match="in use"):
            other.bind(("127.0.0.1", 0))
            other.listen()
            Control(f"127.0.0.1:{other.getsockname()[1]}", answer)
        tell(address, ask="word", what=1)
        for _ in range(2_000):
            if control.serve():
                break
        results = []

        def asks() -> None:
            results.append(ask(address, 10_000, ask="much"))
            with pytest.raises(ControlError, match="no such question"):
                ask(address, 10_000, ask="other")

        thread = threading.Thread(target=asks)
        thread.start()
        while thread.is_alive():
            control.serve()
        assert results == [({"number": 7}, bytes(range(256)) * 10_000)]
    finally:
        control.close()
    assert [each["ask"] for each in heard][-2:] == ["much", "other"]


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (("send", "--ring", "/nowhere/ring", "--listen", "127.0.0.1:9"), "No such file"),
        (("receive", "--ring", "/tmp/m", "--name", "b", "--source", "nowhere"), "not HOST:PORT"),
    ],
)
def test_mirrors_that_cannot_be(command, what):
    done = run("mirror", *command)
    assert done.exit_code == 2 and what in done.output
    assert len(done.stderr.splitlines()) == 1
