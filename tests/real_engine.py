"""`tickpath.engine.Engine` where `recovery_world` has its model: the same questions, real books."""

import msgspec

from tickpath import Config, Engine
from tickpath.config import Capacity, Feed
from tickpath.digest import symbol_text
from tickpath.layout import LineState
from tickpath.recovery.engine import LineName
from tickpath.recovery.engine_lines import EngineLines, lend_datagram
from tickpath.recovery.feed import FeedRecovery

CAPACITY = Capacity(
    symbols=64, orders=1 << 16, sparse_orders=4096, overflow_levels=4096, trades=1024
)


class Place(msgspec.Struct):
    """Where a line stands."""

    expected: int = 1
    is_stale: bool = False


class RealEngine(EngineLines):
    """``clean`` gives the digest of a line's clean books before a message."""

    def __init__(self, clean: dict[LineName, list[int]], window_packets=4, window_us=500) -> None:
        feed = Feed(
            recovers=True,
            reorder_packets=window_packets,
            reorder_us=window_us,
            pitch_venue="cboe-byx",
        )
        self.engine = Engine(Config(capacity=CAPACITY, feed=feed))
        super().__init__(self.engine)
        self.clean = clean
        self.log: list[tuple] = []
        self.is_in_snapshot = False

    def receive(self, name: LineName, raw: bytes, now_ns: int) -> None:
        self.engine.process(lend_datagram(name, raw, now_ns))
        self.check()

    def next_deadline(self) -> int | None:
        block = self.engine.block
        lines = block.line[: block.get("lines")]
        waiting = lines[lines["state"] == LineState.WINDOW]["waits_since"]
        return int(waiting.min()) + block.get("reorder_ns") + 1 if len(waiting) else None

    def report(self, recovery: FeedRecovery, now_ns: int) -> bool:
        self.engine.pass_time(now_ns)
        for _ in range(10_000):
            if not super().report(recovery, now_ns):
                self.check()
                return False
        raise AssertionError("recovery and engine never come to rest")

    # ------------------------------------------------------------ what recovery gives back

    def deliver(self, line: LineName, datagram: bytes) -> None:
        self.log.append(("deliver", line))
        super().deliver(line, datagram)
        self.check()

    def splice(self, line: LineName, next_sequence: int) -> None:
        self.log.append(("splice", line, next_sequence))
        super().splice(line, next_sequence)
        self.check()

    def give_up(self, line: LineName, first: int, last: int) -> None:
        self.log.append(("give_up", line, first, last))
        super().give_up(line, first, last)

    # ------------------------------------------------------------ reading

    @property
    def lines(self) -> dict[LineName, Place]:
        """Every line; stale as its books are."""
        records, books = self.engine.block.line, self.engine.block.book
        places = {name: Place() for name in self.clean}
        for name, at in self.names().items():
            of_line = books["line"] == at + 1 if name.unit else books["venue"] == 1
            stale = books["stale"][of_line]
            assert not len(stale) or stale.all() or not stale.any()
            places[name] = Place(int(records[at]["expected"]), bool(records[at]["gapped"]))
            assert not len(stale) or bool(stale[0]) == places[name].is_stale
        return places

    def check(self) -> None:
        """Never a silently wrong book: the digest is that of the clean feeds where they stand."""
        places = self.lines
        if not any(each.is_stale for each in places.values()):
            digests = [self.clean[name][each.expected - 1] for name, each in places.items()]
            assert self.engine.book_digest == sum(digests) % (1 << 64), places

    def stale_symbols(self) -> set[str]:
        books = self.engine.block.book
        return {symbol_text(each) for each in books[books["stale"] > 0]["symbol"].tolist()}

    def queues(self, name: LineName) -> dict[tuple[str, int, int], list[tuple[int, int]]]:
        """As `NaiveBooks.queues`, of one line."""
        books, at = self.engine.block.book, self.names()[name]
        found: dict[tuple[str, int, int], list[tuple[int, int]]] = {}
        for ref, book, side, price, quantity in self.engine.resting().tolist():
            if not name.unit or books["line"][book] == at + 1:
                symbol = symbol_text(books["symbol"][book])
                found.setdefault((symbol, side, price), []).append((ref, quantity))
        return found
