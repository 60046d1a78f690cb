"""Files that a replay writes: orders, books, best bids and offers.

Each is written under its own name with ``.part`` behind it and renamed when it is whole, so a file
that has its name is complete.  A disk that fills up is one clear line, and the partial file stays.
"""

import csv
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from tickpath.digest import VENUE_NAMES, symbol_text
from tickpath.engine import Book, Engine

PX_SCALE = 10_000
"""Prices are integers in 1e-4."""


class OutputError(OSError):
    """An output that cannot be written; the message names the file and the reason."""


def check_paths(
    outputs: Iterable[str | None], sources: Iterable[str | os.PathLike[str]] = ()
) -> None:
    """Raise `OutputError` for outputs that cannot be written: before a long run, not after it."""
    taken: set[str] = set()
    inputs = {os.path.realpath(source) for source in sources}
    for path in (Path(output) for output in outputs if output):
        if path.is_dir():
            raise OutputError(f"{path}: is a directory; name a file in it")
        if not path.parent.is_dir():
            raise OutputError(f"{path}: its directory does not exist; make it first")
        if not os.access(path.parent, os.W_OK):
            raise OutputError(f"{path}: its directory cannot be written to")
        real = os.path.realpath(path)
        if real in inputs:
            raise OutputError(f"{path}: is a capture that is read; name another file")
        if real in taken:
            raise OutputError(f"{path}: is named for two outputs; name another file for one")
        taken.add(real)


def price_text(px: int) -> str:
    """A price in 1e-4 as decimal text with four digits."""
    return f"{px // PX_SCALE}.{px % PX_SCALE:04d}"


class _Output:
    """A file that gets its name when it is complete."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.part = self.path.with_name(self.path.name + ".part")
        self._guarded(self._open)

    def _open(self) -> None:
        raise NotImplementedError

    def _close(self) -> None:
        raise NotImplementedError

    def _guarded(self, act: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return act(*arguments)
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot be written: {error.strerror or error}; "
                f"what was written so far is in {self.part.name}"
            ) from None

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._guarded(self._close)
            self._guarded(os.replace, self.part, self.path)
        else:
            with suppress(OSError):  # the error that is under way says what went wrong
                self._close()


class OrdersFile(_Output):
    """Encoded orders, each behind a 2-byte big-endian length, as in a daily file."""

    _file: IO[bytes]

    def _open(self) -> None:
        self._file = self.part.open("wb")

    def _close(self) -> None:
        self._file.close()

    def write(self, orders: memoryview) -> None:
        """Orders as the engine gives them; the bytes are copied."""
        self._guarded(self._file.write, orders)


def _symbols_of(engine: Engine) -> tuple[np.ndarray, np.ndarray]:
    books = engine.block.book
    return books["venue"], books["symbol"]


class BboCsv(_Output):
    """Rows of `BBO_HEAD`, one whenever a best bid or offer changed; empty sides are empty."""

    HEAD = ("seq", "ts_event", "venue", "symbol", "bid_px", "bid_sz", "ask_px", "ask_sz")
    _file: IO[str]

    def _open(self) -> None:
        self._file = self.part.open("w", newline="")
        self._file.write(",".join(self.HEAD) + "\n")

    def _close(self) -> None:
        self._file.close()

    def write(self, engine: Engine, columns: dict[str, np.ndarray]) -> None:
        """Rows as the engine gives them, a column each."""
        venues, symbols = _symbols_of(engine)
        named = {
            b: f"{VENUE_NAMES[int(venues[b])]},{_quoted(symbol_text(symbols[b]))}"
            for b in np.unique(columns["book"]).tolist()
        }
        lines = []
        for seq, ts, b, bid_px, bid_sz, ask_px, ask_sz in zip(
            *(columns[name].tolist() for name in _COLUMNS), strict=True
        ):
            bid = f"{price_text(bid_px)},{bid_sz}" if bid_sz else ","
            ask = f"{price_text(ask_px)},{ask_sz}" if ask_sz else ","
            lines.append(f"{seq},{ts},{named[b]},{bid},{ask}\n")
        self._guarded(self._file.write, "".join(lines))


_COLUMNS = ("seq", "ts_event", "book", "bid_px", "bid_sz", "ask_px", "ask_sz")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\r\n') else text


class BboParquet(_Output):
    """The same rows with integer prices, `px_scale` in the metadata; empty sides are null."""

    _writer: Any

    def _open(self) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            raise OutputError(
                f"{self.path}: Parquet needs pyarrow: pip install 'tickpath[parquet]'"
            ) from None
        integer = pa.int64()
        self._schema = pa.schema(
            [
                *((name, integer) for name in ("seq", "ts_event")),
                *((name, pa.dictionary(pa.int32(), pa.string())) for name in ("venue", "symbol")),
                *((name, integer) for name in ("bid_px", "bid_sz", "ask_px", "ask_sz")),
            ],
            metadata={"px_scale": str(PX_SCALE), "ts_event": "ns since the venue's midnight"},
        )
        self._pa = pa
        self._writer = pq.ParquetWriter(self.part, self._schema)

    def _close(self) -> None:
        self._writer.close()

    def write(self, engine: Engine, columns: dict[str, np.ndarray]) -> None:
        """Rows as the engine gives them, a column each."""
        self._guarded(self._writer.write_table, bbo_table(engine, columns, self._schema))


def bbo_table(engine: Engine, columns: dict[str, np.ndarray], schema: Any = None) -> Any:
    """The engine's BBO columns as a `pyarrow.Table` that shares their memory where it can.

    The integer columns are the engine's own memory, so the table is valid as long as they are.
    """
    import pyarrow as pa

    venues, symbols = _symbols_of(engine)
    books, places = np.unique(columns["book"], return_inverse=True)
    codes = pa.array(places.astype(np.int32))
    venue_names = pa.array([VENUE_NAMES[int(venues[b])] for b in books], pa.string())
    symbol_names = pa.array([symbol_text(symbols[b]) for b in books], pa.string())
    arrays = [
        pa.array(columns["seq"]),
        pa.array(columns["ts_event"]),
        pa.DictionaryArray.from_arrays(codes, venue_names),
        pa.DictionaryArray.from_arrays(codes, symbol_names),
    ]
    for side in ("bid", "ask"):
        empty = columns[f"{side}_sz"] == 0
        for what in ("px", "sz"):
            values = columns[f"{side}_{what}"]
            arrays.append(pa.array(values, mask=empty) if empty.any() else pa.array(values))
    names = list(BboCsv.HEAD)
    return pa.Table.from_arrays(arrays, schema=schema) if schema else pa.table(arrays, names)


def bbo_output(path: str | os.PathLike[str]) -> BboCsv | BboParquet:
    """The output that fits the name: Parquet for ``.parquet``, CSV for the rest."""
    return BboParquet(path) if os.fspath(path).endswith(".parquet") else BboCsv(path)


class BooksCsv(_Output):
    """All books level by level: ``venue,symbol,side,price,quantity,orders``."""

    HEAD = ("venue", "symbol", "side", "price", "quantity", "orders")
    _file: IO[str]

    def _open(self) -> None:
        self._file = self.part.open("w", newline="")

    def _close(self) -> None:
        self._file.close()

    def write(self, books: Iterable[Book]) -> None:
        """Books in the order given, bids before asks, best first."""
        self._guarded(self._write, books)

    def _write(self, books: Iterable[Book]) -> None:
        rows = csv.writer(self._file, lineterminator="\n")
        rows.writerow(self.HEAD)
        for book in books:
            for side, levels in (("B", book.bids), ("S", book.asks)):
                for price, quantity, orders in levels.tolist():
                    rows.writerow(
                        (book.venue, book.symbol, side, price_text(price), quantity, orders)
                    )
