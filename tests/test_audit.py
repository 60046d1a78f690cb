"""The writer: what it takes, what it refuses; kills, full disks and failing disks."""

import contextlib
import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from test_audit_file import (
    DTYPE,
    HINTS,
    IDENTITY,
    KEY,
    NOW,
    audit,
    forged,
    offsets,
    read,
    rows,
    writer,
)
from tickpath.audit import AuditError, AuditWriter, Flaw, Hint, verify
from tickpath.audit_file import BLOCK_BYTES, BLOCK_OVERHEAD, BlockKind
from tickpath.audit_walk import Walk, open_file

BOTH = pytest.mark.parametrize("key", [None, KEY], ids=["plain", "keyed"])
TESTS = Path(__file__).parent


def records_in(path: Path, key: bytes | None = None) -> list[int]:
    """`ts_event` of every record of a file; for each its number is compared with the block's."""
    found: list[int] = []
    with open_file(path) as file:
        for block in Walk(file, str(path), key):
            if block.header.kind == BlockKind.RECORDS:
                stamps = np.frombuffer(block.payload, DTYPE)["ts_event"].tolist()
                first = block.header.first_record
                assert stamps == list(range(first, first + len(stamps)))
                found += stamps
    return found


def flaws(path: Path, key: bytes | None = None) -> list[Flaw]:
    return [each.flaw for each in verify(path, key).findings]


# ---------------------------------------------------------------- appending


@BOTH
@given(appends=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=8))
def test_what_is_appended_is_what_is_there(tmp_path_factory, key, appends):
    path = tmp_path_factory.getbasetemp() / "appended"
    path.unlink(missing_ok=True)
    expected: list[int] = []
    with writer(path, key) as made:
        for count, lost in appends:
            first = made.next_record + lost
            made.append(rows(count, first), lost)
            expected += range(first, first + count)
        assert (made.records, made.lost) == (len(expected), sum(lost for _, lost in appends))
    assert records_in(path, key) == expected
    assert flaws(path, key) == []
    headers = [header for header, _ in read(path.read_bytes(), key).blocks]
    asked = [each for each in appends if each != (0, 0)]
    assert [(h.record_count, h.lost) for h in headers] == [*asked, (0, 0)]


def test_large_appends_are_several_blocks(tmp_path):
    most = BLOCK_BYTES // DTYPE.itemsize
    with writer(tmp_path / "a") as made:
        made.append(rows(2 * most + 1, 4), lost=4)
    headers = [header for header, _ in read((tmp_path / "a").read_bytes()).blocks]
    assert [(h.first_record, h.record_count, h.lost) for h in headers[:-1]] == [
        (4, most, 4),
        (4 + most, most, 0),
        (4 + 2 * most, 1, 0),
    ]
    assert flaws(tmp_path / "a") == []


def test_arrays_that_are_not_contiguous_or_read_only(tmp_path):
    every = rows(10)
    frozen = rows(2, 4)
    frozen.setflags(write=False)
    spread = np.zeros(10, [("pad", "<u8"), ("record", DTYPE)])
    spread["record"][:2] = rows(2, 2)
    even = rows(4)[::2]
    even["ts_event"] = (0, 1)
    with writer(tmp_path / "a") as made:
        made.append(even)
        made.append(spread["record"][:2])
        made.append(frozen)
        made.append(every[9:5:-1][::-1])
    assert records_in(tmp_path / "a") == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_what_was_appended_may_be_overwritten(tmp_path):
    ring = rows(3)
    with writer(tmp_path / "a") as made:
        made.append(ring)
        ring[:] = rows(3, 3)
        made.append(ring)
        ring["ts_event"] = 0
    assert records_in(tmp_path / "a") == list(range(6))


def test_the_clock_is_the_callers(tmp_path):
    times = iter(range(NOW, NOW + 10))
    with writer(tmp_path / "a", clock=lambda: next(times)) as made:
        made.append(rows(1))
    found = read((tmp_path / "a").read_bytes())
    assert found.preamble["ts_created"] == NOW
    assert [header.ts_written for header, _ in found.blocks] == [NOW + 1, NOW + 2]


def test_appends_that_are_refused(tmp_path):
    with writer(tmp_path / "a") as made:
        for records in (np.zeros(3, "<u8"), rows(4).reshape(2, 2), rows(3)["ts_event"], rows(1)[0]):
            with pytest.raises(AuditError, match="of the file's dtype"):
                made.append(records)
        for lost in (-1, 1 << 64):
            with pytest.raises(AuditError, match="lost is a count"):
                made.append(rows(1), lost)
    assert flaws(tmp_path / "a") == [] and records_in(tmp_path / "a") == []


def test_a_closed_writer(tmp_path):
    made = writer(tmp_path / "a")
    made.close()
    size = (tmp_path / "a").stat().st_size
    made.close()
    for act in (lambda: made.append(rows(1)), made.sync):
        with pytest.raises(AuditError, match="is closed"):
            act()
    assert (tmp_path / "a").stat().st_size == size


def test_behind_an_exception_there_is_no_end(tmp_path):
    with pytest.raises(KeyError), writer(tmp_path / "a") as made:
        made.append(rows(2))
        raise KeyError
    assert flaws(tmp_path / "a") == [Flaw.NOT_CLOSED] and records_in(tmp_path / "a") == [0, 1]


def test_only_its_owner_may_read_the_file(tmp_path):
    before = os.umask(0)
    try:
        audit(tmp_path / "a")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


# ---------------------------------------------------------------- what is no record


@pytest.mark.parametrize(
    ("dtype", "text"),
    [
        ("<u8", "structured"),
        ([("a", ">u4")], "a is >u4"),
        ([("a", "<f8")], "a is <f8"),
        ([("a", "O")], "a is "),
        ([("a", "<u4", (2,))], "a is "),
        ([("a", [("b", "<u4")])], "a is "),
        ([("a b", "<u4")], "'a b'"),
        ([("record_number", "<u4")], "'record_number'"),
        ({"names": ["a"], "formats": ["<u4"], "itemsize": 8}, "bytes behind its last field"),
        ({"names": ["a"], "formats": ["<u4"], "offsets": [4]}, "a is not packed"),
        (np.dtype([("a", "u1"), ("b", "<u4")], align=True), "b is not packed"),
        ([(f"a{n}", "S999") for n in range(1050)], "at most 1048576 bytes"),
    ],
)
def test_dtypes_that_are_refused(tmp_path, dtype, text):
    with pytest.raises(AuditError, match=text):
        AuditWriter(tmp_path / "a", np.dtype(dtype), {})
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("hints", "text"),
    [
        ({"nothing": Hint()}, "nothing"),
        ({"price": Hint("price")}, "no form 'price'"),
        ({"price": Hint("decimal:19")}, "no form"),
        ({"price": Hint("symbol")}, "a symbol is"),
        ({"price": Hint("code:nothing")}, "has no 'nothing'"),
        ({"price": Hint("code:words")}, "'words'.*no small integer"),
    ],
)
def test_hints_that_are_refused(tmp_path, hints, text):
    identity = {"tables": {"words": {"one": "ONE"}}}
    with pytest.raises(AuditError, match=text):
        AuditWriter(tmp_path / "a", DTYPE, identity, hints=hints)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("identity", "text"),
    [
        ({"a": object()}, "not JSON"),
        ({"a": float("nan")}, "not JSON"),
        ({"tables": [1]}, "tables"),
        ({"tables": {"a": {1: 2}}}, "tables"),
        ({"a": "x" * (1 << 20)}, "more than 1048576 bytes"),
    ],
)
def test_identities_that_are_refused(tmp_path, identity, text):
    with pytest.raises(AuditError, match=text):
        AuditWriter(tmp_path / "a", DTYPE, identity)
    assert not (tmp_path / "a").exists()


def test_an_unknown_fsync(tmp_path):
    with pytest.raises(AuditError, match="always, interval, none"):
        writer(tmp_path / "a", fsync="sometimes")


# ---------------------------------------------------------------- files that are not gone on with


def test_nothing_else_is_overwritten(tmp_path):
    (tmp_path / "text").write_text("the only copy of something\n" * 9)
    (tmp_path / "short").write_bytes(b"TPAU")
    (tmp_path / "torn").write_bytes(audit(tmp_path / "a", 1).read_bytes()[:100])
    changed = bytearray(audit(tmp_path / "b", 1, 1, closed=False).read_bytes())
    changed[-100] ^= 1
    (tmp_path / "changed").write_bytes(changed)
    (tmp_path / "trailing").write_bytes((tmp_path / "a").read_bytes() + b"more")
    for name, text in {
        "text": "is no audit file",
        "short": "is no audit file",
        "torn": "ends inside its header; go on in a new file",
        "changed": "block 1.*changed; it is damaged: go on in a new file",
        "trailing": "bytes behind the file's end; it is damaged",
    }.items():
        before = (tmp_path / name).read_bytes()
        with pytest.raises(AuditError, match=text):
            writer(tmp_path / name)
        assert (tmp_path / name).read_bytes() == before


def test_paths_that_cannot_be_written(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, text in [
        (tmp_path, "directory"),
        (tmp_path / "no" / "a", "No such file"),
        (tmp_path / "pipe", "is not a file"),
        ("/dev/null", "is not a file"),
    ]:
        with pytest.raises(AuditError, match=text):
            writer(path)


def test_an_empty_file_is_a_new_one(tmp_path):
    (tmp_path / "a").touch()
    with writer(tmp_path / "a") as made:
        assert made.continued is None
    assert flaws(tmp_path / "a") == []


def test_another_run(tmp_path):
    path = audit(tmp_path / "a", 2)
    before = path.read_bytes()
    wider = np.dtype([*DTYPE.descr, ("more", "<u8")])
    tables = {"build": "0.1.0", "tables": {"reject": {0: "ACCEPTED", 7: "NOTIONAL"}}}
    for dtype, identity, hints, key, text in [
        (wider, IDENTITY, HINTS, None, "another layout"),
        (DTYPE, IDENTITY, {**HINTS, "price": Hint("decimal:2")}, None, "another layout"),
        (DTYPE, {**IDENTITY, "build": "0.2.0"}, HINTS, None, 'build .*"0.1.0" there, "0.2.0" here'),
        (DTYPE, {**IDENTITY, "more": 1}, HINTS, None, "more differs .null there, 1 here"),
        (DTYPE, tables, HINTS, None, "its tables differs: name another"),
        (DTYPE, IDENTITY, HINTS, KEY, "plain chain"),
    ]:
        with pytest.raises(AuditError, match=text):
            AuditWriter(path, dtype, identity, key, "none", hints=hints)
    assert path.read_bytes() == before
    keyed = audit(tmp_path / "k", 2, key=KEY)
    for key, text in ((None, "is under a key"), (KEY[::-1], "not written with this key")):
        with pytest.raises(AuditError, match=text):
            writer(keyed, key)
    assert flaws(keyed, KEY) == []


def test_one_writer_at_a_time(tmp_path):
    with writer(tmp_path / "a") as made:
        with pytest.raises(AuditError, match="another process"):
            writer(tmp_path / "a")
        made.append(rows(1))
    writer(tmp_path / "a").close()
    assert flaws(tmp_path / "a") == []


# ---------------------------------------------------------------- going on


@BOTH
def test_going_on_after_an_end(tmp_path, key):
    path = audit(tmp_path / "a", 2, key=key)
    closed = path.read_bytes()
    with writer(path, key) as made:
        assert made.continued is not None
        assert made.continued[:3] == (1, "end", 0)
        assert made.continued.end_head == closed[-32:]
        assert made.next_record == 2
        made.append(rows(2, 2))
    header, payload = read(path.read_bytes(), key).blocks[1]
    assert header.kind == BlockKind.CONTINUED and closed.endswith(payload)
    assert len(payload) == BLOCK_OVERHEAD + 32
    assert records_in(path, key) == [0, 1, 2, 3] and flaws(path, key) == []
    assert verify(path, key).continued == [made.continued]


@BOTH
def test_going_on_after_a_cut_at_any_length(tmp_path, key):
    """What was torn is kept in the chain, whole blocks are never given up."""
    path = audit(tmp_path / "a", 2, 3, key=key)
    raw = path.read_bytes()
    begins = offsets(raw) if key is None else _offsets_keyed(raw)
    for length in range(begins[0], len(raw)):
        path.write_bytes(raw[:length])
        whole = max(n for n, begin in enumerate(begins) if begin <= length)
        torn = raw[begins[whole] : length]
        with writer(path, key) as made:
            assert made.continued == (whole, "torn" if torn else "no_end", len(torn), None)
            made.append(rows(1, made.next_record))
        found = read(path.read_bytes(), key).blocks
        assert found[whole][0].kind == BlockKind.CONTINUED and found[whole][1] == torn
        assert records_in(path, key) == list(range((0, 2, 5)[whole] + 1))
        assert flaws(path, key) == [] and verify(path, key).continued == [made.continued]


def _offsets_keyed(raw: bytes) -> list[int]:
    found = read(raw, KEY)
    sizes = [len(payload) + BLOCK_OVERHEAD for _, payload in found.blocks]
    return list(np.cumsum([found.header_bytes, *sizes]).tolist())


def test_going_on_after_a_loss_of_power(tmp_path):
    """The file has its length, and zeros where the disk had not got its bytes."""
    path = audit(tmp_path / "a", 2, 3, closed=False)
    raw = path.read_bytes()
    begin = offsets(raw)[1]
    for kept in range(begin, len(raw) - 32 + 1):
        for length in (len(raw), len(raw) + 4096):
            path.write_bytes(raw[:kept].ljust(length, b"\0"))
            assert flaws(path) == [Flaw.TORN]
            with writer(path) as made:
                assert made.continued is not None and made.continued[:2] == (1, "torn")
            assert flaws(path) == [] and records_in(path) == [0, 1]
    # A digest that is there in part is a change as any other.
    path.write_bytes(raw[:-31] + bytes(31))
    assert flaws(path) == [Flaw.CHANGE]
    with pytest.raises(AuditError, match="go on in a new file"):
        writer(path)


def test_zeros_without_end_are_not_taken_into_the_chain(tmp_path):
    path = audit(tmp_path / "a", 2, closed=False)
    with path.open("r+b") as file:
        file.truncate(4 * BLOCK_BYTES)
    assert flaws(path) == [Flaw.CHANGE]
    with pytest.raises(AuditError, match="go on in a new file"):
        writer(path)


def test_more_than_a_block_is_not_taken_for_a_torn_one(tmp_path):
    path = audit(tmp_path / "a", 2, closed=False)
    raw, most = path.read_bytes(), 2 * BLOCK_BYTES
    kind = BlockKind.CONTINUED
    block = forged(raw[-32:], 1, bytes(most), kind=kind, first_record=2)
    path.write_bytes(raw + block[:-1])
    assert flaws(path) == [Flaw.TORN]
    with pytest.raises(AuditError, match="more bytes than one block has"):
        writer(path)
    assert path.read_bytes() == raw + block[:-1]
    path.write_bytes(raw + block[:most])
    writer(path).close()
    assert flaws(path) == [] and records_in(path) == [0, 1]


def test_torn_while_telling_of_a_torn_block(tmp_path):
    path = audit(tmp_path / "a", 2, 3, closed=False)
    torn_at = offsets(path.read_bytes())[1]
    size = path.stat().st_size
    for _ in range(3):
        os.truncate(path, size - 1)
        writer(path).__exit__(KeyError, None, None)
        size = path.stat().st_size
    os.truncate(path, size - 1)
    writer(path).close()
    (told,) = verify(path).continued
    assert told == (1, "torn", size - 1 - torn_at, None)
    assert flaws(path) == [] and records_in(path) == [0, 1]


# ---------------------------------------------------------------- killed

WRITE_UNTIL_KILLED = textwrap.dedent(
    """
    import resource, signal, sys
    from pathlib import Path
    from test_audit_file import rows, writer

    made = writer(Path(sys.argv[1]))
    limit = int(sys.argv[2])
    if limit:  # the kernel kills who goes on writing there
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    print("begun", flush=True)
    while True:
        made.append(rows(20_000, made.next_record + 1), lost=1)
        print(made.next_record, flush=True)
    """
)


def started(path: Path, limit: int = 0) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", WRITE_UNTIL_KILLED, str(path), str(limit)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
    )


def test_killed_at_random_moments(tmp_path):
    """Nothing that was appended is missing, and each writer goes on where the one before was."""
    path, dice, appended = tmp_path / "a", random.Random(7), 0
    for _ in range(4):
        process = started(path)
        assert process.stdout is not None
        for _ in range(dice.randrange(2, 9)):
            said = process.stdout.readline()
            assert said, "the writer ended by itself"
        process.kill()
        rest = said + process.stdout.read()
        process.wait()
        # The last line may have been cut as well.
        whole = [int(each) for each in rest.split("\n")[:-1] if each.isdigit()]
        appended = max(whole, default=appended)
        assert set(flaws(path)) <= {Flaw.NOT_CLOSED, Flaw.TORN}
        numbers = _sound_records(path)
        assert numbers[-1] + 1 >= appended
    with writer(path) as made:
        made.append(rows(1, made.next_record))
    verdict = verify(path)
    assert verdict.findings == [] and verdict.continuations == 4
    assert verdict.records + verdict.lost == records_in(path)[-1] + 1


def _sound_records(path: Path) -> list[int]:
    with contextlib.suppress(AuditError):
        return records_in(path)
    copy = path.with_suffix(".copy")
    shutil.copy(path, copy)
    writer(copy).close()
    return records_in(copy)


def test_killed_inside_a_block(tmp_path):
    path, limit = tmp_path / "a", 1_000_000
    process = started(path, limit)
    said = process.communicate()[0].split()
    assert process.returncode == -signal.SIGXFSZ
    assert said == ["begun", "20001", "40002"] and path.stat().st_size == limit
    (finding,) = verify(path).findings
    assert finding[:2] == (Flaw.TORN, 2) and "20000 records" in finding.text
    with writer(path) as made:
        assert made.continued is not None and made.continued.after == "torn"
        assert made.next_record == 40_002
    assert flaws(path) == []
    assert len(records_in(path)) == 40_000


# ---------------------------------------------------------------- full and failing disks


@contextlib.contextmanager
def file_limit(size: int) -> Iterator[None]:
    """No file of this process may grow beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_at_every_length(tmp_path):
    """Of an append all or nothing is there, the file is sound, and the append can be repeated."""
    path = audit(tmp_path / "a", 2, closed=False)
    raw = path.read_bytes()
    full = len(raw) + 2 * BLOCK_OVERHEAD + rows(3).nbytes
    for limit in range(len(raw), full, 7):
        path.write_bytes(raw)
        made = writer(path)  # one block: the file is gone on with
        size = path.stat().st_size
        assert size == len(raw) + BLOCK_OVERHEAD
        with file_limit(max(limit, size)):
            with pytest.raises(AuditError, match=r"File too large.*2 records.*append again"):
                made.append(rows(3, 2))
            assert path.stat().st_size == size and flaws(path) == [Flaw.NOT_CLOSED]
        made.append(rows(3, 3), lost=1)
        made.close()
        assert flaws(path) == [] and records_in(path) == [0, 1, 3, 4, 5]


def test_a_full_disk_in_the_middle_of_a_large_append(tmp_path):
    with writer(tmp_path / "a") as made:
        made.append(rows(1))
        size = (tmp_path / "a").stat().st_size
        with file_limit(2 * BLOCK_BYTES), pytest.raises(AuditError, match="append again"):
            made.append(rows(200_000, 1))
        assert (tmp_path / "a").stat().st_size == size and made.records == 1
        made.append(rows(200_000, 1))
    assert flaws(tmp_path / "a") == [] and len(records_in(tmp_path / "a")) == 200_001


@pytest.mark.parametrize("closed", [True, False])
def test_a_full_disk_when_going_on(tmp_path, closed):
    path = audit(tmp_path / "a", 2, 2, closed=closed)
    if not closed:
        os.truncate(path, path.stat().st_size - 5)
    before = path.read_bytes()
    for more in range(0, BLOCK_OVERHEAD, 5):
        with file_limit(len(before) + more), pytest.raises(AuditError, match="cannot be written"):
            writer(path)
        assert path.read_bytes() == before


def test_a_full_disk_at_the_beginning_and_at_the_end(tmp_path):
    path = tmp_path / "a"
    with file_limit(100), pytest.raises(AuditError, match="cannot be written"):
        writer(path)
    assert path.stat().st_size == 0
    made = writer(path)
    made.append(rows(1))
    with file_limit(path.stat().st_size + 20), pytest.raises(AuditError, match="cannot be written"):
        made.close()
    made.close()  # it is closed, without an end
    assert flaws(path) == [Flaw.NOT_CLOSED] and records_in(path) == [0]


FILL_DISK = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from test_audit_file import rows, writer
    from tickpath.audit import AuditError, verify

    path = Path(sys.argv[1]) / "a"
    made, appended = writer(path), 0
    try:
        while True:
            made.append(rows(1000, appended))
            appended += 1000
    except AuditError as error:
        print(error)
    verdict = verify(path)
    print(verdict.records == appended, [each.flaw.name for each in verdict.findings])
    (path.parent / "ballast").unlink()
    made.append(rows(1, appended))
    made.close()
    print(verify(path).findings)
    """
)


def test_a_disk_that_is_really_full(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    ready = f"mount -t tmpfs -o size=256k none {place} && head -c 65536 /dev/zero > {place}/ballast"
    run = ["unshare", "-m", "sh", "-c"]
    tried = subprocess.run([*run, ready], capture_output=True) if shutil.which("unshare") else None
    if tried is None or tried.returncode:
        pytest.skip("cannot mount a small tmpfs here")
    done = subprocess.run(
        [*run, ready + ' && exec "$@"', "sh", sys.executable, "-c", FILL_DISK, str(place)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
    )
    assert done.returncode == 0, done.stderr
    error, found, at_last = done.stdout.splitlines()
    assert "No space left on device" in error and "append again" in error
    assert (found, at_last) == ("True ['NOT_CLOSED']", "[]")


def test_a_half_written_block_that_cannot_be_taken_back(tmp_path, monkeypatch):
    made = writer(tmp_path / "a")
    made.append(rows(2))

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with file_limit((tmp_path / "a").stat().st_size + 100), monkeypatch.context() as patch:
        patch.setattr("os.ftruncate", fail)
        with pytest.raises(AuditError, match="could not be taken back"):
            made.append(rows(2, 2))
    for act in (lambda: made.append(rows(2, 2)), made.close):
        with pytest.raises(AuditError, match="could not be taken back"):
            act()
    assert flaws(tmp_path / "a") == [Flaw.TORN]
    writer(tmp_path / "a").close()
    assert flaws(tmp_path / "a") == [] and records_in(tmp_path / "a") == [0, 1]


def test_short_writes_go_on(tmp_path, monkeypatch):
    whole = os.pwritev

    def short(descriptor: int, parts: list[memoryview], offset: int) -> int:
        return whole(descriptor, [parts[0][:3]], offset)

    monkeypatch.setattr("os.pwritev", short)
    with writer(tmp_path / "a") as made:
        made.append(rows(3))
    assert flaws(tmp_path / "a") == [] and records_in(tmp_path / "a") == [0, 1, 2]


def test_a_disk_that_takes_nothing(tmp_path, monkeypatch):
    with writer(tmp_path / "a") as made:
        with monkeypatch.context() as patch:
            patch.setattr("os.pwritev", lambda *_: 0)
            with pytest.raises(AuditError, match="nothing was written"):
                made.append(rows(3))
        made.append(rows(3))
    assert flaws(tmp_path / "a") == []


def test_interrupted_inside_an_append(tmp_path, monkeypatch):
    whole = os.pwritev

    def interrupted(descriptor: int, parts: list[memoryview], offset: int) -> int:
        whole(descriptor, [parts[0][:50]], offset)
        raise KeyboardInterrupt

    with writer(tmp_path / "a") as made:
        made.append(rows(2))
        with monkeypatch.context() as patch:
            patch.setattr("os.pwritev", interrupted)
            with pytest.raises(KeyboardInterrupt):
                made.append(rows(9, 2))
        made.append(rows(1, 2))
    assert flaws(tmp_path / "a") == [] and records_in(tmp_path / "a") == [0, 1, 2]


# ---------------------------------------------------------------- fsync


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"fsync": "always"}, ["begun", 0, 1, 2, "end"]),
        ({"fsync": "interval", "fsync_interval_s": 0.0}, ["begun", 0, 1, 2, "end"]),
        ({"fsync": "interval", "fsync_interval_s": 1e9}, ["begun", "end"]),
        ({"fsync": "none"}, []),
    ],
)
def test_when_the_disk_is_waited_for(tmp_path, monkeypatch, options, expected):
    now, synced = "begun", []
    monkeypatch.setattr("os.fdatasync", lambda _: synced.append(now))
    with writer(tmp_path / "a", **options) as made:
        for now in range(3):
            made.append(rows(1, now))
        now = "end"
    assert synced == expected


def test_behind_an_exception_the_disk_is_waited_for_too(tmp_path, monkeypatch):
    for fsync, expected in (("interval", [1]), ("none", [])):
        synced: list[int] = []
        with pytest.raises(KeyError), writer(tmp_path / fsync, fsync=fsync) as made:
            made.append(rows(1))
            monkeypatch.setattr("os.fdatasync", lambda _, synced=synced: synced.append(1))
            raise KeyError
        assert synced == expected


def test_a_failed_fsync_ends_the_writing(tmp_path, monkeypatch):
    made = writer(tmp_path / "a", fsync="always")

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("os.fdatasync", fail)
        with pytest.raises(AuditError, match=r"fsync failed: Input/output error.*new file"):
            made.append(rows(1))
    for act in (lambda: made.append(rows(1)), made.sync, made.close):
        with pytest.raises(AuditError, match="fsync failed before"):
            act()
    assert flaws(tmp_path / "a") == [Flaw.NOT_CLOSED]
