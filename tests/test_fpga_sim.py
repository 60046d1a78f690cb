"""Executor ``fpga-sim``: the Verilated chain makes the orders that the software executor makes."""

import random
import tomllib
from pathlib import Path

import pytest

from captures import SHARED
from itch_messages import frame, run, split
from sessions import Captured, write_pcap
from silicon import market, profile
from streams import CAPACITY
from test_profile_replay import EXAMPLE
from tickpath import Config
from tickpath.backend import Backend, BackendError
from tickpath.config import Capacity
from tickpath.layout import MAX_INTENTS
from tickpath.ouch import order_id_of
from tickpath.profile import Gate, Imbalance, Profile, Symbol, load_profile
from tickpath.replay import Plan, replay
from tickpath.summary import print_replay
from tickpath.wire.ouch50 import OUCH50_INBOUND
from tickpath_backends.file import FileTransport
from tickpath_backends.hdl import verilated
from tickpath_backends.hdl.parse_flow import packet
from tickpath_backends.software import SoftwareExecutor

pytestmark = pytest.mark.skipif(verilated.why_not() is not None, reason=str(verilated.why_not()))

SMALL = Config(capacity=CAPACITY)
AAPL = SHARED / "nasdaq_itch50" / "aapl_20191230_part1.pcap"


def outcome(name, given, path, place, config=SMALL, limit=None):
    """What a replay found; the best prices of the profile's symbols only."""
    from tickpath_backends.fpga_sim import SimExecutor

    executor = {"software": SoftwareExecutor, "fpga-sim": SimExecutor}[name]
    orders, bbo = place / f"{name}.orders", place / f"{name}.csv"
    plan = Plan([path], orders=str(orders), bbo=str(bbo), limit=limit)
    result = replay(Backend(name, FileTransport, executor), config, plan, profile=given)
    rows = [row.split(",") for row in bbo.read_text().splitlines()]
    return {
        "orders": split(orders.read_bytes()),
        "sent": result["orders"]["sent"],
        "rejected": result["orders"]["rejected"],
        "profile": result["profile"],
        "bbo": [row for row in rows if row[3] in given.symbols or row[3] == "symbol"],
        "book_digest": result["book_digest"],
        "messages_by_type": result["messages_by_type"],
        "findings": result["findings"],
    }, result


@pytest.mark.parametrize("limit", [None, 2_345])
def test_orders_refusals_and_tops_are_the_softwares(limit, tmp_path):
    draw = random.Random(71)
    sent, refused = 0, set()
    for n in range(4):
        given = profile(draw)
        path = tmp_path / f"{n}.itch"
        path.write_bytes(run(market(draw, 3_000)))
        software, _ = outcome("software", given, path, tmp_path, limit=limit)
        found, _ = outcome("fpga-sim", given, path, tmp_path, limit=limit)
        assert found == software
        assert len(found["orders"]) == found["sent"]
        sent += found["sent"]
        refused |= {name for name, n in found["profile"]["rejects_by_check"].items() if n}
    assert sent > 20 and len(refused) > 3


@pytest.mark.skipif(not AAPL.exists(), reason=f"no real data at {AAPL}")
def test_real_frames(tmp_path):
    config = Config(capacity=Capacity(symbols=4_096))
    given = load_profile(EXAMPLE)
    software, _ = outcome("software", given, AAPL, tmp_path, config)
    found, result = outcome("fpga-sim", given, AAPL, tmp_path, config)
    assert found == software and found["sent"] > 50 and found["findings"] == []
    cycles, times = result["latency_cycles"], result["latency_at_clock_ns"]
    assert cycles["count"] == found["sent"] and cycles["min"] == cycles["p50"] == 19
    assert times["clock_mhz"] == 322.27 and times["p50"] == 59.0


@pytest.mark.parametrize("cut", [1, 30])
def test_a_frame_that_is_cut_is_a_finding(cut, tmp_path, capsys):
    """Up to it orders are the same; what it brought may still cause some, what is behind it none.

    The engine takes nothing of such a frame; the chain passes its messages on before it sees.
    """
    draw = random.Random(72)
    gate = Gate(unknown_trading_state="trade")
    given = Profile(symbols={"AAPL": Symbol(Imbalance(1, 1))}, gate=gate)
    raw = [each for each in market(draw, 3_000) if each[:1] != b"H"]
    parts = [raw[n : n + 9] for n in range(0, len(raw), 9)]
    frames = [frame(packet(each, "0000000007", 1 + 9 * n)) for n, each in enumerate(parts)]
    at = len(frames) // 2
    frames[at] = frames[at][:-cut]
    path = tmp_path / "cut.pcap"
    write_pcap(path, [Captured(n, each) for n, each in enumerate(frames)])
    software, _ = outcome("software", given, path, tmp_path)
    found, result = outcome("fpga-sim", given, path, tmp_path)
    same = len(software["orders"])
    assert same > 10 and found["orders"][:same] == software["orders"]
    names = [OUCH50_INBOUND.decode(each)["clordid"] for each in found["orders"]]
    numbers = [order_id_of(each) // MAX_INTENTS for each in names]
    assert all(n <= 9 * (at + 1) for n in numbers)
    assert [each for each in found["findings"] if "damaged" in each] == [
        "fpga-sim: frames damaged: 1"
    ]
    assert result["counters"]["frame_truncated"] == 1
    print_replay(result)
    said = capsys.readouterr().out
    cycles = result["latency_cycles"]
    (row,) = [line.split() for line in said.splitlines() if "chain, cycles" in line]
    names = ("count", "min", "p50", "p90", "p99", "p99_9", "p99_99", "max")
    assert row[2:] == [f"{cycles[name]:,}" for name in names]
    assert "at 322.27 MHz" in said


def test_what_it_does_not_do_is_said():
    from tickpath_backends.fpga_sim import SimExecutor

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    entry = project["project"]["entry-points"]["tickpath.executors"]["fpga-sim"]
    assert entry == f"{SimExecutor.__module__}:{SimExecutor.__name__}"
    with pytest.raises(BackendError, match="--profile"):
        SimExecutor(Config())
    with pytest.raises(BackendError, match="--audit"):
        SimExecutor(Config(), profile=Profile(symbols={"A": Symbol()}), on_audit=lambda *_: True)


def test_without_verilator_the_command_is_named(monkeypatch):
    from tickpath_backends.fpga_sim import SimExecutor

    monkeypatch.setattr(verilated, "find_spec", lambda name: None)
    assert "pip install 'tickpath[hdl]'" in str(SimExecutor.why_not())
