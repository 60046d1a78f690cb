"""The words of `tickpath ctl`: a line in, an answer out, a command for the engine in between.

    status | positions | orders | books [SYMBOL] | limits [SYMBOL] | notes
    kill [SYMBOL | strategy] [reduce] --why TEXT      latched: only reset takes it back
    reset [SYMBOL | strategy] --why TEXT
    limit NAME VALUE [SYMBOL] [--for SECONDS] --why TEXT
    cancel [SYMBOL] --why TEXT
    roll --why TEXT

Every command that changes something says why; who is the user of the operator's connection.  Both
go into the engine's inputs and from there into nobody's way: what of them does not fit a command is
cut off, and letters that it does not take become question marks, so that no kill waits for a text.
"""

import argparse
import shlex
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import numpy as np

from tickpath.counters import Counter
from tickpath.digest import symbol_text
from tickpath.engine import Engine
from tickpath.ouch import token_of
from tickpath.own_orders import State
from tickpath.risk import Kill
from tickpath.wire.control import CONTROL, Limit
from tickpath.wire.table import WireError

MONEY = {
    *(Limit.MAX_NOTIONAL, Limit.MAX_DAILY_NOTIONAL, Limit.MAX_LOSS, Limit.COLLAR_PX),
    *(Limit.TOTAL_MAX_GROSS, Limit.TOTAL_MAX_NET, Limit.TOTAL_MAX_DAILY_NOTIONAL),
    Limit.TOTAL_MAX_LOSS,
}
"""Limits that are given in dollars."""
TOTALS = (
    *("max_open_orders", "max_gross", "max_net", "max_daily_quantity", "max_daily_notional"),
    "max_loss",
)
"""The limits of the engine as a whole, in its gate's record."""
MONEY_FIELDS = ("notional", "loss", "gross", "net", "collar_px")
"""Parts of the names of record fields that are money in 1e-4."""
MOST = 1e14
MOST_SECONDS = 86_400
CANCELS = 1_000
"""Portions in which all orders are canceled, at most."""
_SCALE = 10_000
_REFUSALS = Counter.COMMANDS_INVALID, Counter.REVERTS_FULL


QUESTIONS = ("status", "positions", "orders", "notes", "books", "limits")
"""Words that change nothing."""


class OperatorError(ValueError):
    """A line that cannot be done; the message is the answer."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise OperatorError(message)


def is_question(line: str) -> bool:
    """Whether a line changes nothing; True for an empty one."""
    return (line.split() or QUESTIONS)[0] in QUESTIONS


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="", add_help=False, exit_on_error=False)
    words = parser.add_subparsers(dest="word", required=True, parser_class=_Parser)
    for word in ("status", "positions", "orders", "notes"):
        words.add_parser(word, add_help=False)
    for word in ("books", "limits"):
        words.add_parser(word, add_help=False).add_argument("symbol", nargs="?")
    changing = {
        name: words.add_parser(name, add_help=False)
        for name in ("kill", "reset", "limit", "cancel", "roll")
    }
    for each in changing.values():
        each.add_argument("--why", required=True)
    for name in ("kill", "reset", "cancel"):
        changing[name].add_argument("what", nargs="?", default="")
    changing["kill"].add_argument("level", nargs="?", choices=["reduce", "stop"], default="stop")
    limit = changing["limit"]
    limit.add_argument("name", choices=[each.name.lower() for each in Limit])
    limit.add_argument("value", type=float)
    limit.add_argument("symbol", nargs="?", default="")
    limit.add_argument("--for", type=float, dest="seconds", default=0.0)
    return parser


class Operator:
    """Answers lines about one engine.

    ``extra`` adds to the status; ``on_switch`` is told (who, why, scope, symbol, level) of every
    kill switch, before the engine is.
    """

    def __init__(
        self,
        engine: Engine,
        extra: Callable[[], dict[str, Any]],
        on_switch: Callable[[str, str, str, str, int], None] = lambda *switch: None,
    ) -> None:
        self._engine = engine
        self._extra, self._on_switch = extra, on_switch
        self._parser = _parser()

    def run(self, line: str, who: str = "") -> dict[str, Any]:
        """The answer to a line.  Raises `OperatorError`."""
        try:
            said = self._parser.parse_args(shlex.split(line))
        except (ValueError, argparse.ArgumentError) as error:
            raise OperatorError(str(error)) from None
        if "why" in said:
            said.who = _fitting("who", who or "operator")
            said.why = _fitting("why", said.why)
        try:
            return getattr(self, f"_{said.word}")(said)
        except WireError as error:
            raise OperatorError(str(error)) from None

    # ------------------------------------------------------------ questions

    def _status(self, said: argparse.Namespace) -> dict[str, Any]:
        engine, gate = self._engine, self._engine.block.gate[0]
        return {
            "engine_time_ns": engine.block.get("engine_time"),
            "input_number": engine.block.get("input_number"),
            "messages": engine.messages,
            "killed": Kill(int(gate["killed"])).name,
            "strategy_killed": Kill(int(gate["strategy_killed"])).name,
            "open_orders": int(gate["open_orders"]),
            "gross": int(gate["gross"]) / _SCALE,
            "net": int(gate["net"]) / _SCALE,
            "pnl": int(gate["pnl"]) / _SCALE,
            "counters": {name: value for name, value in engine.counters.items() if value},
            "rejects_by_code": engine.rejects_by_code,
            "gaps": len(engine.gaps()),
            "strategy_error": engine.strategy_error,
            **self._extra(),
        }

    def _positions(self, said: argparse.Namespace) -> dict[str, Any]:
        return {"positions": positions(self._engine)}

    def _orders(self, said: argparse.Namespace) -> dict[str, Any]:
        return {"orders": open_orders(self._engine)}

    def _notes(self, said: argparse.Namespace) -> dict[str, Any]:
        return {"notes": self._extra().get("notes", [])}

    def _books(self, said: argparse.Namespace) -> dict[str, Any]:
        names = [self._symbol(said.symbol)] if said.symbol else sorted(self._engine.symbols)
        books = {}
        for name in names:
            book = self._engine.book(name, 5)
            books[name] = {
                side: [
                    {"px": int(row["price"]) / _SCALE, "sz": int(row["quantity"])}
                    for row in getattr(book, side)
                ]
                for side in ("bids", "asks")
            }
        return {"books": books}

    def _limits(self, said: argparse.Namespace) -> dict[str, Any]:
        block = self._engine.block
        if said.symbol:
            record = block.limit[self._engine.number_of(self._symbol(said.symbol))]
            return {"limits": _limits_of(record, block.limit.dtype.names or ())}
        return {
            "limits": _limits_of(block.symbol_limit[0], block.limit.dtype.names or ()),
            "totals": _limits_of(block.gate[0], TOTALS),
        }

    # ------------------------------------------------------------ changes

    def _symbol(self, name: str) -> str:
        symbol = name.upper()
        if symbol not in self._engine.symbols:
            raise OperatorError(f"no symbol is called {symbol}")
        return symbol

    def _switch(self, said: argparse.Namespace, level: Kill) -> dict[str, Any]:
        scope, symbol = "G", ""
        if said.what == "strategy":
            scope = "S"
        elif said.what and said.what != "all":
            scope, symbol = "B", self._symbol(said.what)
        self._on_switch(said.who, said.why, scope, symbol, int(level))
        return self._do("kill", said, scope=scope, symbol=symbol, level=int(level))

    def _kill(self, said: argparse.Namespace) -> dict[str, Any]:
        if said.what in ("reduce", "stop"):
            said.what, said.level = "", said.what
        return self._switch(said, Kill.REDUCE_ONLY if said.level == "reduce" else Kill.STOP)

    def _reset(self, said: argparse.Namespace) -> dict[str, Any]:
        return self._switch(said, Kill.NONE)

    def _limit(self, said: argparse.Namespace) -> dict[str, Any]:
        which = Limit[said.name.upper()]
        if not (0 <= said.value <= MOST and 0 <= said.seconds <= MOST_SECONDS):
            raise OperatorError("limit: a value and its seconds are not negative, nor that large")
        value = round(said.value * (_SCALE if which in MONEY else 1))
        symbol = self._symbol(said.symbol) if said.symbol else ""
        expires = 0
        if said.seconds:
            expires = self._engine.block.get("engine_time") + round(said.seconds * 1e9)
        return self._do("limit", said, symbol=symbol, limit=which, value=value, expires=expires)

    def _cancel(self, said: argparse.Namespace) -> dict[str, Any]:
        symbol = self._symbol(said.what) if said.what and said.what != "all" else ""
        first = before = self._count(Counter.ORDERS_SENT)
        for _ in range(CANCELS):
            self._do("cancel_all", said, symbol=symbol)
            sent = self._count(Counter.ORDERS_SENT)
            if sent == before:
                break
            before = sent
        return {"done": "cancel_all", "sent": before - first}

    def _roll(self, said: argparse.Namespace) -> dict[str, Any]:
        return self._do("day_roll", said)

    def _do(self, name: str, said: argparse.Namespace, **values: Any) -> dict[str, Any]:
        refused = self._count(*_REFUSALS)
        self._engine.command(name, who=said.who, why=said.why, **values)
        if self._count(*_REFUSALS) > refused:
            raise OperatorError(f"the engine refused {name}")
        number = self._engine.block.get("input_number")
        return {"done": name, "input_number": number, "why": said.why, **values}

    def _count(self, *counters: Counter) -> int:
        return int(sum(self._engine.block.counter["value"][each] for each in counters))


def _fitting(name: str, text: str) -> str:
    """Text that a command's field takes; see the module's text."""
    plain = "".join(letter if " " <= letter <= "~" else "?" for letter in text)
    return plain[: CONTROL["kill"][name].size]


def _limits_of(record: Any, names: Iterable[str]) -> dict[str, int | float]:
    """A record's limits by name, money in dollars."""
    limits: dict[str, int | float] = {}
    for name in names:
        if "reserved" not in name:
            is_money = any(part in name for part in MONEY_FIELDS)
            limits[name] = int(record[name]) / _SCALE if is_money else int(record[name])
    return limits


def positions(engine: Engine, most: int | None = None) -> list[dict[str, Any]]:
    """Symbols with a position, open orders or trades of the day, by symbol; at most ``most``."""
    table = engine.block.position
    used = (table["quantity"] != 0) | (table["open_orders"] > 0) | (table["day_quantity"] > 0)
    rows = []
    for index in np.flatnonzero(used)[:most].tolist():
        p = table[index]
        value = int(p["quantity"]) * int(p["mark"])
        rows.append(
            {
                "symbol": symbol_text(p["symbol"]),
                "position": int(p["quantity"]),
                "mark": int(p["mark"]) / _SCALE,
                "cash": int(p["cash"]) / _SCALE,
                "pnl": (int(p["cash"]) + value - int(p["start_value"])) / _SCALE,
                "open_buy": int(p["open_buy"]),
                "open_sell": int(p["open_sell"]),
                "open_orders": int(p["open_orders"]),
                "day_quantity": int(p["day_quantity"]),
            }
        )
    return sorted(rows, key=lambda row: row["symbol"])


def open_orders(engine: Engine, most: int | None = None) -> list[dict[str, Any]]:
    """Open own orders by user_ref_num; with ``most``, the latest so many."""
    table, symbols = engine.block.own, engine.block.book["symbol"]
    is_open = (table["state"] >= State.PENDING) & (table["state"] <= State.PARTIALLY_FILLED)
    rows = table[np.flatnonzero(is_open)]
    rows = rows[np.argsort(rows["user_ref_num"])]
    return [
        {
            "user_ref_num": int(row["user_ref_num"]),
            "cl_ord_id": token_of(int(row["order_id"])),
            "symbol": symbol_text(symbols[row["book"]]),
            "side": chr(row["side"]),
            "price": int(row["price"]) / _SCALE,
            "quantity": int(row["quantity"]),
            "leaves_qty": int(row["leaves"]),
            "cum_qty": int(row["executed"]),
            "state": State(int(row["state"])).name,
            "asked": int(row["asked"]),
        }
        for row in (rows if most is None else rows[-most:])
    ]
