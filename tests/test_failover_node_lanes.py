"""Nodes whose rings go to each other by lanes, in their own loops and by UDP alone."""

import pytest

from node_hall import Hall, gate_of, inputs_of, positions_of
from test_failover_node import begun, compiled  # noqa: F401
from tickpath.failover.node_config import NodeSettings, Peer
from tickpath.failover.node_lanes import Lanes
from tickpath.failover.peers import Peers
from tickpath.failover.role_event import HoldTrading
from tickpath.replica.error import ReplicaError
from tickpath.replica.lane_receiver import LaneTransport
from tickpath.replica.ring import Ring


@pytest.fixture
def hall(tmp_path):
    made = Hall(tmp_path, has_lanes=True)
    yield made
    made.close()


def test_a_standby_takes_over_and_the_one_that_was_suspended_follows_it(hall):
    begun(hall)
    b, a = hall.nodes["b"], hall.nodes["a"]
    hall.until(lambda: a.count_all()["mirrors_lane_acknowledgements"] > 50, "few acknowledgements")
    zombie = hall.nodes.pop("a")
    assert isinstance(b.following.transport, LaneTransport)
    assert b.following.transport.ring.path.name == "mirror-a-of-b"
    assert zombie.count_all()["mirrors_dropped"] == 0
    epoch, before = zombie.role.epoch, hall.taken()
    hall.until(lambda: b.role.is_active, "b never took over")
    hall.until(lambda: hall.taken() > before + 100, "b never traded")
    assert b.role.epoch > epoch
    hall.nodes["a"] = zombie
    hall.until(lambda: not zombie.role.is_active)
    hall.until(lambda: isinstance(zombie.following.transport, LaneTransport), "a does not follow")
    hall.until(lambda: [each.name for each in gate_of(b)] == ["a"], "a never counts")
    assert zombie.following.transport.ring.path.name == "mirror-b-of-a"
    assert hall.active() == ["b"]
    b.tell(HoldTrading())
    hall.until(lambda: not b.outbox.waiting_bytes and positions_of(b) == hall.positions())
    hall.until(
        lambda: zombie.following.transport.lag == 0 and positions_of(zombie) == hall.positions(),
        "a differs",
    )
    # The feed goes on, and a lane's lag is that of what has come: states are compared where both
    # have taken the same inputs.
    hall.until(lambda: inputs_of(zombie) == inputs_of(b), "a is never as far as b")
    assert zombie.engine.state_digest == b.engine.state_digest


def test_a_node_without_peers_elsewhere_has_no_socket(tmp_path):
    lanes = Lanes(NodeSettings(), Ring.create(tmp_path / "ring", 1 << 20))
    assert lanes.sockets == [] and not lanes.counters
    lanes.close()


def test_a_name_that_nobody_knows_is_said(tmp_path):
    settings = NodeSettings(mirror="no-such-host.invalid:7801")
    with pytest.raises(ReplicaError, match=r"node\.mirror: no-such-host\.invalid:7801: "):
        Lanes(settings, Ring.create(tmp_path / "ring", 1 << 20))


def test_what_a_kill_has_left_is_not_taken_for_a_mirror(tmp_path):
    left = tmp_path / "mirror-b"
    Ring.create(left, 1 << 20)
    peer = Peer(ring=str(left), address="127.0.0.1:1", mirror="127.0.0.1:9")
    lanes = Lanes(NodeSettings(peers={"b": peer}), Ring.create(tmp_path / "ring", 1 << 20))
    assert not left.exists() and len(lanes.sockets) == 1
    lanes.close()


def test_a_mirror_that_was_begun_anew_is_looked_at(tmp_path):
    """In a new file, of the same ring."""
    path, peers = tmp_path / "mirror-b", None
    for life in range(2):
        mirror = Ring.create(path, 1 << 20)
        mirror.header["identity"], mirror.header["epoch"] = 77, 1
        peers = peers or Peers({"b": Peer(ring=str(path), address="127.0.0.1:1")})
        found = None
        for at in range(1, 20):
            mirror.header["beat"] = 100 * life + at
            found = peers.active((1_000 * life + 5 * at) * 1_000_000)
        assert found is not None and found.name == "b" and not found.ring.header["broken"]
        mirror.header["broken"] = 1
