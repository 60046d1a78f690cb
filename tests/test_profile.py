"""A profile as its user writes it, and what the engine and the hardware are told of it."""

import numpy as np
import pytest

from tickpath import Config
from tickpath.config import ConfigError, Feed, Fills, Orders, Risk, StrategyConfig
from tickpath.layout import MAX_INTENTS
from tickpath.profile import (
    CAPACITIES,
    Check,
    Gate,
    Imbalance,
    OwnLimits,
    Profile,
    Spread,
    Symbol,
    SymbolLimits,
    Through,
    Trigger,
    check,
    gate_limits,
    limits_of,
    load_profile,
    symbol_limits,
    trigger_parameters,
)
from tickpath.profile_config import CHECKS, OFF, checks_of, config_of, decisive
from tickpath.risk import MAX_PRICE, MAX_SHARES, Reject
from tickpath_backends.hdl.profile import BY_NAME, PROFILE

EXAMPLE = """
[gate]
orders_per_second = 1_000
order_burst = 11
[limits]
max_long = 700
[symbols.AAPL]
trigger = { kind = "through", side = "sell", price = 150.0001, quantity = 7, slippage = 0.02 }
limits = { max_quantity = 9, max_notional = 12.34, orders_per_second = 3, order_burst = 2 }
[symbols."BRK.A"]
tick = 0.0001
trigger = { kind = "imbalance", ratio = 16, least = 300, quantity = 5 }
[symbols.MSFT]
trigger = { kind = "spread", side = "buy", spread = 0.03, quantity = 6 }
[symbols.OFF]
limits = { enabled = false }
"""


def loaded(tmp_path, text: str) -> Profile:
    path = tmp_path / "profile.toml"
    path.write_text(text)
    return load_profile(path)


def test_what_a_user_writes_is_what_registers_hold(tmp_path):
    profile = loaded(tmp_path, EXAMPLE)
    assert [*profile.symbols] == ["AAPL", "BRK.A", "MSFT", "OFF"]
    zero = dict.fromkeys((name for name, _ in BY_NAME["TriggerParameters"].fields), 0)
    assert [trigger_parameters(profile, name) for name in profile.symbols] == [
        {
            **zero,
            "kind": Trigger.THROUGH,
            "is_sell": 1,
            "price": 1_500_001,
            "quantity": 7,
            "slippage": 200,
        },
        {**zero, "kind": Trigger.IMBALANCE, "ratio_log2": 4, "least": 300, "quantity": 5},
        {**zero, "kind": Trigger.SPREAD, "spread": 300, "quantity": 6},
        zero,
    ]
    assert symbol_limits(profile, "AAPL") == {
        "is_enabled": 1,
        "is_cents": 1,
        "max_quantity": 9,
        "max_notional": 123_400,
        "collar_ticks": 100,
        "max_long": 700,
        "max_short": 10_000,
        "rate_interval": 333_333_333,
        "rate_burst": 333_333_333,
    }
    assert [symbol_limits(profile, name)["is_cents"] for name in profile.symbols] == [1, 0, 1, 1]
    assert symbol_limits(profile, "OFF")["is_enabled"] == 0
    assert gate_limits(profile) == {
        "is_killed": 0,
        "rate_interval": 1_000_000,
        "rate_burst": 10_000_000,
    }


@pytest.mark.parametrize(
    ("struct", "given"),
    [
        ("TriggerParameters", trigger_parameters),
        ("SymbolLimits", symbol_limits),
        ("GateLimits", lambda profile, _: gate_limits(profile)),
    ],
)
def test_the_numbers_are_the_hardwares_and_fit(struct, given):
    """The largest of everything that can be written."""
    most = SymbolLimits(
        max_quantity=999_999,
        max_notional=1e14,
        collar_ticks=65_535,
        max_long=(1 << 32) - 1,
        max_short=(1 << 32) - 1,
        orders_per_second=1,
        order_burst=281_474,
    )
    gate = Gate(orders_per_second=1, order_burst=281_474)
    triggers = (
        Through("sell", 199_999.0, 999_999, 6.5535),
        Spread("sell", 199_999.0, 999_999, 6.5535),
        Imbalance(128, 999_999, (1 << 32) - 1, 6.5535),
    )
    for trigger in triggers:
        profile = Profile(symbols={"A": Symbol(trigger)}, gate=gate, limits=most)
        check(profile)
        fields = BY_NAME[struct].fields
        numbers = given(profile, "A")
        assert [*numbers] == [name for name, _ in fields]
        assert all(0 <= numbers[name] < 1 << int(kind[1:]) for name, kind in fields)


def test_capacities_are_the_hardwares():
    shared = set(PROFILE._fields) & set(CAPACITIES._fields)
    assert len(shared) == 11
    assert all(getattr(PROFILE, name) == getattr(CAPACITIES, name) for name in shared)
    assert [each.name for each in BY_NAME["Verdict"].fields and Check][-1] == "ORDER_RATE"


AAPL = '[symbols.AAPL]\ntrigger = {{ kind = "through", side = "buy", quantity = 1, {} }}\n'
WRONG = [
    ("", ["symbols"]),
    ("[symbols]\n", ["symbols: 0"]),
    ("".join(f"[symbols.S{n}]\n" for n in range(65)), ["symbols: 65", "1 to 64"]),
    ("[symbols.NINELETTE]\n", ["symbols.NINELETTE", "one to eight"]),
    ('[symbols."A B"]\n', ["symbols.A B", "blanks"]),
    ("[symbols.A]\ntick = 0.05\n", ["symbols.A.tick", "0.05", "0.0001"]),
    ("[symbols.A]\ncolor = 1\n", ["symbols.A", "color"]),
    ('[symbols.A]\ntrigger = { kind = "magic" }\n', ["kind", "magic"]),
    ("[symbols.A]\ntrigger = { quantity = 1 }\n", ["trigger", "kind"]),
    (AAPL.format("price = 1.00005"), ["AAPL.trigger.price", "1.00005", "0.0001"]),
    (AAPL.format("price = -1.0"), ["price", ">= 0"]),
    (AAPL.format("price = 1.0, slippage = 7.0"), ["slippage", "6.5535"]),
    (AAPL.format("price = 1.0, slippage = 0.00003"), ["slippage", "3e-05"]),
    (AAPL.format("spread = 1.0"), ["symbols.AAPL.trigger", "spread"]),
    ("symbols = 5\n", ["symbols", "Expected `object`"]),
    (
        '[symbols.A]\ntrigger = { kind = "imbalance", ratio = 3, quantity = 1 }\n',
        ["symbols.A.trigger.ratio", "3", "128"],
    ),
    (
        '[symbols.A]\ntrigger = { kind = "imbalance", ratio = 2, quantity = 0 }\n',
        ["quantity", ">= 1"],
    ),
    ("[symbols.A]\n[limits]\ncollar_ticks = 65_536\n", ["limits.collar_ticks", "65535"]),
    ("[symbols.A]\n[limits]\nmax_long = 4_294_967_296\n", ["limits.max_long", "4294967295"]),
    (
        "[symbols.A]\n[gate]\norders_per_second = 1\norder_burst = 281_476\n",
        ["gate.order_burst", "48 bits"],
    ),
    (
        "[symbols.A]\nlimits = { orders_per_second = 1, order_burst = 1_000_000 }\n",
        ["symbols.A.limits.order_burst", "48 bits"],
    ),
    ('[symbols.A]\n[orders]\nprotocol = "boe23"\n', ["orders.protocol", "ouch50"]),
    ('[symbols.A]\n[orders]\nfirm = "ABCD"\n', ["orders.firm", "appendage"]),
    (
        "[symbols.A]\n[orders.options]\nminqty = 1\n",
        ["orders.options", "appendage"],
    ),
]


@pytest.mark.parametrize(("text", "words"), WRONG)
def test_a_mistake_is_one_line_that_names_the_key(tmp_path, text, words):
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    line = str(caught.value)
    assert "\n" not in line and "profile.toml" in line
    assert all(word in line for word in words), line


def test_a_profile_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read"):
        load_profile(tmp_path / "nowhere.toml")


# ---------------------------------------------------------------- the engine's configuration


def test_what_is_not_given_is_the_profiles():
    own = OwnLimits(max_long=5, enabled=False)
    profile = Profile(symbols={"A": Symbol(limits=own)}, limits=SymbolLimits(max_short=7))
    assert limits_of(profile, "A") == SymbolLimits(enabled=False, max_long=5, max_short=7)


@pytest.mark.parametrize(
    "given",
    [
        {"risk": Risk(max_quantity=5)},
        {"strategy": StrategyConfig("tickpath.samples:imbalance_taker")},
        {"fills": Fills(model="queue")},
        {"orders": Orders(protocol="ouch42")},
    ],
    ids=lambda given: next(iter(given)),
)
def test_nothing_is_said_twice(given):
    profile = Profile(symbols={"A": Symbol()})
    with pytest.raises(ConfigError, match=next(iter(given))):
        config_of(profile, Config(**given))
    feed = Feed(groups=["233.54.12.111:26477"])
    assert config_of(profile, Config(feed=feed)).feed == feed


def test_exactly_the_profiles_checks_are_made():
    """Every code is a check's, is switched off, or is about what a trigger never asks for."""
    never = {
        *(Reject.ACCEPTED, Reject.MALFORMED, Reject.UNKNOWN_ORDER, Reject.OWN_ORDERS_FULL),
        *(Reject.AUDIT_FULL, Reject.STRATEGY_KILLED, Reject.SYMBOL_KILLED),
    }
    off = {Reject[name.upper()] for name in OFF}
    assert not off & CHECKS.keys()
    assert {*CHECKS, *off} | never == {*Reject} and not never & {*CHECKS, *off}
    assert {*CHECKS.values()} == {*Check}


def bits(*codes: Reject) -> int:
    return sum(1 << code for code in codes)


def test_engine_bits_become_the_hardwares():
    assert checks_of(0, 1, 1) == set()
    assert checks_of(bits(Reject.HALTED, Reject.ORDER_RATE), 1, 1) == {Check.HALT, Check.ORDER_RATE}
    malformed = bits(Reject.MALFORMED)
    assert checks_of(malformed, 0, 1) == {Check.QUANTITY}
    assert checks_of(malformed, MAX_SHARES + 1, MAX_PRICE + 1) == {
        Check.QUANTITY,
        Check.PRICE_COLLAR,
    }
    assert checks_of(malformed, MAX_SHARES, 0) == {Check.PRICE_COLLAR}
    assert checks_of(bits(Reject.OWN_ORDERS_FULL, Reject.HALTED), 1, 1) is None


def test_one_check_decides_as_in_the_engine():
    def of(*failed: Check, price: int = 1) -> Check | None:
        return decisive(sum(1 << each for each in failed), price)

    assert of() is None
    assert of(*Check) == Check.KILL_SWITCH
    assert of(Check.POSITION, Check.ORDER_RATE) == Check.ORDER_RATE
    assert of(Check.KILL_SWITCH, Check.PRICE_COLLAR, price=0) == Check.PRICE_COLLAR


@pytest.mark.parametrize("protocol", ["ouch50", "ouch42", "fix44"])
def test_every_protocol_of_the_hardware_has_an_engine(protocol):
    from tickpath import Engine
    from tickpath.config import Fix44Orders

    fix = Fix44Orders(sender_comp_id="A", target_comp_id="B") if protocol == "fix44" else None
    orders = Orders(protocol=protocol, **({"fix44": fix} if fix else {}))
    config = config_of(Profile(symbols={"A": Symbol()}, orders=orders))
    engine = Engine(config)
    assert engine.strategy is not None and engine.block.gate["fill_model"] == 0
    assert engine.block.gate["reducing_checked"] == 1
    assert np.count_nonzero(engine.block.cell["value"]) > 0
    assert MAX_INTENTS == 16
