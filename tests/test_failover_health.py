"""What monitors and load balancers are told: pages, lines, metrics; nobody keeps others waiting."""

import json
import socket
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from unittest.mock import patch

import msgspec
import numpy as np
import pytest

from tickpath.counters import Counter
from tickpath.failover import health_server
from tickpath.failover.control_error import ControlError
from tickpath.failover.health import PATHS, WORDS, View
from tickpath.failover.health_server import MOST_CONNECTIONS, MOST_REQUEST_BYTES, HealthServer
from tickpath.failover.published import Follower, Published, starting

MS = 1_000_000
NOW = 1_000_000 * MS
STALE_MS = 500

parser = pytest.importorskip("prometheus_client.parser", reason="prometheus-client is missing")


def counted() -> np.ndarray:
    values = np.zeros(len(Counter), np.uint64)
    values[Counter.PACKETS] = 12
    return values


ACTIVE = Published(
    at_ns=NOW - 10 * MS,
    name="a",
    state="ACTIVE",
    epoch=7,
    ready=True,
    record_number=1000,
    input_number=900,
    followers=(Follower("b", 3, True), Follower("c", 900, False)),
    in_sync=1,
    is_gate_open=True,
    order_position=5000,
    handed_position=4800,
    confirmed_position=4700,
    until_ns=NOW + 40 * MS,
    heard_ns=NOW - 10 * MS,
    beats=0,
    fed_ns=NOW - 25 * MS,
    is_feed_current=True,
    session="UP",
    breakers=(("slow", "HALF_OPEN"),),
    counters={"promotions": 2, "stops": 1},
    engine=counted(),
)
STANDBY = msgspec.structs.replace(
    ACTIVE,
    name="b",
    state="STANDBY",
    lag_records=3,
    followers=(),
    is_gate_open=False,
    until_ns=0,
    beats=500,
    held=("operator",),
)


def view(said: Published, later_ms: int = 0) -> View:
    return View(said, NOW + later_ms * MS, STALE_MS)


def answers(said: Published, later_ms: int = 0) -> dict[str, object]:
    """All that is answered: codes by path, the first word of each line's answer."""
    seen = view(said, later_ms)
    pages = {path: seen.page(path).code for path in PATHS if path != "/metrics"}
    return pages | {word: seen.line(word).split(":")[0].split(" #")[0] for word in WORDS}


def test_an_active_is_up():
    assert answers(ACTIVE) == {
        "/health": 200, "/ready": 200, "/role": 200,
        "PING": "PONG", "agent": "up ready", "active": "yes", "standby": "no", "ready": "yes",
    }  # fmt: skip


def test_a_standby_is_well_and_not_up():
    assert answers(STANDBY) == {
        "/health": 200, "/ready": 200, "/role": 200,
        "PING": "NO standby, epoch 7", "agent": "down", "active": "no", "standby": "yes",
        "ready": "yes",
    }  # fmt: skip


def test_an_active_whose_lease_has_ended_is_not_up_though_its_loop_turns():
    assert answers(ACTIVE, 40) == {
        "/health": 200, "/ready": 503, "/role": 200,
        "PING": "NO active, epoch 7", "agent": "down", "active": "no", "standby": "no",
        "ready": "no",
    }  # fmt: skip
    assert json.loads(view(ACTIVE, 40).page("/ready").content)["reasons"] == ["its lease has ended"]


@pytest.mark.parametrize("said", [ACTIVE, STANDBY, starting("a", NOW)])
def test_a_loop_that_does_not_turn_is_nothing_whatever_it_was(said):
    found = answers(said, 10_000)
    assert [found["/health"], found["/ready"], found["/role"]] == [503, 503, 200]
    assert found["PING"].startswith("NO") and found["agent"] == "down"
    assert found["active"] == found["standby"] == found["ready"] == "no"
    why = json.loads(view(said, 10_000).page("/health").content)["reasons"]
    assert why == [view(said, 10_000).why_not_alive()]


def test_a_lease_that_was_renewed_since_still_runs():
    """What is published is older than a lease of 50 ms may be."""
    seen = View(ACTIVE, NOW + 60 * MS, STALE_MS, NOW + 90 * MS)
    assert seen.line("PING") == "PONG" and seen.is_ready and seen.lease_ns == 30 * MS
    assert View(ACTIVE, NOW, STALE_MS, 0).line("PING") == "NO active, epoch 7"


def test_reasons_are_told():
    said = msgspec.structs.replace(STANDBY, ready=False, reasons=("its feed is stale", "x"))
    page = view(said).page("/ready")
    assert page.code == 503
    assert json.loads(page.content) == {
        "node": "b", "role": "STANDBY", "epoch": 7, "ready": False,
        "reasons": ["its feed is stale", "x"],
    }  # fmt: skip
    assert view(said).line("ready") == "no: its feed is stale; x"
    assert view(said).line("rädy").startswith("error: there are PING")


# ---------------------------------------------------------------- metrics


def metrics(said: Published, later_ms: int = 0) -> dict:
    """(name, labels but the node) -> value, by the library's own parser."""
    from tickpath.failover.metrics import page

    found = {}
    for family in parser.text_string_to_metric_families(
        page(view(said, later_ms)).content.decode()
    ):
        assert family.documentation and family.type in ("gauge", "counter")
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("node") == said.name
            key = (sample.name.removeprefix("tickpath_node_"), *labels.values())
            assert key not in found
            found[key] = sample.value
    return found


def test_metrics_of_an_active():
    found = metrics(ACTIVE)
    wanted = {
        ("up",): 1, ("active",): 1, ("ready",): 1, ("epoch",): 7,
        ("role", "active"): 1, ("role", "standby"): 0,
        ("loop_age_seconds",): 0.01, ("lease_remaining_seconds",): 0.04,
        ("beat_age_seconds",): 0.01, ("feed_age_seconds",): 0.025, ("feed_current",): 1,
        ("record_number",): 1000, ("input_number",): 900,
        ("follower_lag_records", "b"): 3, ("follower_lag_records", "c"): 900,
        ("follower_ready", "b"): 1, ("follower_ready", "c"): 0,
        ("in_sync_members",): 1, ("gate_open",): 1, ("synchronous",): 1, ("session_up",): 1,
        ("breaker_state", "slow", "half_open"): 1, ("breaker_state", "slow", "closed"): 0,
        ("order_bytes_total",): 5000, ("order_bytes_handed_over_total",): 4800,
        ("order_bytes_confirmed_total",): 4700, ("orders_unconfirmed_bytes",): 300,
        ("takeovers_total",): 2, ("events_total", "stops"): 1,
        ("engine_events_total", "packets"): 12,
    }  # fmt: skip
    assert {key: found.get(key) for key in wanted} == pytest.approx(wanted)
    # What an active has not is not there: a missing lag is no lag of nought.
    assert ("lag_records",) not in found
    assert sum(key[0] == "engine_events_total" for key in found) == len(Counter)


def test_metrics_of_a_standby_and_of_a_node_that_hangs():
    found = metrics(STANDBY)
    assert found["lag_records",] == 3 and found["held", "operator"] == 1
    assert found["active",] == 0 and found["beats_heard_total",] == 500
    assert found["lease_remaining_seconds",] == 0
    hangs = metrics(ACTIVE, 10_000)
    assert hangs["up",] == hangs["active",] == hangs["ready",] == 0
    assert hangs["loop_age_seconds",] == pytest.approx(10.01)
    assert metrics(starting("a", NOW))["role", "starting"] == 1


# ---------------------------------------------------------------- the server


class Still:
    """The time of connections, which only a test moves on."""

    now_s = 0.0
    sleep = staticmethod(time.sleep)

    def monotonic(self) -> float:
        return self.now_s


@contextmanager
def serving(said: Published = STANDBY, http="127.0.0.1:0", check="127.0.0.1:0", still=None):
    with patch.object(health_server, "time", still or Still()):
        server = HealthServer(http, check, STALE_MS, lambda: said, lambda: NOW)
        try:
            yield server, server.addresses
        finally:
            server.close()


def get(address, path: str, method: str = "GET") -> tuple[int, dict, bytes]:
    request = urllib.request.Request("http://{}:{}{}".format(*address, path), method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def said_to(address, raw: bytes) -> bytes:
    """Everything that is answered to some bytes, until the other side closes."""
    with socket.create_connection(address, 10) as sock:
        sock.sendall(raw)
        answer = b""
        while chunk := sock.recv(1 << 16):
            answer += chunk
    return answer


def test_pages_are_served():
    with serving() as (server, (http, _)):
        assert [get(http, path)[0] for path in PATHS] == [200] * 4
        code, headers, content = get(http, "/role?x=1")
        assert code == 200 and json.loads(content)["role"] == "STANDBY"
        assert headers["Content-Type"] == "application/json"
        assert get(http, "/metrics")[1]["Content-Type"].startswith("text/plain; version=0.0.4")
        assert get(http, "/health", "HEAD")[2] == b""
        assert get(http, "/switchover")[0] == 404
        assert get(http, "/health", "POST")[0] == get(http, "/", "DELETE")[0] == 405
    assert server.counters["requests_refused"] == 3


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET / HTTP/3\r\n\r\n", 400),
        (b"GET http://a/ HTTP/1.1\r\n\r\n", 400),
        (b"\xff\xfe\x00 / HTTP/1.1\r\n\r\n", 405),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 404),
        (b"GET /" + b"a" * MOST_REQUEST_BYTES, 431),
    ],
)
def test_what_is_no_request_is_refused_and_the_next_one_answered(raw, code):
    with serving() as (_, (http, _check)):
        assert said_to(http, raw).startswith(f"HTTP/1.1 {code} ".encode())
        assert get(http, "/health")[0] == 200


def test_lines_are_answered():
    with serving(ACTIVE) as (server, (_, check)):
        with socket.create_connection(check, 10) as sock, sock.makefile("rwb") as file:
            for word, answer in (
                (b"PING", b"PONG"),
                (b"agent\r", b"up ready"),
                (b"standby", b"no: active, epoch 7"),
                (b"\xff", b"error: there are PING, agent, active, standby, ready"),
            ):
                file.write(word + b"\n")
                file.flush()
                assert file.readline() == answer + b"\n"
        assert said_to(check, b"x" * 1000).startswith(b"error: the line is too long")
    assert server.counters["lines"] == 4 and server.counters["lines_too_long"] == 1


def test_whoever_is_silent_is_cut_off_and_keeps_nobody_waiting():
    still = Still()
    with serving(still=still) as (server, (http, check)):
        idle = [socket.create_connection(http, 10) for _ in range(MOST_CONNECTIONS - 4)]
        idle[0].sendall(b"GET /hea")
        assert get(http, "/health")[0] == 200
        more = [socket.create_connection(check, 10) for _ in range(8)]
        assert more[-1].recv(1) == b""  # there is no room for it
        still.now_s += health_server.TIMEOUT_S
        for sock in (*idle, *more[:4]):
            assert sock.recv(1) == b""
            sock.close()
        assert get(http, "/health")[0] == 200
        for sock in more:
            sock.close()
    assert server.counters["timed_out"] == MOST_CONNECTIONS
    assert server.counters["connections_refused"] == 4


def test_a_mistake_of_ours_does_not_end_it():
    said = [msgspec.structs.replace(STANDBY, breakers=(("short",),)), STANDBY]  # type: ignore
    server = HealthServer("127.0.0.1:0", None, STALE_MS, lambda: said[0], lambda: NOW)
    try:
        (http,) = server.addresses
        assert get(http, "/metrics")[0] == 500 and server.counters["failed"] == 1
        assert get(http, "/health")[0] == 200
        del said[0]
        assert get(http, "/metrics")[0] == 200
    finally:
        server.close()


def test_addresses_that_cannot_be_had_and_none():
    with serving(check=None) as (_, addresses):
        assert len(addresses) == 1
        taken = "{}:{}".format(*addresses[0])
        with pytest.raises(ControlError, match=f"node.http: {taken}: "):
            HealthServer(taken, None, STALE_MS, lambda: STANDBY)
        with pytest.raises(ControlError, match=f"node.check: {taken}: "):
            HealthServer(None, taken, STALE_MS, lambda: STANDBY)
    nothing = HealthServer(None, None, STALE_MS, lambda: STANDBY)
    assert not nothing.addresses
    nothing.close()
