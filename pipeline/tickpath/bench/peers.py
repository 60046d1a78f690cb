"""The peers that are installed, each on the same messages, each at its best.

=========  ========================================================================================
itch-book  its C++ session fed from memory in pieces of 8 MiB, as its own reader does it; no tables
itchcpp    its C++ book manager over one bytes object
meatpy     pure Python, one symbol's book, on the first messages only
=========  ========================================================================================

What they do differs: all keep the order queue of every level, none checks time, prints or trading
state as the engine does, and meatpy keeps one book while the others keep all of them.  Their books
are compared with the engine's: best bid and offer of every symbol, and meatpy's one book by level.
"""

import datetime
import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tickpath.bench import compact_c
from tickpath.bench.answer import TOUCH, touch_problems
from tickpath.bench.compact_c import CompactC
from tickpath.bench.error import BenchError
from tickpath.bench.held import MESSAGE_BYTES, HeldSession
from tickpath.bench.own import EngineRun
from tickpath.bench.turns import Contestant, Outcome, Result, Timing, timed
from tickpath.engine import Engine
from tickpath.wire.itch50 import ITCH50
from tickpath.wire.moldudp64 import MOLDUDP64

CHUNK_BYTES = 8 << 20
MEATPY_MESSAGES = 200_000
DATE = datetime.datetime(2019, 12, 30)
_NOT_READ = b"O"
"""Type of the direct listing's message, which meatpy 0.5.0 takes to be longer than it is."""
assert ITCH50.by_type["O"].name.startswith("direct_listing")
PRICE_SCALE = 10_000


class ItchBook:
    """itch-book: L3 books of all symbols, no tables; its best prices are compared apart."""

    warm_ups = 0

    def __init__(self, held: HeldSession, book: EngineRun, folder: Path) -> None:
        self.name = "itch-book " + importlib.metadata.version("itch-book")
        self.note = "C++ wheel: L3 books of all symbols, no tables, from memory"
        self.messages = book.messages
        self._held, self._book = held, book

    def _chunks(self) -> list[np.ndarray]:
        raw = self._held.messages
        return [raw[at : at + CHUNK_BYTES] for at in range(0, len(raw), CHUNK_BYTES)]

    def run(self) -> Outcome:
        import itch_book

        session = itch_book.Session(tables=[], depth=0, symbols=[])
        timing = _foreign(_feed, session, self._chunks())
        stats = session.stats()
        problems = [
            f"{name} is {stats[name]}"
            for name in ("missing_ref", "dup_ref", "rejected", "clamped", "malformed", "unknown")
            if stats[name] and self._held.truth is not None
        ]
        return Outcome(timing, (stats["messages"], stats["live_orders"]), tuple(problems))

    def check(self) -> list[str]:
        """Best bid and offer of every symbol beside the engine's, with its table of them on."""
        import itch_book

        session = itch_book.Session(tables=["bbo"], depth=0, symbols=[])
        best = np.zeros(len(self._book.touch), TOUCH)
        for chunk in self._chunks():
            session.feed(chunk)
            rows = session.take_bbo()
            for name in TOUCH.names or ():
                # Of several rows for one book the last is written last.
                best[name][rows["locate"]] = rows[name]
        return [f"{self.name}: {each}" for each in touch_problems(best, self._book.touch)]


def _feed(session: Any, chunks: list[np.ndarray]) -> None:
    for chunk in chunks:
        session.feed(chunk)


class Itchcpp:
    """itchcpp: L3 books of all symbols; best prices compared after every run."""

    warm_ups = 0

    def __init__(self, held: HeldSession, book: EngineRun, folder: Path) -> None:
        self.name = "itchcpp " + importlib.metadata.version("itchcpp")
        self.note = "C++ wheel: L3 books of all symbols, from one bytes object"
        self.messages = book.messages
        self._raw, self._book = held.messages.tobytes(), book

    def run(self) -> Outcome:
        from itchcpp.book import BookManager

        manager = BookManager()
        timing = _foreign(manager.process_stream, self._raw)
        best = np.zeros(len(self._book.touch), TOUCH)
        for symbol, number in self._book.symbols.items():
            book = manager.book_for_symbol(symbol)
            if book is None:  # it knows a symbol by its directory entry only
                continue
            bbo = book.bbo()
            if bbo.has_bid:
                best[number]["bid_px"] = round(bbo.bid_price * PRICE_SCALE)
                best[number]["bid_sz"] = bbo.bid_shares
            if bbo.has_ask:
                best[number]["ask_px"] = round(bbo.ask_price * PRICE_SCALE)
                best[number]["ask_sz"] = bbo.ask_shares
        problems = touch_problems(best, self._book.touch)
        return Outcome(timing, best.tobytes(), tuple(problems))


class Meatpy:
    """meatpy: the book of the symbol with most live orders, over the first messages."""

    warm_ups = 0

    def __init__(self, held: HeldSession, book: EngineRun, folder: Path) -> None:
        self.name = "meatpy " + importlib.metadata.version("meatpy")
        first = _first(held.messages, MEATPY_MESSAGES)
        self._path = folder / "meatpy.itch"
        first.tofile(self._path)
        engine = Engine()
        engine.feed(first.tobytes())
        self.messages = engine.messages
        number = int(np.argmax(np.bincount(engine.resting()["book"])))
        self._expected = engine.book(number)
        self.note = (
            f"pure Python: one symbol's book ({self._expected.symbol}), "
            f"the first {self.messages:,} messages only, without type O"
        )

    def run(self) -> Outcome:
        from meatpy.itch50 import ITCH50MarketProcessor, ITCH50MessageReader

        processor = ITCH50MarketProcessor(self._expected.symbol, DATE)

        def read() -> None:
            with ITCH50MessageReader(self._path) as reader:
                for message in reader:
                    processor.process_message(message)

        timing = _foreign(read)
        book = processor.current_lob
        problems = []
        for side, levels, expected in (
            ("bids", book.bid_levels, self._expected.bids),
            ("asks", book.ask_levels, self._expected.asks),
        ):
            found = [(each.price, each.volume, len(each.queue)) for each in levels]
            if found != expected.tolist():
                problems.append(f"{side} of {self._expected.symbol} differ from the engine's")
        return Outcome(timing, self._expected.symbol, tuple(problems))


def _first(messages: np.ndarray, number: int) -> np.ndarray:
    """The first ``number`` messages of a run, without those that meatpy cannot read."""
    prefix = MOLDUDP64["message_block"].length
    raw = messages[: number * MESSAGE_BYTES].tobytes()
    at, kept = 0, list[bytes]()
    while len(kept) < number and at + prefix < len(raw):
        end = at + prefix + int.from_bytes(raw[at : at + prefix], "big")
        if raw[at + prefix : at + prefix + 1] != _NOT_READ and end <= len(raw):
            kept.append(raw[at:end])
        at = end
    return np.frombuffer(b"".join(kept), np.uint8)


def _foreign(function: Callable[..., Any], *arguments: Any) -> Timing:
    """Time a peer's code, whatever it raises.  Raises `BenchError`."""
    try:
        return timed(function, *arguments)[1]
    except Exception as error:
        raise BenchError(f"raised {type(error).__name__}: {error}") from None


PEERS: dict[str, tuple[str, Callable[[HeldSession, EngineRun, Path], Contestant]]] = {
    "itch_book": ("itch-book==0.2.1", ItchBook),
    "itchcpp": ("itchcpp==1.6.4", Itchcpp),
    "meatpy": ("meatpy==0.5.0", Meatpy),
}
"""Module, requirement and contestant of each peer."""


def at_hand(
    held: HeldSession, book: EngineRun, daily_file: Path, folder: Path
) -> tuple[list[Contestant], list[dict[str, str]]]:
    """(contestants of the C book and the peers that are here, who is left out and why).

    ``book`` has run, so that books can be compared with its; ``daily_file`` holds the same
    messages; ``folder`` is for files.
    """
    found: list[Contestant] = []
    skipped: list[dict[str, str]] = []

    def leave_out(name: str, reason: str, command: str = "") -> None:
        skipped.append({"name": name, "reason": reason, "command": command})

    reason = compact_c.why_not()
    if held.truth is None:
        reason = "it takes its input to be right, which nobody knows of a file"
    if reason is None:
        try:
            found.append(CompactC(daily_file, book.messages, book.orders_live, folder))
        except BenchError as error:
            reason = str(error)
    if reason is not None:
        leave_out(CompactC.name, reason)
    for module, (requirement, contestant) in PEERS.items():
        if importlib.util.find_spec(module) is None:
            name = requirement.partition("==")[0]
            leave_out(name, "not installed", f"pip install {requirement}")
        else:
            found.append(contestant(held, book, folder))
    return found, skipped


def check_touch(results: Sequence[Result], say: Callable[[str], None]) -> None:
    """Let itch-book, where it took part, compare best bids and offers of every symbol."""
    for result in results:
        if isinstance(result.contestant, ItchBook) and not result.failed:
            say("comparing best bids and offers with itch-book's")
            result.found += result.contestant.check()
