"""`tickpath replay --profile`: the object it prints, generated sessions and real data."""

import json
from pathlib import Path

import pytest

from captures import SHARED
from hdl_reference import itch_fields
from itch_messages import run, split
from scenes import add
from sessions import refused, replay, session, tickpath
from silicon import Silicon
from tickpath.generate import SessionPlan
from tickpath.ouch import order_id_of
from tickpath.profile import Check, load_profile
from tickpath.profile_config import decisive
from tickpath.wire.ouch50 import OUCH50_INBOUND
from tickpath_backends.hdl.profile import Kind

EXAMPLE = Path(__file__).parents[1] / "hdl" / "profiles" / "example.toml"
DEMO = EXAMPLE.with_name("demo.toml")
AAPL = SHARED / "nasdaq_itch50" / "aapl_20191230_part1.NASDAQ_ITCH50"
PLAN = SessionPlan(messages=30_000, symbols=12, seed=61)


def messages_of(path: Path) -> list[bytes]:
    """All messages of a daily file."""
    return split(path.read_bytes())


def ticks_of(path: Path) -> dict[str, float]:
    """The symbols of a daily file, and how fine their prices are."""
    names, ticks = {}, {}
    for raw in messages_of(path):
        fields = itch_fields(raw)
        if fields["stock"]:
            names[fields["stock_locate"]] = fields["stock"].to_bytes(8, "big").decode().strip()
        if fields["kind"] == Kind.OPERATION and fields["price"]:
            name = names[fields["stock_locate"]]
            ticks[name] = 0.0001 if fields["price"] % 100 else ticks.get(name, 0.01)
    return ticks


def profile_for(tmp_path: Path, symbols: dict[str, float]) -> Path:
    """Triggers of all kinds for symbols of a session, with limits that are reached."""
    kinds = (
        'kind = "imbalance", ratio = 2, least = 200, quantity = 100',
        'kind = "spread", side = "buy", spread = 0.02, quantity = 100, slippage = 0.01',
        'kind = "spread", side = "sell", spread = 0.01, quantity = 150',
    )
    lines = ["[limits]", "max_long = 1_500", "max_short = 1_200", "collar_ticks = 1"]
    lines += ["orders_per_second = 20", "order_burst = 2"]
    for n, (name, tick) in enumerate(symbols.items()):
        lines += [
            f'[symbols."{name}"]',
            f"tick = {tick:.4f}",
            f"trigger = {{ {kinds[n % len(kinds)]} }}",
        ]
    path = tmp_path / "profile.toml"
    path.write_text("\n".join(lines))
    return path


def assert_as_silicon(path: Path, profile: Path, tmp_path: Path) -> dict:
    """The orders' bytes and the refusals are those of the hardware's chain."""
    out = tmp_path / "orders.bin"
    result = replay(path, "--profile", profile, "--orders", out)
    silicon = Silicon(load_profile(profile))
    for raw in messages_of(path):
        silicon.apply(raw)
    sent = [OUCH50_INBOUND.decode(raw) for raw in split(out.read_bytes())]
    assert [
        (order_id_of(o["clordid"]), o["symbol"], o["side"], o["quantity"], int(o["price"] * 10_000))
        for o in sent
    ] == [
        (d.order_id, d.symbol, "T" if d.is_short else "BS"[d.is_sell], d.quantity, d.price)
        for d in silicon.decisions
        if not d.failed
    ]
    refused = [decisive(sum(1 << c for c in d.failed), d.price) for d in silicon.decisions]
    assert result["profile"]["rejects_by_check"] == {
        check.name.lower(): refused.count(check) for check in Check
    }
    assert result["profile"]["rejects_beyond"] == {} and silicon.overflows == 0
    assert result["orders"]["sent"] == len(sent)
    assert result["orders"]["rejected"] == len(silicon.decisions) - len(sent)
    return result


def test_a_session_is_traded_as_the_hardware_would(tmp_path):
    path = session("profile.itch", PLAN)
    result = assert_as_silicon(path, profile_for(tmp_path, ticks_of(path)), tmp_path)
    profile = result["profile"]
    assert result["orders"]["sent"] > 20 and result["orders"]["rejected"] > 20
    assert profile["orders_live"] == result["orders_live"]
    assert profile["orders_live_peak"] >= profile["orders_live"] > 0
    assert result["strategy"] == "tickpath.profile_trigger:trigger"
    assert sum(each["fired"] for each in profile["symbols"].values()) == sum(
        result["orders"][name] for name in ("sent", "rejected")
    )


@pytest.mark.skipif(not AAPL.exists(), reason=f"no real data at {AAPL}")
def test_real_data_is_traded_without_an_overflow(tmp_path):
    result = assert_as_silicon(AAPL, EXAMPLE, tmp_path)
    assert result["orders"]["sent"] > 50 and result["orders"]["rejected"] > 50
    assert not any(result["profile"]["overflows"].values()) and result["findings"] == []


def test_the_demo_s_profile_sends_orders_of_each_of_its_symbols(tmp_path):
    path = session("demo.pcap", SessionPlan(messages=200_000, symbols=1_000, seed=7))
    result = replay(path, "--profile", DEMO)
    assert result["findings"] == []
    symbols = result["profile"]["symbols"]
    assert set(symbols) == set(load_profile(DEMO).symbols)
    assert all(each["fired"] > 0 for each in symbols.values()), symbols


def test_an_overflow_is_a_finding(tmp_path):
    path, profile = tmp_path / "odd.itch", tmp_path / "profile.toml"
    path.write_bytes(run([add(1, "B", 500, 1_000_050), add(2, "S", 100, 1_000_200)]))
    profile.write_text(
        '[symbols.AAPL]\ntrigger = { kind = "imbalance", ratio = 1, quantity = 1 }\n'
    )
    result = replay(path, "--profile", profile, code=1)
    assert result["profile"]["symbols"]["AAPL"]["stopped"]
    assert result["profile"]["overflows"] == {"orders": 0, "off_grid": 2, "level": 0}
    (finding,) = result["findings"]
    assert finding.startswith("profile: AAPL") and "off grid 2" in finding
    assert result["orders"]["sent"] == 0


def test_without_a_profile_there_is_none():
    assert "profile" not in replay(session("profile.itch", PLAN), "--limit", 10)


def test_what_cannot_be_is_one_line(tmp_path):
    path = session("profile.itch", PLAN)
    taker = ("--strategy", "tickpath.samples:imbalance_taker")
    assert "--strategy" in refused("replay", path, "--profile", EXAMPLE, *taker)
    config = tmp_path / "config.toml"
    config.write_text("[risk]\nmax_quantity = 5\n")
    assert "risk" in refused("replay", path, "--profile", EXAMPLE, "--config", config)
    assert "nowhere.toml" in refused("replay", path, "--profile", tmp_path / "nowhere.toml")


def test_the_whole_configuration_can_be_shown(tmp_path):
    shown = tickpath("replay", "x", "--profile", EXAMPLE, "--show-config").stdout
    assert 'model = "none"' in shown and 'reducing = "check"' in shown
    assert (
        '[risk.symbols."AAPL"]' in shown and json.dumps("tickpath.profile_trigger:trigger") in shown
    )
