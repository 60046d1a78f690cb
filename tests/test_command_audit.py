"""`tickpath audit` as a user meets it: exit codes, what is printed where, no traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from sessions import refused, tickpath
from test_audit_file import HINTS, KEY, NOW, audit, key_file, offsets, rows, writer
from tickpath.audit import AuditWriter
from tickpath.cli import main


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    return audit(tmp_path / "run.audit", 4, 3)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return key_file(tmp_path / "key", KEY)


def changed(path: Path, at: int) -> Path:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)
    return path


def last_head(path: Path) -> str:
    return path.read_bytes()[-32:].hex()


# ---------------------------------------------------------------- verify


def test_verify_a_sound_file(closed):
    result = tickpath("audit", "verify", closed)
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        f"{closed}: sound and closed",
        "  scheme   plain (SHA-256)",
        "  created  2023-11-14T22:13:20.000000000Z",
        "  build    0.1.0",
        f"  blocks   3 ({closed.stat().st_size:,} bytes)",
        "  records  7, 0 lost before they were written",
        f"  head     {last_head(closed)}",
    ]


def test_verify_json(closed):
    result = tickpath("audit", "verify", closed, "--json")
    found = json.loads(result.stdout)
    assert result.stdout.count("\n") == 1 and result.stderr == ""
    assert found.pop("record")["size"] == 21 and found.pop("identity")["build"] == "0.1.0"
    assert found == {
        "schema": "tickpath.audit.verify/1",
        "path": str(closed),
        "sound": True,
        "findings": [],
        "scheme": "SHA256",
        "ts_created": NOW,
        "blocks": 3,
        "records": 7,
        "lost": 0,
        "sound_bytes": closed.stat().st_size,
        "closed": True,
        "head": last_head(closed),
        "head_expected": None,
        "head_block": None,
        "continuations": 0,
        "continued": [],
    }


def test_verify_a_damaged_file(closed):
    begin = offsets(closed.read_bytes())[1]
    changed(closed, begin + 100)
    text = f"block 1, at offset {begin}: its records were changed"
    result = tickpath("audit", "verify", closed, code=1)
    assert result.stderr == f"tickpath: {closed}: change: {text}\n"
    assert result.stdout.startswith(f"{closed}: not sound\n") and "records  4," in result.stdout
    found = json.loads(tickpath("audit", "verify", closed, "--json", code=1).stdout)
    assert found["findings"] == [
        {"flaw": "change", "block": 1, "offset": begin, "text": "its records were changed"}
    ]
    assert not found["sound"] and found["blocks"] == 1


def test_verify_a_header_that_was_changed(closed):
    result = tickpath("audit", "verify", changed(closed, 20), code=1)
    assert result.stdout == ""
    assert result.stderr == f"tickpath: {closed}: change: at offset 0: the header was changed\n"
    found = json.loads(tickpath("audit", "verify", closed, "--json", code=1).stdout)
    assert found["scheme"] is None and not found["sound"] and found["head"] is None


def test_verify_a_file_that_is_not_closed_and_was_gone_on_with(tmp_path):
    path = audit(tmp_path / "a", 2, 2, closed=False)
    os.truncate(path, path.stat().st_size - 9)
    with pytest.raises(KeyError), writer(path) as made:
        made.append(rows(1, 5), lost=3)
        raise KeyError
    result = tickpath("audit", "verify", path, code=1)
    assert result.stdout.startswith(f"{path}: sound as far as it goes, not closed\n")
    kept = "block 1: a writer went on with the file that ended inside a block; its 161 bytes"
    assert kept in result.stdout and "records  3, 3 lost" in result.stdout
    assert result.stderr.startswith(f"tickpath: {path}: not_closed: at offset ")
    found = json.loads(tickpath("audit", "verify", path, "--json", code=1).stdout)
    assert found["continued"] == [{"block": 1, "after": "torn", "cut_bytes": 161, "end_head": None}]


def test_verify_with_a_head(closed):
    head = tickpath("audit", "head", closed).stdout.strip()
    assert head == last_head(closed)
    result = tickpath("audit", "verify", closed, "--head", head.upper())
    assert result.stdout.endswith("  head given  is its\n")
    with writer(closed) as made:
        made.append(rows(1, 7))
    result = tickpath("audit", "verify", closed, "--head", head)
    assert "  head given  was the file's 2 blocks ago\n" in result.stdout
    assert "block 2: a writer went on with the file that had been closed" in result.stdout
    other = audit(closed.with_name("other"), 4, 3)
    result = tickpath("audit", "verify", other, "--head", head, code=1)
    assert "head: at offset" in result.stderr and "never had the head" in result.stderr
    found = json.loads(tickpath("audit", "verify", closed, "--head", head, "--json").stdout)
    assert found["head_expected"] == head and found["head_block"] == 2


@pytest.mark.parametrize("head", ["", "00", "g" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n"])
def test_a_head_that_is_none(closed, head):
    result = tickpath("audit", "verify", closed, "--head", head, code=2)
    assert "64 hexadecimal digits" in result.stderr and result.stdout == ""


def test_verify_with_keys(tmp_path, key):
    keyed, plain = audit(tmp_path / "k", 2, key=KEY), audit(tmp_path / "p", 2)
    assert "keyed (HMAC-SHA-256)" in tickpath("audit", "verify", keyed, "--key-file", key).stdout
    assert "under a key" in refused("audit", "verify", keyed)
    wrong = key_file(tmp_path / "wrong")
    result = tickpath("audit", "verify", keyed, "--key-file", wrong, code=1)
    assert "key: at offset 0: not written with this key" in result.stderr
    result = tickpath("audit", "verify", plain, "--key-file", key, code=1)
    assert "key: at offset 0: a plain chain" in result.stderr
    key.chmod(0o644)
    assert f"chmod 600 {key}" in refused("audit", "verify", keyed, "--key-file", key)
    assert "cannot be read" in refused("audit", "verify", keyed, "--key-file", tmp_path / "none")


@pytest.mark.parametrize("command", ["verify", "show", "head"])
def test_what_is_no_audit_file(tmp_path, command):
    (tmp_path / "text").write_text("some text that is long enough for a header to be read from it")
    (tmp_path / "empty").touch()
    assert "no audit file" in refused("audit", command, tmp_path / "text")
    assert "is empty" in refused("audit", command, tmp_path / "empty")
    assert "does not exist" in refused("audit", command, tmp_path / "none")
    assert str(tmp_path) in refused("audit", command, tmp_path)
    assert "Missing argument" in tickpath("audit", command, code=2).stderr


def test_an_interrupted_verification_says_how_far_it_was(closed, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tickpath.audit_verify._note", interrupt)
    result = tickpath("audit", "verify", closed, code=130)
    assert result.stdout.startswith(f"{closed}: sound as far as it was read\n")
    assert result.stderr == "tickpath: interrupted\n"
    found = json.loads(tickpath("audit", "verify", closed, "--json", code=130).stdout)
    assert found["interrupted"] is True and found["sound"] is False and found["blocks"] == 1


# ---------------------------------------------------------------- show


def test_show(closed):
    result = tickpath("audit", "show", closed)
    lines = result.stdout.splitlines()
    assert result.stderr == "" and len(lines) == 7
    assert lines[3] == (
        "         3 ts_event=00:00:00.000000003 symbol=AAPL price=100.0003 reject=QUANTITY"
    )
    shown = [
        json.loads(each) for each in tickpath("audit", "show", closed, "--json").stdout.splitlines()
    ]
    assert shown[4] == {
        "record_number": 4,
        "ts_event": 4,
        "symbol": "MSFT",
        "price": "100.0004",
        "reject": "ACCEPTED",
    }
    assert [each["record_number"] for each in shown] == list(range(7))


def numbers(*options: object, code: int = 0) -> list[int]:
    shown = tickpath("audit", "show", *options, "--json", code=code).stdout
    return [json.loads(each)["record_number"] for each in shown.splitlines()]


def test_show_some(closed):
    assert numbers(closed, "--symbol", "MSFT") == [1, 4]
    assert numbers(closed, "--code", "quantity") == [3]
    assert numbers(closed, "--code", "ACCEPTED", "--symbol", "AAPL") == [0, 6]
    assert numbers(closed, "--code", "ACCEPTED", "--limit", 4) == [0, 1, 2, 4]
    assert numbers(closed, "--limit", 5) == [0, 1, 2, 3, 4]
    assert numbers(closed, "--limit", 0) == []
    assert numbers(closed, "--limit", 100) == list(range(7))
    assert numbers(closed, "--symbol", "NONE") == []
    assert "its codes: ACCEPTED, QUANTITY" in refused("audit", "show", closed, "--code", "NO")
    assert "not in the range" in tickpath("audit", "show", closed, "--limit", -1, code=2).stderr


def test_show_many(tmp_path):
    """More than are printed at once."""
    path = audit(tmp_path / "a", 10_000, 5)
    assert numbers(path) == list(range(10_005))
    assert numbers(path, "--limit", 10_001) == list(range(10_001))


def test_show_says_what_is_missing_and_stops_at_what_is_not_sound(tmp_path):
    path = audit(tmp_path / "a", 2, closed=False)
    with writer(path) as made:
        made.append(rows(2, 9), lost=7)
        made.append(rows(1, 11))
    result = tickpath("audit", "show", path)
    assert result.stderr.splitlines() == [
        "tickpath: block 1: a writer went on with the file that had not been closed",
        "tickpath: block 2: 7 records were lost here",
    ]
    assert numbers(path) == [0, 1, 9, 10, 11]
    changed(path, offsets(path.read_bytes())[3] + 100)
    assert numbers(path, code=1) == [0, 1, 9, 10]
    assert "block 3" in tickpath("audit", "show", path, code=1).stderr
    open_file = audit(tmp_path / "open", 2, closed=False)
    assert numbers(open_file, code=1) == [0, 1]
    assert "no end" in tickpath("audit", "show", open_file, code=1).stderr
    assert numbers(open_file, "--limit", 2) == [0, 1]


def test_show_and_head_of_a_keyed_file(tmp_path, key):
    path = audit(tmp_path / "a", 2, key=KEY)
    with_key = tickpath("audit", "show", path, "--key-file", key)
    without = tickpath("audit", "show", path)
    assert with_key.stdout == without.stdout and with_key.stderr == ""
    assert "is under a key and none was given: what follows is not proved" in without.stderr
    assert tickpath("audit", "head", path, "--key-file", key).stderr == ""
    assert tickpath("audit", "head", path).stdout == f"{last_head(path)}\n"
    found = json.loads(tickpath("audit", "head", path, "--json").stdout)
    assert found["proved"] is False
    wrong = key_file(tmp_path / "wrong")
    for command in ("show", "head"):
        result = tickpath("audit", command, path, "--key-file", wrong, code=1)
        assert result.stdout == "" and "not written with this key" in result.stderr


def test_show_of_any_changed_byte_is_lines_or_one_line_on_stderr(tmp_path):
    """Without the key nothing is proved, so whatever stands there is read."""
    path = audit(tmp_path / "a", 2, 1, key=KEY)
    raw = path.read_bytes()
    codes = set()
    for at in range(len(raw)):
        for mask in (1, 0x80):
            path.write_bytes(raw[:at] + bytes([raw[at] ^ mask]) + raw[at + 1 :])
            result = CliRunner().invoke(main, ["audit", "show", str(path)])
            assert isinstance(result.exception, SystemExit | None), (at, result.exception)
            assert all(each.startswith("tickpath: ") for each in result.stderr.splitlines())
            codes.add(result.exit_code)
    assert codes == {0, 1, 2}


# ---------------------------------------------------------------- head


def test_head_of_a_file_that_is_being_written(tmp_path):
    path = tmp_path / "a"
    with writer(path) as made:
        for number in range(3):
            assert tickpath("audit", "head", path).stdout == f"{made.head}\n"
            made.append(rows(1, number))
        found = json.loads(tickpath("audit", "head", path, "--json").stdout)
    assert found == {
        "schema": "tickpath.audit.head/1",
        "path": str(path),
        "head": found["head"],
        "blocks": 3,
        "records": 3,
        "closed": False,
        "proved": True,
    }
    tickpath("audit", "verify", path, "--head", found["head"])


def test_head_of_a_torn_and_of_a_damaged_file(closed):
    raw = closed.read_bytes()
    begin = offsets(raw)[1]
    closed.write_bytes(raw[: begin + 50])
    result = tickpath("audit", "head", closed, code=1)
    assert result.stdout == f"{raw[begin - 32 : begin].hex()}\n"
    assert "ends inside this block; the head is that of the block before" in result.stderr
    closed.write_bytes(raw)
    result = tickpath("audit", "head", changed(closed, begin + 50), code=1)
    assert result.stdout == "" and "block 1" in result.stderr


# ---------------------------------------------------------------- processes


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "tickpath.cli", "audit", *map(str, arguments)]


def test_help_loads_nothing_heavy():
    code = "import sys\nfrom tickpath.cli import main\n"
    code += "main(['audit', 'verify', '--help'], standalone_mode=False)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    loaded = set(done.stdout.split())
    assert "click" in loaded, done.stderr
    assert not loaded & {"numba", "numpy", "rich", "msgspec"}


def test_who_reads_the_lines_may_stop(tmp_path):
    path = audit(tmp_path / "a", 40_000)
    process = subprocess.Popen(
        command("show", path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline().startswith("         0 ts_event=")
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("what", ["verify", "show", "head"])
def test_output_to_a_full_disk(closed, what):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command(what, closed), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert done.returncode == 2
    assert done.stderr == "tickpath: the output cannot be written: No space left on device\n"


def test_a_mistake_is_one_line_in_a_process_too(tmp_path):
    done = subprocess.run(
        command("verify", tmp_path / "none"), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"tickpath: {tmp_path / 'none'}: does not exist\n"


def test_an_identity_cannot_disturb_a_terminal(tmp_path):
    identity = {"x\x1b[2J": "\x1b]0;title\x07", "records": 5, "tables": {"reject": {}}}
    AuditWriter(tmp_path / "a", rows(0).dtype, identity, fsync="none", hints=HINTS).close()
    shown = tickpath("audit", "verify", tmp_path / "a").stdout
    assert all(each.isprintable() for each in shown.splitlines())
    assert '"x\\u001b[2J"' in shown and shown.count("  records ") == 2
