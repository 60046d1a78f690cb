"""Backend ``alveo`` without a card: the whole way of the host, over a card that is software.

What runs: the native part as it is installed, the kernel as it is packaged (Verilated), transfers
both ways, registers, faults.  What does not: XRT's own library with a card, Vitis, silicon.
"""

import random
import sys
import tomllib
from pathlib import Path

import pytest
from msgspec import structs

import alveo_double
from itch_messages import run, split
from silicon import filled, market, profile
from streams import CAPACITY
from tickpath import Config
from tickpath.backend import Backend, BackendError
from tickpath.config import Fix44Orders, Orders
from tickpath.profile import Gate, Imbalance, Profile, Symbol, SymbolLimits
from tickpath.replay import Plan, replay
from tickpath_backends import alveo_card, build, native
from tickpath_backends.alveo import AlveoExecutor
from tickpath_backends.alveo_card import Card
from tickpath_backends.file import FileTransport
from tickpath_backends.fpga_sim import SimExecutor
from tickpath_backends.hdl import fix_order
from tickpath_backends.hdl.chain_model import frames_of
from tickpath_backends.hdl.error import HdlError
from tickpath_backends.hdl.registers import Protocol
from tickpath_backends.software import SoftwareExecutor

SMALL = Config(capacity=CAPACITY)
ROOT = Path(__file__).resolve().parents[1]
needs_double = pytest.mark.skipif(
    alveo_double.why_not() is not None, reason=str(alveo_double.why_not())
)


@pytest.fixture(scope="module")
def double(tmp_path_factory):
    before = sys.modules.get("tickpath_backends._alveo")
    yield alveo_double.Double(tmp_path_factory.mktemp("double"))
    if before is None:
        del sys.modules["tickpath_backends._alveo"]
    else:
        sys.modules["tickpath_backends._alveo"] = before


@pytest.fixture
def card(double, tmp_path, monkeypatch):
    """A card that works, with an xclbin that is named."""
    xclbin = tmp_path / "tickpath.xclbin"
    xclbin.write_bytes(b"xclbin2")
    monkeypatch.setenv(alveo_card.XCLBIN, str(xclbin))
    monkeypatch.delenv(alveo_card.DEVICE, raising=False)
    double.attach(alveo_double.library())
    return double


@pytest.fixture
def capture(tmp_path):
    path = tmp_path / "market.itch"
    path.write_bytes(run(market(random.Random(81), 2_000)))
    return path


def outcome(executor, given, path, place, config=SMALL, **how):
    """What a replay found, as far as a card can tell."""
    orders = place / f"{executor.__name__}.orders"
    plan = Plan([path], orders=str(orders), **how)
    result = replay(Backend("x", FileTransport, executor), config, plan, profile=given)
    return {
        "orders": split(orders.read_bytes()),
        "sent": result["orders"]["sent"],
        "rejected": result["orders"]["rejected"],
        "profile": result["profile"],
        "book_digest": result["book_digest"],
        "findings": result["findings"],
    }, result


@needs_double
def test_orders_and_refusals_are_the_softwares(card, tmp_path):
    draw = random.Random(71)
    sent, refused = 0, set()
    for n in range(4):
        given = profile(draw)
        path = tmp_path / f"{n}.itch"
        path.write_bytes(run(market(draw, 3_000)))
        software, _ = outcome(SoftwareExecutor, given, path, tmp_path)
        card.attach(alveo_double.library(), seed=n + 1)
        found, result = outcome(AlveoExecutor, given, path, tmp_path)
        assert found == software and len(found["orders"]) == found["sent"]
        assert result["latency_cycles"]["count"] == found["sent"]
        sent += found["sent"]
        refused |= {name for name, n in found["profile"]["rejects_by_check"].items() if n}
        assert result["card"]["verdicts_dropped"] == result["card"]["copies_dropped"] == 0
    assert sent > 20 and len(refused) > 3


@needs_double
def test_orders_in_fix_are_the_softwares(card, tmp_path):
    """A kernel that writes FIX: the same orders but for the zeros in front of numbers."""
    draw = random.Random(72)
    kernel = alveo_double.library(PROTOCOL=int(Protocol.FIX44))
    orders = Orders(protocol="fix44", fix44=filled(Fix44Orders("TRADER", "EXCHANGE")))
    sent, refused = 0, set()
    for n in range(3):
        given = structs.replace(profile(draw), orders=orders)
        path = tmp_path / f"{n}.itch"
        path.write_bytes(run(market(draw, 3_000)))
        software, _ = outcome(SoftwareExecutor, given, path, tmp_path)
        software["orders"] = [fix_order.widened(each) for each in software["orders"]]
        card.attach(kernel, seed=n + 1)
        found, result = outcome(AlveoExecutor, given, path, tmp_path)
        assert found == software and len(found["orders"]) == found["sent"]
        assert result["latency_cycles"]["count"] == found["sent"]
        sent += found["sent"]
        refused |= {name for name, n in found["profile"]["rejects_by_check"].items() if n}
    assert sent > 10 and len(refused) > 2
    with pytest.raises(BackendError, match="sends FIX44, the configuration OUCH50"):
        AlveoExecutor(SMALL, profile=trading())


def trading():
    """A profile that sends many orders."""
    return Profile(
        symbols={name: Symbol(Imbalance(1, 1)) for name in ("AAPL", "MSFT")},
        gate=Gate(unknown_trading_state="trade"),
        limits=SymbolLimits(max_long=4_000_000_000, max_short=4_000_000_000),
    )


@needs_double
@pytest.mark.parametrize("slots", [4, 64])
def test_many_small_transfers_into_a_small_ring(card, capture, tmp_path, monkeypatch, slots):
    """Orders wait for the host; the ring turns many times; nothing is lost or doubled."""
    monkeypatch.setattr(alveo_card, "SLOTS", slots)
    monkeypatch.setattr(alveo_card, "FRAMES_BYTES", 4_096)
    simulated, _ = outcome(SimExecutor, trading(), capture, tmp_path)
    found, result = outcome(AlveoExecutor, trading(), capture, tmp_path)
    assert found == simulated and found["sent"] > 30
    assert result["latency_cycles"]["count"] == found["sent"]


@needs_double
def test_a_card_that_somebody_left_in_the_middle(card, capture, tmp_path):
    """Opening it resets chain and movers: a second run is as the first."""
    runs = [outcome(AlveoExecutor, trading(), capture, tmp_path) for _ in range(2)]
    assert runs[0][0] == runs[1][0] and runs[0][0]["sent"] > 30
    assert runs[0][1]["latency_cycles"]["count"] == runs[1][1]["latency_cycles"]["count"]


FAULTS = {
    "lost": "failed to access the device: No such device",
    "stuck": "nothing moved on the card for 0.2 s: .* of .* words read",
    "short put": r"frame \d+ did not arrive on the card",
    "short get": r"record \d+ did not arrive from the card",
    "read error": r"the card's memory could not be read behind frame \d+",
    "write error": "orders are not recorded|did not arrive from the card",
    "not put": "frames to the card: DMA failed: Input/output error",
}


@needs_double
@pytest.mark.parametrize("what", FAULTS)
def test_what_breaks_is_one_line(card, capture, tmp_path, monkeypatch, what):
    monkeypatch.setattr(alveo_card, "PATIENCE_S", 0.2)
    given = trading()
    executor = AlveoExecutor(SMALL, profile=given)
    card.breaks(what)
    replaced = Backend("x", FileTransport, lambda *_, **__: executor)
    with pytest.raises(BackendError, match=f"^alveo: .*{FAULTS[what]}") as raised:
        replay(replaced, SMALL, Plan([capture]), profile=given)
    assert "\n" not in str(raised.value)
    executor.chain.close()
    executor.chain.close()
    with pytest.raises(HdlError, match="the card is closed"):
        executor.chain.value("CYCLE")


@needs_double
def test_a_frame_that_is_too_long(card):
    chain = Card("x", 0)
    frames, memory = frames_of([bytes(9_217)])
    with pytest.raises(HdlError, match="a frame of 9217 bytes; it takes 1 to 9216"):
        chain.run(frames)
    del memory


@needs_double
def test_what_is_loaded_has_to_be_this_kernel(card, tmp_path):
    with pytest.raises(HdlError, match="the xclbin sends OUCH50, the configuration OUCH42"):
        Card("x", 0, Protocol.OUCH42)
    card.breaks("no kernel")
    with pytest.raises(HdlError, match="card 0, x: the xclbin has no kernel tickpath_kernel"):
        Card("x", 0)
    card.breaks("whole")
    with pytest.raises(HdlError, match="card 3, x: Could not open device with index '3'"):
        Card("x", 3)


@needs_double
def test_without_a_card_there_is_one_line(card, monkeypatch, tmp_path):
    assert AlveoExecutor.why_not() is None
    monkeypatch.setenv(alveo_card.XCLBIN, str(tmp_path / "none"))
    assert str(AlveoExecutor.why_not()).startswith("TICKPATH_XCLBIN: no file ")
    monkeypatch.delenv(alveo_card.XCLBIN)
    assert str(AlveoExecutor.why_not()).startswith("no xclbin is named; run: export")
    card.breaks("no card")
    assert str(AlveoExecutor.why_not()).startswith("XRT is here, but it knows no card; run: ")
    card.breaks("no xrt")
    assert "XRT does not work here: XILINX_XRT not set; run: " in str(AlveoExecutor.why_not())


def test_without_its_native_part(monkeypatch):
    monkeypatch.setitem(sys.modules, "tickpath_backends._alveo", None)
    monkeypatch.setattr(build, "XRT_FOLDERS", ())
    monkeypatch.delenv("XILINX_XRT", raising=False)
    assert str(native.why_not("alveo")).startswith(
        "its native part is not built: XRT's C++ headers are not installed; "
        "run: sudo apt-get install libxrt-dev"
    )


def test_what_it_does_not_do_is_said():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    entry = project["project"]["entry-points"]["tickpath.executors"]["alveo"]
    assert entry == f"{AlveoExecutor.__module__}:{AlveoExecutor.__name__}"
    with pytest.raises(BackendError, match="alveo runs a hardware profile and nothing else"):
        AlveoExecutor(Config())
    with pytest.raises(BackendError, match=r"alveo: .*--bbo"):
        AlveoExecutor(Config(), profile=trading(), on_bbo=print)
