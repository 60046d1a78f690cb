"""The command line as a user meets it: exit codes, one clear line for a mistake, clean stdout."""

import gzip
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from captures import SYSTEM_EVENT, daily
from sessions import PLAN, packets_of, refused, replay, said, session, tickpath, write_pcap
from tickpath import Config, load_config
from tickpath.cli import main
from tickpath.config import show
from tickpath.generate import SessionPlan

COMMANDS = ("replay", "decode", "generate", "bench", "doctor")


def run(*arguments: object, **options) -> subprocess.CompletedProcess:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tickpath.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=200,
        **options,
    )


# ---------------------------------------------------------------- help


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(command):
    result = tickpath(*command.split(), "--help")
    assert result.stdout.startswith("Usage:") and result.stderr == ""
    assert command or all(each in result.stdout for each in COMMANDS)


def test_help_and_version_load_nothing_heavy():
    code = "import sys\nfrom tickpath.cli import main\n"
    code += "main(sys.argv[1:], standalone_mode=False)\nprint('loaded', *sys.modules)"
    for arguments in (["--help"], ["replay", "--help"], ["--version"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60
        )
        loaded = set(done.stdout.rpartition("loaded")[2].split())
        assert "click" in loaded, done.stderr
        assert not loaded & {"numba", "numpy", "plotly", "pyarrow", "rich", "msgspec"}


def test_no_command_and_an_unknown_one_are_usage_errors():
    assert CliRunner().invoke(main, []).exit_code == 2
    assert "No such command" in tickpath("replya", code=2).stderr
    assert "Missing argument" in tickpath("replay", code=2).stderr
    assert "No such option" in tickpath("replay", "x", "--jsonn", code=2).stderr
    assert "not in the range" in tickpath("replay", "x", "--limit", "-1", code=2).stderr
    assert "is not one of" in tickpath("replay", "x", "--feed", "fix", code=2).stderr


# ---------------------------------------------------------------- captures that cannot be read


def _loop(path: Path) -> Path:
    path.symlink_to(path)
    return path


UNREADABLE = {
    "missing": (lambda p: p, "does not exist"),
    "directory": (lambda p: p.mkdir() or p, "is a directory"),
    "empty": (lambda p: p.touch() or p, "is empty"),
    "text": (lambda p: p.write_text("hello, world\n" * 99) and p, "pcap"),
    "gzip of nothing": (lambda p: p.write_bytes(gzip.compress(b"")) and p, "empty"),
    "gzip of text": (lambda p: p.write_bytes(gzip.compress(b"text " * 99)) and p, "expanded"),
    "link to itself": (_loop, "cannot be opened"),
}


@pytest.mark.parametrize("command", ["replay", "decode"])
@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_capture_that_cannot_be_read(tmp_path, kind, command):
    make, text = UNREADABLE[kind]
    path = make(tmp_path / "capture")
    line = refused(command, path)
    assert str(path) in line and text in line


def test_one_bad_capture_among_good_ones_is_named(tmp_path):
    bad = tmp_path / "bad.pcap"
    bad.write_bytes(b"\0" * 64)
    assert str(bad) in refused("replay", session(), bad, "--orders", tmp_path / "orders")
    assert os.listdir(tmp_path) == ["bad.pcap"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_capture_without_permission(tmp_path):
    path = tmp_path / "capture.pcap"
    path.write_bytes(session().read_bytes())
    path.chmod(0)
    assert "Permission denied" in refused("replay", path)


def test_a_capture_whose_bytes_cannot_be_read():
    assert "/proc/self/mem" in refused("replay", "/proc/self/mem")


# ---------------------------------------------------------------- configurations

BAD_CONFIGS = {
    "unknown key": ("[risk]\nmax_quantitty = 5", "max_quantitty"),
    "unknown table": ("[riks]\nmax_quantity = 5", "riks"),
    "wrong type": ('[risk]\nmax_quantity = "many"', "risk.max_quantity"),
    "out of range": ("[risk]\nmax_quantity = 0", "risk.max_quantity"),
    "not a power of two": ("[latency]\nsample = 3", "latency.sample"),
    "not TOML": ("[risk\nmax_quantity", "not TOML"),
    "not a group": ('[feed]\ngroups = ["localhost"]', "ADDRESS:PORT"),
    "unknown word": ('[orders]\nprotocol = "fix99"', "orders.protocol"),
    "no names": ('[orders]\nprotocol = "fix44"', "orders.fix44.sender_comp_id"),
    "code of no table": ('[orders]\ncapacity = "X"', "capacity"),
    "symbol's limit": ("[risk.symbols.AAPL]\nmax_position = -1", "risk.symbols[...].max_position"),
    "not text": (b"\xff\xfe\x00", "not TOML"),
}


@pytest.mark.parametrize("kind", BAD_CONFIGS)
def test_a_configuration_that_cannot_be_used(tmp_path, kind):
    content, text = BAD_CONFIGS[kind]
    path = tmp_path / "c.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    line = refused("replay", session(), "--config", path)
    assert text in line
    if kind != "code of no table":  # found when the session's messages are prepared
        assert str(path) in line


def test_a_configuration_that_is_not_there(tmp_path):
    assert "cannot be read" in refused("replay", session(), "--config", tmp_path / "c.toml")
    assert "cannot be read" in refused("replay", session(), "--config", tmp_path)


def test_the_shown_configuration_is_one_that_can_be_given(tmp_path):
    shown = tickpath("replay", "no-such-file", "--show-config").stdout
    assert set(tomllib.loads(shown)) == set(Config.__struct_fields__)
    assert tomllib.loads(shown)["capacity"]["prefault"] is False
    path = tmp_path / "c.toml"
    text = "[risk]\nmax_quantity = 7\n[risk.symbols.AAPL]\nallowed = false\n"
    path.write_text(text + '[orders]\nprotocol = "ouch42"\nfirm = "ABCD"\n')
    again = tmp_path / "again.toml"
    again.write_text(tickpath("replay", "x", "--show-config", "--config", path).stdout)
    assert load_config(again) == load_config(path) != Config()
    assert show(load_config(again)) + "\n" == again.read_text()


# ---------------------------------------------------------------- backends, strategies, pace


def test_an_unknown_backend():
    line = refused("replay", session(), "--backend", "fpga9")
    assert "'fpga9'" in line and "software" in line


STRATEGIES = """
from numba import njit
import math


@njit
def wrong_type(engine, book, kind, flags):
    return "text" + book


@njit
def gives_something(engine, book, kind, flags):
    return 1


@njit
def too_few(engine, book):
    pass


@njit
def raises(engine, book, kind, flags):
    if kind == 2:
        raise ValueError("a trade, of all things")


number = 5
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nocolon", "MODULE:NAME"),
        ("no_such_module:f", "cannot be imported"),
        ("tickpath.samples:no_such", "has no function no_such"),
        ("missing.py:f", "cannot be imported"),
        ("{}:number", "is not a function"),
        ("{}:wrong_type", "does not compile"),
        ("{}:too_few", "does not compile"),
        ("{}:gives_something", "it must return nothing"),
    ],
)
def test_a_strategy_that_cannot_be_used(tmp_path, name, text):
    path = tmp_path / "mine.py"
    path.write_text(STRATEGIES)
    line = refused("replay", session(), "--strategy", name.format(path))
    assert text in line and name.partition(":")[2] in line


def test_a_strategy_whose_module_has_an_error(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("def f(:\n")
    assert "SyntaxError" in refused("replay", session(), "--strategy", f"{path}:f")


def test_a_strategy_that_raises_is_a_finding(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(STRATEGIES)
    result = replay(session(), "--strategy", f"{path}:raises", code=1)
    assert result["messages"] == PLAN.messages and result["counters"]["strategy_raised"] == 1
    assert "ValueError: a trade, of all things" in result["findings"][0]


@pytest.mark.parametrize("pace", ["fast", "0", "-1", "nan", "inf", "", "1e7"])
def test_a_pace_that_is_none(pace):
    assert "expected asap, wire, or a factor" in refused("replay", session(), "--pace", pace)


def test_a_daily_file_has_no_pace(tmp_path):
    path = tmp_path / "orders"
    line = refused("replay", session("day.itch"), "--pace", "wire", "--orders", path)
    assert "a daily file does not have" in line and not list(tmp_path.iterdir())


# ---------------------------------------------------------------- outputs that cannot be written

OUTPUTS = ("orders", "books", "bbo", "report", "hgrm", "hlog")


@pytest.mark.parametrize("output", OUTPUTS)
def test_an_output_that_cannot_be_written_is_refused_before_the_run(tmp_path, output):
    option = f"--{output}"
    missing = tmp_path / "no" / "out.x"
    assert "its directory does not exist" in refused("replay", session(), option, missing)
    assert "is a directory" in refused("replay", session(), option, tmp_path)
    own = tmp_path / "session.pcap"
    own.write_bytes(session().read_bytes())
    assert "is a capture that is read" in refused("replay", own, option, own)
    assert own.read_bytes() == session().read_bytes() and os.listdir(tmp_path) == [own.name]
    other = "--books" if output == "orders" else "--orders"
    out = tmp_path / "twice"
    assert "named for two outputs" in refused("replay", own, option, out, other, out)


@pytest.mark.parametrize("output", OUTPUTS)
def test_an_output_where_nobody_may_write(output):
    """In /sys not even root may: who looks at permissions beforehand does not see it."""
    line = refused("replay", session(), f"--{output}", "/sys/tickpath-test.x")
    assert "/sys/tickpath-test" in line
    assert "cannot be written" in line or "cannot write" in line


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    line = refused("replay", session(), "--bbo", tmp_path / "bbo.parquet")
    assert "pip install 'tickpath[parquet]'" in line


def test_a_report_without_plotly_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("tickpath.report.find_spec", lambda name: None)
    line = refused("replay", session(), "--report", tmp_path / "r.html")
    assert "pip install 'tickpath[report]'" in line


# ---------------------------------------------------------------- findings


def _cut(path: Path) -> Path:
    """The session without its last twentieth."""
    whole = session(f"session{''.join(path.suffixes)}").read_bytes()
    path.write_bytes(whole[: len(whole) * 95 // 100])
    return path


@pytest.mark.parametrize("kind", [".pcap", ".pcapng", ".itch", ".pcap.gz", ".itch.zst"])
def test_a_truncated_tail_is_processed_up_to_it_and_is_a_finding(tmp_path, kind):
    path = _cut(tmp_path / f"cut{kind}")
    result = replay(path, code=1)
    assert PLAN.messages // 2 < result["messages"] < PLAN.messages
    found = [f"tickpath: {each}" for each in result["findings"]]
    assert found and all(each.startswith(f"tickpath: {path}: truncated tail:") for each in found)
    assert said(tickpath("replay", path, code=1).stderr) == found
    decoded = tickpath("decode", path, "--json", code=1)
    assert decoded.stdout.count("\n") == result["messages"]
    assert decoded.stderr.splitlines()[1:] == found


def test_what_comes_before_corruption_is_processed(tmp_path):
    whole = bytearray(session().read_bytes())
    half = len(whole) // 2
    whole[half : half + 4000] = b"\xff" * 4000
    path = tmp_path / "corrupt.pcap"
    path.write_bytes(whole)
    result = replay(path, code=1)
    assert 0 < result["messages"] < PLAN.messages
    assert "corrupt at offset" in result["findings"][0]


def test_orders_that_wait_for_trading_actions_are_explained(tmp_path):
    """A capture that begins mid-day has no trading actions, so that the gate refuses all orders."""
    calm = SessionPlan(messages=8000, symbols=8, heartbeat_s=0)  # too few for halts
    late = write_pcap(tmp_path / "late.pcap", packets_of(session("calm.pcap", calm))[1000:])
    taker = ("--strategy", "tickpath.samples:imbalance_taker")
    always = tmp_path / "always.py"
    always.write_text(ALWAYS)
    result = replay(late, "--strategy", f"{always}:buys", code=1)
    assert result["orders"]["sent"] == 0
    assert 'risk.unknown_trading_state = "trade"' in result["findings"][0]
    config = tmp_path / "c.toml"
    config.write_text('[risk]\nunknown_trading_state = "trade"\n')
    assert replay(late, *taker, "--config", config)["orders"]["sent"] > 0


ALWAYS = """
from numba import njit
from tickpath import emit, event, view


@njit
def buys(engine, book, kind, flags):
    if kind == event.BOOK and view.ask_px(engine, book):
        emit.new_order(engine, book, view.BUY, 1, view.ask_px(engine, book))
"""


# ---------------------------------------------------------------- processes


def test_stdout_is_one_json_object_and_stderr_has_no_traceback():
    done = run("replay", session(), "--json", "--strategy", "tickpath.samples:two_sided_quoter")
    assert done.returncode == 0
    assert json.loads(done.stdout)["schema"] == "tickpath.replay/1"
    assert all(line.startswith("tickpath: ") for line in done.stderr.splitlines())


def test_a_terminal_sees_what_is_waited_for_and_how_far_it_is():
    ours, theirs = os.openpty()
    command = ["replay", str(session()), "--strategy", "tickpath.samples:imbalance_taker", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tickpath.cli", *command],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    shown = b""
    try:
        while portion := _read(ours):
            shown += portion
        assert process.stdout is not None
        assert json.loads(process.stdout.read())["messages"] == PLAN.messages
        assert process.wait(60) == 0
    finally:
        process.kill()
        os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    assert "compiling the strategy tickpath.samples:imbalance_taker" in text
    assert session().name in text and "messages" in text and "Traceback" not in text


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # nobody holds its other end any more
        return b""


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay", "missing.pcap"),
        ("replay", "{}", "--backend", "none"),
        ("replay", "{}", "--strategy", "a:b"),
        ("decode", "missing.pcap"),
        ("generate", "no/such/directory/x.pcap"),
        ("generate", "x.pcap", "--faults", "rain=1"),
    ],
)
def test_a_mistake_is_one_line_in_a_process_too(arguments, tmp_path):
    done = run(*(str(each).format(session()) for each in arguments), cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert len(said(done.stderr)) == 1 and done.stderr.startswith("tickpath: ")
    assert not list(tmp_path.iterdir())


def _started(*arguments: object, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "tickpath.cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def _wait_for(condition, process: subprocess.Popen, seconds: float = 150) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "never came"
        time.sleep(0.02)


@pytest.mark.parametrize("as_json", [True, False])
def test_an_interrupted_replay_prints_what_was_done(tmp_path, as_json):
    bbo = tmp_path / "bbo.csv"
    part = tmp_path / "bbo.csv.part"
    orders = tmp_path / "orders"
    open_market = write_pcap(tmp_path / "open.pcap", packets_of(session())[3000:])
    config = tmp_path / "c.toml"
    config.write_text('[risk]\nunknown_trading_state = "trade"\n')
    common = ("--config", config, "--strategy", "tickpath.samples:imbalance_taker")
    process = _started(
        *("replay", open_market, "--pace", "200", "--bbo", bbo, "--orders", orders, *common),
        *(["--json"] if as_json else []),
    )
    try:
        # Six hours two hundred times as fast: it is far from its end when the first rows come.
        _wait_for(lambda: part.exists() and part.stat().st_size > 0, process)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    if not as_json:
        assert "(interrupted)" in stdout
        return
    result = json.loads(stdout)
    assert result["interrupted"] is True
    assert 0 < result["messages"] < PLAN.messages
    # What was processed is written, whole: a row for every change up to the last message.
    assert bbo.exists() and not part.exists()
    last = bbo.read_text().splitlines()[-1]
    assert int(last.partition(",")[0]) <= result["messages"]
    limited = replay(open_market, "--limit", result["messages"], *common)
    assert limited["state_digest"] == result["state_digest"]
    assert "interrupted" not in limited


def test_a_replay_that_is_interrupted_before_it_began_says_so(tmp_path):
    waits = tmp_path / "waits.py"
    waits.write_text("import time\nprint('here', flush=True)\ntime.sleep(60)\n")
    process = _started("replay", session(), "--strategy", f"{waits}:f")
    try:
        assert process.stdout is not None and process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, stdout) == (130, "")
    assert said(stderr) == ["tickpath: interrupted"]


def test_an_interrupted_decode_says_how_far_it_came():
    process = _started("decode", session(), "--json")
    try:
        # Not `readline`: what it reads ahead would be lost to `communicate`.
        assert select.select([process.stdout], [], [], 150)[0]
        process.send_signal(signal.SIGINT)  # while it waits for its output to be read
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    counts, interrupted = stderr.splitlines()
    assert interrupted == "tickpath: interrupted"
    lines = stdout.splitlines()
    counted = int(counts.partition("messages ")[2].partition(",")[0])
    assert 0 < counted < PLAN.messages and abs(counted - len(lines)) <= 1
    assert json.loads(lines[0])["message"] and json.loads(lines[-1])["message"]


def test_an_interrupted_session_is_not_left_behind(tmp_path):
    path = tmp_path / "long.pcap"
    process = _started("generate", path, "--messages", 200_000_000, "--symbols", 20)
    try:
        _wait_for(lambda: path.exists() and path.stat().st_size > 0, process)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, stdout) == (130, "") and not path.exists()
    assert stderr == f"tickpath: interrupted; {path} was not complete and is removed\n"


def test_a_reader_who_stops_early_meets_no_traceback():
    process = _started("decode", session())
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    assert process.wait(60) in (0, 1)


# ---------------------------------------------------------------- decode and generate


def test_decode_prints_a_line_for_every_message():
    lines = tickpath("decode", session(), "--json").stdout.splitlines()
    assert len(lines) == PLAN.messages
    for number, line in enumerate(map(json.loads, lines[:500]), 1):
        assert list(line)[:2] == ["message", "seq"] or {"message", "seq"} <= set(line)
        assert line["seq"] == number and line["timestamp"] >= 0
    limited = tickpath("decode", session(), "--json", "--limit", 7)
    assert limited.stdout.splitlines() == lines[:7]
    assert limited.stderr.startswith("messages 7")
    assert tickpath("decode", session(), "--limit", 0).stdout == ""
    assert tickpath("decode", session()).stdout.count("\n") == PLAN.messages


def test_decode_of_nothing_it_knows_is_a_finding(tmp_path):
    path = tmp_path / "strange.itch"
    path.write_bytes(daily([SYSTEM_EVENT, b"?" * 30, SYSTEM_EVENT]))
    result = tickpath("decode", path, "--json")
    assert [json.loads(line)["message"] for line in result.stdout.splitlines()][1] == "unknown"
    assert "unknown 1" in result.stderr


def test_generate_says_what_it_made_and_makes_it_again(tmp_path):
    arguments = ("--messages", 5000, "--symbols", 20, "--seed", 3, "--live-orders", 400)
    one, two = tmp_path / "one.pcap", tmp_path / "two.pcap"
    made = json.loads(tickpath("generate", one, *arguments, "--json").stdout)
    assert set(made) == {
        *("schema", "path", "feed", "messages", "symbols", "seed", "messages_by_type"),
        *("orders_live", "packets", "faults", "seconds"),
    }
    assert made["schema"] == "tickpath.generate/1" and made["path"] == str(one)
    assert (made["messages"], made["symbols"], made["seed"]) == (5000, 20, 3)
    assert sum(made["messages_by_type"].values()) == 5000
    text = tickpath("generate", two, *arguments).stdout
    assert "5,000 messages, 20 symbols, seed 3" in text
    assert one.read_bytes() == two.read_bytes()
    result = replay(one)
    for name in ("messages", "messages_by_type", "orders_live", "packets", "symbols"):
        assert result[name] == made[name], name


@pytest.mark.parametrize("kind", [".pcap", ".pcapng", ".itch", ".pcap.gz", ".pcapng.zst"])
def test_generate_writes_what_the_name_says(tmp_path, kind):
    path = tmp_path / f"session{kind}"
    small = ("--messages", 3000, "--symbols", 9)
    made = json.loads(tickpath("generate", path, *small, "--json").stdout)
    result = replay(path)
    assert result["messages_by_type"] == made["messages_by_type"]


def test_generated_faults_are_seen_and_counted(tmp_path):
    path = tmp_path / "faulty.pcap"
    faults = "loss=0.01,duplicate=0.02,reorder=0.005,truncate=0.005,garbage=0.005"
    common = ("--messages", 20_000, "--symbols", 30, "--seed", 5)
    made = json.loads(tickpath("generate", path, *common, "--faults", faults, "--json").stdout)
    assert all(made["faults"].values()), made["faults"]
    assert (
        "faults: " in tickpath("generate", tmp_path / "b.pcap", *common, "--faults", faults).stdout
    )
    result = replay(path)
    counters = result["counters"]
    assert counters["gaps"] == len(result["gaps"]) > 0
    assert counters["gap_messages"] == sum(
        each["last"] - each["first"] + 1 for each in result["gaps"]
    )
    assert counters["duplicate_messages"] > 0 and counters["books_stale"] > 0
    assert counters["packets_cut"] >= made["faults"]["truncate"] > 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--messages", 0), "messages: 0"),
        (("--messages", 10**11), "messages"),
        (("--symbols", 0), "symbols: 0"),
        (("--symbols", 99_999), "symbols: 99999"),
        (("--seed", -1), "seed: -1"),
        (("--messages", 100, "--live-orders", 99), "live_orders: 99"),
        (("--faults", "loss"), "'loss' is not NAME=PROBABILITY"),
        (("--faults", "loss=2"), "loss=2.0 is not a probability"),
        (("--faults", "loss=x"), "'x' is not a number"),
        (("--faults", "rain=0.1"), "no fault is called 'rain'"),
        (("--faults", "loss=0.6,garbage=0.6"), "add up to 1.2"),
        (("--faults", "loss=0.1,loss=0.1"), "loss is given twice"),
    ],
)
def test_a_session_that_cannot_be(tmp_path, arguments, text):
    assert text in refused("generate", tmp_path / "x.pcap", *arguments)
    assert not list(tmp_path.iterdir())


def test_a_session_that_has_nowhere_to_go(tmp_path):
    assert "directory does not exist" in refused("generate", tmp_path / "a" / "x.pcap")
    assert "is a directory" in refused("generate", tmp_path)
    assert "a daily file has none" in refused("generate", tmp_path / "x", "--faults", "loss=0.1")
