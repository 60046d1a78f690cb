"""Trading with a live transport in place of Python's sockets."""

import pytest

from tickpath.backend import BackendError, available
from tickpath.config import Config, ConfigError, Transport
from tickpath.replay import warm_up
from tickpath_backends.software import SoftwareExecutor
from trading import CREDENTIALS, pit

udp = available("transports")["udp"].load()
needs_udp = pytest.mark.skipif(udp.why_not() is not None, reason=f"udp: {udp.why_not()}")


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(autouse=True, scope="module")
def compiled():
    """While the pipeline was compiled for the first time, the venue's day would get long."""
    warm_up(SoftwareExecutor(Config()))


@needs_udp
@pytest.mark.parametrize("protocol", ["ouch50", "ouch42"])
def test_positions_and_open_orders_are_the_exchanges(tmp_path, protocol):
    said = {"strategy": {"parameters": [1, 1]}, "trade": {"backend": "udp"}}
    with pit(tmp_path, exchange={"orders": {"protocol": protocol}}, **said) as p:
        trader = p.begin()
        p.until_ready()
        for goal in (200, 400, 600):
            p.until(lambda goal=goal: p.sent() >= goal, "no more orders")
            assert p.check()["positions"]
        counters = trader.market.counters
        assert counters["packets"] > 100 and counters["kernel_drops"] == 0
        assert [row["recovery"] for row in trader.market.lines()] == ["SYNCHRONISED"]
        assert trader.engine.gaps() == []


@needs_udp
def test_the_day_so_far_is_had_in_the_middle_of_it(tmp_path):
    with pit(tmp_path, trade={"backend": "udp"}) as p:
        while p.server.feed.packets_left < 1_000:
            p.server.round(0)
        trader = p.begin()
        assert trader.market.is_current and trader.engine.messages >= 1_000
        assert trader.engine.gaps() == [] and not trader.engine.block.book["stale"].any()


@needs_udp
def test_the_engine_is_let_go_of_at_the_end(tmp_path):
    with pit(tmp_path, trade={"backend": "udp"}) as p:
        trader = p.begin()
        p.until_ready()
        engine = trader.engine
        assert engine.block.get("egress_limit") == 0
        trader.finish()
        trader._stack.close()
        assert engine.block.get("egress_limit") > 0
        assert trader.market.transport is not None and not trader.market.transport.is_open
        p.trader = None


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ({"trade": {"backend": "udp", "feed_session": "T1"}}, "feed_session"),
        ({"transport": Transport(orders_to="127.0.0.1:9")}, "orders_to"),
    ],
)
def test_what_would_not_be_heard_is_refused(tmp_path, said, line):
    with pit(tmp_path, **said) as p, pytest.raises(ConfigError, match=line):
        p.begin()


@pytest.mark.parametrize(("name", "error"), [("nowhere", BackendError), ("software", ConfigError)])
def test_a_backend_that_receives_nothing_is_refused(tmp_path, name, error):
    with pit(tmp_path, trade={"backend": name}) as p, pytest.raises(error, match=name):
        p.begin()
