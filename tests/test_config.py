"""Configuration: TOML in, one clear line for every mistake, the same configuration shown again."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tickpath import Config, ConfigError, Engine, load_config
from tickpath.config import (
    SWITCHES,
    Band,
    Capacity,
    Feed,
    Fills,
    Latency,
    Limits,
    Orders,
    Risk,
    StrategyConfig,
    Total,
    check,
    parse_group,
    show,
)
from tickpath.failover.node_config import NodeConfig
from tickpath.risk import Reject
from tickpath.trade.config import TradeConfig

WHOLE = """
[capacity]
symbols = 100
orders = 4096
overflow_levels = 4096
trades = 2048

[indicators]
sma_window = 10
ema_window = 20

[strategy]
name = "tickpath.samples:imbalance_taker"
parameters = [1, -2, 3]
cells = 10
timer_interval_ms = 5

[risk]
kill_switch = true
allowed = false
max_quantity = 5
max_notional = 10
max_position = 7
collar_percent = 1.5
collar_price = 0.25
orders_per_second = 9
order_burst = 3
unknown_trading_state = "trade"
max_long = 6
max_short = 0
max_open_orders = 8
max_daily_quantity = 1000
max_daily_notional = 2e4
max_loss = 12.5
symbol_orders_per_second = 4
symbol_order_burst = 2
trading_hours = "regular"
auctions = "reject"
market_orders = true
locate_required = true
duplicate_window_ms = 15
max_spread_percent = 2.5
last_sale_max_age_s = 30
soft_percent = 70
reducing = "check"
audit_full = "count"
off = ["self_match", "market_hours"]

[[risk.bands]]
from_price = 0
percent = 20
price = 0.1

[[risk.bands]]
from_price = 25.0
percent = 5.0

[risk.total]
max_open_orders = 80
max_gross_notional = 1e6
max_net_notional = 5e5
max_daily_quantity = 5000
max_daily_notional = 2e6
max_loss = 100

[risk.strategies."tickpath.samples:imbalance_taker"]
max_quantity = 4
orders_per_second = 2

[risk.symbols.AAPL]
allowed = true
max_quantity = 100
max_short = 10

[risk.symbols."BRK.A"]
kill_switch = true
collar_percent = 0.5

[fills]
model = "queue"

[orders]
protocol = "ouch50"
time_in_force = 3
display = "N"
firm = "LIME"

[orders.options]
postonly = "P"
minqty = 100

[feed]
groups = ["233.54.12.111:26477", "224.0.0.1:1"]

[latency]
sample = 1
"""


def _bands(*starts: int) -> str:
    return "".join(f"[[risk.bands]]\nfrom_price = {n}\npercent = 1\n" for n in starts)


def loaded(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "run.toml"
    path.write_text(text)
    return load_config(path)


def test_a_whole_configuration(tmp_path):
    config = loaded(tmp_path, WHOLE)
    assert config == Config(
        capacity=Capacity(symbols=100, orders=4096, overflow_levels=4096, trades=2048),
        indicators=config.indicators,
        strategy=StrategyConfig(
            name="tickpath.samples:imbalance_taker",
            parameters=[1, -2, 3],
            cells=10,
            timer_interval_ms=5,
        ),
        risk=Risk(
            kill_switch=True,
            allowed=False,
            max_quantity=5,
            max_notional=10.0,
            max_position=7,
            collar_percent=1.5,
            collar_price=0.25,
            orders_per_second=9,
            order_burst=3,
            unknown_trading_state="trade",
            max_long=6,
            max_short=0,
            max_open_orders=8,
            max_daily_quantity=1000,
            max_daily_notional=20_000.0,
            max_loss=12.5,
            symbol_orders_per_second=4,
            symbol_order_burst=2,
            trading_hours="regular",
            auctions="reject",
            market_orders=True,
            locate_required=True,
            duplicate_window_ms=15,
            max_spread_percent=2.5,
            last_sale_max_age_s=30,
            soft_percent=70.0,
            reducing="check",
            audit_full="count",
            off=["self_match", "market_hours"],
            bands=[
                Band(from_price=0.0, percent=20.0, price=0.1),
                Band(from_price=25.0, percent=5.0),
            ],
            total=Total(80, 1e6, 5e5, 5000, 2e6, 100.0),
            strategies={
                "tickpath.samples:imbalance_taker": Limits(max_quantity=4, orders_per_second=2)
            },
            symbols={
                "AAPL": Limits(allowed=True, max_quantity=100, max_short=10),
                "BRK.A": Limits(kill_switch=True, collar_percent=0.5),
            },
        ),
        fills=Fills(model="queue"),
        orders=Orders(
            time_in_force=3, display="N", firm="LIME", options={"postonly": "P", "minqty": 100}
        ),
        feed=Feed(groups=["233.54.12.111:26477", "224.0.0.1:1"]),
        latency=Latency(sample=1),
    )
    assert (config.indicators.sma_window, config.indicators.ema_window) == (10, 20)
    Engine(config)


def test_what_is_not_given_has_its_default(tmp_path):
    assert loaded(tmp_path, "") == Config()
    assert loaded(tmp_path, "[risk]\nmax_quantity = 3\n") == Config(risk=Risk(max_quantity=3))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[risk]\nmax_qty = 5\n", ["risk", "max_qty", "unknown field"]),
        ("[rsik]\n", ["rsik"]),
        ("x = 1\n", ["`x`"]),
        ('[risk]\nmax_quantity = "many"\n', ["risk.max_quantity", "int", "str"]),
        ("[risk]\nmax_quantity = 1.5\n", ["risk.max_quantity", "int", "float"]),
        ("[risk]\nmax_quantity = 0\n", ["risk.max_quantity", ">= 1"]),
        ("[risk]\nmax_quantity = 1000000\n", ["risk.max_quantity", "<= 999999"]),
        ("[risk]\nmax_notional = 0\n", ["risk.max_notional", "> 0"]),
        ("[risk]\nmax_notional = -1.0\n", ["risk.max_notional"]),
        ('[risk]\nkill_switch = "no"\n', ["risk.kill_switch", "bool"]),
        ("[risk]\nunknown_trading_state = 'maybe'\n", ["risk.unknown_trading_state", "maybe"]),
        ("[risk]\nmax_position = 0\n", ["risk.max_position", ">= 1"]),
        (f"[risk]\nmax_position = {1 << 61}\n", ["risk.max_position", "<= "]),
        ("[risk]\nmax_short = -1\n", ["risk.max_short", ">= 0"]),
        (f"[risk]\nmax_open_orders = {1 << 32}\n", ["risk.max_open_orders", "<= 4294967295"]),
        (f"[risk.total]\nmax_daily_quantity = {1 << 70}\n", ["risk.total.max_daily_quantity"]),
        ("[risk.total]\nmax_gross_notional = 1e15\n", ["risk.total.max_gross_notional"]),
        ("[risk.total]\nmax_los = 1\n", ["risk.total", "max_los"]),
        ("[risk]\ntrading_hours = 'always'\n", ["risk.trading_hours", "always"]),
        ("[risk]\nauctions = 1\n", ["risk.auctions"]),
        ("[risk]\nreducing = 'yes'\n", ["risk.reducing", "yes"]),
        ("[risk]\naudit_full = 'ignore'\n", ["risk.audit_full", "ignore"]),
        ("[risk]\nsoft_percent = 0\n", ["risk.soft_percent", "> 0"]),
        ("[risk]\nsoft_percent = 101\n", ["risk.soft_percent", "<= 100"]),
        ("[risk]\nduplicate_window_ms = 86400001\n", ["risk.duplicate_window_ms", "<= 86400000"]),
        ("[risk]\nlast_sale_max_age_s = 0\n", ["risk.last_sale_max_age_s", ">= 1"]),
        (
            "[risk]\norders_per_second = 1\norder_burst = 9999999999\n",
            ["risk.order_burst", "9999999999 orders at 1 a second"],
        ),
        (
            f"[risk]\nsymbol_order_burst = {1 << 60}\n",
            ["risk.symbol_order_burst", "10000 a second"],
        ),
        (
            f"[risk.symbols.AAPL]\norder_burst = {1 << 60}\n",
            ["risk.symbols.AAPL.order_burst", "too large"],
        ),
        (
            "[risk]\nsymbol_order_burst = 9999999999\n[risk.strategies.x]\norders_per_second = 1\n",
            ["risk.strategies.x.order_burst", "9999999999 orders at 1 a second"],
        ),
        ("[risk]\noff = ['kill_switch']\n", ["risk.off", "'kill_switch'", "halted"]),
        ("[risk]\noff = ['HALTED']\n", ["risk.off", "'HALTED'"]),
        ("[[risk.bands]]\npercent = 1\n", ["risk.bands", "from_price"]),
        ("[[risk.bands]]\nfrom_price = -1\npercent = 1\n", ["risk.bands", ">= 0"]),
        (_bands(2, 1), ["risk.bands", "must rise"]),
        (_bands(1, 1), ["risk.bands", "must rise"]),
        (_bands(*range(1, 9)), ["risk.bands", "more than 8", "zero included"]),
        (_bands(*range(9)), ["risk.bands", "more than 8"]),
        ("[risk]\nstart_of_day = 5\n", ["risk.start_of_day", "str"]),
        ("[risk.strategies.x]\nmax_qty = 1\n", ["risk.strategies", "max_qty"]),
        ("[fills]\nmodel = 'magic'\n", ["fills.model", "magic"]),
        (f"[strategy]\nparameters = [{1 << 63}]\n", ["strategy.parameters", "<= "]),
        ("[strategy]\ntimer_interval_ms = 86400001\n", ["strategy.timer_interval_ms"]),
        ("[risk.symbols.TOOLONGNAME]\nallowed = true\n", ["risk.symbols", "<= 8"]),
        ("[risk.symbols.AAPL]\nmax_qty = 1\n", ["risk.symbols", "max_qty"]),
        ("[risk.symbols.AAPL]\nmax_position = 0\n", ["risk.symbols", ">= 1"]),
        ("[capacity]\nsymbols = 1\n", ["capacity.symbols", ">= 2"]),
        ("[capacity]\nsymbols = 65537\n", ["capacity.symbols", "<= 65536"]),
        ("[capacity]\norders = 2047\n", ["capacity.orders", ">= 2048"]),
        ("[capacity]\noverflow_levels = 2047\n", ["capacity.overflow_levels", ">= 2048"]),
        ("[capacity]\ntrades = 3000\n", ["capacity.trades", "power of two"]),
        ("[indicators]\nsma_window = 0\n", ["indicators.sma_window", ">= 1"]),
        ("[latency]\nsample = 3\n", ["latency.sample", "power of two"]),
        ("[strategy]\nparameters = [1]\ncells = 0\n", ["strategy.cells", ">= 1"]),
        ("[strategy]\nparameters = [1, 2]\ncells = 1\n", ["strategy.parameters", "cells"]),
        ('[strategy]\nparameters = ["a"]\n', ["strategy.parameters", "int"]),
        ("[strategy]\ntimer_interval_ms = -1\n", ["strategy.timer_interval_ms", ">= 0"]),
        ('[feed]\ngroups = ["1.2.3.4"]\n', ["feed.groups", "'1.2.3.4'", "ADDRESS:PORT"]),
        ('[feed]\ngroups = ["1.2.3.256:5"]\n', ["feed.groups", "ADDRESS:PORT"]),
        ('[feed]\ngroups = ["1.2.3.4:65536"]\n', ["feed.groups", "ADDRESS:PORT"]),
        ('[feed]\ngroups = ["::1:5"]\n', ["feed.groups", "ADDRESS:PORT"]),
        ('[orders]\nprotocol = "fix"\n', ["orders.protocol", "fix"]),
        ('[orders]\ndisplay = "long"\n', ["orders.display"]),
        ('[orders]\nfirm = "TOOLONG"\n', ["orders.firm"]),
        ("[risk\nmax_quantity = 1\n", ["not TOML"]),
        ("\x00\x01", ["not TOML"]),
        ("a = 1\na = 2\n", ["not TOML"]),
    ],
)
def test_a_mistake_is_one_line_that_names_file_and_key(tmp_path, text, words):
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, text)
    line = str(error.value)
    assert "\n" not in line and str(tmp_path / "run.toml") in line, line
    assert all(word in line for word in words), line


def test_bytes_that_are_no_text_are_one_line(tmp_path):
    path = tmp_path / "run.toml"
    path.write_bytes(b"\xff\xfe\x00[risk]")
    with pytest.raises(ConfigError, match="not TOML") as error:
        load_config(path)
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    for path, word in ((tmp_path / "no.toml", "No such file"), (tmp_path, "directory")):
        with pytest.raises(ConfigError, match="cannot be read") as error:
            load_config(path)
        assert word in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("orders", "words"),
    [
        (Orders(display="?"), ["display", "one of"]),
        (Orders(time_in_force="?"), ["time_in_force"]),
        (Orders(options={"no_such_option": 1}), ["no_such_option"]),
        (Orders(options={"minqty": -1}), ["minqty"]),
        (Orders(options={"firm": "TOOLONG"}), ["firm"]),
        (Orders(protocol="ouch42", minimum_quantity=1 << 40), ["minimum_quantity"]),
        (Orders(protocol="ouch42", time_in_force="x"), ["orders"]),
    ],
)
def test_codes_that_the_order_protocol_does_not_have_are_one_line(orders, words):
    with pytest.raises(ConfigError) as error:
        Engine(Config(orders=orders))
    line = str(error.value)
    assert "\n" not in line and all(word in line for word in words), line


def test_the_checks_hold_for_configurations_made_in_python():
    with pytest.raises(ConfigError, match=r"latency\.sample"):
        Engine(Config(latency=Latency(sample=3)))
    with pytest.raises(ConfigError, match=r"feed\.groups"):
        check(Config(feed=Feed(groups=["x"])))


def test_the_largest_numbers_fit_the_engine(tmp_path):
    """What the tables let through, the engine's memory can hold."""
    most = """
        max_position = 1152921504606846976
        max_open_orders = 4294967295
        max_daily_quantity = 1152921504606846976
        max_notional = 1e14
        max_loss = 1e14
        collar_percent = 1000
        collar_price = 199999
        orders_per_second = 1
        order_burst = 4611686018
        symbol_orders_per_second = 1000000000
        symbol_order_burst = 1152921504606846976
        duplicate_window_ms = 86400000
        last_sale_max_age_s = 86400
        max_spread_percent = 1000
    """
    engine = Engine(loaded(tmp_path, f"[risk]\n{most}\n{_bands(*range(8))}"))
    limit, gate = engine.block.symbol_limit[0], engine.block.gate[0]
    assert (limit["max_long"], limit["max_notional"]) == (1 << 60, 10**18)
    assert (limit["rate_interval"], limit["rate_burst"]) == (1, (1 << 60) - 1)
    assert (gate["rate_interval"], gate["rate_burst"]) == (10**9, 4_611_686_017 * 10**9)


def test_switches_are_named_as_the_reject_codes():
    assert {name.upper() for name in SWITCHES} < {each.name for each in Reject}
    assert len(SWITCHES) == len(set(SWITCHES)) == 29
    check(Config(risk=Risk(off=list(SWITCHES))))


def test_groups_as_numbers():
    assert parse_group("233.54.12.111:26477") == (0xE9360C6F, 26477)
    assert parse_group("0.0.0.0:0") == (0, 0)


def test_what_is_shown_is_what_was_loaded(tmp_path):
    for config in (Config(), loaded(tmp_path, WHOLE)):
        assert loaded(tmp_path, show(config)) == config


def test_the_digest_tells_configurations_apart(tmp_path):
    configs = [Config(), loaded(tmp_path, WHOLE), Config(risk=Risk(max_quantity=3))]
    assert len({config.digest() for config in configs}) == 3
    assert Config().digest() == Config().digest() and len(Config().digest()) == 16


def test_where_neighbours_are_is_not_in_the_digest():
    said = {
        "trade": {"feed": "239.1.1.1:2000", "requests": "10.0.0.1:7"},
        "node": {"name": "b", "listen": "127.0.0.1:9", "peers": {}},
    }
    engine = {"risk": {"max_position": 7}, "capacity": {"symbols": 64}}
    plain = msgspec.convert(engine, Config)
    traded = msgspec.convert(engine | {"trade": said["trade"]}, TradeConfig)
    node = msgspec.convert(engine | said, NodeConfig)
    assert plain.digest() == traded.digest() == node.digest() != Config().digest()
    other = msgspec.convert(engine | said | {"risk": {"max_position": 8}}, NodeConfig)
    assert other.digest() != node.digest()


def test_a_configuration_cannot_be_changed():
    with pytest.raises((AttributeError, dataclasses.FrozenInstanceError)):
        Config().risk.max_quantity = 5
    assert isinstance(Config(), msgspec.Struct)


def test_reading_a_configuration_loads_nothing_heavy():
    code = "import tickpath.config, sys; print([m for m in ('numba', 'numpy') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
