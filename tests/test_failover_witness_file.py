"""A witness's file: killed at every byte of a write, damaged, full, taken by another."""

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from test_failover_witness import kepts
from tickpath.failover import witness_file
from tickpath.failover.witness import WitnessError
from tickpath.failover.witness_file import (
    BLOCK,
    FILE_BYTES,
    LEAP,
    SLOT_BYTES,
    WitnessFile,
    create,
    new_file,
    next_slot,
    slot_bytes,
    slot_of,
    state_of,
)
from tickpath.failover.witness_message import Kept, cluster_id

ID = cluster_id("tickpath")
FIRST = Kept(3, 11, 50, 100, "A", 2, 7, b"note")
SECOND = Kept(4, 22, 50, 100, "B", 4, 9, b"another note")


@given(kepts, st.integers(0, 2**64 - 1))
def test_slots_there_and_back(kept, generation):
    raw = slot_bytes(kept, generation)
    assert slot_of(raw.ljust(SLOT_BYTES, b"\0")) == (generation, kept)
    assert slot_of(raw.ljust(SLOT_BYTES, b"\xff")) == (generation, kept)  # of a longer one before


def test_states_survive(tmp_path):
    path = tmp_path / "w.state"
    create(path, ID, Kept())
    for each in (FIRST, SECOND, FIRST, Kept(5)):
        file = WitnessFile(path, ID)
        file.write(each)
        file.close()
        file = WitnessFile(path, ID)
        assert file.kept == each and not file.findings
        file.close()
    assert path.stat().st_size == FILE_BYTES and path.stat().st_mode & 0o777 == 0o600


def test_a_write_cut_short_at_every_byte():
    content = new_file(ID, FIRST)
    raw, at = slot_bytes(SECOND, 2), next_slot(1)
    for kept in range(len(raw) + 1):
        torn = content[:at] + raw[:kept] + content[at + kept :]
        generation, state, findings = state_of(torn, ID, "w")
        if kept == len(raw):
            assert (generation, state, findings) == (2, SECOND, [])
        elif not raw[:kept].strip(b"\0"):
            assert (generation, state, findings) == (1, FIRST, [])
        else:
            assert generation == 1 and len(findings) == 1
            assert state == Kept(3 + LEAP, 0, *list(_fields(FIRST))[2:])
            assert "w: slot 0 was not written to its end (epoch 3" in findings[0].replace(
                "slot 1", "slot 0"
            )


def _fields(kept: Kept):
    return (getattr(kept, name) for name in Kept.__struct_fields__)


def test_every_damaged_byte_is_found():
    content = new_file(ID, FIRST)
    second = slot_bytes(SECOND, 2)
    content = content[: next_slot(1)] + second + content[next_slot(1) + len(second) :]
    for at in range(next_slot(1), next_slot(1) + len(second)):
        damaged = content[:at] + bytes([content[at] ^ 0x40]) + content[at + 1 :]
        _, state, findings = state_of(damaged, ID, "w")
        assert state.epoch == FIRST.epoch + LEAP > SECOND.epoch and findings
    both = bytearray(content)
    both[BLOCK] ^= 1
    both[BLOCK + SLOT_BYTES] ^= 1
    with pytest.raises(WitnessError, match="both slots are damaged"):
        state_of(bytes(both), ID, "w")


def test_the_leap_is_kept(tmp_path):
    path = tmp_path / "w.state"
    create(path, ID, FIRST)
    with path.open("r+b") as raw:
        raw.seek(next_slot(1))
        raw.write(slot_bytes(SECOND, 2)[:50])
    file = WitnessFile(path, ID)
    assert file.kept.epoch == 3 + LEAP and len(file.findings) == 1
    file.close()
    file = WitnessFile(path, ID)
    assert file.kept.epoch == 3 + LEAP and not file.findings
    file.close()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "0 bytes, a witness's file has"),
        (new_file(ID, FIRST)[:-1], "it was cut off"),
        (new_file(ID, FIRST) + b"x", "is something else"),
        (b"X" + new_file(ID, FIRST)[1:], "not a witness's file of version 1"),
        (new_file(ID + 1, FIRST), "the file is another cluster's"),
        (new_file(ID, FIRST)[:BLOCK] + bytes(2 * SLOT_BYTES), "both slots are damaged"),
    ],
)
def test_files_that_are_refused(tmp_path, content, said):
    path = tmp_path / "w.state"
    path.write_bytes(content)
    with pytest.raises(WitnessError, match=said) as raised:
        WitnessFile(path, ID)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_one_process_at_a_time(tmp_path):
    path = tmp_path / "w.state"
    create(path, ID, FIRST)
    file = WitnessFile(path, ID)
    with pytest.raises(WitnessError, match="another witness has this file open"):
        WitnessFile(path, ID)
    file.close()
    WitnessFile(path, ID).close()


def test_a_file_that_is_there_is_not_made_again(tmp_path):
    path = tmp_path / "w.state"
    create(path, ID, FIRST)
    with pytest.raises(WitnessError, match="cannot be made: File exists"):
        create(path, ID, SECOND)
    with pytest.raises(WitnessError, match="cannot be made: No such file"):
        create(tmp_path / "nowhere" / "w.state", ID, SECOND)
    with pytest.raises(WitnessError, match="cannot be opened: No such file"):
        WitnessFile(tmp_path / "none", ID)
    assert [each.name for each in tmp_path.iterdir()] == ["w.state"]


def test_a_full_disk_refuses_and_recovers(tmp_path, monkeypatch):
    path = tmp_path / "w.state"
    create(path, ID, FIRST)
    file = WitnessFile(path, ID)
    whole = os.pwrite
    room = 60

    def full(fd: int, content: bytes, at: int) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = whole(fd, content[:room], at)
        room -= written
        return written

    monkeypatch.setattr(witness_file.os, "pwrite", full)
    with pytest.raises(WitnessError, match="cannot be written: No space left on device"):
        file.write(SECOND)
    assert file.kept == FIRST
    assert state_of(path.read_bytes(), ID, "w")[1].epoch >= FIRST.epoch
    room = 1 << 20
    file.write(SECOND)
    file.close()
    assert WitnessFile(path, ID).kept == SECOND


def test_a_failed_sync_is_final(tmp_path, monkeypatch):
    path = tmp_path / "w.state"
    create(path, ID, FIRST)
    file = WitnessFile(path, ID)
    sync = os.fdatasync

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(witness_file.os, "fdatasync", fail)
    with pytest.raises(WitnessError, match="cannot be synced: Input/output error"):
        file.write(SECOND)
    monkeypatch.setattr(witness_file.os, "fdatasync", sync)
    with pytest.raises(WitnessError, match="a sync failed before: start the witness again"):
        file.write(SECOND)
    assert file.kept == FIRST
    file.close()
