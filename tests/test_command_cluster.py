"""`tickpath cluster` against nodes that run: what it shows, what it changes, its exit codes."""

import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from gateway_house import free_port
from node_hall import Hall
from tickpath.chaos.layout import toml
from tickpath.cli import main
from tickpath.failover.cluster import findings
from tickpath.failover.control import ask
from tickpath.failover.control_error import ControlError
from tickpath.failover.curve import load_keys
from tickpath.failover.reach import Reach
from tickpath.risk import Kill


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def without_none(value: Any) -> Any:
    """What TOML can say."""
    if isinstance(value, dict):
        return {key: without_none(each) for key, each in value.items() if each is not None}
    return value


def refusal(reach: Reach, **question: Any) -> str:
    """The error that a question is answered with."""
    try:
        return f"answered: {ask(reach, **question)}"
    except ControlError as error:
        return str(error)


class Desk:
    """Two nodes that run in this thread, and an operator in another."""

    def __init__(self, path: Path) -> None:
        self.keys = {name: path / f"{name}.key" for name in "ab"}
        self.public = {
            name: run("cluster", "keys", file).stdout.strip() for name, file in self.keys.items()
        }
        self.checks = {name: f"127.0.0.1:{free_port()}" for name in "ab"}
        self.hall = Hall(path, drill_timeout_ns=10_000_000_000)
        self.files: dict[str, Path] = {}
        for name, other in (("a", "b"), ("b", "a")):
            config = self.hall.configs[name]
            peer = msgspec.structs.replace(
                config.node.peers[other],
                public_key=self.public[other],
                control=self.hall.configs[other].node.control_path,
            )
            node = msgspec.structs.replace(
                config.node,
                keys=str(self.keys[name]),
                peers={other: peer},
                check=self.checks[name],
                http=f"127.0.0.1:{free_port()}",
                notify=("sh", "-c", f"echo $TICKPATH_NODE $TICKPATH_ROLE >> {path}/roles"),
            )
            self.hall.configs[name] = msgspec.structs.replace(config, node=node)
            self.files[name] = path / f"{name}.toml"
            said = without_none(msgspec.to_builtins(self.hall.configs[name]))
            said["node"]["lease_settings"]["timeout_ms"] = 10_000  # a command may have to wait
            kept = ("capacity", "orders", "strategy", "trade", "node")
            said = {key: said[key] for key in kept}
            said["orders"] = {"protocol": said["orders"]["protocol"]}
            self.files[name].write_text(toml(said))

    def meanwhile(self, work: Callable[[], Any]) -> Any:
        """What ``work`` gives, while everything goes on."""
        results: list[Any] = []
        thread = threading.Thread(target=lambda: results.append(work()))
        thread.start()
        while thread.is_alive():
            self.hall.round()
        return results[0]

    def run(self, *arguments: object) -> Result:
        """A command."""
        return self.meanwhile(lambda: run("cluster", *arguments))

    def page(self, name: str, path: str) -> bytes:
        """A page of a node."""
        address = self.hall.configs[name].node.http

        def get() -> bytes:
            with urllib.request.urlopen(f"http://{address}{path}", timeout=20) as answer:
                return answer.read()

        return self.meanwhile(get)

    def settle(self, name: str) -> None:
        other = "b" if name == "a" else "a"
        nodes = self.hall.nodes
        self.hall.until(lambda: self.hall.active() == [name], "nobody is active")

        def is_guarded() -> bool:
            in_sync = nodes[name].role.in_sync
            noted = in_sync.noted if in_sync is not None else None
            return bool(noted and noted.in_sync) and not nodes[other].role.ready()

        self.hall.until(is_guarded, "no standby")


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    made = Desk(tmp_path_factory.mktemp("desk"))
    made.hall.begin("a")
    made.hall.until(lambda: made.hall.active() == ["a"])
    made.hall.begin("b")
    made.settle("a")
    yield made
    made.hall.close()


def test_all_is_well_and_the_role_is_handed_over_and_back(desk, monkeypatch):
    """Steps of one day: starting the two nodes is what takes long."""
    monkeypatch.setattr("tickpath.command_cluster.PAUSE_S", 20.0)
    a, b = desk.files["a"], desk.files["b"]

    # Status, with a's configuration and with b's: the other node is asked by both sides' keys.
    for file in (a, b):
        done = desk.run("status", "--config", file, "--json")
        said = json.loads(done.stdout)
        assert done.exit_code == 0 and said["findings"] == [], done.output
        assert {name: each["state"] for name, each in said["nodes"].items()} == {
            "a": "ACTIVE",
            "b": "STANDBY",
        }
        assert said["lease"]["holder"] == "a" and said["gateway"]["holder"] == "a"
        assert len(said["lease"]["heirs"]) == 2 and said["gateway"]["session"] == "UP"
    shown = desk.run("status", "--config", a)
    assert shown.exit_code == 0 and "lease (witness): epoch 1, holder a" in shown.stdout

    # Checks: the exit code alone.
    for role, codes in (("active", (0, 1)), ("standby", (1, 0)), ("ready", (0, 0))):
        for name, code in zip("ab", codes, strict=True):
            words = ("check", "--role", role, "--timeout", 20)
            assert desk.run(*words, "--config", desk.files[name]).exit_code == code
            assert desk.run(*words, "--address", desk.checks[name]).exit_code == code

    # The engine's own words: a kill of the active is an input that the standby has too.
    refused = desk.run("ctl", "--config", b, "kill", "--why", "a test")
    assert refused.exit_code == 1 and "only an active takes that" in refused.stderr
    done = desk.run("ctl", "--config", a, "kill", "--why", "a test of it")
    assert done.exit_code == 0 and json.loads(done.stdout)["done"] == "kill", done.output
    desk.hall.until(
        lambda: all(
            node.engine.block.gate["killed"][0] == Kill.STOP for node in desk.hall.nodes.values()
        ),
        "the standby does not know of it",
    )
    sent = desk.hall.nodes["a"].engine.counters["orders_sent"]
    assert desk.run("ctl", "--config", a, "reset", "--why", "it is over").exit_code == 0
    desk.hall.until(lambda: desk.hall.nodes["a"].engine.counters["orders_sent"] > sent, "no order")
    positions = desk.run("ctl", "--config", b, "positions")
    assert positions.exit_code == 0 and json.loads(positions.stdout)["positions"]
    wrong = desk.run("ctl", "--config", a, "kill")
    assert wrong.exit_code == 1 and "--why" in wrong.stderr
    alone = desk.run("line", "--config", a, "B")
    assert alone.exit_code == 1 and "there are no lines B" in alone.stderr

    # Pages of nodes that run.
    assert json.loads(desk.page("a", "/role"))["active"] is True
    assert json.loads(desk.page("b", "/ready")) == {
        "node": "b", "role": "STANDBY", "epoch": 1, "ready": True, "reasons": [],
    }  # fmt: skip
    metrics = desk.page("a", "/metrics").decode()
    for line in (
        'tickpath_node_active{node="a"} 1',
        'tickpath_node_in_sync_members{node="a"} 1',
        'tickpath_node_follower_ready{node="a",follower="b"} 1',
        'tickpath_node_takeovers_total{node="a"} 1',
        'tickpath_node_session_up{node="a"} 1',
    ):
        assert line in metrics.splitlines(), metrics
    confirmed = re.search(r'order_bytes_confirmed_total\{node="a"\} (\d+)', metrics)
    assert confirmed and int(confirmed[1]) > 0

    # What a node says over TCP changes nothing where it cannot be true.
    keys = load_keys(str(desk.keys["b"]))
    to_a = Reach(desk.hall.configs["a"].node.listen, desk.public["a"].encode(), keys)
    said = desk.meanwhile(
        lambda: refusal(to_a, ask="handed_over", **{"from": "b"}, epoch=99, number=1)
    )
    assert "b is not the active of epoch 99" in said
    assert "b cannot speak for a" in desk.meanwhile(
        lambda: refusal(to_a, ask="handed_over", **{"from": "a"}, epoch=1, number=1)
    )
    assert "Invalid value" in desk.meanwhile(lambda: refusal(to_a, ask="retire"))

    # Drills: of the standby; what a drill finds against it is an exit code.
    done = desk.run("drill", "--config", a, "--node", "b")
    assert done.exit_code == 0 and "a takeover would succeed" in done.stdout, done.output

    # Only the active's commands, by the file that names its node.
    refused = desk.run("hold", "--config", b)
    assert refused.exit_code == 1 and "only an active changes it" in refused.stderr
    assert desk.run("hold", "--config", a, "--why", "lunch").exit_code == 0
    assert desk.hall.nodes["a"].role.holds == {"operator"}
    done = desk.run("status", "--config", b)
    assert done.exit_code == 1 and "a is not ready: trading is held: operator" in done.stderr
    assert desk.run("resume", "--config", a).exit_code == 0

    # The mode, and back.
    assert desk.run("mode", "--config", a, "--asynchronous").exit_code == 0
    assert not desk.hall.nodes["a"].role.in_sync.is_synchronous
    assert desk.run("mode", "--config", a, "--synchronous").exit_code == 0
    desk.settle("a")

    # The role to b, whoever's configuration is used; then back, by name.
    nobody = desk.run("switchover", "--config", a, "--to", "c")
    assert nobody.exit_code == 1 and "c is not in sync" in nobody.stderr
    done = desk.run("switchover", "--config", a)
    assert done.exit_code == 0 and "handed over at record" in done.stdout, done.output
    assert re.search(r"no order could leave for [\d.]+ ms; [\d.]+ ms from order", done.stdout)
    desk.settle("b")
    done = desk.run("switchover", "--config", a, "--to", "a", "--timeout", "20")
    assert done.exit_code == 0, done.output
    desk.settle("a")
    roles = desk.keys["a"].with_name("roles")
    desk.hall.until(
        lambda: [roles.read_text().count(f"{each} ACTIVE") for each in "ab"] == [2, 1], "no hook"
    )

    # b goes: a finding, and which commands cannot be.
    assert desk.run("retire", "--config", b).exit_code == 0
    done = desk.run("status", "--config", a)
    assert done.exit_code == 1 and "node b is not ready: retired" in done.stderr
    forced = desk.run("force", "--config", b)
    assert forced.exit_code == 1 and "force refused: this node is retired" in forced.stderr


def test_a_loop_that_stands_still_is_told_by_those_who_do_not_wait_for_it(desk):
    """Nobody turns the loops here."""
    active = desk.hall.active()[0]
    address = desk.hall.configs[active].node.http
    end = time.monotonic() + 30
    code = 0
    while code != 503:
        assert time.monotonic() < end, code
        try:
            with urllib.request.urlopen(f"http://{address}/health", timeout=20) as answer:
                code = answer.status
        except urllib.error.HTTPError as error:
            code = error.code
            assert "its loop has not turned for" in json.loads(error.read())["reasons"][0]
    words = ("--role", "active", "--timeout", 20, "--address", desk.checks[active])
    done = run("cluster", "check", *words)
    assert done.exit_code == 1 and "its loop has not turned for" in done.stderr


def test_nobody_there(desk, tmp_path):
    file = tmp_path / "a.toml"
    other = {"ring": "r", "address": f"127.0.0.1:{free_port()}"}
    node = {
        "listen": f"127.0.0.1:{free_port()}",
        "directory": str(tmp_path),
        "lease_settings": {"addresses": [f"127.0.0.1:{free_port()}"], "timeout_ms": 50},
        "check": f"127.0.0.1:{free_port()}",
        "peers": {"b": other},
    }
    file.write_text(toml({"node": node}))
    done = run("cluster", "status", "--config", file)
    assert done.exit_code == 2 and "no nodes are active" in done.stderr
    assert "lease store: " in done.stderr and "no node is connected to the gateway" in done.stderr
    assert run("cluster", "hold", "--config", file).exit_code == 2
    assert run("cluster", "hold", "--config", file, "--node", "b").exit_code == 2
    assert run("cluster", "switchover", "--config", file).exit_code == 1
    assert run("cluster", "check", "--role", "active", "--config", file).exit_code == 1
    assert run("cluster", "check", "--role", "active").exit_code == 2
    assert run("cluster", "check", "--role", "active", "--address", "nowhere").exit_code == 2
    assert run("cluster", "status", "--config", tmp_path / "none").exit_code == 2
    assert run("cluster", "check", "--role", "active", "--config", "none").exit_code == 2


WELL = {
    "nodes": {
        "a": {
            "state": "ACTIVE",
            "ready": True,
            "reasons": [],
            "gate": ["b/1"],
            "synchronous": True,
        },
        "b": {"state": "STANDBY", "ready": True, "reasons": [], "gate": None, "synchronous": True},
    },
    "lease": {"holder": "a"},
    "gateway": {"session": "UP", "detail": ""},
}


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({}, []),
        ({"nodes": {"b": {"state": "ACTIVE", "gate": ["a/1"]}}}, ["2 nodes are active: a, b"]),
        ({"nodes": {"a": {"state": "STANDBY"}}}, ["no nodes are active: -"]),
        (
            {"nodes": {"b": {"error": "no answer"}}},
            ["node b: no answer"],
        ),
        (
            {"nodes": {"b": {"ready": False, "reasons": ["x", "y"]}}},
            ["node b is not ready: x; y"],
        ),
        ({"lease": {"holder": "b"}}, ["the lease is b's, and a is active"]),
        ({"lease": {"holder": None}}, ["the lease is nobody's, and a is active"]),
        ({"lease": {"error": "no witness"}}, ["lease store: no witness"]),
        (
            {"gateway": {"session": "DOWN", "detail": "refused"}},
            ["the gateway's session is down: refused"],
        ),
        ({"nodes": {"a": {"gate": []}}}, ["node a runs without a standby in sync"]),
        ({"nodes": {"a": {"gate": [], "synchronous": False}}}, []),
    ],
)
def test_findings(change, wanted):
    said = {
        "nodes": {
            name: each | change.get("nodes", {}).get(name, {})
            for name, each in WELL["nodes"].items()
        },
        "lease": WELL["lease"] | change.get("lease", {}),
        "gateway": WELL["gateway"] | change.get("gateway", {}),
    }
    assert list(findings(**said)) == wanted
    alone = list(findings(said["nodes"], said["lease"], None))
    assert "no node is connected to the gateway" in alone


def test_keys(tmp_path):
    file = tmp_path / "a.key"
    done = run("cluster", "keys", file)
    assert done.exit_code == 0 and load_keys(str(file)).public.decode() == done.stdout.strip()
    again = run("cluster", "keys", file)
    assert again.exit_code == 2 and again.stderr.count("\n") == 1
