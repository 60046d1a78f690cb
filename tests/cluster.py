"""A group as its users run it: processes for all but the exchange, which is a thread here."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway_house import free_port
from tickpath.config import ConfigError
from tickpath.exchange.server import Server
from tickpath.failover.control_error import ControlError
from tickpath.failover.operator_control import ask_operator
from trading import CREDENTIALS, exchange_config, free_udp_port

TICKPATH = [sys.executable, "-m", "tickpath.cli"]
PATIENCE_S = 60.0
MILLISECOND_NS = 1_000_000
ROLE = {
    "beat_timeout_ns": 500 * MILLISECOND_NS,
    "lease_ttl_ns": 800 * MILLISECOND_NS,
    "lease_renew_ns": 100 * MILLISECOND_NS,
    "store_timeout_ns": 300 * MILLISECOND_NS,
    "gateway_timeout_ns": 300 * MILLISECOND_NS,
    "ack_timeout_ns": 300 * MILLISECOND_NS,
    "take_over_timeout_ns": 5_000 * MILLISECOND_NS,
    "drain_timeout_ns": 2_000 * MILLISECOND_NS,
    "loop_timeout_ns": 5_000 * MILLISECOND_NS,
}
"""Wider bounds than the usual ones: six processes share the cores of a test machine."""


def toml(said: dict[str, Any], name: str = "") -> str:
    """A nested dictionary as TOML."""
    plain = {key: value for key, value in said.items() if not isinstance(value, dict)}
    lines = [f"[{name}]"] if name and plain else []
    lines += [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    for key, value in said.items():
        if isinstance(value, dict):
            lines.append(toml(value, f"{name}.{key}" if name else key))
    return "\n".join(lines)


class Cluster:
    """See the module's text."""

    def __init__(self, path: Path, role: dict[str, int] | None = None, rate: float = 500.0) -> None:
        self.path = path
        self.processes: dict[str, subprocess.Popen] = {}
        group = f"239.255.79.1:{free_udp_port()}"
        self.exchange = Server(exchange_config(0, feed={"group": group}, flow={"rate": rate}))
        self._thread = threading.Thread(target=self.exchange.run, args=(None,))
        self._thread.start()
        self.until(lambda: self.exchange.is_open, "the exchange")
        where = self.exchange.addresses()
        self.witness_at, self.gateway_at = (f"127.0.0.1:{free_port()}" for _ in range(2))
        session = {"messages_per_second": 1_000_000, "message_burst": 10_000}
        gateway = {
            "listen": self.gateway_at,
            "orders": "{}:{}".format(*where["ouch"]),
            "protocol": where["protocol"],
            "directory": str(path / "gateway"),
            "fsync": "none",
            "session": session,
        }
        (path / "gateway.toml").write_text(toml({"gateway": gateway}))
        listens = {name: f"127.0.0.1:{free_port()}" for name in "ab"}
        self.controls = {name: str(path / f"node-{name}" / "control") for name in "ab"}
        for name, other in (("a", "b"), ("b", "a")):
            node = {
                "name": name,
                "ring": str(path / f"ring-{name}"),
                "listen": listens[name],
                "gateway": self.gateway_at,
                "directory": str(path / f"node-{name}"),
                "lease_settings": {"addresses": [self.witness_at], "timeout_ms": 250},
                "peers": {
                    other: {
                        "ring": str(path / f"ring-{other}"),
                        "address": listens[other],
                        "control": self.controls[other],
                    }
                },
                "role": ROLE if role is None else role,
            }
            capacity = {"symbols": 64, "orders": 1 << 20, "overflow_levels": 4096, "trades": 1024}
            said = {
                "capacity": capacity,
                "orders": {"protocol": where["protocol"]},
                "strategy": {"parameters": [4, 1]},
                "risk": {"max_position": 1_000_000, "off": ["self_match", "price_collar"]},
                "trade": {"feed": group, "requests": "{}:{}".format(*where["requests"])},
                "node": node,
            }
            (path / f"{name}.toml").write_text(toml(said))

    def begin(self, name: str, *command: str) -> None:
        tests = str(Path(__file__).parent)
        paths = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
        log = open(self.path / f"{name}.log", "ab")  # noqa: SIM115 - the process has it
        self.processes[name] = subprocess.Popen(
            [*TICKPATH, *command],
            cwd=self.path,
            stdout=log,
            stderr=log,
            env={**os.environ, **CREDENTIALS, "PYTHONPATH": paths},
        )
        log.close()

    def begin_all(self) -> None:
        self.begin(
            "witness", "witness", "--listen", self.witness_at, "--state", "witness.state", "--new"
        )
        self.begin("gateway", "gateway", "--config", "gateway.toml")
        for name in "ab":
            self.begin_node(name)

    def begin_node(self, name: str) -> None:
        self.begin(name, "node", "--config", f"{name}.toml", "--strategy", "trading:busy")

    def status(self, name: str) -> dict[str, Any]:
        """What a node says of itself; {} where it says nothing."""
        with contextlib.suppress(ConfigError, ControlError):
            return self.ask(name, ask="status")
        return {}

    def ask(self, name: str, **question: Any) -> dict[str, Any]:
        """Ask a node, or tell it something, as its operator."""
        return ask_operator(self.controls[name], **question)

    def active(self) -> str | None:
        """The node that says that it is active, if it is one."""
        names = [name for name in "ab" if self.status(name).get("state") == "ACTIVE"]
        return names[0] if len(names) == 1 else None

    def is_guarded(self) -> bool:
        """Whether a standby is in sync, and ready to take over."""
        name = self.active()
        if name is None:
            return False
        other = "b" if name == "a" else "a"
        return bool(self.status(name).get("gate")) and bool(self.status(other).get("ready"))

    def until(self, done: Callable[[], Any], what: str, pause_s: float = 0.002) -> None:
        end = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < end, f"{what}\n{self.logs()}"
            time.sleep(pause_s)

    def logs(self) -> str:
        return "\n".join(
            f"--- {each.name}\n{each.read_text()[-3000:]}" for each in self.path.glob("*.log")
        )

    @property
    def port(self) -> Any:
        (port,) = [
            each
            for each in self.exchange.venue.ports.values()
            if each.account.username == CREDENTIALS["TICKPATH_USERNAME"]
        ]
        return port

    def taken(self) -> int:
        """Orders that the exchange has taken; it has seen none twice."""
        assert self.port.counters["repeated"] == 0
        return len(self.port.orders)

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        self.processes[name].send_signal(number)
        if number == signal.SIGKILL:
            self.processes.pop(name).wait()

    def close(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        self.exchange.stop()
        self._thread.join(20)
        self.exchange.close()
