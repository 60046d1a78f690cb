"""An order gateway and an exchange on sockets, in this thread or as processes of their own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import msgspec

from patient_clock import PatientClock
from tickpath.exchange.config import Exchange
from tickpath.exchange.server import Server
from tickpath.failover.gateway_client import ClientSettings, GatewayClient, Group
from tickpath.failover.gateway_config import GatewayConfig
from tickpath.failover.gateway_event import Event, Stands, Welcomed
from tickpath.failover.gateway_server import GatewayServer
from tickpath.ouch import token_of
from tickpath.session.credentials import Credentials, Secret
from tickpath.session.ouch_message import DIALECTS
from tickpath.wire.gateway import Session

PATIENCE_S = 30.0
PASSWORD = "pa55"
_given: set[int] = set()
FIXED = {"ouch50": {"side": "B", "symbol": "AAA", "time_in_force": "0", "display": "Y"}}
FIXED["ouch50"] |= {"capacity": "P", "inter_market_sweep_eligibility": "N", "cross_type": "N"}
FIXED["ouch42"] = {"buy_sell_indicator": "B", "stock": "AAA", "time_in_force": 99998}
FIXED["ouch42"] |= {"display": "Y", "capacity": "P", "intermarket_sweep_eligibility": "N"}
FIXED["ouch42"] |= {"cross_type": "N", "customer_type": "R"}


def free_port() -> int:
    """A port that nobody listens to now, and that was given to nobody before."""
    while True:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port


def order(protocol: str, number: int, quantity: int = 100) -> bytes:
    """A new order that rests."""
    layout = DIALECTS[protocol].inbound["enter_order"]
    price = Decimal(100)
    if protocol == "ouch50":
        named = {"user_ref_num": number, "quantity": quantity}
    else:
        named = {"order_token": token_of(number), "shares": quantity}
    return layout.encode(**named, price=price, **FIXED[protocol])


def exchange_config(protocol: str) -> dict:
    return {
        "symbols": ["AAA=150"],
        "session": "T1",
        "accounts": [{"username": "DESK", "password": PASSWORD, "cancel_on_disconnect": False}],
        "flow": {"kind": "none"},
        "feed": {"group": "127.0.0.1:9"},
        "orders": {"protocol": protocol},
    }


class House:
    """Exchange, gateway and clients in this thread."""

    def __init__(self, path: Path, protocol: str = "ouch50", **gateway):
        self.protocol, self.path, self.clock = protocol, path, PatientClock()
        self.exchange = Server(
            msgspec.convert(exchange_config(protocol), Exchange), clock=self.clock
        )
        self.exchange.open_day()
        host, port = self.exchange.addresses()["ouch"]
        self.config = msgspec.convert(
            {
                "listen": f"127.0.0.1:{free_port()}",
                "orders": f"{host}:{port}",
                "protocol": protocol,
                "directory": str(path / "gw"),
                "fsync": "none",
                "session": {
                    "messages_per_second": 10**6,
                    "message_burst": 10**4,
                    "reconnect_first_ns": 10**6,
                    "catch_up_ns": 20_000_000,
                    "max_attempts": 1000,
                },
                **gateway,
            },
            GatewayConfig,
        )
        self.clients: list[GatewayClient] = []
        self.events: dict[GatewayClient, list[Event]] = {}
        self.start()

    def start(self) -> None:
        self.gateway: GatewayServer | None = GatewayServer(
            self.config, credentials=Credentials("DESK", Secret(PASSWORD)), clock=self.clock
        )

    def stop(self) -> None:
        assert self.gateway is not None
        self.gateway.close()
        self.gateway = None

    def client(self, node: str, **options) -> GatewayClient:
        address = ("127.0.0.1", int(self.config.listen.rpartition(":")[2]))
        client = GatewayClient(address, node, Group(), **{"clock": self.clock, **options})
        self.clients.append(client)
        self.events[client] = []
        return client

    def move(self) -> None:
        self.exchange.round(0)
        if self.gateway is not None:
            self.gateway.round(0)
        for client in self.clients:
            self.events[client] += client.poll()

    def until(self, is_done) -> None:
        end = time.monotonic() + PATIENCE_S
        while not is_done():
            self.move()
            assert time.monotonic() < end, self.gateway and self.gateway.result()

    def until_up(self) -> None:
        self.until(lambda: self.gateway.gateway.state.name == "UP")
        self.until(lambda: all(each.is_welcome for each in self.clients))

    def until_told_up(self, client: GatewayClient) -> None:
        """Until the gateway has told a node that orders reach the exchange."""

        def is_up() -> bool:
            stands = [getattr(each, "stands", each) for each in self.of(client, Stands, Welcomed)]
            return client.is_welcome and stands[-1].session_state is Session.UP

        self.until(is_up)

    def of(self, client: GatewayClient, *kinds: type) -> list:
        return [each for each in self.events[client] if isinstance(each, kinds)]

    def accepted(self) -> list:
        """Keys of the orders that the exchange has taken, in order."""
        (port,) = (
            each for each in self.exchange.venue.ports.values() if each.account.username == "DESK"
        )
        return list(port.orders)

    def published(self) -> list[bytes]:
        """The exchange's session."""
        (number,) = (
            each.number
            for each in self.exchange.venue.ports.values()
            if each.account.username == "DESK"
        )
        session = self.exchange.orders.sessions[number]
        return [session.message(each) for each in range(1, session.next_sequence)]

    def close(self) -> None:
        for client in self.clients:
            client.close()
        if self.gateway is not None:
            self.gateway.close()
        self.exchange.close()

    def __enter__(self) -> "House":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class GatewayProcess:
    """`tickpath gateway` as a process that can be killed and started again."""

    def __init__(self, path: Path, orders: tuple[str, int], protocol: str = "ouch50"):
        self.port = free_port()
        self.config = path / "gateway.toml"
        self.config.write_text(
            f"""
            [gateway]
            listen = "127.0.0.1:{self.port}"
            orders = "{orders[0]}:{orders[1]}"
            protocol = "{protocol}"
            directory = "{path / "gw"}"
            fsync = "none"
            log_bytes = 0
            [gateway.rules]
            timeout_ms = 60000
            [gateway.session]
            messages_per_second = 1000000
            message_burst = 10000
            reconnect_first_ns = 1000000
            catch_up_ns = 20000000
            max_attempts = 1000
            """
        )
        self.process: subprocess.Popen | None = None

    def start(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from tickpath.command_gateway import gateway; gateway()",
                "--config",
                str(self.config),
                "--json",
                *options,
            ],
            env={**os.environ, "TICKPATH_USERNAME": "DESK", "TICKPATH_PASSWORD": PASSWORD},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.communicate()
            self.process = None

    def stop(self) -> tuple[int, list[dict]]:
        """An orderly end: exit code and what it printed."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        out, error = self.process.communicate(timeout=PATIENCE_S)
        code, self.process = self.process.returncode, None
        assert b"Traceback" not in error, error
        return code, [json.loads(line) for line in out.splitlines()]

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.kill()


__all__ = ["ClientSettings", "GatewayProcess", "House", "exchange_config", "free_port", "order"]
