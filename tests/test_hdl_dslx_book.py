"""The book of DSLX steps beside the engine's: the same tops, faults that show, when it is left."""

import random
from pathlib import Path

import pytest

from dslx_sources import changed, lent
from itch_messages import message, run
from scenes import add, cancel, delete, execute
from silicon import market, profile
from streams import CAPACITY
from tickpath import Config
from tickpath.backend import Backend
from tickpath.packet import LINK_MESSAGES
from tickpath.profile import Gate, Imbalance, Profile, Symbol
from tickpath.profile_config import config_of
from tickpath.replay import Plan, replay
from tickpath_backends.file import FileTransport
from tickpath_backends.hdl import xls

pytestmark = pytest.mark.skipif(xls.why_not() is not None, reason=str(xls.why_not()))

SMALL = Config(capacity=CAPACITY)
ONE = Profile(
    symbols={"AAPL": Symbol(Imbalance(1, 1), tick=0.0001)}, gate=Gate(unknown_trading_state="trade")
)


def followed(given: Profile, messages: list[bytes], place: Path) -> tuple[dict, list[str]]:
    """What the book of steps saw of a replay, and the findings about it."""
    from tickpath_backends.fpga_hls import HlsExecutor

    path = place / "session.itch"
    path.write_bytes(run(messages))
    executor = Backend("fpga-hls", FileTransport, HlsExecutor)
    result = replay(executor, SMALL, Plan([path]), profile=given)
    return result["book_steps"], [each for each in result["findings"] if "book steps" in each]


def replace(ref, new_ref, shares, price):
    return message("U", 1, 34_200_000_000_000, ref=ref, new_ref=new_ref, shares=shares, price=price)


def leaping(draw: random.Random, count: int, tick: int) -> list[bytes]:
    """Orders of one symbol around a middle that leaps further than a window is wide, now and then
    far from it; executions, cancels, deletes and replaces, of orders that are gone and of too many
    shares too.  Before a leap most orders leave: those that stay are far then."""
    middle, live, messages = 500 * tick, [], []
    for ref in range(1, count + 1):
        if draw.random() < 0.03:
            middle = draw.randrange(3_000, 7_500) * tick
            draw.shuffle(live)
            messages += [delete(each) for each in live[4:]]
            live = live[:4]
        near = draw.random() < 0.9
        price = middle + draw.randrange(-200, 200) * tick * (1 if near else 10)
        shares = draw.choice((0, 1, 100, 500))
        what = draw.randrange(9)
        old = draw.choice(live) if live else ref - 1
        if what < 4:
            messages.append(add(ref, draw.choice("BS"), shares, max(price, tick)))
            live.append(ref)
        elif what == 4:
            messages.append(execute(old, draw.choice((0, 30, 100, 1_000)), match=ref))
        elif what == 5:
            messages.append(cancel(old, draw.choice((0, 30, 1_000))))
        elif what == 6:
            messages.append(replace(old, ref, shares, max(price, tick)))
            live.append(ref)
        else:
            messages.append(delete(old))
    return messages


@pytest.mark.parametrize("seed", [71, 72])
def test_a_session_has_the_engine_s_tops(seed, tmp_path):
    draw = random.Random(seed)
    seen, findings = followed(profile(draw), market(draw, 8_000), tmp_path)
    assert seen.pop("operations") > 3_000 and not findings
    assert seen == {"rescans": 0, "different": 0, "left": 0}


@pytest.mark.parametrize("tick", [1, 100])
def test_windows_that_are_placed_anew(tick, tmp_path):
    """Below a dollar a tick is a hundredth of a cent, above it a cent."""
    seen, findings = followed(ONE, leaping(random.Random(tick), 6_000, tick), tmp_path)
    assert seen["rescans"] > 50 and seen["operations"] > 3_000 and not findings
    assert (seen["different"], seen["left"]) == (0, 0)


@pytest.mark.parametrize(
    ("messages", "operations"),
    [
        ([add(1), add(2, price=1_000_050), add(3)], 2),  # off the grid
        (
            [add(1), add(2, shares=1 << 31), *(add(n, shares=(1 << 32) - 1) for n in range(3, 40))],
            18,
        ),
    ],
    ids=["off the grid", "a level too large"],
)
def test_a_symbol_that_can_not_be_compared_is_left(messages, operations, tmp_path):
    seen, findings = followed(ONE, messages, tmp_path)
    assert seen == {"operations": operations, "rescans": 0, "different": 0, "left": 1}
    assert not findings


def test_a_restored_state_is_followed_no_more():
    """Its orders are in the snapshot, their book of steps is not."""
    from tickpath_backends.fpga_hls import HlsExecutor

    config = config_of(ONE, SMALL)
    first, second = (HlsExecutor(config, profile=ONE) for _ in range(2))
    found = []
    for executor, messages in ((first, [add(1), add(2)]), (second, [delete(1), add(3), delete(2)])):
        packets, memory = lent([run(messages)], LINK_MESSAGES)
        executor.run(packets, 0)
        del memory
        if executor is first:
            second.engine.restore(first.engine.snapshot())
        result = {"findings": []}
        executor.add_result(result)
        found.append((result["book_steps"]["left"], result["findings"]))
    assert found == [(0, []), (1, [])]


# ---------------------------------------------------------------- faults


FAULTS = {
    "an execution takes one less": ("taken, is_gone", "taken: taken - u32:1, is_gone"),
    "an order of the same shares stays": ("shares >= remaining;", "shares > remaining;"),
    "a level forgets what comes": ("sum as Quantity }, is_lost }", "quantity }, is_lost }"),
    "a level forgets what leaves": (
        "quantity - (shares as Quantity) }, is_lost }",
        "quantity }, is_lost }",
    ),
    "a tick too far": ("{ cents as Index }", "{ cents as Index + Index:1 }"),
    "prices of another tick": ("ticks * layout::TICK_FROM_DOLLAR", "ticks * u32:99"),
    "ranks of offers on both sides": ("if is_sell { index } else { !index }", "index"),
    "the last is the best": ("{ rank < than }", "{ rank > than }"),
}
QUICK = ("a level forgets what comes", "the last is the best")


@pytest.mark.parametrize(
    "fault",
    [each if each in QUICK else pytest.param(each, marks=pytest.mark.long) for each in FAULTS],
)
def test_a_fault_in_a_step_is_a_finding(fault, tmp_path):
    old, new = FAULTS[fault]
    with changed(tmp_path) as sources:
        path = sources / "dslx" / "book_step.x"
        text = path.read_text()
        body, tests = text.split("#[test]", 1)
        assert body.count(old) == 1
        path.write_text(body.replace(old, new) + "#[test]" + tests)
        seen, findings = followed(ONE, leaping(random.Random(9), 3_000, 100), sources)
    assert seen["different"] == seen["left"] == 1
    assert findings == [
        "fpga-hls: best prices or sizes of 1 symbols by the book steps of DSLX were others than "
        "the engine's"
    ]
