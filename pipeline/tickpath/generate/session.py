"""One session, from its plan to its last packet, as Python sees it.

State is a handful of arrays that grow with symbols and live orders only, so a session of any length
runs in constant memory: a chunk of messages is made, framed, lent and overwritten by the next.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tickpath.generate import pace
from tickpath.generate.draw import column
from tickpath.generate.exchange import write_script
from tickpath.generate.faults import SEQUENCED_UNIT, Damage
from tickpath.generate.listing import Listing, list_symbols
from tickpath.generate.market import EVENT_BYTES, begin, fill_chunk, walk
from tickpath.generate.packets import end_session, frame, new_framing
from tickpath.generate.pick import HALTED
from tickpath.generate.pitch import order_ids, translate
from tickpath.generate.pitch_packets import UnitFraming
from tickpath.generate.pitch_state import Translation, new_translation
from tickpath.generate.plan import GenerateError, SessionPlan
from tickpath.generate.state import (
    RECENT,
    RUNGS,
    SESSION,
    TABLES,
    TRADES,
    attach,
)
from tickpath.generate.templates import TEMPLATES
from tickpath.generate.truth import RESTING, SYMBOL_TRUTH, FaultCounts, Truth
from tickpath.packet import LINK_MESSAGES, LINK_PITCH, PACKET

CHUNK_BYTES = 1 << 20
"""Bytes of messages that are made at a time."""
_EXTRA_ORDERS = 4_096
"""Orders beyond the goal that the books can hold at a time, and an eighth of the goal."""
_FIRST_REFERENCE = 7_000
_FIRST_MATCH = 16_000


def _tables(plan: SessionPlan, listing: Listing, entries: np.ndarray) -> dict[str, np.ndarray]:
    """Every table at its full size; the system gives pages only to what is touched."""
    n = plan.symbols
    orders = min(plan.live_goal + plan.live_goal // 8 + _EXTRA_ORDERS, plan.messages)
    minutes = pace.day(column(plan.seed, "minutes", 24 * 60).tolist())
    tables = {
        "order": np.zeros(orders + 1, TABLES["order"]),
        "level": np.zeros(min(orders + 1, 2 * n * RUNGS) + 1, TABLES["level"]),
        "rung": np.zeros(2 * n * RUNGS, TABLES["rung"]),
        "side": np.zeros(2 * n, TABLES["side"]),
        "symbol": listing.symbols,
        "recent": np.full(n * RECENT, -1, TABLES["recent"]),
        "trade": np.zeros(TRADES, TABLES["trade"]),
        "alias": listing.odds,
        "slice": np.array(minutes, TABLES["slice"]),
        "script": entries,
        "count": np.zeros(256, TABLES["count"]),
    }
    tables["symbol"]["trading_state"][listing.cast.closed] = HALTED
    return tables


_FROM_SYMBOL = (
    "executed_shares",
    "printable_shares",
    "printable_notional",
    "broken_shares",
    "broken_notional",
    "last_price",
)


class Session:
    """A session being made.  Take either its messages, its runs or its packets, once, to the end.

    Raises `GenerateError` where the plan cannot be.
    """

    def __init__(self, plan: SessionPlan) -> None:
        self.plan = plan
        self.listing = list_symbols(plan)
        entries, self._prepared = write_script(plan, self.listing)
        self._tables = _tables(plan, self.listing, entries)
        self._record = self._started(entries)
        self._address = np.uint64(attach(self, self._record, self._tables))
        self._chunk = np.zeros(CHUNK_BYTES, np.uint8)
        self._pitch: Translation | None = None
        if plan.feed == "pitch":
            orders = int(self._record["orders_limit"][0]) + 1
            self._pitch = new_translation(self, plan, self.listing, orders)
        self._taken = False
        self._truth: Truth | None = None
        begin(self._address)

    def _started(self, entries: np.ndarray) -> np.ndarray:
        """The session record at the start of the day."""
        plan, slices = self.plan, self._tables["slice"]
        weights, opens = slices["weight"], slices["begin"] >= pace.MARKET_OPEN
        first: dict[str, Any] = {
            "random": int(column(plan.seed, "session", 1)[0]),
            "templates": TEMPLATES.ctypes.data,
            "prepared": self._prepared.ctypes.data,
            "wanted": plan.messages,
            "reference": _FIRST_REFERENCE,
            "match": _FIRST_MATCH,
            "orders_limit": len(self._tables["order"]) - 1,
            "order_free": -1,
            "level_free": -1,
            "scripts": len(entries),
            "slices": len(slices),
            "weight_left": int(weights.sum()),
            "burst_symbol": -1,
            "symbols": plan.symbols,
            "leader": self.listing.cast.leader,
            "crossed": int(plan.crossed),
            "live_goal": plan.live_goal,
            "open_goal": plan.live_goal * 3 // 4,
            "open_weight": int(weights[opens].sum()),
        }
        record = np.zeros(1, SESSION)
        for name, value in first.items():
            record[name] = value
        return record

    @property
    def messages_made(self) -> int:
        """Messages of the market so far."""
        return int(self._record["messages"][0])

    def _take(self) -> None:
        if self._taken:
            raise GenerateError("a session's messages are made once; make another session")
        self._taken = True

    def _chunks(self) -> Iterator[np.ndarray]:
        base = self._chunk.ctypes.data
        while self.messages_made < self.plan.messages:
            self._record["out"] = base
            self._record["limit"] = base + CHUNK_BYTES - EVENT_BYTES
            yield self._chunk[: int(fill_chunk(self._address)) - base]

    def messages(self) -> Iterator[np.ndarray]:
        """Chunks of messages, each valid until the next: length-prefixed, or PITCH back to back."""
        self._take()
        pitch = self._pitch
        # A message may take a time message more than in ITCH.
        said = np.zeros(2 * CHUNK_BYTES if pitch else 0, np.uint8)
        for chunk in self._chunks():
            if pitch is None:
                yield chunk
                continue
            begin, out = np.uint64(chunk.ctypes.data), np.uint64(said.ctypes.data)
            end = begin + np.uint64(len(chunk))
            after = translate(pitch.address, begin, end, out)
            yield said[: int(after) - int(out)]
        self._truth = self._state_truth()

    def runs(self) -> Iterator[np.ndarray]:
        """The same chunks as lent packets without frames, as daily files have them."""
        for chunk in self.messages():
            run = np.zeros(1, PACKET)
            run["address"] = chunk.ctypes.data
            run["link"] = LINK_PITCH if self._pitch else LINK_MESSAGES
            run["length"] = run["wire_length"] = len(chunk)
            yield run

    def packets(self) -> Iterator[np.ndarray]:
        """Packets on the wire, ``PACKET[n]``, each batch lent until the next."""
        self._take()
        jitter = int(column(self.plan.seed, "jitter", 1)[0])
        if self._pitch is not None:
            yield from self._unit_packets(self._pitch, jitter)
            return
        framing = new_framing(self, self.plan, jitter, CHUNK_BYTES)
        framer = np.uint64(framing.record.ctypes.data)
        first = np.uint64(framing.packets.ctypes.data)
        damage = Damage(self.plan.faults, self.plan.seed)
        for chunk in self._chunks():
            start = np.uint64(chunk.ctypes.data)
            framing.record["out"] = framing.wire.ctypes.data
            end = frame(framer, start, start + np.uint64(len(chunk)), first)
            if self.messages_made == self.plan.messages:
                end = end_session(framer, end)
            batch = framing.packets[: (int(end) - int(first)) // PACKET.itemsize]
            yield damage.apply(batch, framing.wire) if self.plan.faults.any else batch
        packets, beats = (int(framing.record[name][0]) for name in ("packet_number", "heartbeats"))
        self._truth = self._state_truth(packets, beats, damage.counts)

    def _unit_packets(self, pitch: Translation, jitter: int) -> Iterator[np.ndarray]:
        framing = UnitFraming(self, self.plan, pitch, jitter, CHUNK_BYTES)
        damage = Damage(self.plan.faults, self.plan.seed, SEQUENCED_UNIT)
        for chunk in self._chunks():
            batch = framing.frame(chunk, self.messages_made == self.plan.messages)
            if len(batch):
                yield damage.apply(batch, framing.wire) if self.plan.faults.any else batch
        self._truth = self._state_truth(framing.packets_sent, framing.heartbeats, damage.counts)

    @property
    def truth(self) -> Truth:
        """What is true of the session once all of it has been taken."""
        if self._truth is None:
            raise GenerateError("a session's truth is known when all of it has been taken")
        return self._truth

    def resting_orders(self) -> np.ndarray:
        """``RESTING[n]``: every order on the books now, in the order in which they would trade.

        By stock locate, bids before offers, best price first, oldest first.
        """
        resting = np.zeros(int(self._record["live"][0]), RESTING)
        written = walk(self._address, self.plan.symbols, resting)
        assert written == len(resting), f"{written} orders walked, {len(resting)} counted"
        if self._pitch is not None:
            references = resting["order_reference_number"].copy()
            order_ids(self._pitch.address, references)
            resting["order_reference_number"] = references
        return resting

    def _state_truth(
        self, packets: int = 0, heartbeats: int = 0, faults: FaultCounts | None = None
    ) -> Truth:
        counts, messages = self._tables["count"]["messages"], self.messages_made
        if self._pitch is not None:
            assert not self._pitch.record["strangers"][0], "PITCH has lost track of the market"
            counts = self._pitch.tables["type_count"]["messages"]
            messages = int(self._pitch.record["messages"][0])
        return Truth(
            messages=messages,
            messages_by_type={chr(code): int(counts[code]) for code in np.flatnonzero(counts)},
            live_orders=int(self._record["live"][0]),
            symbols=self._symbol_truth(),
            packets=packets,
            heartbeats=heartbeats,
            faults=faults or FaultCounts(),
        )

    def _symbol_truth(self) -> np.ndarray:
        symbols, sides = self._tables["symbol"], self._tables["side"]
        ladders = self._tables["rung"]["key"].reshape(-1, RUNGS)
        filled = sides["rungs"] > 0
        best = ladders[np.arange(len(sides)), np.maximum(sides["rungs"] - 1, 0)]
        levels = self._tables["level"][np.where(filled, best & 0xFFFF_FFFF, 0)]
        truth = np.zeros(len(symbols), SYMBOL_TRUTH)
        told = symbols if self._pitch is None else self._pitch.tables["issue"]
        for name in _FROM_SYMBOL:
            truth[name] = told[name]
        truth["stock_locate"] = symbols["locate"]
        truth["stock"] = [name.encode() for name in self.listing.names]
        state = told["trading_state" if self._pitch is None else "trading_status"]
        truth["trading_state"] = state.astype(np.uint8).view("S1")
        for offset, side in enumerate(("bid", "ask")):
            mine = slice(offset, None, 2)
            truth[f"{side}_px"] = np.where(filled, levels["price"], 0)[mine]
            truth[f"{side}_sz"] = np.where(filled, levels["shares"], 0)[mine]
            truth[f"{side}_orders"] = sides["orders"][mine]
            truth[f"{side}_shares"] = sides["shares"][mine]
        return truth
