"""Nodes that trade and stand by, against an exchange that counts every order itself."""

import time

import msgspec
import pytest

from node_hall import Hall, gate_of, positions_of
from tickpath.counters import Counter
from tickpath.failover import node_following
from tickpath.failover.fetch import Fetch
from tickpath.failover.role_event import Force, HoldTrading, ResumeTrading, Switchover
from tickpath.replica.journal_recover import identity_of
from tickpath.replica.journal_ring import RingJournal
from tickpath.replica.journal_writer import JournalWriter


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


@pytest.fixture
def mirrored(tmp_path):
    made = Hall(tmp_path, is_mirrored=True)
    yield made
    made.close()


def begun(hall: Hall) -> None:
    """a trades, and b counts as in sync."""
    hall.begin("a")
    hall.until(lambda: hall.taken() > 50, "no orders")
    b = hall.begin("b")
    hall.until(lambda: b.following.transport is not None and not b.role.ready(), "b is never ready")
    hall.until(
        lambda: [each.name for each in gate_of(hall.nodes["a"])] == ["b"],
        "b never counts",
    )
    before = hall.taken()
    hall.until(lambda: hall.taken() > before + 50, "no orders with a gate")


def test_an_active_alone_trades(hall):
    a = hall.begin("a")
    hall.until(lambda: hall.taken() > 100, "no orders")
    assert hall.active() == ["a"] and a.role.epoch >= 1


def test_no_trading_on_books_that_lack_orders_until_somebody_says_so(hall):
    a = hall.begin("a")
    hall.until(lambda: hall.taken() > 10, "no orders")
    a.engine.block.counter["value"][Counter.ORDER_STORE_FULL] += 3
    hall.until(lambda: "books" in a.role.holds, "it trades on")
    assert any("3 orders found no room" in each for each in hall.said["a"])
    assert "trading is held: books" in a.role.ready()
    a.tell(ResumeTrading("books"))
    before = hall.taken()
    hall.until(lambda: hall.taken() > before + 10, "no orders")
    assert "books" not in a.role.holds


def test_a_standby_takes_over_from_an_active_that_is_killed(hall):
    begun(hall)
    b, zombie = hall.nodes["b"], hall.nodes.pop("a")
    epoch = zombie.role.epoch
    before = hall.taken()
    hall.until(lambda: b.role.is_active, "b never took over")
    hall.until(lambda: hall.taken() > before + 100, "b never traded")
    assert b.role.epoch > epoch
    # The zombie finds its lease over before it sends anything.
    hall.nodes["a"] = zombie
    hall.until(lambda: not zombie.role.is_active)
    assert hall.active() == ["b"]
    assert hall.gateway.gateway.counters["refused_stale_epoch"] == 0


def test_a_node_of_another_configuration_says_why_the_gateway_declines_it(hall):
    hall.begin("a")
    config = hall.configs["b"]
    strategy = msgspec.structs.replace(config.strategy, parameters=[9, 9])
    hall.configs["b"] = msgspec.structs.replace(config, strategy=strategy)
    hall.begin("b")
    hall.until(lambda: any("declines this node" in each for each in hall.said["b"]), "not a word")
    (said,) = [each for each in hall.said["b"] if "declines" in each]
    assert "configuration" in said
    assert "the order session is down" in hall.nodes["b"].role.ready()


def test_a_third_node_follows_whoever_takes_over(tmp_path, monkeypatch):
    hall = Hall(tmp_path, ("a", "b", "c"))
    asked: list[list[str]] = []

    class Asking(Fetch):
        def __init__(self, nodes, least):
            asked.append([name for name, _ in nodes])
            super().__init__(nodes, least)

    def leader():
        """The one active node, once there are some who may take over from it."""
        names = hall.active()
        node = hall.nodes[names[0]] if len(names) == 1 else None
        noted = node.role.in_sync.noted if node is not None and gate_of(node) else None
        return node if noted is not None and set(noted.in_sync) == set(gate_of(node)) else None

    try:
        begun(hall)
        monkeypatch.setattr(node_following, "Fetch", Asking)
        c = hall.begin("c")
        hall.until(
            lambda: c.following.transport is not None and not c.role.ready(), "c is never ready"
        )
        # A standby is asked first, the active last.
        (standby, active) = asked[-1]
        assert c.following.transport.ring.path.name == f"ring-{active}"
        assert {standby, active} == {"a", "b"}
        assert any(each.startswith("snapshot of ") for each in hall.said["c"])
        hall.until(leader, "nobody may take over")
        hall.nodes.pop(leader().settings.name)
        hall.until(leader, "nobody took over with a standby")
        (other,) = [each for each in hall.nodes.values() if each is not leader()]
        assert other.following.transport.ring.path.name == f"ring-{leader().settings.name}"
        before = hall.taken()
        hall.until(lambda: hall.taken() > before + 50, "no orders with a gate")
    finally:
        hall.close()


def test_a_standby_on_another_host_takes_over(mirrored):
    begun(mirrored)
    b = mirrored.nodes["b"]
    assert b.following.transport is not None and b.following.transport.ring.path.name == "mirror-a"
    del mirrored.nodes["a"]
    before = mirrored.taken()
    mirrored.until(lambda: b.role.is_active, "b never took over")
    mirrored.until(lambda: mirrored.taken() > before + 100, "b never traded")


def test_a_switchover_loses_nothing(hall):
    begun(hall)
    a, b = hall.nodes["a"], hall.nodes["b"]
    a.tell(Switchover("b"))
    hall.until(lambda: b.role.is_active and not a.role.is_active, "no switchover")
    before = hall.taken()
    hall.until(lambda: hall.taken() > before + 50, "b never traded")
    assert a.following.counters["places_lost"] == 0, hall.said
    pause = b.status()["pause"]
    assert pause["from"] == "a" and pause["epoch"] == b.role.epoch and pause["is_exact"]
    assert 0 < pause["pause_ns"] <= pause["orders_ns"] and b.role.counters["notes_inherited"] == 1
    hall.until(lambda: a.following.transport is not None, "a does not follow")
    b.tell(HoldTrading())
    hall.until(lambda: not b.outbox.waiting_bytes and positions_of(b) == hall.positions())
    hall.until(
        lambda: a.following.transport.lag == 0 and positions_of(a) == hall.positions(), "a differs"
    )
    assert a.engine.state_digest == b.engine.state_digest


def test_a_breaker_holds_trading_and_lets_it_go_on(tmp_path):
    breaker = {
        "name": "feed",
        "measures": "feed_staleness",
        "threshold": 1_000_000_000,
        "cool_down_ns": 200_000_000,
        "probes": 1,
        "actions": [{"do": "stop_new_orders"}, {"do": "cancel_all"}],
    }
    hall = Hall(tmp_path, ("a",), breakers=[breaker])
    try:
        a = hall.begin("a")
        hall.until(lambda: hall.taken() > 50, "no orders")
        end = time.monotonic() + 20
        while not a.breakers.open_names:
            hall.gateway.round(0)
            hall.witness.serve_once(0)
            a.round()
            assert time.monotonic() < end
        assert "breaker feed" in a.role.holds and a.engine.block.get("holds")
        assert a.engine.counters["commands"] >= 1
        assert any("breaker feed opens" in each for each in hall.said["a"])
        hall.until(lambda: not a.breakers.open_names, "it never closed")
        before = hall.taken()
        hall.until(lambda: hall.taken() > before + 20, "no orders after it closed")
        assert a.engine.block.get("holds") == 0
    finally:
        hall.close()


@pytest.mark.parametrize("has_unsent", [False, True])
def test_a_group_that_was_killed_whole_goes_on_from_its_journal(tmp_path, has_unsent):
    journal = tmp_path / "journal"
    hall = Hall(tmp_path, ("a",), journal=str(journal))
    try:
        a = hall.begin("a")
        assert any("nothing is recovered" in each for each in hall.said["a"])
        hall.until(lambda: hall.taken() > 50, "no orders")
        if has_unsent:
            a.leading.gate = None
            hall.until(lambda: a.outbox.waiting_bytes > 500, "no orders")
        else:
            a.tell(HoldTrading())
            hall.until(lambda: not a.outbox.waiting_bytes and positions_of(a) == hall.positions())
        unsent = a.outbox.waiting_bytes
        with JournalWriter(journal, identity_of(a.engine)) as writer:
            kept = RingJournal(a.ring, writer)
            while kept.step():
                pass
            kept.close()
        before, positions = a.engine.block.get("record_number"), positions_of(a)
        del hall.nodes["a"]
        a.close()
        assert not a.ring.path.exists()
        again = hall.begin("a")
        assert (
            again.engine.block.get("record_number") == before and positions_of(again) == positions
        )
        # Nobody vouches for what it knows, so it waits to be told.
        for _ in range(200):
            hall.round()
        assert not again.role.is_active
        assert again.outbox.position - again.outbox.tail_position >= unsent
        again.tell(Force())
        hall.until(lambda: again.role.is_active, "it was not forced")
        said = f"{unsent:,} bytes of orders that were made and not handed over go out now"
        assert (said in hall.said["a"]) is has_unsent
        again.tell(ResumeTrading("operator"))
        taken = hall.taken()
        hall.until(lambda: hall.taken() > taken + 20, "it does not trade")
        again.tell(HoldTrading())
        hall.until(
            lambda: not again.outbox.waiting_bytes and positions_of(again) == hall.positions()
        )
    finally:
        hall.close()


def test_a_standby_that_diverged_keeps_its_state_for_study_and_loads_anothers(hall):
    begun(hall)
    a, b = hall.nodes["a"], hall.nodes["b"]
    incarnation, loaded = b.role.member.incarnation, b.following.counters["snapshots_loaded"]
    b.engine.block.set("book_digest", b.engine.book_digest ^ 1)
    hall.until(lambda: b.following.counters["snapshots_loaded"] > loaded, "no snapshot was loaded")
    assert any("diverged behind record" in each for each in hall.said["b"])
    assert list((hall.path / "node-b").glob("diverged-*.snapshot"))
    hall.until(
        lambda: any(each.name == "b" and each.incarnation != incarnation for each in gate_of(a)),
        "it does not count again",
    )
    a.tell(HoldTrading())
    hall.until(
        lambda: (
            not a.outbox.waiting_bytes and b.following.transport and b.following.transport.lag == 0
        )
    )
    assert positions_of(a) == positions_of(b)
