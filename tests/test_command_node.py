"""`tickpath node` and `tickpath mirror` as users have them: files, questions, what goes wrong."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from tickpath.chaos.layout import toml
from tickpath.cli import main
from tickpath.exchange.trade_config import MARK, text
from tickpath.failover import pair
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
    assert a.node.peers["b"].ring == b.node.ring and b.node.peers["a"].address == a.node.listen
    assert a.node.peers["b"].control == b.node.control_path
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
        ({"listen": "0.0.0.0:7601"}, "node.listen: 0.0.0.0:7601: without node.keys only loopback"),
        (
            {"peers": {"b": {"ring": "r", "address": "10.0.0.2:7"}}},
            "node.peers.b.address: 10.0.0.2",
        ),
        ({"peers": {"b": {"ring": "r", "address": "host.example:7"}}}, "only loopback"),
        ({"keys": "a.key"}, "node.peers.b.public_key is missing"),
        (
            {"peers": {"b": {"ring": "r", "address": "127.0.0.1:7", "public_key": "a" * 40}}},
            "node.keys is missing",
        ),
    ],
)
def test_what_a_node_cannot_be_is_one_line(tmp_path, said, what):
    peers = {"b": {"ring": "/dev/shm/tickpath-b", "address": "127.0.0.1:9"}}
    path = tmp_path / "node.toml"
    path.write_text(toml({"node": {"peers": peers, **said}}))
    done = run("node", "--config", path)
    assert done.exit_code == 2 and what in done.output
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("tickpath: ")


def test_no_file(tmp_path):
    assert run("node").exit_code == 2
    assert "cannot be read" in run("node", "--config", tmp_path / "none.toml").output


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
