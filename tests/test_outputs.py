"""Files that a replay writes: orders, books, best prices, histograms, report; and full disks."""

import csv
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from itch_messages import run, split
from sessions import (
    PLAN,
    columns,
    packets_of,
    refused,
    replay,
    rows,
    said,
    session,
    session_messages,
    tickpath,
    write_pcap,
)
from tickpath import Config, Engine
from tickpath.layout import Stage
from tickpath.outputs import BboCsv, BooksCsv, OutputError, bbo_table, check_paths, price_text
from tickpath.wire import appendage
from tickpath.wire.ouch42 import OUCH42_INBOUND
from tickpath.wire.ouch50 import OUCH50_INBOUND

TAKER = ("--strategy", "tickpath.samples:imbalance_taker")
PRICE = re.compile(r"\d+\.\d{4}")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """One replay with every output."""
    place = tmp_path_factory.mktemp("outputs")
    names = {
        "orders": "orders.bin",
        "books": "books.csv",
        "bbo": "bbo.csv",
        "hgrm": "out.hgrm",
        "hlog": "out.hlog",
        "report": "report.html",
    }
    options = [(f"--{option}", place / name) for option, name in names.items()]
    result = replay(session(), *TAKER, *itertools.chain(*options))
    assert not list(place.glob("*.part"))
    return place, result


class Played:
    """The same session through an engine of our own."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, ...]] = []
        self.engine = Engine(Config(), strategy=TAKER[1], on_bbo=self._keep)
        self.engine.feed(run(session_messages()))
        self.orders = self.engine.take_orders()

    def _keep(self, arrays: dict[str, np.ndarray]) -> None:
        self.rows += columns(arrays)


@pytest.fixture(scope="module")
def played():
    return Played()


# ---------------------------------------------------------------- orders


def test_orders_stand_behind_their_lengths_as_they_were_sent(written, played):
    place, result = written
    orders = split((place / "orders.bin").read_bytes())
    assert len(orders) == result["orders"]["sent"] == len(played.orders) > 100
    assert orders == played.orders


def test_orders_are_ouch_50_messages(written, played):
    place, _ = written
    symbols = set(played.engine.symbols)
    ids, numbers = set(), []
    for raw in split((place / "orders.bin").read_bytes()):
        message = appendage.message_of(OUCH50_INBOUND, raw)
        fields = message.decode(raw)
        assert message.name == "enter_order" and fields["symbol"] in symbols
        assert fields["quantity"] == 100 and fields["side"] in ("B", "S", "T")
        assert Decimal(0) < fields["price"] < 200_000
        ids.add(fields["clordid"])
        numbers.append(fields["user_ref_num"])
    assert len(ids) == len(numbers) and numbers == sorted(set(numbers))


def test_orders_are_ouch_42_messages_where_configured(tmp_path, played):
    config = tmp_path / "c.toml"
    config.write_text('[orders]\nprotocol = "ouch42"\nfirm = "TEST"\n')
    out = tmp_path / "orders"
    result = replay(session(), *TAKER, "--config", config, "--orders", out)
    orders = split(out.read_bytes())
    assert len(orders) == result["orders"]["sent"] == len(played.orders)
    for raw, other in zip(orders, played.orders, strict=True):
        old = OUCH42_INBOUND.message_of(raw).decode(raw)
        new = appendage.message_of(OUCH50_INBOUND, other).decode(other)
        assert old["firm"] == "TEST" and old["order_token"] == new["clordid"]
        assert (old["shares"], old["stock"], old["price"]) == (
            *(new["quantity"], new["symbol"], new["price"]),
        )


def test_no_orders_are_an_empty_file(tmp_path):
    out = tmp_path / "orders"
    replay(session(), "--orders", out)
    assert out.read_bytes() == b"" and os.listdir(tmp_path) == ["orders"]


# ---------------------------------------------------------------- books


def test_books_are_sorted_and_complete(written, played):
    place, result = written
    head, *lines = rows(place / "books.csv")
    assert head == ["venue", "symbol", "side", "price", "quantity", "orders"]
    keys = []
    for venue, symbol, side, price, quantity, orders in lines:
        assert venue == "nasdaq" and side in "BS" and PRICE.fullmatch(price)
        assert int(quantity) > 0 and int(orders) > 0
        best_first = -Decimal(price) if side == "B" else Decimal(price)
        keys.append((venue, symbol, side, best_first))
    assert keys == sorted(set(keys))
    assert sum(int(line[5]) for line in lines) == result["orders_live"]
    expected = [
        [book.venue, book.symbol, side, price_text(price), str(quantity), str(orders)]
        for book in played.engine.books()
        for side, levels in (("B", book.bids), ("S", book.asks))
        for price, quantity, orders in levels.tolist()
    ]
    assert lines == expected


def test_books_agree_with_the_live_orders(written, played):
    """Level by level from the orders themselves, with nothing of the books' own reading."""
    place, _ = written
    levels: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    names = {number: symbol for symbol, number in played.engine.symbols.items()}
    for _, book, side, price, quantity in played.engine.resting().tolist():
        level = levels[names[book], "BS"[side], price_text(price)]
        level[0] += quantity
        level[1] += 1
    _, *lines = rows(place / "books.csv")
    assert {tuple(line[1:4]): [int(line[4]), int(line[5])] for line in lines} == levels


# ---------------------------------------------------------------- best bids and offers


def test_a_row_for_every_change_of_the_best_prices(written, played):
    place, _ = written
    head, *lines = rows(place / "bbo.csv")
    assert tuple(head) == BboCsv.HEAD
    assert ",".join(head) == "seq,ts_event,venue,symbol,bid_px,bid_sz,ask_px,ask_sz"
    names = {number: symbol for symbol, number in played.engine.symbols.items()}
    expected = []
    for seq, ts, book, bid_px, bid_sz, ask_px, ask_sz in played.rows:
        bid = [price_text(bid_px), str(bid_sz)] if bid_sz else ["", ""]
        ask = [price_text(ask_px), str(ask_sz)] if ask_sz else ["", ""]
        expected.append([str(seq), str(ts), "nasdaq", names[book], *bid, *ask])
    assert lines == expected and len(lines) > 3000
    assert any(line[4] == "" for line in lines) and any(line[6] == "" for line in lines)


def test_rows_change_something_and_end_where_the_books_do(written):
    place, result = written
    _, *lines = rows(place / "bbo.csv")
    last: dict[str, list[str]] = {}
    seqs = [int(line[0]) for line in lines]
    assert seqs == sorted(set(seqs)) and seqs[0] >= 1 and seqs[-1] <= result["messages"]
    for line in lines:
        assert last.get(line[3]) != line[4:], line
        last[line[3]] = line[4:]
        for px, sz in (line[4:6], line[6:8]):
            assert (px == "") == (sz == "")
            assert px == "" or (PRICE.fullmatch(px) and int(sz) > 0)
    tops: dict[str, list[str]] = defaultdict(lambda: ["", "", "", ""])
    for _, symbol, side, price, quantity, _ in list(rows(place / "books.csv"))[1:]:
        at = 0 if side == "B" else 2
        if tops[symbol][at] == "":
            tops[symbol][at : at + 2] = [price, quantity]
    for symbol, top in tops.items():
        assert last[symbol] == top, symbol


def test_parquet_has_the_same_rows_as_the_csv(written, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    place, _ = written
    out = tmp_path / "bbo.parquet"
    replay(session(), *TAKER, "--bbo", out)
    table = pq.read_table(out)
    assert table.schema.metadata[b"px_scale"] == b"10000"
    assert table.column_names == list(BboCsv.HEAD)
    types = {field.name: str(field.type) for field in table.schema}
    for name in ("seq", "ts_event", "bid_px", "bid_sz", "ask_px", "ask_sz"):
        assert types[name] == "int64"

    def text(name: str, value: object) -> str:
        if value is None:
            return ""
        return price_text(int(str(value))) if name.endswith("_px") else str(value)

    found = [[text(name, value) for name, value in row.items()] for row in table.to_pylist()]
    _, *expected = rows(place / "bbo.csv")
    assert found == expected


def test_an_arrow_table_shares_the_engines_memory():
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    seen = []

    def keep(arrays: dict[str, np.ndarray]) -> None:
        table = bbo_table(engine, arrays)
        for name in ("seq", "ts_event"):
            buffer = table.column(name).chunk(0).buffers()[1]
            assert buffer.address == arrays[name].ctypes.data
        seen.append(table.num_rows)

    engine = Engine(Config(), on_bbo=keep)
    engine.feed(run(session_messages()))
    assert sum(seen) > 3000


class _Symbols:
    """What `BboCsv` and `BooksCsv` need of an engine, with a symbol that CSV has to quote."""

    def __init__(self, symbol: str) -> None:
        book = np.zeros(2, [("venue", "u1"), ("symbol", "u8")])
        book[1] = (1, int.from_bytes(symbol.encode().ljust(8), "big"))
        self.block = type("Block", (), {"book": book})


@pytest.mark.parametrize("symbol", ["A,B", 'A"B', "A B"])
def test_a_symbol_with_commas_or_quotes_is_one_field(tmp_path, symbol):
    arrays = {
        name: np.array([value], np.int64)
        for name, value in zip(
            ("seq", "ts_event", "book", "bid_px", "bid_sz", "ask_px", "ask_sz"),
            (1, 2, 1, 10_000, 5, 0, 0),
            strict=True,
        )
    }
    path = tmp_path / "bbo.csv"
    with BboCsv(path) as out:
        out.write(_Symbols(symbol), arrays)
    with path.open(newline="") as file:
        _, row = csv.reader(file)
    assert row == ["1", "2", "nasdaq", symbol, "1.0000", "5", "", ""]


@pytest.mark.parametrize(
    ("px", "text"),
    [(0, "0.0000"), (1, "0.0001"), (12_345, "1.2345"), (1_999_999_900, "199999.9900")],
)
def test_prices_have_four_digits(px, text):
    assert price_text(px) == text


# ---------------------------------------------------------------- histograms and the report


def test_percentile_files_hold_what_the_result_says(written):
    place, result = written
    latencies = result["latency_ns"]
    rows_of = {"tick_to_order": latencies["tick_to_order"], **latencies["stages"]}
    assert {each.name for each in place.glob("*.hgrm")} == {
        f"out.{name}.hgrm" for name in ("tick_to_order", *Stage.NAMES)
    }
    for name, row in rows_of.items():
        text = (place / f"out.{name}.hgrm").read_text()
        total = re.search(r"TotalCount\s*=\s*([\d.]+)", text)
        assert total and float(total[1]) == row["count"]
        values = [float(line.split()[0]) for line in text.splitlines() if re.match(r"\s+\d", line)]
        assert values == sorted(values)
        assert values[-1] == pytest.approx(row["max"], rel=0.001)


def test_the_interval_log_is_read_by_hdrhistogram_and_adds_up(written):
    place, result = written
    total = HdrHistogram(1, 10_000_000_000, 3)
    reader = HistogramLogReader(str(place / "out.hlog"), total)
    intervals = 0
    while (interval := reader.get_next_interval_histogram()) is not None:
        intervals += 1
        total.add(interval)
    row = result["latency_ns"]["tick_to_order"]
    assert intervals >= 1 and total.get_total_count() == row["count"]
    assert total.get_value_at_percentile(50) == row["p50"]
    assert total.get_value_at_percentile(99) == row["p99"]


def test_a_paced_run_has_a_file_of_its_response_times(tmp_path):
    path = write_pcap(tmp_path / "few.pcap", packets_of(session())[:200])
    replay(path, "--pace", "1e6", "--hgrm", tmp_path / "out.hgrm")
    assert (tmp_path / "out.response.hgrm").exists()


def test_the_report_contains_the_figures(written):
    place, result = written
    page = (place / "report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html")
    assert "http://" not in re.sub(r"http://www\.w3\.org[\w/.#-]*", "", page[:200_000])
    for text in (
        result["environment"]["config_digest"],
        f"{result['messages']:,}",
        f"{result['orders']['sent']:,}",
        "tick to order",
        *Stage.NAMES,
        "assumed_fills",
    ):
        assert text in page, text
    assert "series" not in result


# ---------------------------------------------------------------- when writing fails


def test_paths_are_checked_together(tmp_path):
    check_paths([None, str(tmp_path / "a"), str(tmp_path / "b")], [tmp_path / "c"])
    with pytest.raises(OutputError, match="two outputs"):
        check_paths([str(tmp_path / "a"), str(tmp_path / ".." / tmp_path.name / "a")])
    (tmp_path / "link").symlink_to(tmp_path / "c")
    with pytest.raises(OutputError, match="is a capture that is read"):
        check_paths([str(tmp_path / "link")], [tmp_path / "c"])


def _full(path: Path) -> Path:
    """A path whose partial file lies on a disk that is full."""
    path.with_name(path.name + ".part").symlink_to("/dev/full")
    return path


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("output", ["orders", "books", "bbo", "parquet"])
def test_a_full_disk_is_one_line_and_the_partial_file_stays(tmp_path, output):
    option, name = ("bbo", "out.parquet") if output == "parquet" else (output, "out")
    if output == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    out = _full(tmp_path / name)
    line = refused("replay", session(), *TAKER, f"--{option}", out)
    assert f"{out}: cannot be written" in line and "No space left on device" in line
    assert f"{name}.part" in line
    assert os.listdir(tmp_path) == [f"{name}.part"]


FILLS_UP = """
mount -t tmpfs -o size=64k none "$1" || exit 77
shift
exec "$@"
"""


def test_a_disk_that_fills_up_during_the_run(tmp_path):
    if shutil.which("unshare") is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk of its own")
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["unshare", "-m", "sh", "-c", FILLS_UP, "sh", str(disk), sys.executable, "-m"]
    command += ["tickpath.cli", "replay", str(session()), "--bbo", str(disk / "bbo.csv"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    if done.returncode in (1, 77) and "Traceback" not in done.stderr:
        pytest.skip(f"no mounts here: {done.stderr.strip()}")
    assert done.returncode == 2 and done.stdout == ""
    assert said(done.stderr) == [
        f"tickpath: {disk / 'bbo.csv'}: cannot be written: No space left on device; "
        "what was written so far is in bbo.csv.part"
    ]


def test_a_run_that_fails_leaves_what_was_written_under_another_name(tmp_path, monkeypatch):
    out = tmp_path / "orders"
    out.write_bytes(b"of yesterday")

    def fails(self, books):
        raise OutputError("books: no")

    monkeypatch.setattr(BooksCsv, "write", fails)
    books = tmp_path / "books.csv"
    assert "books: no" in refused("replay", session(), *TAKER, "--orders", out, "--books", books)
    assert out.read_bytes() == b"of yesterday"
    whole = tmp_path / "whole"
    replay(session(), *TAKER, "--orders", whole)
    assert (tmp_path / "orders.part").read_bytes() == whole.read_bytes()
    assert books.with_name("books.csv.part").exists() and not books.exists()


def test_outputs_replace_what_was_there(tmp_path):
    out = tmp_path / "books.csv"
    out.write_text("of yesterday")
    replay(session(), "--books", out)
    assert out.read_text().startswith("venue,symbol") and os.listdir(tmp_path) == ["books.csv"]


def test_the_result_does_not_depend_on_what_is_written(written):
    plain = replay(session(), *TAKER)
    for name in ("state_digest", "book_digest", "counters", "orders", "messages_by_type"):
        assert json.dumps(plain[name]) == json.dumps(written[1][name])
    assert plain["messages"] == PLAN.messages
    text = tickpath("replay", session(), *TAKER).stdout
    assert plain["book_digest"] in text
