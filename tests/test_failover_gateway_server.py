"""The gateway on sockets against `tickpath exchange`: logins, zombies, kills, garbage."""

import random
import socket
import struct
import time

import pytest

from gateway_hall import stream
from gateway_house import ClientSettings, GatewayProcess, House, order
from tickpath.failover.gateway_client import Sent
from tickpath.failover.gateway_event import (
    Accepted,
    Answer,
    Confirmed,
    Lost,
    Refused,
    Stands,
    Told,
    Welcomed,
)
from tickpath.failover.gateway_framing import framed
from tickpath.ouch import token_of
from tickpath.session.ouch_message import DIALECTS, Kind
from tickpath.wire.gateway import Outcome, Refusal

NEW = (Kind.ACCEPTED, Kind.REPLACED)


def key(protocol: str, number: int):
    return number if protocol == "ouch50" else token_of(number).encode()


@pytest.mark.parametrize("protocol", ["ouch50", "ouch42"])
def test_two_nodes_and_a_zombie(tmp_path, protocol):
    with House(tmp_path, protocol) as house:
        a, b = house.client("a"), house.client("b")
        house.until_up()
        first = stream(order(protocol, 1), order(protocol, 2))
        assert a.hand_over(1, 0, 11, first) is Sent.WRITTEN
        house.until(lambda: len(house.accepted()) == 2)
        house.until(lambda: house.of(a, Accepted) and house.of(b, Confirmed))
        assert house.of(a, Accepted) == [Accepted(1, len(first))]
        assert house.of(b, Confirmed) == [Confirmed(1, len(first))]
        # The standby takes over and hands over what it cannot know to have come, and more.
        whole = first + stream(order(protocol, 3))
        b.hand_over(2, 0, 12, whole)
        house.until(lambda: len(house.accepted()) == 3)
        a.hand_over(1, len(whole), 13, stream(order(protocol, 4)))
        house.until(lambda: house.of(a, Refused))
        assert house.of(a, Refused) == [Refused(Refusal.STALE_EPOCH, 1, len(whole), 2, len(whole))]
        assert [each.highest_epoch for each in house.of(a, Stands)][-1] == 2
        assert house.accepted() == [key(protocol, number) for number in (1, 2, 3)]
        published = house.published()
        house.until(lambda: all(len(house.of(c, Answer)) == len(published) for c in (a, b)))
        expected = [Answer(number + 1, each) for number, each in enumerate(published)]
        assert house.of(a, Answer) == house.of(b, Answer) == expected


def test_restart_of_the_gateway_goes_on_where_everybody_stopped(tmp_path):
    with House(tmp_path) as house:
        a = house.client("a", settings=ClientSettings(reconnect_ms=1))
        house.until_up()
        one = stream(order("ouch50", 1))
        a.hand_over(3, 0, 1, one)
        house.until(lambda: len(house.accepted()) == 1 and len(house.of(a, Answer)) > 1)
        house.stop()
        house.until(lambda: house.of(a, Lost))
        assert a.hand_over(3, len(one), 2, one) is Sent.NO_LINE
        house.start()
        house.until_up()
        welcomed = house.of(a, Welcomed)[-1]
        assert (welcomed.stands.highest_epoch, welcomed.stands.order_position) == (3, len(one))
        a.hand_over(3, 0, 2, one + stream(order("ouch50", 2)))
        house.until(lambda: len(house.accepted()) == 2)
        house.until(lambda: len(house.of(a, Answer)) == len(house.published()))
        assert [each.payload for each in house.of(a, Answer)] == house.published()


def test_exchange_that_cuts_the_line(tmp_path):
    with House(tmp_path) as house:
        a = house.client("a")
        house.until_up()
        stream_socket = house.gateway.line._stream.sock
        stream_socket.shutdown(socket.SHUT_RDWR)
        house.until(lambda: house.of(a, Stands))
        a.hand_over(1, 0, 1, stream(order("ouch50", 1)))
        house.until(lambda: house.gateway.gateway.order_position)
        house.until_up()
        position = house.gateway.gateway.order_position
        a.hand_over(1, position, 1, stream(order("ouch50", 2)))
        house.until(lambda: key("ouch50", 2) in house.accepted())
        house.until(lambda: len(house.accepted()) + len(house.of(a, Told)) == 2)
        reasons = {each.reason for each in house.of(a, Told)}
        # Order 1 found no line, was lost with the old one, or had the new one already.
        assert reasons <= {Outcome.NOT_READY, Outcome.NEVER_RECEIVED}


def test_garbage_costs_a_counter(tmp_path):
    """Whatever is sent, the gateway lives, a counter says what happened, and a node is served."""
    generator = random.Random(1)
    with House(tmp_path) as house:
        a = house.client("a")
        house.until_up()
        spoils = [
            b"\0" * 64,
            b"GET / HTTP/1.1\r\n\r\n",
            struct.pack(">II", 5, 0) + b"Habcd",
            framed(b"O" + bytes(24)),
            framed(b"?"),
            framed(b"H"),
            framed(b"B" + bytes(8)),
            *(generator.randbytes(generator.randint(1, 300)) for _ in range(40)),
        ]
        address = ("127.0.0.1", int(house.config.listen.rpartition(":")[2]))
        counters = house.gateway.gateway.counters
        for each in spoils:
            with socket.create_connection(address) as sock:
                sock.sendall(each)
                house.move()
            house.move()
        house.until(lambda: len(house.gateway._connections) == 1)
        left = {name: count for name, count in counters.items() if name.startswith("left_")}
        assert sum(left.values()) == len(spoils) and left["left_bad_frame"] >= 40
        assert left["left_unexpected"] >= 2
        a.hand_over(1, 0, 1, stream(order("ouch50", 1)))
        house.until(lambda: len(house.accepted()) == 1)


def test_spoiled_frames_of_a_welcome_node_cost_its_connection_only(tmp_path):
    with House(tmp_path) as house:
        a = house.client("a", settings=ClientSettings(reconnect_ms=1))
        b = house.client("b")
        house.until_up()
        a._link.output += framed(b"O" + bytes(24))[:-1] + b"\x55"
        house.until(lambda: house.of(a, Lost))
        assert house.gateway.gateway.counters["left_bad_frame"] == 1
        house.until_up()
        assert not house.of(b, Lost) and len(house.of(a, Welcomed)) == 2
        assert house.gateway.gateway.order_position == 0


def test_more_connections_than_allowed(tmp_path):
    with House(tmp_path, max_connections=2) as house:
        house.client("a"), house.client("b")
        house.until_up()
        house.client("c")
        house.until(lambda: house.gateway.gateway.counters["connections_refused"])


def test_long_stream_goes_in_pieces(tmp_path):
    with House(tmp_path) as house:
        a = house.client("a", settings=ClientSettings(max_message=4096))
        house.until_up()
        whole = stream(*(order("ouch50", number) for number in range(1, 301)))
        a.hand_over(1, 0, 1, whole)
        house.until(lambda: len(house.accepted()) == 300)
        house.until(lambda: house.of(a, Accepted)[-1:] == [Accepted(1, len(whole))])
        assert len(house.of(a, Accepted)) > 1


def test_status_by_the_operators_socket(tmp_path):
    import threading

    from tickpath.operator_socket import ask

    with House(tmp_path) as house:
        house.client("a").poll()
        house.until_up()
        answer = {}
        path = str(tmp_path / "gw" / "control.sock")
        thread = threading.Thread(target=lambda: answer.update(ask(path, "status", "gateway")))
        thread.start()
        house.until(lambda: not thread.is_alive())
        assert answer["session_state"] == "up" and list(answer["nodes"]) == ["a"]


# ---------------------------------------------------------------- a process that is killed


def kills(tmp_path, count: int, seed: int) -> None:
    """Orders go on while the gateway is killed at random moments; the exchange is the judge."""
    generator = random.Random(seed)
    with House(tmp_path) as house:
        house.stop()
        process = GatewayProcess(tmp_path, house.exchange.addresses()["ouch"])
        house.config = type(house.config)(listen=f"127.0.0.1:{process.port}")
        quick = ClientSettings(reconnect_ms=1)
        clients = {name: house.client(name, settings=quick) for name in "ab"}
        sent, ends, epoch, number = b"", [0], 0, 0
        try:
            for _ in range(count):
                process.start()
                house.until(lambda: all(each.is_welcome for each in clients.values()))
                name = generator.choice("ab")
                epoch += 1
                active = clients[name]
                stands = house.of(active, Welcomed)[-1].stands
                assert stands.order_position in ends
                active.hand_over(
                    epoch, stands.order_position, number, sent[stands.order_position :]
                )
                until = time.monotonic() + generator.random() * 0.4
                while time.monotonic() < until:
                    number += 1
                    one = stream(order("ouch50", number))
                    position, sent = len(sent), sent + one
                    ends.append(len(sent))
                    active.hand_over(epoch, position, number, one)
                    for _ in range(generator.randint(1, 4)):
                        house.move()
                process.kill()
                house.until(lambda: not any(each.is_welcome for each in clients.values()))
            process.start()
            house.until_told_up(clients["a"])
            clients["a"].ask(77, epoch + 1)
            house.until(lambda: any(e.request == 77 for e in house.of(clients["a"], Stands)))
            (stands,) = (e for e in house.of(clients["a"], Stands) if e.request == 77)
            assert (stands.highest_epoch, stands.holder) == (epoch + 1, "a")
            clients["a"].hand_over(
                epoch + 1, stands.order_position, number, sent[stands.order_position :]
            )
            house.until(
                lambda: house.of(clients["a"], Accepted)[-1:] == [Accepted(epoch + 1, len(sent))]
            )
            house.until(
                lambda: all(
                    len(house.of(c, Answer)) == len(house.published()) for c in clients.values()
                )
            )
            code, (ready, result) = process.stop()
        finally:
            process.close()
        assert code == 0 and ready["ready"] and result["order_position"] == len(sent)
        for client in clients.values():
            assert [each.payload for each in house.of(client, Answer)] == house.published()
        told = house.of(clients["a"], Told)
        assert told == house.of(clients["b"], Told)
        judge(house.published(), told, number)


def judge(published: list[bytes], told: list[Told], last: int) -> None:
    """Every order was accepted once, in order, or has an outcome that says why not."""
    answers = [DIALECTS["ouch50"].answer(each) for each in published]
    accepted = [each.key for each in answers if each.kind in NEW]
    assert accepted == sorted(set(accepted)) and len(accepted) > last // 20
    request = DIALECTS["ouch50"].request
    given = [request(each.payload).key for each in told]
    assert len(given) == len(set(given))
    assert sorted([*accepted, *given]) == list(range(1, last + 1))


def test_kill_at_random_moments(tmp_path):
    kills(tmp_path, 3, seed=3)


@pytest.mark.long
def test_kill_at_random_moments_for_long(tmp_path):
    kills(tmp_path, 200, seed=4)
