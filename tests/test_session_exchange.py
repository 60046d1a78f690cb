"""An order session against `tickpath exchange` on sockets: lines cut and desks killed, by seed."""

import random
import socket
import struct
import time
from decimal import Decimal

import msgspec
import pytest

from tickpath.exchange.config import Exchange
from tickpath.exchange.server import Server
from tickpath.ouch import token_of
from tickpath.session.ouch import OrderSession
from tickpath.session.ouch_event import SessionState
from tickpath.session.ouch_message import DIALECTS, Kind
from tickpath.session.ouch_settings import OrderSettings
from tickpath.session.soup import Secret
from tickpath.session.store import Journal
from tickpath.session.tcp import OrderLine

PATIENCE_S = 30.0
PASSWORD = "pa55"
FIXED50 = {
    "side": "B",
    "symbol": "AAA",
    "time_in_force": "0",
    "display": "Y",
    "capacity": "P",
    "inter_market_sweep_eligibility": "N",
    "cross_type": "N",
}
FIXED42 = {
    "buy_sell_indicator": "B",
    "stock": "AAA",
    "time_in_force": 99998,
    "display": "Y",
    "capacity": "P",
    "intermarket_sweep_eligibility": "N",
    "cross_type": "N",
    "customer_type": "R",
}


def venue(protocol: str) -> Server:
    said = {
        "symbols": ["AAA=150"],
        "session": "T1",
        "accounts": [{"username": "DESK", "password": PASSWORD, "cancel_on_disconnect": False}],
        "flow": {"kind": "none"},
        "feed": {"group": "127.0.0.1:9"},
        "orders": {"protocol": protocol},
    }
    server = Server(msgspec.convert(said, Exchange))
    server.open_day()
    return server


class Desk:
    """A session on a socket, and the venue it talks to, in one thread."""

    def __init__(self, path, protocol: str, server: Server, seed: int):
        self.path = path
        self.protocol = protocol
        self.dialect = DIALECTS[protocol]
        self.server = server
        self.generator = random.Random(seed)
        self.begin()

    def begin(self) -> None:
        self.journal = Journal(self.path, protocol=self.protocol, fsync="none")
        self.session = OrderSession(
            self.journal,
            "DESK",
            Secret(PASSWORD),
            now_ns=time.monotonic_ns(),
            settings=OrderSettings(
                messages_per_second=10**6,
                reconnect_first_ns=1_000_000,
                catch_up_ns=20_000_000,
                settle_timeout_ns=100_000_000 if self.protocol == "ouch42" else 5_000_000_000,
                max_attempts=1000,
            ),
        )
        host, port = self.server.addresses()["ouch"]
        self.line = OrderLine(self.session, (host, port))

    def end(self) -> None:
        self.line.close()
        self.journal.close()

    def move(self) -> None:
        self.server.round(0)
        self.line.poll(0)
        assert self.session.ended is None, str(self.session.ended)

    def until(self, is_done) -> None:
        end = time.monotonic() + PATIENCE_S
        while not is_done():
            self.move()
            assert time.monotonic() < end, self.session.state

    def until_ready(self) -> None:
        self.until(lambda: self.session.state is SessionState.READY)

    def messages(self) -> list[bytes]:
        """A few orders, replacements and cancels."""
        number, made = self.session.port.highest, []
        price = Decimal(self.generator.randint(100, 140))
        for _ in range(self.generator.randint(1, 12)):
            choice = self.generator.random()
            older = self.generator.randint(max(1, number - 9), max(1, number))
            if choice < 0.6:
                number += 1
                made.append(self.enter(number, price))
            elif choice < 0.8:
                number += 1
                made.append(self.replace(older, number, price))
            else:
                made.append(self.dialect.cancel(self.key(older)))
        return made

    def key(self, number: int):
        return number if self.protocol == "ouch50" else token_of(number)

    def enter(self, number: int, price: Decimal) -> bytes:
        layout = self.dialect.inbound["enter_order"]
        if self.protocol == "ouch50":
            return layout.encode(user_ref_num=number, quantity=100, price=price, **FIXED50)
        return layout.encode(order_token=token_of(number), shares=100, price=price, **FIXED42)

    def replace(self, orig: int, number: int, price: Decimal) -> bytes:
        layout = self.dialect.inbound["replace_order"]
        if self.protocol == "ouch50":
            return layout.encode(
                orig_user_ref_num=orig,
                user_ref_num=number,
                quantity=60,
                price=price,
                time_in_force="0",
                display="Y",
                inter_market_sweep_eligibility="N",
            )
        return layout.encode(
            existing_order_token=token_of(orig),
            replacement_order_token_token_14=token_of(number),
            shares=60,
            price=price,
            time_in_force=99998,
            display="Y",
            intermarket_sweep_eligibility="N",
        )


@pytest.mark.parametrize("protocol", ["ouch50", "ouch42"])
@pytest.mark.parametrize("seed", range(3))
def test_both_sides_agree_after_cut_lines_and_killed_desks(tmp_path, protocol, seed):
    with venue(protocol) as server:
        desk = Desk(tmp_path / "j", protocol, server, seed)
        generator = desk.generator
        for _ in range(12):
            desk.until_ready()
            for _ in range(generator.randint(1, 6)):
                desk.line.send(desk.messages())
                for _ in range(generator.randint(0, 3)):
                    desk.move()
            if generator.random() < 0.5:
                desk.end()
                desk.begin()
            else:
                if generator.random() < 0.5:  # what the system still holds is thrown away
                    off = struct.pack("ii", 1, 0)
                    desk.line._stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, off)
                    desk.line.close()
                    desk.session.disconnected(time.monotonic_ns())
                    desk.line = OrderLine(desk.session, desk.line.address)
                else:
                    desk.line._stream.sock.shutdown(socket.SHUT_RDWR)
                    desk.until(lambda: desk.session.state is not SessionState.READY)
        desk.until_ready()
        desk.until(lambda: not desk.session.port.waiting and not desk.session.has_output)
        for _ in range(200):
            desk.move()
        (port,) = (each for each in server.venue.ports.values() if each.account.username == "DESK")
        assert {own.key for own in port.live.values()} == {
            key if protocol == "ouch50" else key.encode() for key in desk.session.port.orders.leaves
        }
        received = [each.payload for each in desk.journal.received()]
        session = server.orders.sessions[port.number]
        assert received == [session.message(n) for n in range(1, session.next_sequence)]
        accepted = {
            answer.key
            for answer in map(desk.dialect.answer, received)
            if answer.kind in (Kind.ACCEPTED, Kind.REPLACED, Kind.REJECTED)
        }
        sent = {
            request.key
            for request in (desk.dialect.request(each.payload) for each in desk.journal.sent())
            if request.kind in (Kind.ENTER, Kind.REPLACE)
        }
        settled = set(desk.session.port.settled)
        assert len(sent) > 100 and len(accepted) > 50 and settled
        assert sent == accepted | settled
        if protocol == "ouch50":  # 4.2 may call an order lost and be told otherwise later
            assert not accepted & settled
        desk.end()
