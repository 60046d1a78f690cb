"""`tickpath journal`: what a user sees, and the exit codes."""

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner

from journal_records import SMALL, journal, killed, made
from sessions import session
from tickpath import Engine
from tickpath.capture import open_capture
from tickpath.command_journal import journal as command
from tickpath.replica.journal import JournalWriter
from tickpath.replica.journal_header import DATA_OFFSET, segments
from tickpath.replica.journal_recover import identity_of
from tickpath.replica.journal_ring import RingJournal
from tickpath.replica.journal_snapshot import store_snapshot
from tickpath.replica.ring import Ring

TAKER = "tickpath.samples:imbalance_taker"


def say(*arguments: object, code: int = 0) -> tuple[str, str]:
    """(stdout, stderr) of the command, which ends with ``code`` and raises nothing."""
    result = CliRunner().invoke(command, [str(each) for each in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, (result.exit_code, result.stderr)
    return result.stdout, result.stderr


@pytest.fixture(scope="module")
def traded(tmp_path_factory):
    """A journal of a session with two snapshots, and the engine that wrote it."""
    place = tmp_path_factory.mktemp("traded")
    engine = Engine(strategy=TAKER)
    with Ring.create(place / "ring", 1 << 23) as ring:
        engine.publish_to(ring.address)
        writer = JournalWriter(place / "journal", identity_of(engine), SMALL)
        taking = RingJournal(ring, writer)
        with open_capture(session()) as capture:
            packets = np.concatenate([batch.copy() for batch in capture.batches()])
            third = len(packets) // 3
            for part in range(3):
                engine.process(packets[part * third : (part + 1) * third])
                while taking.step():
                    pass
                if part < 2:
                    number = engine.block.get("record_number")
                    engine.take_orders()
                    store_snapshot(writer.directory, number, engine.snapshot())
        writer.close()
        engine.publish_to(0)
    return place / "journal", engine


def test_a_replay_says_state_orders_and_nothing_wrong(traded):
    place, engine = traded
    out, err = say("replay", place, "--strategy", TAKER, "--json")
    result = json.loads(out)
    assert err == ""
    assert result["state_digest"] == f"{engine.state_digest:016x}"
    assert result["book_digest"] == f"{engine.book_digest:016x}"
    assert result["last_number"] == engine.block.get("record_number")
    assert result["snapshot"] + result["records"] == result["last_number"]
    assert result["orders"] == len(engine.take_orders()) > 10
    assert result["order_position"] == engine.block.get("order_position")
    assert result["diverged_at"] is None and result["divergence"] == "none"
    # Behind the first snapshot.
    out, _ = say("replay", place, "--strategy", TAKER, "--to", result["snapshot"] - 1, "--json")
    earlier = json.loads(out)
    assert earlier["snapshot"] < earlier["last_number"] == result["snapshot"] - 1
    text, _ = say("replay", place, "--strategy", TAKER)
    assert f"state_digest         {engine.state_digest:016x}\n" in text


def test_a_replay_by_another_strategy_says_where_it_diverged(traded, tmp_path):
    place = shutil.copytree(traded[0], tmp_path / "journal")
    for path in place.glob("*.tps"):
        path.unlink()
    out, err = say("replay", place, "--json", code=1)
    result = json.loads(out)
    assert result["divergence"] == "inputs" and result["diverged_at"] == result["last_number"] + 1
    assert result["identity_difference"].startswith(f"strategy is not said here and {TAKER} ")
    assert f"diverged at record {result['diverged_at']}: inputs" in err
    _, err = say("replay", place, "--to", 10**9, "--strategy", TAKER, code=2)
    assert "the journal ends with record" in err


def test_a_damaged_journal_is_replayed_up_to_the_damage_and_verified(traded, tmp_path):
    place = shutil.copytree(traded[0], tmp_path / "journal")
    say("verify", place)
    last = segments(place)[-1]
    raw = bytearray(last.read_bytes())
    raw[DATA_OFFSET + 40] ^= 16
    last.write_bytes(raw)
    snapshot = sorted(place.glob("*.tps"))[-1]
    snapshot.write_bytes(snapshot.read_bytes()[:-1])
    _, err = say("replay", place, "--strategy", TAKER, code=1)
    assert f"{last.name}, at offset {DATA_OFFSET}: record" in err and err.count("\n") == 1
    out, err = say("verify", place, "--json", code=1)
    verdict = json.loads(out)
    assert not verdict["sound"] and len(verdict["snapshots"]) == 1
    assert [(each["flaw"], each["file"]) for each in verdict["findings"]] == [
        ("snapshot", snapshot.name),
        ("change", last.name),
    ]
    assert [line.split(": ")[2] for line in err.splitlines()] == ["snapshot", "change"]


def test_verify_prints_what_there_is(tmp_path):
    journal(tmp_path / "a", made(1, 1200))
    out, err = say("verify", tmp_path / "a")
    assert err == "" and out.splitlines()[:2] == [
        "journal    sound, closed",
        "records    1,200 (1 to 1200)",
    ]
    killed(tmp_path / "b", made(1, 20))
    assert "sound, not closed" in say("verify", tmp_path / "b")[0]
    _, err = say("verify", tmp_path / "none", code=2)
    assert err.count("\n") == 1 and "no journal can be read: No such file" in err


def test_shipping_to_a_directory(tmp_path):
    records = made(1, 900)
    killed(tmp_path / "a", records[:400])
    out, _ = say("ship", tmp_path / "a", tmp_path / "b")
    assert out.startswith("as far as record 400: ")
    journal(tmp_path / "a", records[400:])
    out, _ = say("ship", tmp_path / "a", tmp_path / "b", "--json")
    assert json.loads(out)["last_number"] == 900
    say("verify", tmp_path / "b")
    say("ship", tmp_path / "a", code=2)
    say("ship", tmp_path / "a", tmp_path / "b", "--to", "127.0.0.1:1", code=2)
    say("ship", tmp_path / "a", "--to", "nowhere", code=2)
    journal(tmp_path / "c", made(1, 9, seed=3))
    _, err = say("ship", tmp_path / "c", tmp_path / "b", code=2)
    assert err.count("\n") == 1 and "another journal" in err


_COMMAND = [sys.executable, "-c", "from tickpath.command_journal import journal; journal()"]


def test_a_process_writes_what_is_published_until_it_is_told_to_stop(traded, tmp_path):
    _, engine = traded
    place = tmp_path / "journal"
    with Ring.create(tmp_path / "ring", 1 << 20) as ring:
        child = subprocess.Popen(
            [*_COMMAND, "write", ring.path, place, "--strategy", TAKER, "--fsync", "batch"],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert child.stderr is not None
        assert "goes on behind record 0" in child.stderr.readline()
        before = engine.block.get("record_number")
        engine.publish_to(ring.address)
        for _ in range(20):
            engine.command("clock", who="test", why="time")
        engine.publish_to(0)
        (at,) = np.flatnonzero(ring.followers["name"] == b"journal")
        mine = ring.followers[at]
        deadline = time.monotonic() + 60
        while int(mine["acknowledged"]) < before + 20 and time.monotonic() < deadline:
            time.sleep(0.001)
        del mine  # the ring's memory can go then
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0
        assert f"ended behind record {before + 20}" in child.stderr.read()
        child.stderr.close()
    store_snapshot(place, before + 20, engine.snapshot())
    verdict = json.loads(say("verify", place, "--json")[0])
    assert (verdict["first_number"], verdict["last_number"]) == (before + 1, before + 20)
    assert verdict["sealed"] and verdict["identity"] == identity_of(engine)._asdict()
    _, err = say("write", tmp_path / "none", place, code=2)
    assert "is the other engine running?" in err


def test_retaining_removes_what_snapshots_stand_for(traded, tmp_path):
    place = shutil.copytree(traded[0], tmp_path / "journal")
    before = {each.name for each in place.iterdir()}
    out, _ = say("retain", place, "--snapshots", 1)
    removed = set(out.split())
    assert {each.name for each in place.iterdir()} == before - removed and len(removed) > 2
    say("verify", place)
    say("replay", place, "--strategy", TAKER)


def test_shipping_to_another_process(tmp_path):
    journal(tmp_path / "a", made(1, 900))
    where = ["receive", str(tmp_path / "b"), "--listen", "127.0.0.1:0", "--once"]
    with subprocess.Popen(
        [*_COMMAND, *where],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None and child.stderr is not None
        address = child.stdout.readline().strip()
        out, _ = say("ship", tmp_path / "a", "--to", address, "--json")
        assert child.wait(30) == 0
        assert "as far as record 900" in child.stderr.read()
    assert json.loads(out)["last_number"] == 900
    say("verify", tmp_path / "b")


def test_help_needs_nothing_heavy():
    code = (
        "import sys\nfrom click.testing import CliRunner\n"
        "from tickpath.command_journal import journal\n"
        "assert CliRunner().invoke(journal, ['replay', '--help']).exit_code == 0\n"
        "assert not {'numba', 'numpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("table", ["", "[trade]\n", "[trade]\n[node]\nname = 'a'\n"])
def test_a_trader_s_or_a_node_s_configuration_is_taken_as_its_engine_has_it(tmp_path, table):
    from tickpath.command_journal import _config
    from tickpath.config import load_config
    from tickpath.failover.node_config import load as load_node
    from tickpath.trade.config import load as load_trade

    path = tmp_path / "it.toml"
    path.write_text(table)
    load = load_node if "node" in table else load_trade if table else load_config
    assert _config(str(path)) == load(path)
