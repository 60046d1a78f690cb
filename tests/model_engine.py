"""A plain-Python engine for recovery: arbitration, a reorder window, holding, naive books.

The first copy of a message wins.  A hole is reported when it has stayed open for a number of
packets or nanoseconds; what comes behind it is held, bounded, and what has no room is dropped.  At
every moment the books of a line that is not stale are those of the clean feed at its next message:
`check` says so.
"""

from collections import Counter
from dataclasses import dataclass, field

from naive_books import NaiveBooks
from tickpath.recovery.engine import LineName
from tickpath.recovery.feed import FeedRecovery


@dataclass
class ModelLine:
    books: NaiveBooks
    session: bytes = b""
    expected: int = 1
    seen: int = 1  # the number behind the last message that was heard of
    is_known: bool = False
    is_stale: bool = False
    held: dict[int, list[bytes]] = field(default_factory=dict)
    packets_behind: int = 0
    open_since_ns: int | None = None
    is_declared: bool = False
    told: tuple[int, int] | None = None
    told_expected: int = 0


class ModelEngine:
    """Books by line.  ``clean`` gives the digest of a line's clean books before a message."""

    def __init__(
        self,
        codec,
        books: dict[LineName, NaiveBooks],
        clean: dict[LineName, list[int]],
        *,
        window_packets: int = 4,
        window_ns: int = 500_000,
        max_held: int = 200,
    ) -> None:
        self.codec, self.clean = codec, clean
        self.lines = {name: ModelLine(each) for name, each in books.items()}
        self.window_packets, self.window_ns, self.max_held = window_packets, window_ns, max_held
        self.counters: Counter[str] = Counter()
        self.log: list[tuple] = []

    # ------------------------------------------------------------ live

    def receive(self, name: LineName, raw: bytes, now_ns: int) -> None:
        """A datagram that came on one of the lines of a group."""
        found = self.codec.split(raw)
        line = self.lines[name]
        if found is None or found.unit != name.unit:
            self.counters["packets_damaged"] += 1
            return
        if line.is_known and found.session != line.session:
            self.counters["packets_of_other_sessions"] += 1
            return
        if not line.is_known:
            line.is_known, line.session = True, found.session
        line.seen = max(line.seen, found.behind)
        if found.sequence <= line.expected:
            if found.behind <= line.expected:
                self.counters["packets_known"] += 1
                return
            self._apply(name, line, found.sequence, found.messages)
        elif found.messages:
            self._hold(line, found.sequence, found.messages)
        self._drain(name, line)
        if line.expected < line.seen:
            line.packets_behind += 1
            line.open_since_ns = now_ns if line.open_since_ns is None else line.open_since_ns

    def _hold(self, line: ModelLine, sequence: int, messages: list[bytes]) -> None:
        if len(line.held) >= self.max_held:
            self.counters["packets_not_held"] += 1
            return
        if len(messages) > len(line.held.get(sequence, [])):
            line.held[sequence] = messages

    def _apply(self, name: LineName, line: ModelLine, sequence: int, messages: list[bytes]) -> None:
        for message in messages[line.expected - sequence :]:
            line.books.apply(message)
            line.expected += 1
        line.seen = max(line.seen, line.expected)

    def _drain(self, name: LineName, line: ModelLine) -> None:
        before = line.told
        while line.held and (first := min(line.held)) <= line.expected:
            messages = line.held.pop(first)
            if first + len(messages) > line.expected:
                self._apply(name, line, first, messages)
        if line.expected >= line.seen or (before and line.expected > before[1]):
            line.open_since_ns, line.packets_behind, line.is_declared = None, 0, False
        self.check(name)

    def check(self, name: LineName) -> None:
        """Never a silently wrong book."""
        line = self.lines[name]
        if not line.is_stale:
            assert line.books.digest == self.clean[name][line.expected - 1], (
                f"{name}: wrong books before message {line.expected}"
            )

    # ------------------------------------------------------------ holes

    def report(self, recovery: FeedRecovery, now_ns: int) -> None:
        """Tell recovery what has changed."""
        for _ in range(10_000):  # a hole that is closed may show the next one
            told = [self._report(name, recovery, now_ns) for name in self.lines]
            if not any(told):
                return
        raise AssertionError("recovery and engine never come to rest")

    def _report(self, name: LineName, recovery: FeedRecovery, now_ns: int) -> bool:
        line = self.lines[name]
        is_behind = line.expected < line.seen
        if (
            line.is_known
            and line.told_expected != line.expected
            and (not is_behind or line.told is not None)
        ):
            line.told_expected = line.expected
            recovery.advanced(name, line.expected, now_ns)
            return True
        if not is_behind:
            line.told = None
            return False
        if line.open_since_ns is None:
            line.open_since_ns = now_ns
        line.is_declared |= line.packets_behind >= self.window_packets
        line.is_declared |= now_ns - line.open_since_ns >= self.window_ns
        if not line.is_declared:
            return False
        hole = line.expected, (min(line.held) if line.held else line.seen) - 1
        if hole == line.told:
            return False
        line.told = hole
        recovery.hole(name, *hole, now_ns, line.session)
        return True

    def next_deadline(self) -> int | None:
        due = [
            line.open_since_ns + self.window_ns
            for line in self.lines.values()
            if line.open_since_ns is not None and not line.is_declared
        ]
        return min(due, default=None)

    # ------------------------------------------------------------ what recovery gives back

    def deliver(self, name: LineName, datagram: bytes) -> None:
        found, line = self.codec.split(datagram), self.lines[name]
        self.log.append(("deliver", name, found.sequence, found.behind))
        assert found.session == line.session
        assert found.sequence <= line.expected < found.behind, "not next in sequence"
        self._apply(name, line, found.sequence, found.messages)
        self._drain(name, line)

    def clear(self, name: LineName) -> None:
        self.log.append(("clear", name))
        self.lines[name].books.clear()

    def deliver_snapshot(self, name: LineName, messages: list[bytes]) -> None:
        self.log.append(("deliver_snapshot", name, len(messages)))
        assert self.log[-2] == ("clear", name)
        for message in messages:
            self.lines[name].books.apply(message)

    def splice(self, name: LineName, next_sequence: int) -> None:
        self.log.append(("splice", name, next_sequence))
        assert self.log[-2][:2] == ("deliver_snapshot", name)
        line = self.lines[name]
        line.seen = max(line.seen, line.expected, next_sequence)
        line.expected, line.is_stale = next_sequence, False
        self._drain(name, line)

    def give_up(self, name: LineName, first: int, last: int) -> None:
        self.log.append(("give_up", name, first, last))
        line = self.lines[name]
        assert first == line.expected <= last
        line.expected, line.is_stale = last + 1, True
        self._drain(name, line)

    # ------------------------------------------------------------ reading

    def queues(self, name: LineName) -> dict[tuple[str, int, int], list[tuple[int, int]]]:
        return self.lines[name].books.queues()

    def stale_symbols(self) -> set[str]:
        return set().union(*(e.books.symbols for e in self.lines.values() if e.is_stale))
