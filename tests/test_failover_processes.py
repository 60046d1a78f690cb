"""Failover of real processes: the active killed or suspended, against an exchange that judges.

The exchange never forgives an order that comes twice (`Cluster.taken`), and at the end node and
exchange have to say the same of every position.
"""

import signal
import time

import pytest

from cluster import Cluster
from node_hall import Hall


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory):
    """What a first start compiles takes longer than anybody waits for here."""
    made = Hall(tmp_path_factory.mktemp("compiled"), ("a",))
    made.begin("a")
    made.close()


@pytest.fixture
def cluster(tmp_path):
    made = Cluster(tmp_path)
    try:
        yield made
    finally:
        made.close()


def begun(cluster: Cluster) -> str:
    """Both nodes run, one trades, the other could take over; gives the active one."""
    cluster.begin_all()
    cluster.until(cluster.is_guarded, "no standby in sync", 0.05)
    before = cluster.taken()
    cluster.until(lambda: cluster.taken() > before + 50, "no orders")
    name = cluster.active()
    assert name is not None
    return name


def other_than(name: str) -> str:
    return "b" if name == "a" else "a"


def compare(cluster: Cluster, name: str) -> None:
    """Trading is held; what the node holds is what the exchange says."""
    cluster.ask(name, ask="hold", why="to compare")

    def is_same() -> bool:
        status = cluster.status(name)
        return bool(status) and status["positions"] == positions(cluster)

    cluster.until(is_same, "positions differ", 0.05)


def positions(cluster: Cluster) -> dict[str, int]:
    books = cluster.exchange.venue.matching.books
    return {
        books[locate].stock: each.bought - each.sold
        for locate, each in list(cluster.port.holdings.items())
        if each.bought != each.sold
    }


def test_the_standby_trades_on_when_the_active_is_killed(cluster):
    active = begun(cluster)
    standby = other_than(active)
    cluster.kill(active)
    killed = time.monotonic()
    cluster.until(lambda: cluster.status(standby).get("state") == "ACTIVE", "nobody took over")
    before = cluster.taken()
    cluster.until(lambda: cluster.taken() > before + 50, "the new active does not trade")
    assert time.monotonic() - killed < 30
    # The one that was killed comes back as a standby, and takes over when it is asked to.
    cluster.begin_node(active)
    cluster.until(cluster.is_guarded, "no standby in sync", 0.05)
    cluster.ask(standby, ask="switchover", to=active)
    cluster.until(lambda: cluster.active() == active, "no switchover", 0.02)
    before = cluster.taken()
    cluster.until(lambda: cluster.taken() > before + 50, "no orders after the switchover")
    compare(cluster, active)


def test_an_active_that_was_suspended_stops_before_it_sends(cluster):
    active = begun(cluster)
    standby = other_than(active)
    cluster.kill(active, signal.SIGSTOP)
    cluster.until(lambda: cluster.status(standby).get("state") == "ACTIVE", "nobody took over")
    before = cluster.taken()
    cluster.until(lambda: cluster.taken() > before + 50, "the new active does not trade")
    cluster.kill(active, signal.SIGCONT)
    cluster.until(lambda: cluster.status(active).get("state") == "STANDBY", "it goes on", 0.05)
    cluster.until(cluster.is_guarded, "it does not come back", 0.05)
    assert cluster.active() == standby
    compare(cluster, standby)


@pytest.mark.long
@pytest.mark.parametrize("round_", range(10))
def test_killed_again_and_again(cluster, round_):
    active = begun(cluster)
    for _ in range(5):
        cluster.kill(active)
        standby = other_than(active)
        cluster.until(lambda s=standby: cluster.status(s).get("state") == "ACTIVE", "nobody")
        before = cluster.taken()
        cluster.until(lambda b=before: cluster.taken() > b + 20 + round_, "no orders")
        cluster.begin_node(active)
        cluster.until(cluster.is_guarded, "no standby in sync", 0.05)
        active = standby
    compare(cluster, active)
