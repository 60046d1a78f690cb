"""The journal: cut at every byte, damaged at every byte, killed, full, and opened twice."""

import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures import REPEATABLE
from tickpath.session.error import SessionError
from tickpath.session.store import Journal
from tickpath.session.store_record import HEADER, RECORD, Entry, Kind

SECOND = 10**9


def opened(path, **options) -> Journal:
    return Journal(path, **{"protocol": "ouch50", "fsync": "none", **options})


def filled(path) -> list[Entry]:
    """A journal with records of every kind; gives them."""
    with opened(path) as journal:
        journal.append_session("DAY1", 1, 5)
        journal.append_sent(1, b"enter 1", 10)
        journal.append_received(1, b"accepted 1", 20)
        journal.append_sent(2, b"enter 2", 30)
        journal.append_sent(0, b"cancel 1", 31)
        journal.append_received(2, b"canceled 1", 40)
        journal.append_received(3, b"", 41)
        journal.append_settled(3, "NEVER_RECEIVED", 50)
        journal.flush(50)
        return list(journal.entries())


def stand(journal: Journal) -> tuple:
    return journal.session, journal.next_sequence, journal.highest_user_ref_num


# ---------------------------------------------------------------- what comes back


def test_new_journal(tmp_path):
    path = tmp_path / "orders.journal"
    with opened(path) as journal:
        assert stand(journal) == ("", 1, 0)
        assert list(journal.entries()) == []
        assert journal.size_bytes == HEADER.length
    assert path.stat().st_mode & 0o777 == 0o600
    with opened(path) as journal:
        assert stand(journal) == ("", 1, 0) and journal.counters.torn_bytes == 0


def test_records_come_back_in_order(tmp_path):
    entries = filled(tmp_path / "j")
    assert entries == [
        Entry(0, Kind.SESSION, 1, 5, b"DAY1"),
        Entry(1, Kind.SENT, 1, 10, b"enter 1"),
        Entry(2, Kind.RECEIVED, 1, 20, b"accepted 1"),
        Entry(3, Kind.SENT, 2, 30, b"enter 2"),
        Entry(4, Kind.SENT, 0, 31, b"cancel 1"),
        Entry(5, Kind.RECEIVED, 2, 40, b"canceled 1"),
        Entry(6, Kind.RECEIVED, 3, 41, b""),
        Entry(7, Kind.SETTLED, 3, 50, b"NEVER_RECEIVED"),
    ]
    with opened(tmp_path / "j") as journal:
        assert stand(journal) == ("DAY1", 4, 2)
        assert list(journal.entries()) == entries
        assert [each.payload for each in journal.sent()] == [b"enter 1", b"enter 2", b"cancel 1"]
        assert [each.number for each in journal.received()] == [1, 2, 3]
        counters = journal.counters
        assert (counters.records, counters.sent, counters.received) == (8, 3, 3)
        assert (counters.sessions, counters.settled, counters.torn_bytes) == (1, 1, 0)


def test_messages_that_were_applied_are_not_given_again(tmp_path):
    filled(tmp_path / "j")
    with opened(tmp_path / "j") as journal:
        for applied in range(5):
            given = [each.number for each in journal.received(after=applied)]
            assert given == list(range(applied + 1, 4))


def test_new_session_begins_its_numbers_anew(tmp_path):
    filled(tmp_path / "j")
    with opened(tmp_path / "j") as journal:
        journal.append_session("DAY2", 1, 60)
        journal.append_received(1, b"day two", 61)
        assert list(journal.entries()) == []  # not flushed
        journal.flush(61)
        expected = [
            Entry(8, Kind.SESSION, 1, 60, b"DAY2"),
            Entry(9, Kind.RECEIVED, 1, 61, b"day two"),
        ]
        assert list(journal.entries()) == expected and stand(journal) == ("DAY2", 2, 0)
    with opened(tmp_path / "j") as journal:
        assert list(journal.entries()) == expected and stand(journal) == ("DAY2", 2, 0)
        assert journal.counters.sessions == 2


def test_hole_or_repetition_is_refused(tmp_path):
    with opened(tmp_path / "j") as journal:
        journal.append_received(1, b"one", 0)
        for sequence in (1, 3, 0):
            with pytest.raises(SessionError, match=f"message {sequence} .* 2 is the next"):
                journal.append_received(sequence, b"x", 0)
        journal.append_received(2, b"two", 0)


def test_what_is_not_flushed_is_not_there(tmp_path):
    path = tmp_path / "j"
    with opened(path) as journal:
        journal.append_sent(1, b"one", 0)
        journal.flush(0)
        size = path.stat().st_size
        journal.append_sent(2, b"two", 0)
        assert path.stat().st_size == size == journal.size_bytes
        assert journal.highest_user_ref_num == 2  # the number is used up all the same
    with opened(path) as journal:
        assert journal.highest_user_ref_num == 1


messages = st.one_of(
    st.tuples(st.just("sent"), st.integers(0, 2**32 - 1), st.binary(max_size=40)),
    st.tuples(st.just("received"), st.just(0), st.binary(max_size=40)),
    st.tuples(st.just("session"), st.integers(1, 10**6), st.just(b"DAY")),
)


@given(wanted=st.lists(messages, max_size=30), flushed=st.integers(0, 30))
@REPEATABLE
def test_whatever_was_flushed_comes_back(tmp_path_factory, wanted, flushed):
    path = tmp_path_factory.mktemp("journal") / "j"
    with opened(path) as journal:
        for at, (kind, number, payload) in enumerate(wanted):
            if kind == "sent":
                journal.append_sent(number, payload, at)
            elif kind == "received":
                journal.append_received(journal.next_sequence, payload, at)
            else:
                journal.append_session("DAY", number, at)
            if at < flushed:
                journal.flush(at)
                expected, stood = list(journal.entries()), stand(journal)
    with opened(path) as journal:
        if wanted and flushed:
            assert list(journal.entries()) == expected and stand(journal) == stood
        assert journal.counters.records == min(len(wanted), flushed)


# ---------------------------------------------------------------- cut and damaged


def test_cut_at_every_byte(tmp_path):
    """Whatever is left of the file, opening gives the whole records before the cut, and goes on."""
    entries = filled(tmp_path / "whole")
    raw = (tmp_path / "whole").read_bytes()
    ends = [HEADER.length]
    for entry in entries:
        ends.append(ends[-1] + RECORD.length + len(entry.payload))
    assert ends[-1] == len(raw)
    path = tmp_path / "cut"
    for cut in range(len(raw)):
        path.write_bytes(raw[:cut])
        whole = sum(end <= cut for end in ends[1:])
        with opened(path) as journal:
            assert list(journal.entries()) == entries[:whole]
            behind = ends[whole] if cut >= HEADER.length else 0
            assert journal.counters.torn_bytes == cut - behind
            journal.append_sent(77, b"next", 99)
            journal.flush(99)
        with opened(path) as journal:
            assert journal.counters.torn_bytes == 0
            assert list(journal.entries())[-1] == Entry(whole, Kind.SENT, 77, 99, b"next")


@pytest.mark.parametrize("bit", [0, 7])
def test_every_changed_byte_is_found(tmp_path, bit):
    """A changed record is never given: an error names the place; the last one is a torn tail."""
    entries = filled(tmp_path / "whole")
    raw = (tmp_path / "whole").read_bytes()
    last = len(raw) - RECORD.length - len(entries[-1].payload)
    path = tmp_path / "changed"
    for at in range(len(raw)):
        changed = bytearray(raw)
        changed[at] ^= 1 << bit
        path.write_bytes(changed)
        if at >= last:
            with opened(path) as journal:
                assert list(journal.entries()) == entries[:-1]
                assert journal.counters.torn_bytes == len(raw) - last
            continue
        with pytest.raises(SessionError, match=r"changed: (damaged at byte|not an|journal|a jour)"):
            opened(path)
        assert path.read_bytes() == bytes(changed)  # nothing was repaired unasked


def test_damage_is_named_with_its_place(tmp_path):
    path = tmp_path / "j"
    filled(path)
    raw = bytearray(path.read_bytes())
    at = raw.index(b"accepted 1")
    record = at - RECORD.length
    raw[at] ^= 1
    path.write_bytes(raw)
    with pytest.raises(SessionError) as raised:
        opened(path)
    assert str(raised.value) == (
        f"{path}: damaged at byte {record}, behind 2 records: a whole record follows at byte "
        f"{at + len(b'accepted 1')}; restore the file from a copy, or move it away and reconcile "
        "with the exchange"
    )


def test_record_taken_out_put_twice_or_moved(tmp_path):
    entries = filled(tmp_path / "whole")
    raw = (tmp_path / "whole").read_bytes()
    pieces, at = [], HEADER.length
    for entry in entries:
        pieces.append(raw[at : at + RECORD.length + len(entry.payload)])
        at += len(pieces[-1])
    without = pieces[:2] + pieces[3:]
    twice = pieces[:3] + pieces[2:]
    moved = [*pieces[:2], pieces[3], pieces[2], *pieces[4:]]
    for changed in (without, twice, moved):
        path = tmp_path / "changed"
        path.write_bytes(raw[: HEADER.length] + b"".join(changed))
        with pytest.raises(SessionError, match="damaged at byte"):
            opened(path)


@pytest.mark.parametrize("tail", [bytes(4096), b"\xff" * 100, b"\xf1TP\n" * 30])
def test_tail_of_nothing_is_torn(tmp_path, tail):
    """What a power failure can leave behind the last record: zeros, old blocks, bare markers."""
    entries = filled(tmp_path / "j")
    with (tmp_path / "j").open("ab") as file:
        file.write(tail)
    with opened(tmp_path / "j") as journal:
        assert journal.counters.torn_bytes == len(tail)
        assert list(journal.entries()) == entries


def test_payload_that_looks_like_a_record(tmp_path):
    """A message may contain whatever a peer likes, records of ours included."""
    filled(tmp_path / "other")
    inner = (tmp_path / "other").read_bytes()[HEADER.length :]
    with opened(tmp_path / "j") as journal:
        journal.append_received(1, inner, 0)
        journal.flush(0)
    with opened(tmp_path / "j") as journal:
        assert [each.payload for each in journal.received()] == [inner]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"hello", "not an order journal"),
        (b"x" * 100, "not an order journal"),
        (HEADER.encode(magic=b"TICKPATH", version=9, protocol="ouch50"), "journal version 9"),
        (HEADER.encode(magic=b"TICKPATH", version=1, protocol="ouch42"), "of 'ouch42', not of"),
    ],
)
def test_other_files_are_left_alone(tmp_path, content, expected):
    path = tmp_path / "j"
    path.write_bytes(content)
    with pytest.raises(SessionError, match=expected):
        opened(path)
    assert path.read_bytes() == content


# ---------------------------------------------------------------- the system


def test_one_process_at_a_time(tmp_path):
    taken = pytest.raises(SessionError, match="another process has this journal open")
    with opened(tmp_path / "j"), taken:
        opened(tmp_path / "j")
    opened(tmp_path / "j").close()


def test_path_that_cannot_be_opened(tmp_path):
    with pytest.raises(SessionError, match="nowhere/j: cannot be opened: No such file"):
        opened(tmp_path / "nowhere" / "j")


@contextmanager
def files_no_longer_than(size_bytes: int):
    """The system refuses to write beyond this size, in the middle of a write if need be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)


@pytest.mark.parametrize("room", range(0, 120, 7))
def test_disk_full_leaves_nothing_half_written(tmp_path, room):
    path = tmp_path / "j"
    entries = filled(path)
    journal = opened(path)
    size = journal.size_bytes
    journal.append_sent(8, b"x" * 40, 60)
    journal.append_sent(9, b"y" * 40, 61)
    refused = pytest.raises(SessionError, match="cannot be written: File too large; nothing was")
    with files_no_longer_than(size + room), refused:
        journal.flush(61)
    assert path.stat().st_size == size
    for use in (
        lambda: journal.flush(62),
        lambda: journal.append_sent(10, b"z", 62),
        lambda: list(journal.entries()),
    ):
        with pytest.raises(SessionError, match="cannot be written"):
            use()
    journal.close()
    with opened(path) as journal:
        assert list(journal.entries()) == entries and journal.counters.torn_bytes == 0


def test_bound_of_the_file(tmp_path):
    with opened(tmp_path / "j", max_bytes=HEADER.length + RECORD.length + 3) as journal:
        journal.append_sent(1, b"abc", 0)
        journal.flush(0)
        journal.append_sent(2, b"", 0)
        with pytest.raises(SessionError, match="may not grow beyond 60 bytes"):
            journal.flush(0)


def test_closed_journal_says_so(tmp_path):
    journal = opened(tmp_path / "j")
    journal.close()
    journal.close()
    with pytest.raises(SessionError, match="is closed"):
        journal.append_sent(1, b"x", 0)


# ---------------------------------------------------------------- fsync


def synced(path, fsync: str, times_ns: list[int]) -> list[int]:
    """How many fsyncs there were after each flush of one message."""
    with opened(path, fsync=fsync, fsync_interval_ns=SECOND) as journal:
        before, counts = journal.fsyncs, []
        for now_ns in times_ns:
            journal.append_sent(0, b"x", now_ns)
            journal.flush(now_ns)
            counts.append(journal.fsyncs - before)
        return counts


def test_fsync_policies(tmp_path):
    times_ns = [0, 10, SECOND - 1, SECOND, SECOND + 1, 2 * SECOND, 3 * SECOND]
    assert synced(tmp_path / "always", "always", times_ns) == [1, 2, 3, 4, 5, 6, 7]
    assert synced(tmp_path / "interval", "interval", times_ns) == [0, 0, 0, 1, 1, 1, 2]
    assert synced(tmp_path / "none", "none", times_ns) == [0] * 7


def test_interval_has_a_deadline_while_something_is_not_on_the_disk(tmp_path):
    with opened(tmp_path / "j", fsync="interval", fsync_interval_ns=SECOND) as journal:
        assert journal.next_deadline is None
        journal.append_sent(1, b"x", 5)
        assert journal.next_deadline is None
        journal.flush(5)
        assert journal.next_deadline == SECOND + 5
        journal.flush(SECOND + 5)  # with nothing new: the deadline itself
        assert journal.next_deadline is None and journal.fsyncs == 2


# ---------------------------------------------------------------- kill -9

WRITER = """
import sys
from tickpath.session.store import Journal
journal = Journal(sys.argv[1], protocol="ouch50", fsync="none")
first = journal.highest_user_ref_num + 1
for number in range(first, first + 10**9):
    journal.append_sent(number, b"order %d" % number * (number % 50), number)
    journal.append_received(journal.next_sequence, b"answer %d" % number, number)
    journal.flush(number)
    print(number, flush=True)
"""


def test_killed_writer_loses_nothing_it_said_was_written(tmp_path):
    path = tmp_path / "j"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "pipeline")}
    said = 0
    for lines in (1, 7, 40, 200, 3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        for _ in range(lines):
            said = int(writer.stdout.readline())
        writer.kill()
        writer.communicate()
        with opened(path) as journal:
            sent = list(journal.sent())
            assert [each.number for each in sent] == list(range(1, len(sent) + 1))
            assert len(sent) >= said and journal.highest_user_ref_num == len(sent)
            assert [each.payload for each in sent] == [
                b"order %d" % number * (number % 50) for number in range(1, len(sent) + 1)
            ]
            assert journal.next_sequence in (len(sent), len(sent) + 1)
