"""A journal's copy: the same records byte for byte, from wherever the last shipment ended."""

import socket
import threading
from pathlib import Path
from random import Random

import pytest

from journal_records import IDENTITY, SMALL, abandon, all_of, journal, killed, made, run
from tickpath.replica.journal import DamagedError, JournalError, JournalWriter
from tickpath.replica.journal_frame import Frame, Frames, encode
from tickpath.replica.journal_header import DATA_OFFSET, segments
from tickpath.replica.journal_link import Receiver, send
from tickpath.replica.journal_receipt import Receipt
from tickpath.replica.journal_segment import Segment
from tickpath.replica.journal_ship import ship, shipment
from tickpath.replica.journal_verify import verify
from tickpath.wire.journal import FrameKind

RECORDS = made(1, 2000)


def same_files(one: Path, other: Path) -> None:
    assert [each.name for each in segments(one)] == [each.name for each in segments(other)]
    for here, there in zip(segments(one), segments(other), strict=True):
        assert here.read_bytes() == there.read_bytes(), here.name


def test_a_copy_is_brought_up_to_date_while_the_journal_is_written(tmp_path):
    source, target, rng = tmp_path / "a", tmp_path / "b", Random(1)
    at, total = 0, 0
    while at < len(RECORDS):
        writer = JournalWriter(source, IDENTITY, SMALL)
        for _ in range(rng.randrange(1, 6)):
            step = rng.randrange(1, 120)
            writer.append(run(RECORDS[at : at + step]))
            at = min(at + step, len(RECORDS))
            if rng.random() < 0.6:
                shipped = ship(source, target)
                assert shipped.last_number == at
                total += shipped.bytes
                assert verify(target).findings == []
        (abandon if rng.random() < 0.5 else JournalWriter.close)(writer)
    shipped = ship(source, target)
    same_files(source, target)
    assert all_of(target) == RECORDS and verify(target).is_sealed == verify(source).is_sealed
    # What was shipped once is not shipped again.
    assert ship(source, target) == (2000, 0, 0, 0)
    used = sum(len(each.read_bytes().rstrip(b"\0")) - DATA_OFFSET for each in segments(source))
    assert abs(total + shipped.bytes - used) < 40 * 8


def test_a_shipment_that_is_cut_anywhere_is_gone_on_with(tmp_path):
    source, target = journal(tmp_path / "a", RECORDS), tmp_path / "b"
    rng = Random(2)
    frames = 0
    for _ in range(200):
        with Receipt(target) as receipt:
            left = list(shipment(source, receipt.have))
            if len(left) <= frames:
                break
            for frame in left[: rng.randrange(1, 3)]:
                receipt.take(frame)
            frames = 2  # of a shipment that has nothing: the last segment's header, the end
        # A write that was under way.
        last = Segment(segments(target)[-1])
        extent = last.extent(is_last=True)
        last.close()
        if not extent.is_sealed and rng.random() < 0.7:
            with open(last.path, "rb+") as file:
                file.seek(extent.end)
                file.write(rng.randbytes(rng.randrange(1, 60)))
    else:
        raise AssertionError("it never ended")
    ship(source, target)
    same_files(source, target)


def test_the_wire_form_survives_any_cut_and_no_change(tmp_path):
    source = journal(tmp_path / "a", RECORDS[:300])
    with Receipt(tmp_path / "b") as receipt:
        sent = list(shipment(source, receipt.have))
    raw = b"".join(map(encode, sent))
    rng, frames, found = Random(3), Frames(), []
    at = 0
    while at < len(raw):
        step = rng.randrange(1, 5000)
        found += frames.feed(raw[at : at + step])
        at += step
    assert found == sent and sent[-1] == Frame(FrameKind.DONE)
    for _ in range(100):
        at = rng.randrange(len(raw))
        changed = bytearray(raw)
        changed[at] ^= 1 << rng.randrange(8)
        reader, got = Frames(), []
        with pytest.raises(JournalError, match=r"no shipment|never"):
            got += reader.feed(bytes(changed))
            raise JournalError("the rest is never whole")
        assert got == sent[: len(got)]


def test_damage_is_not_shipped(tmp_path):
    source = killed(tmp_path / "a", RECORDS[:300])
    (path,) = segments(source)
    at = DATA_OFFSET + sum(map(len, RECORDS[:200]))
    raw = bytearray(path.read_bytes())
    raw[at + 30] ^= 2
    path.write_bytes(raw)
    with pytest.raises(DamagedError, match=f"{path.name}, at offset {at}: record 201"):
        ship(source, tmp_path / "b")
    assert all_of(tmp_path / "b") == RECORDS[:200]


@pytest.mark.parametrize("position", [0, 20, 100])
def test_a_receiver_takes_no_damaged_bytes(tmp_path, position):
    source = journal(tmp_path / "a", RECORDS[:30])
    with Receipt(tmp_path / "b") as receipt:
        header, records, *_ = shipment(source, receipt.have)
        assert (header.kind, records.kind) == (FrameKind.SEGMENT, FrameKind.BYTES)
        receipt.take(header)
        body = bytearray(records.body)
        body[position] ^= 1
        with pytest.raises(JournalError, match="came damaged"):
            receipt.take(records._replace(body=bytes(body)))
        with pytest.raises(JournalError, match="do not follow"):
            receipt.take(records._replace(offset=records.offset + 8))
        with pytest.raises(JournalError, match="header"):
            receipt.take(header._replace(body=header.body[:-1] + b"x"))
    assert all_of(tmp_path / "b") == []


def test_what_is_no_copy_is_refused(tmp_path):
    source = journal(tmp_path / "a", RECORDS[:900])
    other = journal(tmp_path / "other", made(1, 50, seed=2))
    with pytest.raises(JournalError, match="another journal"):
        ship(other, source)
    with pytest.raises(JournalError, match="is the journal itself"):
        ship(source, source)
    with pytest.raises(JournalError, match="no journal can be read"):
        ship(tmp_path / "none", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    # Too far behind: what the copy lacks is not kept any more.
    killed(tmp_path / "c", RECORDS[:100])
    copy = tmp_path / "copy"
    ship(tmp_path / "c", copy)
    segments(tmp_path / "c")[0].unlink()
    with pytest.raises(JournalError, match="fell too far behind"):
        ship(tmp_path / "c", copy)
    writer = JournalWriter(tmp_path / "busy", IDENTITY, SMALL)
    with pytest.raises(JournalError, match="being written by another process"):
        ship(source, tmp_path / "busy")
    writer.close()


# ---------------------------------------------------------------- by TCP


class Serving:
    """A receiver in a thread."""

    def __init__(self, place: Path) -> None:
        self.said: list[str] = []
        self.stop = threading.Event()
        self.receiver = Receiver(place, ("127.0.0.1", 0), timeout_s=20, say=self.said.append)
        self.whole = 0
        self.thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        self.whole = self.receiver.serve(self.stop.is_set)

    def __enter__(self) -> "Serving":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()
        self.receiver.close()


def test_a_copy_behind_a_connection(tmp_path):
    source, target = tmp_path / "a", tmp_path / "b"
    killed(source, RECORDS[:700])
    with Serving(target) as serving:
        first = send(source, serving.receiver.address)
        assert (first.last_number, first.segments) == (700, len(segments(source)))
        journal(source, RECORDS[700:])
        second = send(source, serving.receiver.address)
        assert second.last_number == 2000
        assert send(source, serving.receiver.address) == (2000, 0, 0, 0)
    same_files(source, target)
    assert serving.whole == 3 and len(serving.said) == 3
    assert first.bytes == sum(map(len, RECORDS[:700])) + 40 * (first.segments - 1)


def test_a_refusal_is_said_on_both_sides(tmp_path):
    journal(tmp_path / "a", RECORDS[:300])
    journal(tmp_path / "b", made(1, 30, seed=5))
    with Serving(tmp_path / "b") as serving:
        with pytest.raises(JournalError, match="is of another journal: ship to a new place"):
            send(tmp_path / "a", serving.receiver.address)
        # What is no shipment at all, or ends before it is whole.
        with socket.create_connection(serving.receiver.address) as stranger:
            stranger.sendall(b"\xff" * 64)
            while stranger.recv(4096):
                pass
        with socket.create_connection(serving.receiver.address) as stranger:
            stranger.recv(1)
    assert serving.whole == 0 and [("no shipment" in each) for each in serving.said][1:2] == [True]
    assert all_of(tmp_path / "b") == made(1, 30, seed=5)


def test_nobody_who_listens(tmp_path):
    journal(tmp_path / "a", RECORDS[:3])
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = bound.getsockname()
        with pytest.raises(JournalError, match=f"{address[1]}: Connection refused"):
            send(tmp_path / "a", address)
        with pytest.raises(JournalError, match="cannot be listened to: Address already in use"):
            Receiver(tmp_path / "b", address)
