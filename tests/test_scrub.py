"""The state, slice by slice: a follower finds a difference that no record of the stream says."""

import numpy as np
import pytest

from sessions import session
from test_replica_ring import TAKER, packets_of
from tickpath import Engine
from tickpath.follower import Divergence
from tickpath.replica.ring import Ring, RingTransport
from tickpath.scrub import REGIONS, SCALARS, SLICE_BYTES, slices
from tickpath.wire.inputs import INPUTS, Kind

EVERY = 3


class Pair:
    """An active that says a slice after every few records, and who follows it."""

    def __init__(self, path) -> None:
        self.ring = Ring.create(path, 1 << 23)
        self.active, self.standby = Engine(strategy=TAKER), Engine(strategy=TAKER)
        self.active.publish_to(self.ring.address, scrub_every=EVERY)
        self.transport = RingTransport(self.ring, "standby")
        self.kinds: list[int] = []

    def give(self, packets: np.ndarray) -> None:
        for at in range(0, len(packets), 2):
            self.active.process(packets[at : at + 2])
            self.active.scrub()

    def follow(self) -> None:
        while len(lent := self.transport.poll(64)):
            for each in lent:
                raw = np.ctypeslib.as_array(
                    (np.ctypeslib.ctypes.c_uint8 * 88).from_address(int(each["address"]))
                )
                self.kinds.append(int(raw.view(INPUTS["record"].dtype)[0]["kind"]))
            self.standby.process(lent)
            self.transport.release()


@pytest.fixture(scope="module")
def packets():
    return packets_of(session())


@pytest.fixture
def pair(tmp_path):
    return Pair(tmp_path / "ring")


def test_slices_cover_all_that_the_state_digest_does():
    engine = Engine()
    table = slices(engine.block)
    covered = sum(int(each["length"]) for each in table)
    regions = sum(engine.block.views[name].nbytes for name in REGIONS)
    assert covered == regions + engine.block.gate.nbytes + 8 * len(SCALARS)
    assert table["length"].max() <= SLICE_BYTES and not (table["length"] % 8).any()
    ends = np.sort(table, order="offset")
    assert (ends["offset"][1:] >= ends["offset"][:-1] + ends["length"][:-1]).all()


def test_all_of_the_state_is_compared_in_turn(pair, packets):
    pair.give(packets)
    pair.give(packets[:0])
    pair.follow()
    assert pair.standby.divergence is Divergence.NONE
    assert pair.kinds.count(Kind.SCRUB) > len(slices(pair.active.block))
    assert pair.standby.state_digest == pair.active.state_digest


@pytest.mark.parametrize(
    ("region", "field"),
    [("position", "quantity"), ("own", "leaves"), ("limit", None), ("cell", None), ("gate", None)],
)
def test_a_difference_is_found(pair, packets, region, field):
    pair.give(packets[:400])
    pair.follow()
    view = pair.standby.block.gate if region == "gate" else pair.standby.block.views[region]
    if field is not None:
        view[field][5] ^= 1
    else:
        raw = view.reshape(-1)[-1:].view(np.uint8)
        raw[-1] ^= 1
    pair.give(packets[400:])
    pair.follow()
    assert pair.standby.divergence is Divergence.STATE


def test_the_order_of_a_chain_is_no_difference(pair, packets):
    pair.give(packets[:400])
    pair.follow()
    pair.standby.block.views["own"]["next_named"][-3] ^= 1
    pair.give(packets[400:])
    pair.follow()
    assert pair.standby.divergence is Divergence.NONE


def test_it_is_said_while_there_is_nothing_to_do(tmp_path, packets):
    from memory_transport import MemoryTransport
    from tickpath.live import Live

    pair = Pair(tmp_path / "ring")
    pair.give(packets[:60])
    before = pair.active.block.get("scrub_slice")
    with Live(pair.active, MemoryTransport(packets[60:300])) as live:
        for _ in range(20):
            live.step(50_000)
    assert pair.active.block.get("scrub_slice") > before
    pair.follow()
    assert pair.standby.divergence is Divergence.NONE


def test_none_is_said_where_none_is_asked_for(pair, packets):
    pair.active.publish_to(pair.ring.address)
    pair.give(packets)
    pair.follow()
    assert Kind.SCRUB not in pair.kinds and Kind.RUN in pair.kinds
