"""The judge against what it was told: everything that must not happen is found, nothing else is.

The exchange's and the gateway's files are written by their own writers; only nodes and rings are
made up.
"""

from types import SimpleNamespace

import numpy as np
import pytest

from tickpath.chaos.error import ChaosError
from tickpath.chaos.evidence import QUERY, is_order, names_of
from tickpath.chaos.judge import Judge
from tickpath.exchange.config import Exchange
from tickpath.exchange.journal import Journal, Kind
from tickpath.failover.gateway_store import GatewayStore
from tickpath.wire.gateway import NO_POSITION, Outcome
from tickpath.wire.ouch50 import OUCH50_INBOUND

OFFSET_NS = 1_000


def order(number: int) -> bytes:
    return OUCH50_INBOUND["enter_order"].encode(
        user_ref_num=number,
        side="B",
        quantity=100,
        symbol="AAA",
        price=1_500_000,
        time_in_force="0",
        display="Y",
        capacity="P",
        inter_market_sweep_eligibility="N",
        cross_type="N",
        clordid=f"T{number:013d}",
        appendage_length=0,
    )


def replacing(original: int, number: int) -> bytes:
    return OUCH50_INBOUND["replace_order"].encode(
        orig_user_ref_num=original,
        user_ref_num=number,
        quantity=100,
        price=1_500_000,
        time_in_force="0",
        display="Y",
        inter_market_sweep_eligibility="N",
        clordid=f"T{number:013d}",
        appendage_length=0,
    )


def framed(*messages: bytes) -> bytes:
    return b"".join(len(each).to_bytes(2, "big") + each for each in messages)


class Story:
    """What gateway, exchange, nodes and rings have to show."""

    def __init__(self, path) -> None:
        (path / "gateway").mkdir()
        self.path = path
        self.gateway = GatewayStore(path / "gateway" / "gateway.log", protocol="ouch50")
        self.exchange = Journal(path / "exchange")
        self.exchange.begin(Exchange(), "T1", 0)
        self.ts_ns = 0
        self.rings: dict[str, SimpleNamespace] = {}
        group = SimpleNamespace(
            place=SimpleNamespace(path=path),
            names=("a", "b"),
            exchange_offset_ns=OFFSET_NS,
            rings=self.rings,
        )
        self.judge = Judge(group)  # type: ignore[arg-type]

    def handed(self, *messages: bytes) -> int:
        position = self.gateway.order_position
        self.gateway.append_handed(1, 0, 0, framed(*messages), 1)
        return position

    def received(self, *messages: bytes) -> None:
        for each in messages:
            self.ts_ns += 1
            self.exchange.append(Kind.RECEIVE, 1, self.ts_ns, each)
        self.exchange.flush(0)

    def leads(self, node: str, epoch: int, record: int) -> None:
        with open(self.path / f"{node}.log", "a") as log:
            log.write(f"tickpath: node {node}: active in epoch {epoch} from record {record:,} on\n")

    def acknowledged(self, node: str, epoch: int, number: int) -> None:
        header = np.array([(epoch, number)], [("epoch", "<u8"), ("committed", "<u8")])[0]
        self.rings[node] = SimpleNamespace(header=header)
        self.judge.note_acknowledged()


@pytest.fixture
def story(tmp_path):
    made = Story(tmp_path)
    made.gateway.append_epoch(1, "a", 1)
    made.leads("a", 1, 1)
    return made


def test_names_of_an_order():
    assert is_order(order(7))
    assert names_of(order(7)) == (7, b"T0000000000007")
    assert not is_order(OUCH50_INBOUND["cancel_order"].encode(user_ref_num=7, quantity=0))


def test_a_stream_that_came_once_and_in_order(story):
    story.handed(order(1), order(2))
    story.received(order(1))
    assert story.judge.judge() == []
    story.received(order(2), b"Q")
    story.gateway.append_epoch(2, "b", 1)
    story.acknowledged("a", 1, 40)
    story.leads("b", 2, 41)
    story.handed(order(3))
    story.received(order(3))
    assert story.judge.judge() == []
    assert story.judge.epoch_of == [1, 1, 2]
    assert [each.ts_ns for each in story.judge.evidence.received] == [1_001, 1_002, 1_004]
    assert (story.judge.orders, story.judge.twice, story.judge.records_lost) == (3, 0, 0)
    assert story.judge._missing() == []


def test_an_order_that_came_twice(story):
    story.handed(order(1), order(2))
    story.received(order(1), order(2), order(2))
    assert story.judge.judge() == [
        "twice: order number 2 came behind 2",
        "twice: order T0000000000002 came again",
        "foreign: message 3 at the exchange is not the next of the stream",
    ]
    assert story.judge.twice == 1


def test_a_name_that_comes_again_under_another_number(story):
    other = bytearray(order(1))
    layout = OUCH50_INBOUND["enter_order"]["user_ref_num"]
    other[layout.offset : layout.offset + layout.size] = (2).to_bytes(layout.size, "big")
    story.handed(order(1), bytes(other))
    story.received(order(1), bytes(other))
    assert story.judge.judge() == ["twice: order T0000000000001 came again"]


def test_an_order_that_nobody_handed_over(story):
    story.handed(order(1))
    story.received(order(1), order(9))
    assert story.judge.judge() == [
        "foreign: message 2 at the exchange is not the next of the stream"
    ]


def test_orders_that_change_places(story):
    story.handed(order(1), order(2))
    story.received(order(2), order(1))
    assert "foreign: message 1 at the exchange is not the next of the stream" in story.judge.judge()


def test_a_gateway_that_logs_in_again_may_cancel_and_nothing_else(story):
    cancel = OUCH50_INBOUND["cancel_order"].encode(user_ref_num=1, quantity=0)
    reduce = OUCH50_INBOUND["cancel_order"].encode(user_ref_num=1, quantity=50)
    story.handed(order(1), order(2))
    story.received(b"Q", order(1), cancel)
    assert story.judge.judge() == [
        "foreign: message 2 at the exchange is not the next of the stream"
    ]
    story.received(b"Q", cancel, order(2))
    assert story.judge.judge() == []
    assert story.judge.cancels_of_gateway == 1
    story.received(reduce)
    assert story.judge.judge() == [
        "foreign: message 5 at the exchange is not the next of the stream"
    ]


def test_what_was_taken_comes_or_ends(story):
    story.handed(order(1))
    position = story.handed(order(2))
    story.received(order(1))
    assert story.judge.judge() == []
    (finding,) = story.judge._missing()
    assert finding.startswith(f"lost: 1 messages from position {position} on")
    story.gateway.append_outcome(1, position, Outcome.NOT_READY, order(2), 1)
    story.handed(order(3))
    story.received(order(3))
    assert story.judge.judge() == []
    assert story.judge._missing() == []


def test_what_was_said_to_be_never_sent_must_not_come(story):
    position = story.handed(order(1))
    story.gateway.append_outcome(1, position, Outcome.NOT_READY, order(1), 1)
    story.received(order(1))
    assert story.judge.judge() == [
        "foreign: message 1 at the exchange is not the next of the stream"
    ]


def test_an_epoch_that_falls(story):
    story.gateway.append_epoch(3, "b", 1)
    story.handed(order(1))
    story.gateway.append_epoch(2, "a", 1)
    story.handed(order(2))
    story.received(order(1), order(2))
    assert story.judge.judge() == [
        "epochs: the gateway took 2 (a) after 3 (b)",
        "epochs: orders of epoch 2 were taken after 3",
    ]


def test_two_nodes_in_one_epoch(story):
    story.leads("b", 1, 5)
    assert story.judge.judge() == [
        "epochs: b and a both led in 1",
        "epochs: 1 is a's, and b led in it",
    ]


def test_acknowledged_inputs_that_a_new_active_does_not_have(story):
    story.acknowledged("a", 1, 50)
    story.leads("b", 2, 41)
    (finding,) = story.judge.judge()
    assert finding == (
        "inputs: b began at record 41 in epoch 2, but a had 50 acknowledged: 10 are lost"
    )
    assert story.judge.records_lost == 10
    assert story.judge.judge() == []


def test_what_the_exchange_says_it_never_saw_is_passed_over(story):
    story.handed(order(1), order(2), order(3))
    story.received(order(1))
    story.gateway.append_outcome(1, NO_POSITION, Outcome.UNKNOWN, order(1), 1)
    assert story.judge.judge() == []
    (finding,) = story.judge._missing()
    assert finding.startswith("lost: 2 messages")
    story.gateway.append_outcome(1, NO_POSITION, Outcome.NEVER_RECEIVED, order(2), 1)
    story.received(order(3))
    assert (story.judge.judge(), story.judge._missing()) == ([], [])
    story.received(order(2))
    assert "foreign: message 3 at the exchange is not the next of the stream" in story.judge.judge()


@pytest.mark.parametrize(
    ("behind", "is_fine"),
    [
        ([QUERY], True),
        ([OUCH50_INBOUND["cancel_order"].encode(user_ref_num=1, quantity=0), QUERY], True),
        ([order(3), QUERY], False),  # with the order's higher number this one was settled, too
        ([], False),  # nobody has asked
    ],
)
def test_what_the_exchange_ignored_came_although_it_says_that_it_never_did(story, behind, is_fine):
    replacement = replacing(1, 2)
    story.handed(order(1), replacement, *[each for each in behind if each != QUERY], order(4))
    story.received(QUERY, order(1), replacement, *behind, order(4))
    story.gateway.append_outcome(1, NO_POSITION, Outcome.NEVER_RECEIVED, replacement, 1)
    found = story.judge.judge()
    wrong = "foreign: message 2 at the exchange is not the next of the stream"
    assert (found == []) is is_fine and (wrong in found) is not is_fine
    assert story.judge._missing() == []


@pytest.mark.parametrize("has_logged_in", [False, True])
def test_a_cancel_gets_lost_with_its_line_and_never_else(story, has_logged_in):
    cancel = OUCH50_INBOUND["cancel_order"].encode(user_ref_num=1, quantity=0)
    story.handed(order(1), cancel, order(2), cancel, order(3))
    story.received(QUERY, order(1), *([QUERY] if has_logged_in else []), order(2))
    first = "foreign: message 2 at the exchange is not the next of the stream"
    assert story.judge.judge() == ([] if has_logged_in else [first])
    story.received(order(3))
    (found,) = story.judge.judge()
    assert "is not the next of the stream" in found, "on a line that has not ended"


def resting(story, monkeypatch, epochs, compared, resumed=None) -> list[str]:
    """What `at_rest` says where the rings' epoch is one of these each time that it is looked at."""
    group, numbers, said = story.judge.group, iter(epochs), iter(compared)
    group.until = lambda done, *_: done()
    group.active = lambda: "a"
    group.epochs = lambda: {"a": next(numbers)}
    group.status = lambda name: {"held": ["operator"] if resumed is not None else []}
    group.command = lambda name, word: resumed.append((name, word))

    def compare(active: str, found: list[str]) -> list[str]:
        found.append("twice: ...")
        for each in said:
            return each
        raise ChaosError("it did not come")

    monkeypatch.setattr(story.judge, "_compared", compare)
    return story.judge.at_rest()


def test_what_differs_while_the_role_moves_is_compared_again(story, monkeypatch):
    found = resting(story, monkeypatch, [1, 2, 2, 2], [["positions: ..."], []])
    assert found == ["twice: ..."] * 2, "what happened is found whoever leads"


def test_what_differs_at_rest_is_found(story, monkeypatch):
    found = resting(story, monkeypatch, [1, 1], [["positions: ..."]])
    assert found == ["twice: ...", "positions: ..."]


def test_whoever_is_active_then_trades_again_also_where_comparing_failed(story, monkeypatch):
    resumed: list[tuple[str, str]] = []
    found = resting(story, monkeypatch, [1, 1], [], resumed)
    assert found[-1] == "it did not come"
    assert resumed == [("a", "resume")]


def test_a_role_that_never_rests_is_a_finding(story, monkeypatch):
    found = resting(story, monkeypatch, range(6), [["positions: ..."]] * 3)
    assert found[-1] == "at rest: the role moved again and again, 3 times"
    assert "positions: ..." not in found
