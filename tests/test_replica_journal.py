"""The journal's files: written, gone on with, torn, damaged, without space, killed."""

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journal_records import (
    IDENTITY,
    SMALL,
    abandon,
    all_of,
    journal,
    killed,
    made,
    record,
    run,
)
from tickpath.replica import journal_disk
from tickpath.replica.journal import (
    DamagedError,
    Flaw,
    Identity,
    JournalError,
    JournalPolicy,
    JournalReader,
    JournalWriter,
)
from tickpath.replica.journal_header import DATA_OFFSET, segments
from tickpath.replica.journal_verify import verify
from tickpath.replica.journal_writer import State
from tickpath.wire.inputs import Kind

POLICIES = ("none", "segment", "interval", "batch", "record")


def flaws(place: Path) -> list[Flaw]:
    return [each.flaw for each in verify(place).findings]


def change(path: Path, at: int, mask: int) -> None:
    with open(path, "rb+") as file:
        file.seek(at)
        (was,) = file.read(1)
        file.seek(at)
        file.write(bytes([was ^ mask]))


# ---------------------------------------------------------------- writing and reading


@pytest.mark.parametrize("fsync", POLICIES)
def test_what_was_written_is_read(tmp_path, fsync):
    records = [*made(1, 80), *(record(each, bytes(9000)) for each in range(81, 101))]
    policy = JournalPolicy(segment_bytes=1 << 16, fsync=fsync, fsync_interval_ns=0)
    with JournalWriter(tmp_path, IDENTITY, policy) as writer:
        for begin in range(0, len(records), 10):
            writer.append(run(records[begin : begin + 100]))
        assert writer.last_number == 100
        sealed = writer.durable_number
        counters = dict(writer.counters)
    assert (sealed == 100) == (fsync != "segment") and writer.durable_number == 100
    assert counters["records"] == 100 and counters["bytes"] == sum(map(len, records))
    if fsync == "none":
        assert "syncs" not in counters
    if fsync == "record":
        assert counters["syncs"] >= 100
    assert all_of(tmp_path) == records
    assert all_of(tmp_path, 37, 93) == records[36:93]
    verdict = verify(tmp_path)
    assert verdict.findings == [] and verdict.is_sealed and not verdict.is_being_written
    assert (verdict.first_number, verdict.last_number, verdict.records) == (1, 100, 100)
    assert verdict.segments == len(segments(tmp_path)) == counters["segments"] > 3
    assert verdict.identity == IDENTITY


def test_a_batch_is_durable_when_append_returns_and_an_interval_when_it_is_over(tmp_path):
    now = [0]
    policy = JournalPolicy(segment_bytes=1 << 16, fsync="interval", fsync_interval_ns=1_000)
    records = made(1, 30)
    writer = JournalWriter(tmp_path, IDENTITY, policy, monotonic=lambda: now[0])
    writer.append(run(records[:10]))
    assert writer.durable_number == 0
    now[0] = 1_000
    writer.append(run(records[10:20]))
    assert writer.durable_number == 20
    writer.append(run(records[20:]))
    writer.tick()
    assert writer.durable_number == 20
    now[0] = 2_000
    writer.tick()
    assert writer.durable_number == 30 and writer.counters["syncs"] == 2
    writer.close()


def test_a_record_larger_than_a_segment_gets_one_of_its_size(tmp_path):
    records = [record(1), record(2, bytes(range(256)) * 1024), record(3, b"x")]
    journal(tmp_path, records)
    assert all_of(tmp_path) == records and flaws(tmp_path) == []
    assert len(segments(tmp_path)) == 3


def test_a_reader_follows_a_writer_in_another_thread(tmp_path):
    records = made(1, 4000)
    policy = JournalPolicy(segment_bytes=1 << 16, fsync="none")
    writer = JournalWriter(tmp_path, IDENTITY, policy)

    def write() -> None:
        rng = Random(4)
        at = 0
        while at < len(records):
            step = rng.randrange(1, 40)
            writer.append(run(records[at : at + step]))
            at += step
        writer.close()

    thread = threading.Thread(target=write)
    found: list[bytes] = []
    deadline = time.monotonic() + 60
    with JournalReader(tmp_path) as reader:
        thread.start()
        while len(found) < len(records) and time.monotonic() < deadline:
            lent = reader.poll(50)
            found += reader.bytes_of(lent)
            reader.release()
        assert reader.number == 4001 and not len(reader.poll(5))
    thread.join()
    assert found == records


def test_a_journal_that_is_written_has_no_torn_end_and_one_writer(tmp_path):
    writer = JournalWriter(tmp_path, IDENTITY, SMALL)
    writer.append(run(made(1, 5)))
    journal_disk.write(writer._fd, b"half of a record", writer._end)
    verdict = verify(tmp_path)
    assert verdict.is_being_written and verdict.findings == [] and verdict.last_number == 5
    assert len(all_of(tmp_path)) == 5
    with pytest.raises(JournalError, match="being written by another process"):
        JournalWriter(tmp_path, IDENTITY, SMALL)
    abandon(writer)
    assert flaws(tmp_path) == [Flaw.TORN]


def test_a_journal_of_another_run_is_not_gone_on_with(tmp_path):
    journal(tmp_path, made(1, 5))
    with pytest.raises(JournalError, match="config is other here and c0ffee there: go on in a new"):
        JournalWriter(tmp_path, IDENTITY._replace(config="other"), SMALL)
    with pytest.raises(JournalError, match="takes 64 bytes"):
        JournalWriter(tmp_path / "long", Identity("x" * 65), SMALL).append(run(made(1, 1)))


# ---------------------------------------------------------------- going on


def test_a_writer_goes_on_behind_the_last_record(tmp_path):
    records = made(1, 300)
    journal(tmp_path, records[:100])
    killed(tmp_path, records[100:200])
    with JournalWriter(tmp_path, IDENTITY, SMALL) as writer:
        assert writer.last_number == writer.durable_number == 200
        assert writer.counters["torn"] == 0
        writer.append(run(records[200:]))
    assert all_of(tmp_path) == records and flaws(tmp_path) == []


def test_records_that_come_again_are_compared(tmp_path):
    records = made(1, 50)
    journal(tmp_path, records[:30])
    with JournalWriter(tmp_path, IDENTITY, SMALL) as writer:
        writer.append(run(records[10:40]))
        assert writer.counters["repeated"] == 20 and writer.counters["records"] == 10
        writer.append(run(records[:50]))
    assert all_of(tmp_path) == records and flaws(tmp_path) == []
    with JournalWriter(tmp_path, IDENTITY, SMALL) as writer:
        with pytest.raises(JournalError, match="another history: record 20 came again"):
            writer.append(run([*records[17:19], *made(20, 21, seed=9)]))
        assert writer.state is State.FAILED
    assert all_of(tmp_path) == records


@pytest.mark.parametrize("begin", [1, 7_000])
def test_records_that_came_while_nobody_wrote_are_named(tmp_path, begin):
    alarms: list[str] = []
    journal(tmp_path, made(begin, begin + 9))
    with JournalWriter(tmp_path, IDENTITY, SMALL, alarm=alarms.append) as writer:
        writer.append(run(made(begin + 15, begin + 20)))
        assert writer.missing == (begin + 10, begin + 14)
        with pytest.raises(JournalError, match="did not come"):
            writer.append(run(made(begin + 30, begin + 31)))
    assert "are not in the journal (away)" in alarms[0] and len(alarms) == 2
    findings = [each for each in verify(tmp_path).findings if each.flaw is not Flaw.BASE]
    assert [each.flaw for each in findings] == [Flaw.MISSING]
    assert f"records {begin + 10} to {begin + 14} are missing (away)" in str(findings[0])
    with pytest.raises(JournalError, match=f"records {begin + 10} to {begin + 14} are not in"):
        all_of(tmp_path, begin)
    assert all_of(tmp_path, begin + 15) == made(begin + 15, begin + 20)


def test_epochs_do_not_go_back(tmp_path):
    with JournalWriter(tmp_path, IDENTITY, SMALL) as writer:
        writer.append(run([record(1, epoch=3), record(2, epoch=4)]))
        with pytest.raises(JournalError, match="epoch"):
            writer.append(run([record(3, epoch=3)]))
    assert verify(tmp_path).epoch == 4 and len(all_of(tmp_path)) == 2


@pytest.mark.parametrize("number", [0, 1])
def test_damaged_memory_is_not_written(tmp_path, number):
    raw = run(made(1, 2)).copy()
    raw[0 if number == 0 else len(made(1, 1)[0]) + 90] ^= 1
    writer = JournalWriter(tmp_path, IDENTITY, SMALL)
    with pytest.raises(JournalError, match="was memory damaged"):
        writer.append(raw)
    assert writer.state is State.FAILED and writer.last_number == number
    with pytest.raises(JournalError, match="was memory damaged"):
        writer.append(run(made(2, 2)))


# ---------------------------------------------------------------- torn and damaged


def test_every_torn_write_of_the_last_records_is_cut_and_counted(tmp_path):
    records = made(1, 6)
    sizes = [len(each) for each in records]
    killed(tmp_path, records)
    (path,) = segments(tmp_path)
    whole = path.read_bytes()
    kept = DATA_OFFSET + sum(sizes[:4])
    end = DATA_OFFSET + sum(sizes)
    for cut in range(kept, end + 1):
        path.write_bytes(whole[:cut] + bytes(len(whole) - cut))
        # What ends in zeros may look shorter than it was, never longer.
        filled = len(whole[:cut].rstrip(b"\0"))
        number = sum(
            filled >= len(whole[: DATA_OFFSET + sum(sizes[:n])].rstrip(b"\0")) for n in range(1, 7)
        )
        is_torn = filled > DATA_OFFSET + sum(sizes[:number])
        assert all_of(tmp_path) == records[:number], cut
        assert flaws(tmp_path) == [Flaw.TORN] * is_torn, cut
        if cut % 17 == 0:
            with JournalWriter(tmp_path, IDENTITY, SMALL) as writer:
                assert writer.last_number == number
                assert writer.counters["torn"] == is_torn
                assert (writer.counters["torn_bytes"] > 0) == is_torn
                writer.append(run(records[number:]))
            assert all_of(tmp_path) == records and flaws(tmp_path) == []
            for each in segments(tmp_path)[1:]:
                each.unlink()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Three segments, the last one without a seal, and where the files' bytes that count end."""
    place = tmp_path_factory.mktemp("whole")
    policy = JournalPolicy(segment_bytes=1 << 16, fsync="none")
    records = made(1, 900)
    journal(place, records[:500], policy)
    killed(place, records[500:], policy)
    return place, records, {path.name: path.read_bytes() for path in segments(place)}


def put_back(place: Path, files: dict[str, bytes]) -> None:
    for path in segments(place):
        path.unlink()
    for name, raw in files.items():
        (place / name).write_bytes(raw)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_every_changed_bit_is_found(whole, data):
    place, records, files = whole
    put_back(place, files)
    name = data.draw(st.sampled_from(sorted(files)))
    used = len(files[name].rstrip(b"\0"))
    is_inside = data.draw(st.integers(0, 9)) > 0
    last = used - 1 if is_inside else len(files[name]) - 1
    at, bit = data.draw(st.integers(0, last)), data.draw(st.integers(0, 7))
    change(place / name, at, 1 << bit)
    verdict = verify(place)
    assert verdict.findings and verdict.findings[0].file in (name, *files)
    # What is lent up to there is what was written, whatever was changed.
    found: list[bytes] = []
    try:
        with JournalReader(place) as reader:
            while len(lent := reader.poll(64)):
                found += reader.bytes_of(lent)
    except JournalError as error:
        assert str(place) in str(error)
    assert found == records[: len(found)]


def test_each_kind_of_damage_is_named_with_its_place(whole):
    place, _, files = whole
    first, second, *_ = sorted(files)
    middle = 40_000

    def found(changed: dict[str, bytes]) -> list[tuple[Flaw, str]]:
        put_back(place, changed)
        return [(each.flaw, each.file) for each in verify(place).findings]

    assert found(files) == []
    assert found({**files, first: files[first][:middle]}) == [
        (Flaw.CUT, first),
        (Flaw.SEGMENT, second),
    ]
    assert found({**files, first: files[first] + b"x"}) == [(Flaw.CUT, first)]
    assert found({first: files[first], **{name: files[name] for name in sorted(files)[2:]}}) == [
        (Flaw.SEGMENT, sorted(files)[2])
    ]
    swapped = {**files, first: files[second], second: files[first]}
    assert (Flaw.ORDER, first) in found(swapped) and (Flaw.ORDER, second) in found(swapped)
    sealed_end = len(files[first].rstrip(b"\0"))
    trailing = files[first][: sealed_end + 8] + b"!" + files[first][sealed_end + 9 :]
    assert found({**files, first: trailing}) == [(Flaw.TRAILING, first)]
    behind = {**files, first: b"\0" * 512 + files[first][512:]}
    assert found(behind)[0] == (Flaw.HEADER, first)
    put_back(place, files)


def test_a_page_that_became_zeros_or_is_gone_is_no_end(tmp_path):
    records = made(1, 300)
    killed(tmp_path, records)
    (path,) = segments(tmp_path)
    whole = path.read_bytes()
    at = DATA_OFFSET + sum(map(len, records[:120]))
    for damaged, flaw in (
        (whole[:at] + bytes(4096) + whole[at + 4096 :], Flaw.CHANGE),
        (whole[:at], Flaw.CUT),
    ):
        path.write_bytes(damaged)
        with pytest.raises(DamagedError) as caught:
            all_of(tmp_path)
        assert caught.value.finding[:4] == (flaw, path.name, at, 121)
        assert flaws(tmp_path) == [flaw]
        with pytest.raises(JournalError, match="it is damaged"):
            JournalWriter(tmp_path, IDENTITY, SMALL)
    path.write_bytes(bytes(DATA_OFFSET) + whole[DATA_OFFSET:])
    with pytest.raises(JournalError, match="header is not what was written"):
        JournalWriter(tmp_path, IDENTITY, SMALL)
    assert segments(tmp_path) == [path]


def test_damage_inside_stops_the_reader_and_the_next_writer(tmp_path):
    records = made(1, 100)
    killed(tmp_path, records)
    (path,) = segments(tmp_path)
    at = DATA_OFFSET + sum(map(len, records[:60]))
    change(path, at + 20, 4)
    with pytest.raises(DamagedError) as caught:
        all_of(tmp_path)
    finding = caught.value.finding
    assert finding[:4] == (Flaw.CHANGE, path.name, at, 61)
    assert all_of(tmp_path, 1, 60) == records[:60]
    with pytest.raises(JournalError, match="it is damaged: go on in a new directory"):
        JournalWriter(tmp_path, IDENTITY, SMALL)
    assert verify(tmp_path).findings == [finding]


def rewritten(path: Path, records: list[bytes]) -> None:
    """A segment's file with other records behind its header."""
    raw = path.read_bytes()
    body = b"".join(records)
    path.write_bytes(raw[:DATA_OFFSET] + body + bytes(len(raw) - DATA_OFFSET - len(body)))


@pytest.mark.parametrize(
    ("numbers", "flaw", "text"),
    [
        ((1, 2, 4, 5), Flaw.HOLE, "records 3 to 3 are missing"),
        ((1, 2, 2, 3), Flaw.ORDER, "record 2 stands where 3 belongs"),
        ((1, 3, 2), Flaw.HOLE, "records 2 to 2 are missing"),
    ],
)
def test_whole_records_in_the_wrong_place_are_named(tmp_path, numbers, flaw, text):
    killed(tmp_path, made(1, 3))
    (path,) = segments(tmp_path)
    rewritten(path, [record(each) for each in numbers])
    (finding,) = verify(tmp_path).findings
    assert finding.flaw is flaw and text in finding.text
    with pytest.raises(DamagedError):
        all_of(tmp_path)


def test_records_of_an_old_epoch_or_of_no_kind_are_named(tmp_path):
    killed(tmp_path, made(1, 3))
    (path,) = segments(tmp_path)
    rewritten(path, [record(1, epoch=2), record(2, epoch=1)])
    assert flaws(tmp_path) == [Flaw.EPOCH]
    rewritten(path, [record(1), record(2, kind=Kind.PAD)])
    assert flaws(tmp_path) == [Flaw.ORDER]


def test_a_writer_that_died_while_it_began(tmp_path):
    records = made(1, 40)
    killed(tmp_path, records[:20])
    # Its next segment had no record yet, or was a name without bytes; a fresh one had no name.
    header = (segments(tmp_path)[0]).read_bytes()[:DATA_OFFSET]
    with JournalWriter(tmp_path, IDENTITY, SMALL) as writer:
        writer.append(run(records[20:30]))
        abandon(writer)
    last = segments(tmp_path)[-1]
    rewritten(last, [])
    (tmp_path / "inputs-00000000000000000099.tpj").write_bytes(bytes(1 << 16))
    (tmp_path / "inputs-00000000000000000100.tpj.fresh").write_bytes(header)
    with JournalWriter(tmp_path, IDENTITY, SMALL) as writer:
        assert writer.last_number == 20 and writer.counters["torn"] == 1
        writer.append(run(records[20:]))
    assert all_of(tmp_path) == records and flaws(tmp_path) == []
    assert not list(tmp_path.glob("*.fresh"))


# ---------------------------------------------------------------- no space, failing disks


class Disk:
    """Lets the operating system's calls fail."""

    def __init__(self, monkeypatch) -> None:
        self.failing: dict[str, int] = {}
        for name in ("posix_fallocate", "pwrite", "fdatasync"):
            monkeypatch.setattr(os, name, self._guarded(name, getattr(os, name)))

    def _guarded(self, name, real):
        def call(*arguments):
            if name in self.failing:
                if name == "pwrite" and len(arguments[1]) > 100:
                    real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2], arguments[2])
                raise OSError(self.failing[name], os.strerror(self.failing[name]))
            return real(*arguments)

        return call


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("posix_fallocate", errno.ENOSPC),
        ("pwrite", errno.EIO),
        ("pwrite", errno.ENOSPC),
        ("fdatasync", errno.EIO),
    ],
)
def test_stop_says_so_and_keeps_what_is_there(tmp_path, monkeypatch, call, code):
    records = made(1, 1000)
    alarms: list[str] = []
    disk = Disk(monkeypatch)
    policy = JournalPolicy(segment_bytes=1 << 16, fsync="batch")
    writer = JournalWriter(tmp_path, IDENTITY, policy, alarm=alarms.append)
    writer.append(run(records[:50]))
    disk.failing[call] = code
    with pytest.raises(JournalError, match=os.strerror(code)):
        writer.append(run(records[50:]))
    assert writer.state is State.FAILED and os.strerror(code) in writer.failure
    assert len(alarms) == 1 and "has stopped at record" in alarms[0]
    assert writer.durable_number >= 50
    durable = writer.durable_number
    with pytest.raises(JournalError):
        writer.append(run(made(1001, 1001)))
    disk.failing.clear()
    writer.close()
    with JournalWriter(tmp_path, IDENTITY, policy) as writer:
        kept = writer.last_number
        assert kept >= durable
        writer.append(run(records[kept:]))
    assert all_of(tmp_path) == records and flaws(tmp_path) == []


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite", "fdatasync"])
def test_drop_goes_on_and_the_next_segment_says_what_is_missing(tmp_path, monkeypatch, call):
    records = made(1, 1000)
    alarms: list[str] = []
    now = [0]
    disk = Disk(monkeypatch)
    policy = JournalPolicy(segment_bytes=1 << 16, fsync="batch", on_failure="drop", retry_ns=1_000)
    writer = JournalWriter(
        tmp_path, IDENTITY, policy, alarm=alarms.append, monotonic=lambda: now[0]
    )
    writer.append(run(records[:50]))
    disk.failing[call] = errno.ENOSPC
    for begin in range(50, 800, 50):
        writer.append(run(records[begin : begin + 50]))
    assert writer.state is State.DROPPING and "No space left" in writer.failure
    kept = writer.last_number
    dropped = 800 - kept
    assert writer.counters["dropped"] == dropped > 0 and len(alarms) == 1
    disk.failing.clear()
    writer.append(run(records[800:850]))
    assert writer.counters["dropped"] == dropped + 50  # it is not looked again at once
    now[0] = 1_000
    writer.append(run(records[850:]))
    assert writer.state is State.WRITING and writer.last_number == 1000
    assert writer.missing == (kept + 1, 850) and "no_space" in alarms[-1]
    writer.close()
    (finding,) = [each for each in verify(tmp_path).findings if each.flaw is not Flaw.TORN]
    assert finding.flaw is Flaw.MISSING
    assert f"records {kept + 1} to 850 are missing (no_space)" in finding.text
    assert all_of(tmp_path, 1, kept) == records[:kept]
    assert all_of(tmp_path, 851) == records[850:]


def test_a_failed_fsync_counts_nothing_as_durable(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    policy = JournalPolicy(segment_bytes=1 << 16, fsync="batch", on_failure="drop", retry_ns=0)
    writer = JournalWriter(tmp_path, IDENTITY, policy)
    writer.append(run(made(1, 10)))
    disk.failing["fdatasync"] = errno.EIO
    writer.append(run(made(11, 20)))
    assert writer.durable_number == 10 and writer.missing == (11, 20)
    disk.failing.clear()
    writer.append(run(made(21, 30)))
    writer.close()
    assert len(segments(tmp_path)) == 2 and all_of(tmp_path) == made(1, 30)


def test_a_limit_of_file_sizes_is_a_full_disk(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = JournalWriter(tmp_path, IDENTITY, SMALL)
    was = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 15, before[1]))
        with pytest.raises(JournalError, match="cannot be made: File too large"):
            writer.append(run(made(1, 10)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, was)
        writer.close()
    assert segments(tmp_path) == [] and not list(tmp_path.glob("*.fresh"))


_FULL = """
import sys
sys.path[:0] = {path!r}
from journal_records import IDENTITY, made, run
from tickpath.replica.journal import JournalPolicy, JournalWriter
import os
now = [0]
policy = JournalPolicy(segment_bytes=1 << 16, fsync="batch", on_failure="drop", retry_ns=1)
writer = JournalWriter({place!r}, IDENTITY, policy, monotonic=lambda: now[0])
for begin in range(1, 3001, 100):
    writer.append(run(made(begin, begin + 99)))
assert writer.state.value == "dropping", writer.state
kept = writer.last_number
os.unlink({ballast!r})
now[0] = 10
writer.append(run(made(3001, 3100)))
writer.close()
print(kept, writer.missing[0], writer.missing[1], writer.counters["dropped"])
from tickpath.replica.journal_verify import verify
print(*[each.flaw for each in verify({place!r}).findings])
from journal_records import all_of
assert all_of({place!r}, 1, kept) == made(1, kept)
assert all_of({place!r}, 3001) == made(3001, 3100)
"""


def test_a_small_file_system_that_is_full(tmp_path):
    mounted = tmp_path / "small"
    mounted.mkdir()
    place = mounted / "journal"
    code = _FULL.format(path=sys.path, place=str(place), ballast=str(mounted / "ballast"))
    (tmp_path / "child.py").write_text(code)
    ballast = f"head -c 131072 /dev/zero > {mounted}/ballast"
    ready = f"mount -t tmpfs -o size=512k none {mounted} && {ballast}"
    unshare = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    if subprocess.run([*unshare, ready], capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a small tmpfs here")
    done = subprocess.run(
        [*unshare, f"{ready} && exec {sys.executable} {tmp_path / 'child.py'}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kept, first, last, dropped = map(int, done.stdout.split("\n")[0].split())
    assert 0 < kept < 3000 and (first, last, dropped) == (kept + 1, 3000, 3000 - kept)
    assert done.stdout.split("\n")[1] == "missing"


# ---------------------------------------------------------------- killed


_WRITER = """
import sys
sys.path[:0] = {path!r}
from journal_records import IDENTITY, made, run
from tickpath.replica.journal import JournalPolicy, JournalWriter
policy = JournalPolicy(segment_bytes=1 << 16, fsync={fsync!r}, fsync_interval_ns=1_000_000)
writer = JournalWriter({place!r}, IDENTITY, policy)
number = writer.last_number + 1
print("ready", flush=True)
while True:
    writer.append(run(made(number, number + 6)))
    number += 7
    sys.stdout.write("%d\\n" % writer.durable_number)
    sys.stdout.flush()
"""


def kill_writers(place: Path, times: int, seed: int) -> None:
    """Kill writers of one journal at random moments; each goes on where the one before ended."""
    rng, last = Random(seed), 0
    for turn in range(times):
        fsync = POLICIES[turn % len(POLICIES)]
        code = _WRITER.format(path=sys.path, place=str(place), fsync=fsync)
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        for _ in range(rng.randrange(1, 60)):
            child.stdout.readline()
        time.sleep(rng.random() * 0.005)
        child.kill()
        said = [int(each) for each in child.stdout.read().split("\n")[:-1] if each]
        child.wait()
        child.stdout.close()
        acknowledged = max(said, default=last)
        verdict = verify(place)
        assert {each.flaw for each in verdict.findings} <= {Flaw.TORN}, verdict.findings
        assert verdict.last_number >= acknowledged >= 0 and verdict.last_number >= last
        last = verdict.last_number
        assert all_of(place, max(1, last - 200)) == made(max(1, last - 200), last)
    with JournalWriter(place, IDENTITY, SMALL) as writer:
        assert writer.last_number == last
    assert flaws(place) == [] and all_of(place) == made(1, last)


def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path):
    kill_writers(tmp_path, 2, 1)


@pytest.mark.long
def test_a_hundred_killed_writers_lose_nothing_that_they_acknowledged(tmp_path):
    kill_writers(tmp_path, 100, 2)
