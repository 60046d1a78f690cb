"""Nodes that trade and stand by, against an exchange that counts every order itself."""

import pytest

from node_hall import Hall, positions_of


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory):
    """What a first start compiles takes longer than any lease runs."""
    made = Hall(tmp_path_factory.mktemp("compiled"), ("a",))
    made.begin("a")
    made.close()


@pytest.fixture
def hall(tmp_path):
    made = Hall(tmp_path)
    yield made
    made.close()


def settled(hall: Hall, name: str) -> None:
    """The strategy quiet, every order answered; node and exchange say the same."""
    node = hall.nodes[name]
    node.engine.block.set("strategy", 0)
    hall.until(
        lambda: (
            not node.outbox.waiting_bytes
            and node.engine.own_orders(open_only=True)["state"].max(initial=2) >= 2
            and hall.gateway.gateway.answers.next - 1 == node.answers.behind[0]
        ),
        "never settled",
    )
    for _ in range(20):
        hall.round()
    assert positions_of(node) == hall.positions()


def test_an_active_alone_trades(hall):
    a = hall.begin("a")
    hall.until(lambda: hall.taken() > 100, "no orders")
    assert hall.active() == ["a"] and a.role.epoch == 1


def test_a_standby_takes_over_from_an_active_that_is_killed(hall):
    hall.begin("a")
    hall.until(lambda: hall.taken() > 50, "no orders")
    b = hall.begin("b")
    hall.until(lambda: b.transport is not None and not b.role.ready(), "b is never ready")
    hall.until(
        lambda: hall.nodes["a"]._gate and hall.nodes["a"]._gate[0].name == "b", "b never counts"
    )
    before = hall.taken()
    hall.until(lambda: hall.taken() > before + 50, "no orders with a gate")
    zombie = hall.nodes.pop("a")
    before = hall.taken()
    hall.until(lambda: b.role.is_active, "b never took over")
    hall.until(lambda: hall.taken() > before + 100, "b never traded")
    assert b.role.epoch == 2
    # The zombie finds its lease over before it sends anything.
    hall.nodes["a"] = zombie
    hall.until(lambda: not zombie.role.is_active)
    assert hall.active() == ["b"]
    assert hall.gateway.gateway.counters["refused_stale_epoch"] == 0
