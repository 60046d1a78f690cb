"""The chain against the software executor: the same frames, the same profile, the same orders.

What is compared: every order's bytes, every refusal by the check that decided it, every best bid
and offer of the profile's symbols with its input and its time, inputs and engine time at the end.
Nothing may have overflown on either side.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tickpath import profile_config
from tickpath.config import Capacity, Config
from tickpath.decode_packet import payload
from tickpath.engine import Engine
from tickpath.incomplete import WITHOUT_ROOM
from tickpath.order_template import OrderMessage
from tickpath.packet import LINK_ETHERNET, PACKET
from tickpath.profile import Check, Profile
from tickpath.wire.itch50 import ITCH50
from tickpath.wire.moldudp64 import END_OF_SESSION, MOLDUDP64
from tickpath_backends.hdl import fix_order, registers
from tickpath_backends.hdl.chain_model import Chain, Outcome, frames_of, judged
from tickpath_backends.hdl.registers import Protocol

_NAMED = (
    "stock_directory",
    "add_order_no_mpid_attribution",
    "add_order_with_mpid_attribution",
)
_REPLACE = "order_replace"
ROOM_COUNTERS = tuple(each.name.lower() for each in WITHOUT_ROOM)
"""Counters of the software's books for which the hardware's capacities say nothing."""
Row = tuple[int, ...]
"""A best bid and offer: input, time, symbol, bid price and size, ask price and size."""


class DifferenceError(AssertionError):
    """The chain and the software differ; the message says where."""


@dataclass
class Expected:
    """What the software executor made of a session."""

    engine: Engine
    orders: list[bytes]
    refused: dict[str, int]
    tops: list[Row]
    locates: dict[int, int]
    """The profile's number of each symbol's locate."""


@dataclass
class Checked:
    """What was compared; ``latencies`` counts orders by cycles, from word to word."""

    orders: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    tops: int = 0
    messages: int = 0
    cycles: int = 0
    latencies: Counter[int] = field(default_factory=Counter)
    counters: dict[str, int] = field(default_factory=dict)


# ---------------------------------------------------------------- sessions


def messages_of(frame: bytes) -> Iterator[tuple[bytes, int]]:
    """The messages of a frame, each with the place behind its last byte."""
    found = payload(LINK_ETHERNET, frame, Counter())
    header, block = MOLDUDP64["downstream_packet"], MOLDUDP64["message_block"]
    if found is None:
        return
    at = frame.rindex(found.data) + header.length
    count = header.decode(found.data[: header.length])["message_count"]
    for _ in range(0 if count == END_OF_SESSION else count):
        length = int.from_bytes(frame[at : at + block.length], "big")
        at += block.length + length
        yield frame[at - length : at], at


def ticks_of(frames: Sequence[bytes]) -> dict[str, float]:
    """How fine the prices of each symbol are, in dollars."""
    ticks: dict[int, float] = {}
    names: dict[int, str] = {}
    for raw, _ in (each for frame in frames for each in messages_of(frame)):
        layout = ITCH50.by_type.get(chr(raw[0]))
        if layout is None or layout.name not in (*_NAMED, _REPLACE):
            continue
        fields = layout.decode(raw)
        locate = fields["stock_locate"]
        if layout.name in _NAMED:
            names[locate] = fields["stock"]
        if "price" in fields:
            is_fine = int(fields["price"].scaleb(4)) % 100 != 0
            ticks[locate] = 0.0001 if is_fine else ticks.get(locate, 0.01)
    return {names[locate]: tick for locate, tick in sorted(ticks.items())}


def lent(frames: np.ndarray) -> np.ndarray:
    """Frames as a transport lends them."""
    packets = np.zeros(len(frames), PACKET)
    for name in ("address", "length"):
        packets[name] = frames[name]
    packets["wire_length"], packets["link"] = frames["length"], LINK_ETHERNET
    return packets


def without_room(engine: Engine) -> dict[str, int]:
    """What the software had no room for in books whose hardware may have had it, by counter."""
    counted = engine.counters
    return {name: counted[name] for name in ROOM_COUNTERS if counted[name]}


def software(profile: Profile, frames: np.ndarray, base: Config | None = None) -> Expected:
    """The software's engine after frames, with what it sent and saw.

    Raises `DifferenceError` where the session is beyond the profile, or beyond what ``base`` gives
    the software room for: that is no session in which the two could be compared.
    """
    base = base or Config(capacity=Capacity(symbols=4096))
    rows: list[np.ndarray] = []
    engine = Engine(
        profile_config.config_of(profile, base),
        on_bbo=lambda columns: rows.append(np.stack([*columns.values()], axis=1)),
    )
    engine.process(lent(frames))
    numbers = {name: n for n, name in enumerate(profile.symbols)}
    locates = {b: numbers[name] for name, b in engine.symbols.items() if name in numbers}
    tops = [
        (seq, ts, locates[book], *prices)
        for seq, ts, book, *prices in np.concatenate(rows).tolist()
        if book in locates
    ]
    cells = engine.block.cell["value"]
    result = profile_config.result_of(profile, cells, engine.rejects_by_code)
    if left_out := without_room(engine):
        raise DifferenceError(
            f"the software's own tables were too small, its books are incomplete: {left_out}"
        )
    if any(result["overflows"].values()) or result["rejects_beyond"]:
        raise DifferenceError(f"the session is beyond the profile: {result}")
    refused = {name: n for name, n in result["rejects_by_check"].items() if n}
    return Expected(engine, engine.take_orders(), refused, tops, locates)


def template_of(engine: Engine, protocol: Protocol) -> int:
    """What all of a session's orders share, as the entry of `Table.TEMPLATE`.

    Raises `HdlError` where a FIX session's constants are not of the hardware's length.
    """
    if protocol is Protocol.FIX44:
        head = fix_order.head(engine.config.orders.fix44)
        return fix_order.constant_sum(head) << 8 * len(head) | int.from_bytes(head, "big")
    length = registers.TEMPLATE_BITS[protocol] // 8
    raw = bytes(engine.block.template[OrderMessage.ENTER]["bytes"])[:length]
    return int.from_bytes(raw, "big")


def prepare(chain: Chain, profile: Profile, expected: Expected) -> None:
    """Write what the software has learnt and been told into the chain's registers."""
    chain.program(profile, template_of(expected.engine, chain.protocol))
    chain.subscribe(expected.locates)
    lines = expected.engine.block.line[: expected.engine.block.get("lines")]
    chain.listen([(int(each["group"]), int(each["port"]), n) for n, each in enumerate(lines)])


def stopped_by(chain: Chain) -> set[int]:
    """Symbols that the hardware stopped: by an order off the grid or no room, a level too large."""
    said = chain.value("WINDOW_OVERFLOW") | chain.value("ORDERS_OVERFLOW")
    return {n for n in range(64) if said >> n & 1}


# ---------------------------------------------------------------- comparing


def rows_of(tops: np.ndarray) -> list[Row]:
    """Tops of the chain as rows."""
    names = ("input_number", "ts_event", "symbol", "bid_px", "bid_sz", "ask_px", "ask_sz")
    return list(zip(*(tops[name].tolist() for name in names), strict=True))


def orders_of(orders: np.ndarray) -> list[bytes]:
    """The bytes of orders."""
    return [bytes(each["data"][: int(each["length"])]) for each in orders]


def refused_of(verdicts: np.ndarray) -> dict[str, int]:
    """Refused intents by the check that decided."""
    found: Counter[str] = Counter()
    for each in map(judged, verdicts):
        check = profile_config.decisive(each.failed, each.price)
        if check is not None:
            found[Check(check).name.lower()] += 1
    return dict(found)


def compare(
    chain: Chain, profile: Profile, frames: Sequence[bytes], expected: Expected, **how: Any
) -> Checked:
    """Feed frames that the software has had to a prepared chain.  Raises `DifferenceError`.

    ``how`` goes to `Chain.run`.
    """
    records, memory = frames_of(frames)
    began = chain.cycle
    outcome = chain.run(records, is_timed=True, **how)
    del memory
    seen = Checked(
        len(outcome.orders), refused_of(outcome.verdicts), len(outcome.tops), cycles=-began
    )
    seen.cycles += chain.cycle
    wanted = expected.orders
    if chain.protocol is Protocol.FIX44:
        wanted = [fix_order.widened(each) for each in wanted]
    _same("orders", wanted, orders_of(outcome.orders))
    _same("refusals", sorted(expected.refused.items()), sorted(seen.refused.items()))
    # The software numbers rows by messages, the chain by inputs, of which a gap is one too.
    first = 1 if expected.engine.counters["gaps"] else 0
    tops = (
        [each[first:] for each in expected.tops],
        [each[first:] for each in rows_of(outcome.tops)],
    )
    _same("tops", *tops)
    state = chain.model.outputs[0]
    block = expected.engine.block
    _same(
        "inputs and engine time",
        [block.get("input_number"), block.get("engine_time")],
        [int(state["input_number"]), int(state["engine_time"])],
    )
    if chain.flags or stopped_by(chain):
        raise DifferenceError(f"the book's flags: {chain.flags:04b}, symbols {stopped_by(chain)}")
    seen.messages = expected.engine.messages
    if not expected.engine.counters["gaps"]:
        seen.latencies = latencies(outcome, frames)
    seen.counters = _counters(chain, seen)
    return seen


def _same(what: str, expected: Sequence[Any], got: Sequence[Any]) -> None:
    if list(expected) == list(got):
        return
    at = next(
        (n for n, pair in enumerate(zip(expected, got, strict=False)) if pair[0] != pair[1]),
        min(len(expected), len(got)),
    )
    raise DifferenceError(
        f"{what}: {len(expected)} of the software, {len(got)} of the chain; number {at}:\n"
        f"  software {expected[at : at + 1]}\n  chain    {got[at : at + 1]}"
    )


def latencies(outcome: Outcome, frames: Sequence[bytes]) -> Counter[int]:
    """Orders by cycles from the word with their message's last byte to their own first one.

    No message of the frames may be missing: the number of its input is its place.
    """
    ends, word = [], 0
    for frame in frames:
        ends += [word + (end - 1) // 8 for _, end in messages_of(frame)]
        word += -(-len(frame) // 8)
    accepted = [each for each in map(judged, outcome.verdicts) if not each.failed]
    return Counter(
        int(order["taken"]) - int(outcome.fed[ends[each.input_number - 1]])
        for each, order in zip(accepted, outcome.orders, strict=True)
    )


def _counters(chain: Chain, seen: Checked) -> dict[str, int]:
    """The chain's own counters, which have to say what was seen.  Raises `DifferenceError`."""
    counted = chain.counters()
    refused = sum(seen.refused.values())
    wanted = {
        "INTENTS": seen.orders + refused,
        "ACCEPTED": seen.orders,
        "REFUSED": refused,
        "ORDERS": seen.orders,
        "ORDERS_SENT": seen.orders,
        **dict.fromkeys(("INTENTS_DROPPED", "ORDERS_DROPPED", "BUS_ERRORS"), 0),
    }
    wrong = {name: (n, counted[name]) for name, n in wanted.items() if counted[name] != n}
    dropped = chain.value("BOOK_QUEUE_DROPPED")
    if wrong or dropped or chain.value("LATENCY_COUNT") != seen.orders:
        raise DifferenceError(f"counters (seen, counted): {wrong}, {dropped} operations dropped")
    # Behind messages shorter than a word, which ITCH has not, words wait before they are counted.
    if seen.latencies and not chain.model.outputs[0]["word_peak"]:
        own = [chain.value(f"LATENCY_{name}") for name in ("LEAST", "MOST", "SUM")]
        cycles = [*seen.latencies.elements()]
        _same("latency, least, most, sum", [min(cycles), max(cycles), sum(cycles)], own)
    return counted
