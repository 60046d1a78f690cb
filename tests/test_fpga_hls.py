"""Executor ``fpga-hls``: the DSLX functions make the orders that the software executor makes."""

import random
import tomllib
from pathlib import Path

import pytest

from itch_messages import message, run, split
from scenes import TS, add, execute
from silicon import market, profile
from streams import CAPACITY
from tickpath import Config
from tickpath.backend import Backend, BackendError
from tickpath.config import Fix44Orders, Orders
from tickpath.outputs import BboCsv
from tickpath.profile import Gate, Imbalance, Profile, Symbol
from tickpath.replay import Plan, replay
from tickpath_backends.file import FileTransport
from tickpath_backends.hdl import xls
from tickpath_backends.software import SoftwareExecutor

pytestmark = pytest.mark.skipif(xls.why_not() is not None, reason=str(xls.why_not()))

SMALL = Config(capacity=CAPACITY)


def backend(name: str) -> Backend:
    from tickpath_backends.fpga_hls import HlsExecutor

    executors = {"software": SoftwareExecutor, "fpga-hls": HlsExecutor}
    return Backend(name, FileTransport, executors[name])


def outcome(name: str, given: Profile, path: Path, place: Path) -> dict:
    """Orders, refusals, every best bid and offer, the books, and what the profile counted."""
    orders, bbo = place / f"{name}.orders", place / f"{name}.csv"
    plan = Plan([path], orders=str(orders), bbo=str(bbo))
    result = replay(backend(name), SMALL, plan, profile=given)
    assert result["backend"] == name and bbo.read_text().startswith(",".join(BboCsv.HEAD))
    assert result["latency_ns"]["tick_to_order"]["count"] == result["orders"]["sent"]
    return {
        "orders": split(orders.read_bytes()),
        "rejected": result["orders"]["rejected"],
        "profile": result["profile"],
        "bbo": bbo.read_text().splitlines(),
        "book_digest": result["book_digest"],
        "messages_by_type": result["messages_by_type"],
    }


@pytest.mark.parametrize("protocol", ["ouch50", "ouch42"])
def test_orders_refusals_and_tops_are_the_softwares(protocol, tmp_path):
    draw = random.Random(62)
    sent, refused = 0, set()
    for n in range(4):
        given = profile(draw)
        given = Profile(given.symbols, given.gate, given.limits, Orders(protocol=protocol))
        path = tmp_path / f"{n}.itch"
        path.write_bytes(run(market(draw, 4_000)))
        software = outcome("software", given, path, tmp_path)
        assert outcome("fpga-hls", given, path, tmp_path) == software
        sent += len(software["orders"])
        refused |= {name for name, n in software["profile"]["rejects_by_check"].items() if n}
    assert sent > 50 and len(refused) > 4


def test_an_overflow_stops_it_too(tmp_path):
    path = tmp_path / "odd.itch"
    path.write_bytes(run([add(1, "B", 500, 1_000_050), add(2, "S", 100, 1_000_200)]))
    gate = Gate(unknown_trading_state="trade")
    given = Profile(symbols={"AAPL": Symbol(Imbalance(1, 1))}, gate=gate)
    found = outcome("fpga-hls", given, path, tmp_path)
    assert found["profile"]["symbols"]["AAPL"]["stopped"] and not found["orders"]


def prints(draw, count):
    """Executions, trades against hidden orders and broken trades of one symbol, at any price."""
    messages, matches = [], []
    for n in range(1, count + 1):
        price = draw.randrange(1, 2_000_000_000)
        kind, shares = draw.randrange(4), draw.randrange(1, 1_000_000)
        if kind == 3 and matches:
            number = matches.pop(draw.randrange(len(matches)))
            messages.append(message("B", 1, TS, match_number=number))
            continue
        matches.append(n)
        if kind:
            messages.append(add(n, "BS"[n % 2], shares, price))
            messages.append(execute(n, shares, match=n))
        else:
            given = {"side": "B", "shares": shares, "stock": "AAPL", "price": price}
            messages.append(message("P", 1, TS, match_number=n, **given))
    return messages


@pytest.mark.parametrize("is_wrong", [False, True])
def test_indicators_are_the_engines(is_wrong, tmp_path):
    """Print by print; a reciprocal that is not the divisor's shows."""
    from tickpath_backends.fpga_hls import HlsExecutor

    def executor(config, **options):
        made = HlsExecutor(config, **options)
        if is_wrong:
            made._functions[-1].frame.inputs[1]["reciprocal"] >>= 1
        return made

    path = tmp_path / "prints.itch"
    path.write_bytes(run(prints(random.Random(63), 600)))
    given = Profile(symbols={"AAPL": Symbol(tick=0.0001)})
    made = Backend("fpga-hls", FileTransport, executor)
    result = replay(made, SMALL, Plan([path]), profile=given)
    seen = result["indicators"]
    assert seen["prints"] > 300 and seen["broken"] > 80
    assert (seen["different"] > 100) == is_wrong == bool(seen["resumed"])
    assert any("indicators of DSLX" in each for each in result["findings"]) == is_wrong


def test_what_it_does_not_do_is_said():
    from tickpath_backends.fpga_hls import HlsExecutor

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    entry = project["project"]["entry-points"]["tickpath.executors"]["fpga-hls"]
    assert entry == f"{HlsExecutor.__module__}:{HlsExecutor.__name__}"
    with pytest.raises(BackendError, match="--profile"):
        HlsExecutor(Config())
    given = Profile(symbols={"A": Symbol()})
    with pytest.raises(BackendError, match="--audit"):
        HlsExecutor(Config(), profile=given, on_audit=lambda *_: True)
    fix = Orders(protocol="fix44", fix44=Fix44Orders(sender_comp_id="A", target_comp_id="B"))
    with pytest.raises(BackendError, match=r"fix44.options \(text takes any\) by \+43"):
        HlsExecutor(Config(orders=fix), profile=given)
