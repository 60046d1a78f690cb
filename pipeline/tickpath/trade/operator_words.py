"""The words of `tickpath ctl`: a line in, an answer out, a command for the engine in between.

    status | positions | orders | books [SYMBOL] | limits [SYMBOL] | notes
    kill [SYMBOL | strategy] [reduce] --why TEXT      latched: only reset takes it back
    reset [SYMBOL | strategy] --why TEXT
    limit NAME VALUE [SYMBOL] [--for SECONDS] --why TEXT
    cancel [SYMBOL] --why TEXT
    roll --why TEXT

Every command that changes something says why; who is the user of the operator's connection.
"""

import argparse
import shlex
from collections.abc import Callable
from typing import Any, NoReturn

from tickpath.digest import symbol_text
from tickpath.engine import Engine
from tickpath.own_orders import State
from tickpath.risk import Kill
from tickpath.wire.control import Limit
from tickpath.wire.table import WireError

MONEY = {
    *(Limit.MAX_NOTIONAL, Limit.MAX_DAILY_NOTIONAL, Limit.MAX_LOSS, Limit.COLLAR_PX),
    *(Limit.TOTAL_MAX_GROSS, Limit.TOTAL_MAX_NET, Limit.TOTAL_MAX_DAILY_NOTIONAL),
    Limit.TOTAL_MAX_LOSS,
}
"""Limits that are given in dollars."""
CANCELS = 1_000
"""Portions in which all orders are canceled, at most."""
_SCALE = 10_000


class OperatorError(ValueError):
    """A line that cannot be done; the message is the answer."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise OperatorError(message)


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
        each.add_argument("--who", default="")
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
    """Answers lines about one engine; ``extra`` adds to the status."""

    def __init__(self, engine: Engine, extra: Callable[[], dict[str, Any]]) -> None:
        self._engine = engine
        self._extra = extra
        self._parser = _parser()

    def run(self, line: str, who: str = "") -> dict[str, Any]:
        """The answer to a line.  Raises `OperatorError`."""
        try:
            said = self._parser.parse_args(shlex.split(line))
        except (ValueError, argparse.ArgumentError) as error:
            raise OperatorError(str(error)) from None
        if "who" in said:
            said.who = (said.who or who or "operator")[:16]
            said.why = said.why[:32]
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
        record = block.symbol_limit[0]
        if said.symbol:
            record = block.limit[self._engine.number_of(self._symbol(said.symbol))]
        fields = [name for name in block.limit.dtype.names or () if "reserved" not in name]
        return {"limits": {name: int(record[name]) for name in fields}}

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
        values = {"scope": scope, "symbol": symbol, "level": int(level)}
        return self._do("kill", said, **values)

    def _kill(self, said: argparse.Namespace) -> dict[str, Any]:
        if said.what in ("reduce", "stop"):
            said.what, said.level = "", said.what
        return self._switch(said, Kill.REDUCE_ONLY if said.level == "reduce" else Kill.STOP)

    def _reset(self, said: argparse.Namespace) -> dict[str, Any]:
        return self._switch(said, Kill.NONE)

    def _limit(self, said: argparse.Namespace) -> dict[str, Any]:
        which = Limit[said.name.upper()]
        value = round(said.value * (_SCALE if which in MONEY else 1))
        if value < 0:
            raise OperatorError("a limit is not negative")
        symbol = self._symbol(said.symbol) if said.symbol else ""
        expires = 0
        if said.seconds:
            expires = self._engine.block.get("engine_time") + round(said.seconds * 1e9)
        return self._do("limit", said, symbol=symbol, limit=which, value=value, expires=expires)

    def _cancel(self, said: argparse.Namespace) -> dict[str, Any]:
        symbol = self._symbol(said.what) if said.what and said.what != "all" else ""
        sent = self._engine.counters["orders_sent"]
        for _ in range(CANCELS):
            before = self._engine.counters["orders_sent"]
            self._do("cancel_all", said, symbol=symbol)
            if self._engine.counters["orders_sent"] == before:
                break
        return {"done": "cancel_all", "sent": self._engine.counters["orders_sent"] - sent}

    def _roll(self, said: argparse.Namespace) -> dict[str, Any]:
        return self._do("day_roll", said)

    def _do(self, name: str, said: argparse.Namespace, **values: Any) -> dict[str, Any]:
        invalid = self._engine.counters["commands_invalid"]
        self._engine.command(name, who=said.who, why=said.why, **values)
        if self._engine.counters["commands_invalid"] > invalid:
            raise OperatorError(f"the engine refused {name}")
        return {"done": name, "input_number": self._engine.block.get("input_number"), **values}


def positions(engine: Engine) -> list[dict[str, Any]]:
    """Symbols with a position, open orders or trades of the day."""
    rows = []
    for symbol, b in sorted(engine.symbols.items()):
        p = engine.block.position[b]
        if p["quantity"] or p["open_orders"] or p["day_quantity"]:
            value = int(p["quantity"]) * int(p["mark"])
            rows.append(
                {
                    "symbol": symbol,
                    "position": int(p["quantity"]),
                    "mark": int(p["mark"]) / _SCALE,
                    "pnl": (int(p["cash"]) + value - int(p["start_value"])) / _SCALE,
                    "open_buy": int(p["open_buy"]),
                    "open_sell": int(p["open_sell"]),
                    "open_orders": int(p["open_orders"]),
                    "day_quantity": int(p["day_quantity"]),
                }
            )
    return rows


def open_orders(engine: Engine) -> list[dict[str, Any]]:
    """Open own orders by user_ref_num."""
    symbols = engine.block.book["symbol"]
    return [
        {
            "user_ref_num": int(row["user_ref_num"]),
            "symbol": symbol_text(symbols[row["book"]]),
            "side": chr(row["side"]),
            "price": int(row["price"]) / _SCALE,
            "quantity": int(row["quantity"]),
            "leaves_qty": int(row["leaves"]),
            "cum_qty": int(row["executed"]),
            "state": State(int(row["state"])).name,
            "asked": int(row["asked"]),
        }
        for row in engine.own_orders(open_only=True)
    ]
