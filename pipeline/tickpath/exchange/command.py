"""What an operator can ask of a venue, from its socket or, set for a time, from its configuration.

    status                                        clock, sequence numbers, counters, accounts
    orders account=A                              open orders
    positions account=A                           what it holds, by symbol
    book symbol=S                                 what the market sees of it
    reject account=A [count=1] [reason=other]     refuse its next orders
    delay account=A ms=N                          send its answers late; 0 ends that
    disconnect account=A                          cut its connection
    disconnect_after account=A messages=N         cut it when it has sent so many more
    garbage account=A [bytes=1]                   write bytes that are no packet to it
    drop [first=N] [last=M] [count=1]             lose packets of the feed, the next ones by default
    spoil [count=1]                               give the next packets a wrong byte
    halt symbol=S [state=H] [cause=T1]            and resume symbol=S
    freeze symbol=S [answer=pending]              cancels wait, or are rejected; release symbol=S
    break match=N [reason=S]                      break a trade
    mass_cancel account=A [symbol=S]              cancel its orders
    close                                         end the day

Each takes ``after_s=SECONDS`` too, to be done then.  An answer is a JSON object; what cannot be
done raises `ExchangeError`, and nothing has changed then.
"""

import json
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from tickpath.exchange import ouch_reject
from tickpath.exchange.book import HALTED, TRADING
from tickpath.exchange.error import ExchangeError
from tickpath.exchange.event import BUY, SELL, Broken, Canceled
from tickpath.exchange.faults import Disconnect, Garbage
from tickpath.exchange.reason import Why
from tickpath.wire.itch50 import ITCH50
from tickpath.wire.ouch50 import ENUMS

if TYPE_CHECKING:
    from tickpath.exchange.ouch_port import OuchPort
    from tickpath.exchange.venue import Venue

MAX_COUNT = 1_000_000_000
MAX_GARBAGE = 4_096
MAX_DELAY_MS = 60_000
MAX_AFTER_S = 86_400
DEPTH = 10
"""Levels that `book` gives."""


class Command(NamedTuple):
    """A command that was understood; ``values`` are its arguments, checked."""

    name: str
    values: dict[str, Any]
    after_s: float = 0.0

    @property
    def is_question(self) -> bool:
        """True for what changes nothing."""
        return self.name in QUESTIONS and not self.after_s

    def run(self, venue: "Venue") -> dict[str, Any]:
        """Do it now.  Raises `ExchangeError`."""
        return _COMMANDS[self.name][0](venue, **self.values)

    def encode(self) -> bytes:
        """As JSON, for the journal; `parse` reads it."""
        said = {"do": self.name, **self.values}
        return json.dumps({**said, "after_s": self.after_s} if self.after_s else said).encode()


def read(text: str) -> dict[str, Any]:
    """The object of a line: JSON, or a name and words ``key=value``.  Raises `ExchangeError`."""
    if text.lstrip().startswith("{"):
        try:
            return dict(json.loads(text))
        except (ValueError, TypeError):
            raise ExchangeError(f"command: {text[:80]!r} is not a JSON object") from None
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ExchangeError(f"command: {text[:80]!r}: {error}") from None
    said: dict[str, Any] = {"do": words[0] if words else ""}
    for word in words[1:]:
        name, equals, value = word.partition("=")
        if not equals:
            raise ExchangeError(f"command: {word!r} is not KEY=VALUE")
        said[name] = value
    return said


def parse(said: dict[str, Any], venue: "Venue") -> Command:
    """A command from its object, ``do`` and its arguments.  Raises `ExchangeError`."""
    said = dict(said)
    name = said.pop("do", "")
    if name not in _COMMANDS:
        raise ExchangeError(f"command: no {name!r}; known: {', '.join(_COMMANDS)}")
    after_s = _number(name, "after_s", said.pop("after_s", 0), 0, MAX_AFTER_S, float)
    values: dict[str, Any] = {}
    for key, (kind, default) in _COMMANDS[name][1].items():
        value = said.pop(key, default)
        if value is _REQUIRED:
            raise ExchangeError(f"command: {name}: which {key}?")
        values[key] = value if value is default else kind(name, key, value, venue)
    if said:
        raise ExchangeError(f"command: {name} takes no {', '.join(said)}")
    return Command(name, values, float(after_s))


# ---------------------------------------------------------------- arguments

_REQUIRED: Any = object()


def _number(name: str, key: str, value: Any, low: int, high: int, kind: type = int) -> Any:
    try:
        number = kind(value)
    except (TypeError, ValueError):
        raise ExchangeError(f"command: {name}: {key}={value!r} is no number") from None
    if not low <= number <= high:
        raise ExchangeError(f"command: {name}: {key}={value} is not between {low} and {high}")
    return number


def _count(name: str, key: str, value: Any, venue: "Venue") -> int:
    return _number(name, key, value, 0, MAX_COUNT)


def _milliseconds(name: str, key: str, value: Any, venue: "Venue") -> int:
    return _number(name, key, value, 0, MAX_DELAY_MS)


def _length(name: str, key: str, value: Any, venue: "Venue") -> int:
    return _number(name, key, value, 1, MAX_GARBAGE)


def _account(name: str, key: str, value: Any, venue: "Venue") -> str:
    if str(value).upper() not in venue.names:
        known = ", ".join(venue.names)
        raise ExchangeError(f"command: {name}: no account {value!r}; known: {known}")
    return str(value).upper()


def _symbol(name: str, key: str, value: Any, venue: "Venue") -> str:
    if str(value).upper() not in venue.matching.locates:
        raise ExchangeError(f"command: {name}: no symbol {value!r}")
    return str(value).upper()


def _one_of(*known: str) -> Callable[[str, str, Any, "Venue"], str]:
    def chosen(name: str, key: str, value: Any, venue: "Venue") -> str:
        if value not in known:
            raise ExchangeError(f"command: {name}: {key}={value!r}: one of {', '.join(known)}")
        return value

    return chosen


def _cause(name: str, key: str, value: Any, venue: "Venue") -> str:
    size = ITCH50["stock_trading_action"]["reason"].size
    if not str(value).isascii() or len(str(value)) > size:
        raise ExchangeError(f"command: {name}: {key}={value!r}: at most {size} letters")
    return str(value)


# ---------------------------------------------------------------- what they do


def _port(venue: "Venue", account: str) -> "OuchPort":
    return venue.ports[venue.names[account]]


def _status(venue: "Venue") -> dict[str, Any]:
    return {
        "time_ns": venue.now_ns,
        "session": venue.session,
        "is_over": venue.is_over,
        "next_sequence": venue.downstream.next_sequence,
        "packets_made": venue.packets_made,
        "symbols": len(venue.matching.books),
        "orders_live": len(venue.matching.orders),
        "counters": {
            **venue.counters,
            **venue.downstream.counters,
            **venue.faults.counters,
            **venue.flow.counters,
        },
        "accounts": {
            name: {
                "connected": number in venue.connected,
                "open_orders": len(venue.ports[number].live),
                "counters": dict(venue.ports[number].counters),
            }
            for name, number in venue.names.items()
        },
    }


def _orders(venue: "Venue", account: str) -> dict[str, Any]:
    books = venue.matching.books
    live = _port(venue, account).live.values()
    return {"account": account, "orders": [own.describe(books[own.locate].stock) for own in live]}


def _positions(venue: "Venue", account: str) -> dict[str, Any]:
    books, holdings = venue.matching.books, _port(venue, account).holdings
    held = {books[locate].stock: holding.describe() for locate, holding in holdings.items()}
    return {"account": account, "positions": held}


def _book(venue: "Venue", symbol: str) -> dict[str, Any]:
    book = venue.matching.books[venue.matching.locates[symbol]]
    names = ("price", "quantity", "orders")
    sides = {
        name: [dict(zip(names, row, strict=True)) for row in book.depth(side)[:DEPTH]]
        for name, side in (("bids", BUY), ("asks", SELL))
    }
    return {"symbol": symbol, "state": book.state, **sides}


def _reject(venue: "Venue", account: str, count: int, reason: str) -> dict[str, Any]:
    venue.gate.rejects[venue.names[account]] = count
    venue.gate.reject_reason = reason
    return {}


def _delay(venue: "Venue", account: str, ms: int) -> dict[str, Any]:
    venue.faults.delays_ns[venue.names[account]] = ms * 1_000_000
    return {}


def _disconnect(venue: "Venue", account: str) -> dict[str, Any]:
    venue.act(Disconnect(venue.names[account]))
    return {}


def _disconnect_after(venue: "Venue", account: str, messages: int) -> dict[str, Any]:
    venue.faults.messages_left[venue.names[account]] = messages
    return {}


def _garbage(venue: "Venue", account: str, bytes: int) -> dict[str, Any]:
    raw = venue.faults.garbage(bytes)
    venue.act(Garbage(venue.names[account], raw))
    return {"bytes": raw.hex()}


def _drop(venue: "Venue", first: int, last: int, count: int) -> dict[str, Any]:
    first = first or venue.packets_made + 1
    last = last or first + count - 1
    venue.faults.drop(first, last)
    return {"first": first, "last": last}


def _spoil(venue: "Venue", count: int) -> dict[str, Any]:
    first = venue.packets_made + 1
    venue.faults.spoil(first, first + count - 1)
    return {"first": first, "last": first + count - 1}


def _halt(venue: "Venue", symbol: str, state: str, cause: str) -> dict[str, Any]:
    locate = venue.matching.locates[symbol]
    venue.happened(venue.matching.set_state(locate, state, cause))
    return {"state": state}


def _resume(venue: "Venue", symbol: str) -> dict[str, Any]:
    return _halt(venue, symbol, TRADING, "")


def _freeze(venue: "Venue", symbol: str, answer: str) -> dict[str, Any]:
    venue.gate.frozen[venue.matching.locates[symbol]] = answer
    return {}


def _release(venue: "Venue", symbol: str) -> dict[str, Any]:
    locate = venue.matching.locates[symbol]
    venue.gate.frozen.pop(locate, None)
    for port in venue.ports.values():
        venue.happened(port.release(locate))
    return {}


def _break(venue: "Venue", match: int, reason: str) -> dict[str, Any]:
    events = venue.matching.break_trade(match, reason)
    if not isinstance(events[0], Broken):
        raise ExchangeError(f"command: break: match {match} is no trade that can be broken")
    venue.happened(events)
    return {"symbol": venue.matching.books[events[0].locate].stock, "quantity": events[0].quantity}


def _mass_cancel(venue: "Venue", account: str, symbol: str) -> dict[str, Any]:
    locate = venue.matching.locates[symbol] if symbol else None
    events = _port(venue, account).cancel_all(Why.SUPERVISORY, locate)
    venue.happened(events)
    return {"canceled": sum(isinstance(event, Canceled) for event in events)}


def _close(venue: "Venue") -> dict[str, Any]:
    venue.close(venue.now_ns)
    return {}


_STATES = _one_of(HALTED, "P", "Q", TRADING)
_REASONS = _one_of(*ouch_reject.CODES_50)
_BREAKS = _one_of(*ENUMS["broken_trade_reason"])
_OF_ACCOUNT = {"account": (_account, _REQUIRED)}
_OF_SYMBOL = {"symbol": (_symbol, _REQUIRED)}
_COMMANDS: dict[str, tuple[Callable[..., dict[str, Any]], dict[str, tuple[Any, Any]]]] = {
    "status": (_status, {}),
    "orders": (_orders, _OF_ACCOUNT),
    "positions": (_positions, _OF_ACCOUNT),
    "book": (_book, _OF_SYMBOL),
    "reject": (
        _reject,
        {**_OF_ACCOUNT, "count": (_count, 1), "reason": (_REASONS, ouch_reject.OTHER)},
    ),
    "delay": (_delay, {**_OF_ACCOUNT, "ms": (_milliseconds, _REQUIRED)}),
    "disconnect": (_disconnect, _OF_ACCOUNT),
    "disconnect_after": (_disconnect_after, {**_OF_ACCOUNT, "messages": (_count, _REQUIRED)}),
    "garbage": (_garbage, {**_OF_ACCOUNT, "bytes": (_length, 1)}),
    "drop": (_drop, {"first": (_count, 0), "last": (_count, 0), "count": (_count, 1)}),
    "spoil": (_spoil, {"count": (_count, 1)}),
    "halt": (_halt, {**_OF_SYMBOL, "state": (_STATES, HALTED), "cause": (_cause, "T1")}),
    "resume": (_resume, _OF_SYMBOL),
    "freeze": (_freeze, {**_OF_SYMBOL, "answer": (_one_of("pending", "reject"), "pending")}),
    "release": (_release, _OF_SYMBOL),
    "break": (_break, {"match": (_count, _REQUIRED), "reason": (_BREAKS, "S")}),
    "mass_cancel": (_mass_cancel, {**_OF_ACCOUNT, "symbol": (_symbol, "")}),
    "close": (_close, {}),
}
QUESTIONS = ("status", "orders", "positions", "book")
