"""Every change, gap and cut of an audit file is found, at its place; what cannot be is said."""

import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from test_audit_file import KEY, NOW, audit, forged, offsets, read, rows, split, writer
from tickpath.audit import AuditError, AuditWriter, Finding, Flaw, verify
from tickpath.audit_file import BLOCK_OVERHEAD, DIGEST_BYTES, BlockKind, Chain
from tickpath.audit_verify import MAX_CONTINUATIONS_LISTED
from tickpath.audit_walk import Walk, open_file

BOTH = pytest.mark.parametrize("key", [None, KEY], ids=["plain", "keyed"])
OTHER_KEY = KEY[::-1]


def scene(path: Path, key: bytes | None = None) -> Path:
    """Every kind of block: records, losses, torn and gone on, closed and gone on, closed."""
    audit(path, 2, 1, key=key, closed=False)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 3)
    with writer(path, key) as made:
        made.append(rows(1, 5), lost=3)
    with writer(path, key) as made:
        made.append(rows(2, 6))
    return path


def found(path: Path, key: bytes | None = None, head: bytes | None = None) -> list[Finding]:
    return verify(path, key, head).findings


def flaw(path: Path, raw: bytes, key: bytes | None = None) -> tuple[Flaw, int | None]:
    """The only finding in these bytes: which flaw, in which block."""
    path.write_bytes(raw)
    findings = found(path, key)
    assert len(findings) == 1, findings
    return findings[0].flaw, findings[0].block


def starts(path: Path, key: bytes | None) -> list[int]:
    """Where each block begins, and the end."""
    with open_file(path) as file:
        walk = Walk(file, str(path), key)
        return [walk.at.offset, *(walk.at.offset for _ in walk)]


# ---------------------------------------------------------------- sound files


@BOTH
def test_a_sound_file(tmp_path, key):
    path = scene(tmp_path / "a", key)
    verdict = verify(path, key)
    assert verdict.findings == [] and verdict.closed
    assert (verdict.records, verdict.lost, verdict.continuations) == (5, 3, 2)
    assert verdict.sound_bytes == path.stat().st_size
    assert verdict.scheme == ("HMAC_SHA256" if key else "SHA256") and verdict.ts_created == NOW
    told = [(each.block, each.after, each.cut_bytes) for each in verdict.continued]
    assert told == [(1, "torn", BLOCK_OVERHEAD + 21 - 3), (3, "end", 0)]
    assert verdict.head == path.read_bytes()[-DIGEST_BYTES:].hex()


def test_an_empty_run_is_sound(tmp_path):
    verdict = verify(audit(tmp_path / "a"))
    assert (verdict.findings, verdict.blocks, verdict.records) == ([], 1, 0)


@pytest.mark.parametrize("blocks", [(), (3,), (3, 2)])
def test_without_an_end_it_is_not_closed(tmp_path, blocks):
    path = audit(tmp_path / "a", *blocks, closed=False)
    size = path.stat().st_size
    (finding,) = found(path)
    assert finding[:3] == (Flaw.NOT_CLOSED, None, size)


# ---------------------------------------------------------------- every byte, every length


@BOTH
def test_every_change_of_a_byte_is_found_where_it_is(tmp_path, key):
    path = scene(tmp_path / "a", key)
    raw, begins = path.read_bytes(), starts(path, key)
    missed, elsewhere, refused = [], [], set()
    with path.open("r+b", buffering=0) as file:
        for at, byte in enumerate(raw):
            block = int(np.searchsorted(begins, at, side="right")) - 1
            for mask in (*(1 << bit for bit in range(8)), 3, 0xFF, byte or 0x55):
                os.pwrite(file.fileno(), bytes([byte ^ mask]), at)
                try:
                    findings = found(path, key)
                except AuditError:
                    refused.add(at)  # not recognised, or said to be under a key
                    continue
                if not findings:
                    missed.append((at, mask))
                elif findings[0].block != (None if block < 0 else block):
                    elsewhere.append((at, mask, findings))
                elif findings[0].flaw not in (Flaw.CHANGE, Flaw.KEY, Flaw.TORN):
                    elsewhere.append((at, mask, findings))
            os.pwrite(file.fileno(), bytes([byte]), at)
    assert not missed and not elsewhere
    # Only the mark, the version and the scheme may make it another kind of file.
    assert refused == set(range(12)) | (set() if key else {12})
    assert found(path, key) == []


@BOTH
def test_a_changed_byte_of_a_block_is_a_change(tmp_path, key):
    """Also where the byte is one of a length, a number or a link."""
    path = scene(tmp_path / "a", key)
    raw, begins = path.read_bytes(), starts(path, key)
    for at in range(begins[0], len(raw)):
        changed = raw[:at] + bytes([raw[at] ^ 0x10]) + raw[at + 1 :]
        block = int(np.searchsorted(begins, at, side="right")) - 1
        assert flaw(tmp_path / "b", changed, key) == (Flaw.CHANGE, block), at


@BOTH
def test_every_cut_is_found(tmp_path, key):
    path = scene(tmp_path / "a", key)
    raw, begins = path.read_bytes(), starts(path, key)
    for length in range(len(raw)):
        path.write_bytes(raw[:length])
        if length < 8:
            with pytest.raises(AuditError, match="is empty" if not length else "no audit file"):
                verify(path, key)
            continue
        (finding,) = found(path, key)
        if length in begins:
            assert finding[:3] == (Flaw.NOT_CLOSED, None, length)
        else:
            block = int(np.searchsorted(begins, length, side="right")) - 1
            assert finding[:2] == (Flaw.TORN, None if block < 0 else block), length


@BOTH
def test_bytes_behind_the_end_are_found(tmp_path, key):
    raw = scene(tmp_path / "a", key).read_bytes()
    for more in (b"\0", b"x", bytes(500), raw, split(raw)[-1], split(raw)[1]):
        assert flaw(tmp_path / "b", raw + more, key) == (Flaw.TRAILING, None)


# ---------------------------------------------------------------- whole blocks


@BOTH
def test_removed_repeated_and_exchanged_blocks(tmp_path, key):
    path = audit(tmp_path / "a", 1, 1, 1, 1, key=key)
    header, *blocks = split(path.read_bytes())
    a, b, c, d, end = blocks

    def of(*parts: bytes) -> tuple[Flaw, int | None]:
        return flaw(tmp_path / "b", b"".join([header, *parts]), key)

    assert of(b, c, d, end) == (Flaw.GAP, 0)
    assert of(a, d, end) == (Flaw.GAP, 1)
    assert of(a, b, c, end) == (Flaw.GAP, 3)
    assert of(a, b, c, d) == (Flaw.NOT_CLOSED, None)
    assert of(a, a, b, c, d, end) == (Flaw.ORDER, 1)
    assert of(a, b, c, a, d, end) == (Flaw.ORDER, 3)
    assert of(a, c, b, d, end) == (Flaw.GAP, 1)
    assert of(a, b, c, d, end, end) == (Flaw.TRAILING, None)
    assert of(end) == (Flaw.GAP, 0)
    assert found(path, key) == []


@given(st.lists(st.integers(0, 5), max_size=9))
def test_any_other_order_of_blocks_is_found_at_the_first_that_is_wrong(tmp_path_factory, order):
    path = tmp_path_factory.getbasetemp() / "ordered"
    if not path.exists():
        audit(path, 2, 1, 3, 1, 2)
    header, *blocks = split(path.read_bytes())
    shuffled = path.with_name("shuffled")
    shuffled.write_bytes(b"".join([header, *(blocks[n] for n in order)]))
    right = list(range(6))
    wrong = next((n for n, each in enumerate(order) if n > 5 or each != n), None)
    findings = [finding[:2] for finding in found(shuffled)]
    if order == right:
        assert findings == []
    elif wrong is None:
        assert findings == [(Flaw.NOT_CLOSED, None)]
    elif wrong == 6:
        assert findings == [(Flaw.TRAILING, None)]
    else:
        assert findings == [(Flaw.GAP if order[wrong] > wrong else Flaw.ORDER, wrong)]


@BOTH
def test_a_block_of_another_file(tmp_path, key):
    """Same key, same numbers, same records: it still did not follow this file's block."""
    first, second = (split(audit(tmp_path / n, 1, 1, key=key).read_bytes()) for n in "ab")
    assert first[2][96:-DIGEST_BYTES] == second[2][96:-DIGEST_BYTES]
    for block in (1, 2, 3):
        mixed = [*first[:block], second[block], *first[block + 1 :]]
        assert flaw(tmp_path / "c", b"".join(mixed), key) == (Flaw.CHAIN, block - 1)
    assert flaw(tmp_path / "c", b"".join([second[0], *first[1:]]), key) == (Flaw.CHAIN, 0)


# ---------------------------------------------------------------- soundly hashed, not sound


def test_blocks_that_no_writer_makes(tmp_path):
    raw = audit(tmp_path / "a", 2, closed=False).read_bytes()
    last = raw[-DIGEST_BYTES:]
    payload = rows(2, 2).tobytes()
    two = {"first_record": 2, "record_count": 2}
    totals = struct.pack("<4Q", 1, 2, 0, 0)
    end = {"kind": BlockKind.END, "first_record": 2}

    def of(**fields) -> tuple[Flaw, int | None]:
        content = fields.pop("payload", payload)
        block = forged(last, fields.pop("number", 1), content, **fields)
        return flaw(tmp_path / "b", raw + block)

    assert of(**two) == (Flaw.NOT_CLOSED, None)
    assert of(**{**two, "first_record": 3}) == (Flaw.GAP, 1)
    assert of(**{**two, "first_record": 1}) == (Flaw.GAP, 1)
    assert of(**two, lost=1) == (Flaw.GAP, 1)
    assert of(**{**two, "first_record": 3}, lost=1) == (Flaw.NOT_CLOSED, None)
    assert of(**{**two, "record_count": 1}) == (Flaw.FORM, 1)
    assert of(**two, kind=9) == (Flaw.FORM, 1)
    assert of(**two, kind=BlockKind.CONTINUED) == (Flaw.FORM, 1)
    assert of(**two, payload_length=1 << 31) == (Flaw.FORM, 1)
    assert of(**two, magic=b"TPAC") == (Flaw.CHANGE, 1)
    longer = {"kind": BlockKind.CONTINUED, "first_record": 2, "payload_length": (2 << 20) + 1}
    assert of(**longer) == (Flaw.FORM, 1)
    assert of(**{**longer, "payload_length": 2 << 20}) == (Flaw.TORN, 1)
    assert of(**two, number=2) == (Flaw.GAP, 1)
    assert of(**two, number=0) == (Flaw.ORDER, 1)
    huge = (1 << 20) // 21 + 1
    big = {"first_record": 2, "record_count": huge, "payload": bytes(21 * huge)}
    assert of(**big) == (Flaw.FORM, 1)
    (tmp_path / "c").write_bytes(raw + forged(last, 1, totals, **end))
    assert found(tmp_path / "c") == []
    for wrong in (totals[:-8], totals + b"\0", struct.pack("<4Q", 1, 3, 0, 0)):
        assert of(payload=wrong, **end) == (Flaw.FORM, 1)


def test_a_header_that_describes_nothing(tmp_path):
    """Whoever writes the chain anew writes any header: it is an error in words, never a crash."""
    raw = audit(tmp_path / "a", 1).read_bytes()
    field, tables = '{"name": "a", "type": "<u8"}', '{"tables": {"t": {"one": "ONE"}}}'
    coded = '{"name": "a", "type": "<u8", "form": "code:t"}'

    def of(size: int, fields: str, identity: str = "{}") -> str:
        return f'{{"record": {{"size": {size}, "fields": [{fields}]}}, "identity": {identity}}}'

    for text in (
        *("", "null", "[]", "{", "[" * 100_000, '{"record": {}}'),
        '{"record": [], "identity": {}}',
        '{"record": {}, "identity": {}}',
        *(of(8, "1"), of(8, ""), of(9, field), of(16, f"{field}, {field}")),
        of(8, '{"name": "", "type": "<u8"}'),
        of(8, '{"name": "a", "type": "O"}'),
        of(8, field, '{"tables": 1}'),
        of(8, field, '{"tables": {"x": {"1": 1}}}'),
        of(8, coded),
        of(8, coded, tables),
    ):
        header = raw[:48] + struct.pack("<I", len(text)) + text.encode()
        (tmp_path / "b").write_bytes(header + Chain(None).digest(header))
        with pytest.raises(AuditError, match=str(tmp_path / "b")):
            verify(tmp_path / "b")
    header = raw[:48] + struct.pack("<I", (1 << 20) + 1) + bytes((1 << 20) + 1)
    sound = header + Chain(None).digest(header)
    assert flaw(tmp_path / "b", sound) == (Flaw.CHANGE, None)


# ---------------------------------------------------------------- keys


def test_a_wrong_key_and_a_missing_one(tmp_path):
    keyed, plain = audit(tmp_path / "k", 2, key=KEY), audit(tmp_path / "p", 2)
    assert [each.flaw for each in found(keyed, OTHER_KEY)] == [Flaw.KEY]
    assert [each.flaw for each in found(plain, KEY)] == [Flaw.KEY]
    with pytest.raises(AuditError, match="is under a key"):
        verify(keyed)


def test_a_keyed_file_cannot_be_continued_forged_or_closed_without_its_key(tmp_path):
    raw = audit(tmp_path / "a", 2, key=KEY, closed=False).read_bytes()
    last, totals = raw[-DIGEST_BYTES:], struct.pack("<4Q", 1, 2, 0, 0)
    for block in (
        forged(last, 1, rows(1, 2).tobytes(), OTHER_KEY, first_record=2, record_count=1),
        forged(last, 1, totals, None, kind=BlockKind.END, first_record=2),
    ):
        assert flaw(tmp_path / "b", raw + block, KEY) == (Flaw.CHANGE, 1)


def test_the_limits_of_the_file_alone_and_that_a_head_kept_elsewhere_lifts_them(tmp_path):
    """What the docstring says cannot be seen, is not seen; and each of it is, with a head."""
    made = writer(tmp_path / "a")
    made.append(rows(2))
    noted = bytes.fromhex(made.head)
    made.close()
    older = (tmp_path / "a").read_bytes()
    with writer(tmp_path / "a") as made:
        made.append(rows(1, 2))
    newest = bytes.fromhex(verify(tmp_path / "a").head or "")
    # An older state of the file.
    (tmp_path / "a").write_bytes(older)
    assert found(tmp_path / "a") == []
    assert [each.flaw for each in found(tmp_path / "a", head=newest)] == [Flaw.HEAD]
    # The whole chain computed anew, and any other sound file.
    audit(tmp_path / "a2", 2)
    assert found(tmp_path / "a2") == []
    assert [each.flaw for each in found(tmp_path / "a2", head=noted)] == [Flaw.HEAD]
    # Cut between two blocks before a writer went on.
    first = split(older)
    (tmp_path / "a").write_bytes(first[0])
    writer(tmp_path / "a").close()
    assert found(tmp_path / "a") == []
    assert [each.flaw for each in found(tmp_path / "a", head=noted)] == [Flaw.HEAD]


# ---------------------------------------------------------------- heads


@BOTH
def test_every_head_that_a_file_ever_had_is_met(tmp_path, key):
    heads: list[str] = []
    for _ in range(3):
        with writer(tmp_path / "a", key) as made:
            heads.append(made.head)
            for _ in range(3):
                made.append(rows(2, made.next_record))
                heads.append(made.head)
        heads.append(made.head)
    assert len(set(heads)) == len(heads) == 15
    for head in heads:
        verdict = verify(tmp_path / "a", key, bytes.fromhex(head))
        assert verdict.findings == [] and verdict.head_block is not None
    for head in heads:
        other = bytes.fromhex(head[:-1] + ("0" if head[-1] != "0" else "1"))
        assert [each.flaw for each in found(tmp_path / "a", key, other)] == [Flaw.HEAD]


def test_a_head_is_said_to_be_missing_beside_a_missing_end(tmp_path):
    path = audit(tmp_path / "a", 2, closed=False)
    assert [each.flaw for each in found(path, head=bytes(32))] == [Flaw.NOT_CLOSED, Flaw.HEAD]


def test_the_head_of_an_end_that_was_gone_on_with_cannot_be_claimed(tmp_path):
    """Only an end that follows the chain at that place counts as one."""
    raw = audit(tmp_path / "a", 2, closed=False).read_bytes()
    last = raw[-DIGEST_BYTES:]
    foreign = split(audit(tmp_path / "b", 2).read_bytes())[-1]
    totals = struct.pack("<4Q", 1, 2, 0, 0)
    ours = forged(last, 1, totals, kind=BlockKind.END, first_record=2)
    for payload, after in (
        (foreign, "torn"),
        (ours[:-1] + bytes([ours[-1] ^ 1]), "torn"),
        (ours, "end"),
    ):
        block = forged(last, 1, payload, kind=BlockKind.CONTINUED, first_record=2)
        (tmp_path / "c").write_bytes(raw + block)
        verdict = verify(tmp_path / "c", head=payload[-DIGEST_BYTES:])
        missing = [] if after == "end" else [Flaw.HEAD]
        assert [each.flaw for each in verdict.findings] == [Flaw.NOT_CLOSED, *missing]
        assert verdict.continued[0].after == after


# ---------------------------------------------------------------- bounds


def test_memory_does_not_grow_with_the_file(tmp_path):
    with writer(tmp_path / "a") as made:
        chunk = rows(100_000)
        for _ in range(10):
            made.append(chunk)
    assert (tmp_path / "a").stat().st_size > 20 << 20
    tracemalloc.start()
    assert found(tmp_path / "a") == []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_progress_says_how_far_it_is(tmp_path, monkeypatch):
    path = audit(tmp_path / "a", 5, 5)
    monkeypatch.setattr("tickpath.audit_verify._PROGRESS_BYTES", 1)
    calls: list[tuple[int, int, int]] = []
    verify(path, progress=lambda *call: calls.append(call))
    ends = offsets(path.read_bytes())[1:]
    size = path.stat().st_size
    assert calls == [(ends[0], size, 5), (ends[1], size, 10), (ends[2], size, 10)]


def test_the_list_of_continuations_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("tickpath.audit_verify.MAX_CONTINUATIONS_LISTED", 3)
    for _ in range(6):
        writer(tmp_path / "a").close()
    verdict = verify(tmp_path / "a")
    assert (verdict.continuations, len(verdict.continued)) == (5, 3)
    assert MAX_CONTINUATIONS_LISTED >= 3 and verdict.findings == []


def test_what_is_no_audit_file(tmp_path):
    (tmp_path / "text").write_text("hello, world\n" * 99)
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    for path, text in [
        (tmp_path / "text", "is no audit file"),
        (tmp_path / "empty", "is empty"),
        (tmp_path / "pipe", "is not a file"),
        (tmp_path / "none", "does not exist"),
        (tmp_path, "is (a directory|not a file)"),
        ("/proc/self/mem", "is no audit file|cannot be read"),
    ]:
        with pytest.raises(AuditError, match=f"{path}: {text}"):
            verify(path)


def test_another_version_is_named(tmp_path):
    raw = bytearray(audit(tmp_path / "a", 1).read_bytes())
    raw[8] = 2
    (tmp_path / "a").write_bytes(raw)
    with pytest.raises(AuditError, match="format version 2; this package reads version 1"):
        verify(tmp_path / "a")


def test_reading_goes_by_the_files_own_schema(tmp_path):
    dtype = np.dtype([("x", "<i8"), ("name", "S5")])
    with AuditWriter(tmp_path / "a", dtype, {}, fsync="none") as made:
        made.append(np.array([(-5, b"abc"), (7, b"")], dtype))
    with open_file(tmp_path / "a") as file:
        walk = Walk(file, "a")
        first = next(iter(walk))
        assert walk.schema.dtype == dtype
        assert np.frombuffer(first.payload, dtype).tolist() == [(-5, b"abc"), (7, b"")]
    assert read((tmp_path / "a").read_bytes()).description["identity"] == {}
