"""The benchmark on a tiny session: every measurement is made and every answer checked.

No time is asserted anywhere.  What is asserted is that right answers are called right, that wrong
ones are not, and that the result has what its readers need.
"""

import dataclasses
import importlib.util
import io
import json
import os
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from tickpath import backend as backends
from tickpath import command_bench
from tickpath.backend import BackendError
from tickpath.bench import (
    BenchError,
    BenchPlan,
    bench,
    beside_peers,
    compact_c,
    compare,
    core,
    kernels,
    peers,
    plan_of,
    processes,
)
from tickpath.bench.core import pinned, ticks
from tickpath.bench.held import hold
from tickpath.bench.own import Decode, EngineRun, pool, strategy_config
from tickpath.bench.parts import Encode, Gate
from tickpath.bench.plan import session_of
from tickpath.bench.result import write_result
from tickpath.bench.table import print_bench, print_peers
from tickpath.bench.targets import targets
from tickpath.bench.turns import Outcome, Result, Timing, take_turns, warm_up
from tickpath.capture import CaptureError
from tickpath.clock import calibrate
from tickpath.config import Config
from tickpath.generate import generate_messages, generate_packets
from tickpath.latency import HISTOGRAM, summary
from tickpath.ouch import OrderMessage
from tickpath.risk import Reject
from tickpath_backends.software import SoftwareExecutor

MESSAGES = 20_000
SESSION = dataclasses.replace(session_of(MESSAGES), heartbeat_s=60)
ROOT = Path(__file__).resolve().parents[1]
OWN = ["decode", "book", "pipeline", "packets", "PITCH book"]
PARTS = [
    *("encode enter_order", "encode replace_order", "encode cancel_order"),
    *("encode BOE new_order", "encode BOE modify_order"),
    *("encode FIX new_order_single", "encode FIX order_cancel_replace_request"),
    *("risk check", "line", "line, A and B"),
]


def has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


@pytest.fixture(scope="module")
def held():
    return hold(SESSION)


@pytest.fixture(scope="module")
def clock():
    return calibrate()


def book_run(held, clock, config: Config | None = None) -> EngineRun:
    return EngineRun("book", "", held, held.run, config or Config(), clock)


# ---------------------------------------------------------------- the whole


@pytest.fixture(scope="module")
def result():
    plan = BenchPlan(
        SESSION,
        ratio_percent=1_500,
        rounds=2,
        live_curve=(dataclasses.replace(SESSION, live_orders=500), SESSION),
        symbol_curve=(dataclasses.replace(SESSION, symbols=5), SESSION),
        parts=1_500,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "HELP_RUNS", 1)
        patch.setattr(processes, "REPLAY_RUNS", 1)
        return bench(plan)


def test_every_answer_is_right(result):
    assert result["findings"] == []
    assert result["verified"] is True
    assert all(row["verified"] is True for row in result["results"])
    assert all(curve["verified"] for curve in result["curves"])
    assert result["memory"]["verified"] and result["start"]["verified"]


def test_every_contestant_ran_in_every_round(result):
    names = [row["name"] for row in result["results"]]
    assert names[:5] == OWN and names[-len(PARTS) :] == PARTS
    others = [name for name in names if name not in OWN + PARTS]
    expected = [
        "C, compact book" if compact_c.why_not() is None else None,
        *(
            requirement.partition("==")[0] if has(module) else None
            for module, (requirement, _) in peers.PEERS.items()
        ),
    ]
    there = [name for name in expected if name]
    assert len(others) == len(there)
    assert all(name.startswith(begin) for name, begin in zip(others, there, strict=True))
    assert len(result["skipped"]) == expected.count(None)
    for row in result["results"]:
        assert len(row["runs"]) == result["rounds"] == 2
        assert min(row["runs"]) <= row["ns_per_message"] <= max(row["runs"])
        assert row["ns_per_message"] > 0 and row["messages_per_second"] > 0


def test_the_result_says_what_was_measured(result):
    assert result["schema"] == "tickpath.bench/1"
    assert result["session"]["messages"] == sum(result["session"]["messages_by_type"].values())
    assert result["core"] in os.sched_getaffinity(0)
    assert result["prefaulted_bytes"] > 0
    assert result["session"]["held_bytes"] > 2 * result["session"]["bytes"]
    assert result["environment"]["tables_prefaulted"] is True
    assert result["environment"]["clock"]["cycles_per_ns"] > 0
    assert isinstance(
        result["environment"]["compile_seconds"], float
    )  # 0.0 when it was compiled before
    assert result["jitter"]["gap_ns"]["count"] > 0
    assert set(result["beside_us"]) == {"stolen_share", "others_share", "other_cores_busy_share"}
    assert [curve["x"] for curve in result["curves"]] == [[500, 2_000], [5, 20]]
    # The main session's figure is not measured twice.
    book = next(row for row in result["results"] if row["name"] == "book")
    assert {curve["ns_per_message"][-1] for curve in result["curves"]} == {book["ns_per_message"]}
    assert result["memory"]["peak_bytes"] > result["memory"]["prefaulted_bytes"]
    assert result["targets"] == []  # they are meant for another session
    assert json.loads(json.dumps(result)) == result


def test_orders_and_latency_agree(result):
    """Every order that the strategy's intents became has one tick-to-order value a round."""
    orders, found = result["orders"], result["latency_ns"]
    sent = orders["intents"] - sum(orders["rejects_by_code"].values())
    assert sent > 0
    assert [each["count"] for each in found["tick_to_order_runs"]] == [sent, sent]
    assert found["tick_to_order"]["count"] == 2 * sent
    assert sum(result["latency"]["tick_to_order"]["count"]) == 2 * sent
    assert result["firing_share"] == round(orders["intents"] / MESSAGES, 6)


def test_a_person_can_read_it(result, tmp_path):
    out = io.StringIO()
    with redirect_stdout(out):
        print_bench(result)
    text = out.getvalue()
    for name in (*OWN, *PARTS, "tick to order", "book over live orders", "peak memory"):
        assert name in text
    assert "WRONG" not in text
    write_result(tmp_path / "sub" / "result.json", result)
    assert json.loads((tmp_path / "sub" / "result.json").read_text()) == result


def test_the_report_takes_it(result, tmp_path):
    pytest.importorskip("plotly", reason="plotly is not installed")
    from tickpath.report import write_bench_report

    page = write_bench_report(tmp_path / "bench.html", result).read_text()
    assert "answer was checked and right." in page
    assert "no histogram in the result" not in page and "Latency by percentile" in page


# ---------------------------------------------------------------- sessions in memory


def test_a_held_session_is_the_generated_one(held):
    expected = b"".join(chunk.tobytes() for chunk in generate_messages(SESSION))
    assert held.messages.tobytes() == expected
    assert held.truth.messages == MESSAGES
    assert len(held.resting) == held.truth.live_orders


def test_held_packets_are_the_generated_ones(held):
    at = 0
    for batch in generate_packets(SESSION):
        for each in batch:
            kept = held.packets[at]
            assert kept["ts_recv"] == each["ts_recv"] and kept["length"] == each["length"]
            assert content(kept) == content(each)
            at += 1
    assert at == len(held.packets) == held.truth.packets


def content(packet: np.void) -> bytes:
    import ctypes

    return ctypes.string_at(int(packet["address"]), int(packet["length"]))


# ---------------------------------------------------------------- wrong answers are found


def wrong(held, **truth):
    return dataclasses.replace(held, truth=dataclasses.replace(held.truth, **truth))


def test_another_number_of_live_orders_is_found(held, clock):
    run = book_run(wrong(held, live_orders=held.truth.live_orders + 1), clock)
    assert run.run().problems == (
        f"live orders: {held.truth.live_orders}, but the generator says "
        f"{held.truth.live_orders + 1}",
    )


def test_another_best_price_is_found(held, clock):
    symbols = held.truth.symbols.copy()
    symbols["bid_px"][3] += 100
    (problem,) = book_run(wrong(held, symbols=symbols), clock).run().problems
    assert problem.startswith("bid_px of 1 symbols is not the generator's")


def test_another_queue_is_found(held, clock):
    resting = held.resting.copy()
    alike = np.flatnonzero(
        (resting["price"][1:] == resting["price"][:-1])
        & (resting["side"][1:] == resting["side"][:-1])
        & (resting["stock_locate"][1:] == resting["stock_locate"][:-1])
    )[0]
    resting[[alike, alike + 1]] = resting[[alike + 1, alike]]
    run = book_run(dataclasses.replace(held, resting=resting), clock)
    assert run.run().problems == ("2 resting orders stand elsewhere than at the generator",)


def test_a_message_of_another_type_is_found(held):
    messages = held.messages.copy()
    first = int.from_bytes(messages[:2].tobytes(), "big")
    messages[2] = ord("z")
    outcome = Decode(dataclasses.replace(held, messages=messages)).run()
    assert outcome.answer[:2] == (MESSAGES, 1) and first > 0
    assert "messages by type are not the generator's" in outcome.problems


def test_other_order_bytes_are_found():
    """Replaces where enters are expected."""
    assert Encode(OrderMessage.ENTER, kernels.encode_enters, 500).run().problems == ()
    problems = Encode(OrderMessage.ENTER, kernels.encode_replaces, 500).run().problems
    assert "bytes differ from the tables' encoder" in problems


def test_another_verdict_is_found(held):
    gate = Gate(held, 100)
    assert gate.run().problems == ()
    assert set(gate._expected) == {Reject.ACCEPTED, Reject.QUANTITY, Reject.PRICE_COLLAR}
    gate._cases["quantity"][0] = 10**6
    problems = gate.run().problems
    assert problems[0] == "1 verdicts are not those expected" and len(problems) == 2


def test_another_touch_is_found(held, clock, tmp_path):
    pytest.importorskip("itch_book", reason="itch-book is not installed")
    run = book_run(held, clock)
    run.run()
    peer = peers.ItchBook(held, run, tmp_path)
    assert peer.run().problems == () and peer.check() == []
    run.touch["ask_sz"][7] += 1
    (problem,) = peer.check()
    assert "best bid and offer of 1 books differ, first in book 7" in problem


def test_meatpy_is_held_to_the_whole_book(held, clock, tmp_path):
    pytest.importorskip("meatpy", reason="meatpy is not installed")
    peer = peers.Meatpy(held, book_run(held, clock), tmp_path)
    assert peer.run().problems == ()
    peer._expected.bids["orders"][-1] += 1
    (problem,) = peer.run().problems
    assert problem.startswith("bids of ")


def test_a_wrong_answer_exits_with_1(result, monkeypatch, capsys):
    failed = {**result, "findings": ["book: live orders: 1, but the generator says 2"]}
    monkeypatch.setattr(command_bench, "bench", lambda plan, **_: failed)
    code = command_bench.run((), messages=None, quick=True, as_json=True, report=None)
    shown = capsys.readouterr()
    assert code == 1 and "but the generator says 2" in shown.err
    assert json.loads(shown.out)["schema"] == "tickpath.bench/1"


# ---------------------------------------------------------------- turns


class Scripted:
    """A contestant that notes when it runs."""

    note, messages, warm_ups = "", 10, 1

    def __init__(self, name: str, log: list[str], answers: list[object]) -> None:
        self.name, self.log, self.answers = name, log, answers

    def run(self) -> Outcome:
        self.log.append(self.name)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Outcome(Timing(100 * len(self.log), None), answer)


def played(**answers: list[object]) -> tuple[list[str], list[Result]]:
    log: list[str] = []
    results = [Result(Scripted(name, log, given)) for name, given in answers.items()]
    warm_up(results, lambda text: None)
    take_turns(results, 3, lambda text: None)
    return log, results


def test_contestants_take_turns():
    log, (a, b) = played(a=[1] * 4, b=[2] * 4)
    assert log == ["a", "b"] * 4
    row = a.row()
    # The warm-up was the first of all runs; the others came as 3rd, 5th and 7th.
    assert (row["warm_up_runs"], row["runs"], row["ns_per_message"]) == ([10.0], [30, 50, 70], 50)
    assert row["verified"] is True and b.problems == []


def test_different_answers_of_one_contestant_are_a_finding():
    _, (a,) = played(a=[1, 1, 2, 1])
    assert a.problems == ["a: its runs gave different answers"]
    assert a.row()["verified"] is False


def test_one_that_fails_is_out_and_named():
    log, (a, b) = played(a=[1, 1, BenchError("raised ValueError: no")], b=[2] * 4)
    assert log == ["a", "b", "a", "b", "a", "b", "b"]
    assert a.problems == ["a: raised ValueError: no"] and b.problems == []
    assert a.row()["ns_per_message"] is None and a.row()["verified"] is False


def test_a_peer_that_raises_is_a_bench_error():
    with pytest.raises(BenchError, match="raised ZeroDivisionError"):
        peers._foreign(lambda: 1 // 0)


def test_peers_that_are_missing_are_named_with_the_command(held, clock, monkeypatch, tmp_path):
    run = book_run(held, clock)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(compact_c, "FOLDER", tmp_path)
    monkeypatch.setattr(compact_c.why_not, "__defaults__", (tmp_path,))
    found, skipped = peers.at_hand(held, run, tmp_path / "x", tmp_path)
    assert found == []
    assert [each["name"] for each in skipped] == [
        "C, compact book",
        "itch-book",
        "itchcpp",
        "meatpy",
    ]
    assert skipped[1]["command"] == "pip install itch-book==0.2.1"


C_OUTPUT = """sorted-array state=00ab live=7 bboev=1
win book       60.00 ns/msg 1.0 M/s state=00ab live=7 bboev=1 far=0
win book+pf K=4  51.00 ns/msg 1.0 M/s state=00ab
win book+pf K=8  40.50 ns/msg 1.0 M/s state={state}
"""


def test_the_c_books_output():
    outcome = compact_c.parse(C_OUTPUT.format(state="00ab"), 1_000, 7)
    assert outcome == Outcome(Timing(40_500, None), "00ab")
    differs = compact_c.parse(C_OUTPUT.format(state="00ac"), 1_000, 8)
    assert differs.problems == (
        "its book differs from its own reference book",
        "7 live orders, 8 expected",
    )
    with pytest.raises(BenchError, match="not understood"):
        compact_c.parse("", 1, 1)


# ---------------------------------------------------------------- the core


def test_the_thread_is_kept_on_one_core_and_let_go():
    before = os.sched_getaffinity(0)
    with pinned() as number:
        assert os.sched_getaffinity(0) == {number} and number in before
    assert os.sched_getaffinity(0) == before


def test_ticks_of_cores(tmp_path, monkeypatch):
    stat = tmp_path / "stat"
    stat.write_text(
        "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 10 1 5 100 7 2 3 4 0 0\ncpu1 1 0 0 50 0 0 0 9 0 0\nintr 5\n"
    )
    assert ticks(stat) == {0: (21, 107, 4), 1: (1, 50, 9)}
    assert ticks(tmp_path / "none") == {}
    quiet = iter([{0: core.Ticks(5, 5, 0), 1: core.Ticks(5, 5, 0)}] * 1)
    busy = {0: core.Ticks(5, 30, 0), 1: core.Ticks(30, 5, 0)}
    monkeypatch.setattr(core, "ticks", lambda: next(quiet, busy))
    monkeypatch.setattr(core, "LOOK_S", 0)
    assert core.quietest({0, 1}) == 0


def test_a_watch_without_the_kernels_ticks_knows_nothing(monkeypatch):
    monkeypatch.setattr(core, "ticks", dict)
    assert set(core.Watch(0).shares().values()) == {None}


# ---------------------------------------------------------------- plans and targets


def test_plans():
    plan = plan_of(None, quick=False)
    assert plan.has_targets
    assert (plan.session.messages, plan.session.symbols) == (10_000_000, 8_000)
    assert plan.session.live_orders == 1_000_000
    assert [each.live_orders for each in plan.live_curve] == [100_000, 1_000_000, 10_000_000]
    assert [each.symbols for each in plan.symbol_curve] == [1_000, 4_000, 8_000, 12_000]
    assert plan.session in plan.live_curve and plan.session in plan.symbol_curve
    quick = plan_of(None, quick=True)
    assert (quick.session.messages, quick.session.symbols) == (1_000_000, 1_000)
    assert not quick.live_curve and not quick.has_targets
    assert plan_of(50_000, quick=True).session.symbols == 50


def test_targets_are_compared(result):
    book = next(row for row in result["results"] if row["name"] == "book")
    found = {each["name"]: each for each in targets(result)}
    assert found["book"]["value"] == book["ns_per_message"]
    assert found["book"]["met"] is (book["ns_per_message"] <= 45)
    slow = {**result, "results": [{**book, "ns_per_message": 45.1}]}
    fast = {**result, "results": [{**book, "ns_per_message": 44.9}]}
    assert [next(iter(targets(each)))["met"] for each in (slow, fast)] == [False, True]


def test_pooled_histograms_hold_all_values():
    parts = np.zeros(3, HISTOGRAM)
    for record, values in zip(parts, ((5, 700), (3,), ()), strict=True):
        record["total_count"], record["sum"] = len(values), sum(values)
        if values:
            record["min"], record["max"] = min(values), max(values)
        for value in values:
            record["counts"][value] += 1
    found = summary(pool(list(parts)))
    assert (found["count"], found["min"], found["max"]) == (3, 3, 700)
    assert summary(pool([parts[2]]))["count"] == 0


def test_the_strategy_config_is_the_default_one_otherwise():
    config = strategy_config(1_234)
    assert config.strategy.parameters[0] == 1_234
    assert (config.risk, config.capacity, config.latency) == (
        Config().risk,
        Config().capacity,
        Config().latency,
    )


# ---------------------------------------------------------------- backends


class Forgetful(SoftwareExecutor):
    """Leaves one packet out, so that the engine sees a gap and sends no more orders."""

    def run(self, packets: np.ndarray, first: int) -> int:
        if self.engine.messages and not getattr(self, "forgot", False):
            self.forgot, first = True, first + 1
        return super().run(packets, min(first, len(packets)))


@pytest.fixture
def two_backends(monkeypatch):
    known = backends.find("software")

    def find(name: str) -> backends.Backend:
        executor = Forgetful if name == "forgetful" else known.executor
        return backends.Backend(name, known.transport, executor)

    monkeypatch.setattr(backends, "find", find)
    monkeypatch.setattr("tickpath.replay.PACKETS_PER_BURST", 512)


PLAN = BenchPlan(SESSION, ratio_percent=1_500, rounds=1)


def test_backends_that_do_the_same(two_backends, capsys):
    result = compare(["software", "other", "software"], PLAN)
    assert result["verified"] and result["findings"] == []
    assert [row["name"] for row in result["results"]] == ["software", "other"]
    assert [len(row["runs"]) for row in result["results"]] == [1, 1]
    assert result["latency_ns"]["software"]["count"] == result["latency_ns"]["other"]["count"] > 0
    assert list(result["latency"]) == ["software", "other"]
    print_bench(result)
    assert "other, tick to order" in capsys.readouterr().out


def test_a_backend_that_does_something_else(two_backends, monkeypatch, capsys):
    monkeypatch.setattr(command_bench, "plan_of", lambda messages, quick: PLAN)
    code = command_bench.run(
        ("software", "forgetful"), messages=None, quick=False, as_json=True, report=None
    )
    assert code == 1
    result = json.loads(capsys.readouterr().out)
    assert [row["verified"] for row in result["results"]] == [True, False]
    assert all(each.startswith("forgetful: ") for each in result["findings"])
    assert any("orders_sha256 is " in each for each in result["findings"])


def test_an_unknown_backend_is_one_line():
    with pytest.raises(BackendError, match="no backend is called 'nope'"):
        compare(["nope"], PLAN)


# ---------------------------------------------------------------- peers on a file


def test_peers_on_a_daily_file(held, tmp_path, capsys):
    path = held.write(tmp_path / "day.itch")
    result = beside_peers(path, 0, 1)
    assert result["findings"] == []
    assert result["session"]["messages"] == MESSAGES
    assert result["session"]["orders_live"] == held.truth.live_orders
    alone = len(result["results"]) == 1
    assert result["results"][0]["verified"] is (None if alone else True)
    print_peers(result)
    assert "day.itch: 20,000 messages" in capsys.readouterr().out


def test_peers_want_a_daily_file(tmp_path):
    from tickpath.generate import generate

    path = tmp_path / "session.pcap"
    generate(path, SESSION)
    with pytest.raises(BenchError, match="is a pcap file"):
        beside_peers(path, 0, 1)
    with pytest.raises(CaptureError, match="does not exist"):
        beside_peers(tmp_path / "none", 0, 1)


# ---------------------------------------------------------------- the README's figures


@pytest.fixture(scope="module")
def script():
    path = ROOT / "benchmarks" / "readme_figures.py"
    spec = importlib.util.spec_from_file_location("readme_figures", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_figures_are_written_and_checked(script, result, tmp_path, capsys):
    readme, file = tmp_path / "README.md", tmp_path / "bench.json"
    readme.write_text("# it\n\n<!-- bench -->\n<!-- /bench -->\n\nmore\n")
    write_result(file, result)
    paths = ["--readme", str(readme), "--results", str(tmp_path)]
    assert script.main(["--check", *paths]) == 1
    assert "does not show" in capsys.readouterr().err
    assert script.main(paths) == 0
    text = readme.read_text()
    assert text.startswith("# it\n\n<!-- bench -->\n20,000 generated messages over 20 symbols")
    assert text.endswith("<!-- /bench -->\n\nmore\n")
    assert all(f"| {row['name']} |" in text for row in result["results"])
    assert script.main(["--check", *paths]) == 0
    # A figure typed by hand is found.
    readme.write_text(text.replace("| book |", "| our book |"))
    assert script.main(["--check", *paths]) == 1


def test_a_wrong_answer_shows_in_the_figures(script, result):
    row = {**result["results"][1], "verified": False}
    assert "wrong or unchecked answer" in script.figures({**result, "results": [row]})


def test_figures_without_a_place_or_a_result(script, tmp_path, capsys):
    readme, where = tmp_path / "README.md", ["--results", str(tmp_path)]
    readme.write_text("no markers\n")
    assert script.main(["--readme", str(readme), *where]) == 2
    assert "no place for the figures" in capsys.readouterr().err
    readme.write_text("<!-- bench -->\n<!-- /bench -->\n<!-- wire -->\n")
    assert script.main(["--readme", str(readme), *where]) == 2
    assert "bench.json" in capsys.readouterr().err


def test_the_readme_shows_the_kept_result(script):
    assert script.places(script.README.read_text()) == ["bench", "wire"]
    assert script.main(["--check"]) == 0
