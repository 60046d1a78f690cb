"""The form of an audit file, read back by a second reader that knows only the description."""

import hashlib
import hmac
import json
import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tickpath.audit import AuditError, AuditWriter, Hint, read_key
from tickpath.audit_file import (
    AUDIT,
    BLOCK_HEADER,
    BLOCK_MAGIC,
    BLOCK_OVERHEAD,
    DIGEST_BYTES,
    PREAMBLE,
    BlockHeader,
    BlockKind,
    Chain,
    block_parts,
)

DTYPE = np.dtype([("ts_event", "<u8"), ("symbol", "<u8"), ("price", "<i4"), ("reject", "u1")])
HINTS = {
    "ts_event": Hint("since_midnight", "ns"),
    "symbol": Hint("symbol"),
    "price": Hint("decimal:4", "1e-4"),
    "reject": Hint("code:reject"),
}
IDENTITY = {"build": "0.1.0", "tables": {"reject": {0: "ACCEPTED", 7: "QUANTITY"}}}
KEY = bytes(range(32))
NOW = 1_700_000_000_000_000_000
SYMBOLS = (b"AAPL    ", b"MSFT    ", b"ZZT     ")


def rows(count: int, first: int = 0) -> np.ndarray:
    """Records that say their own number, as `ts_event`."""
    made = np.zeros(count, DTYPE)
    made["ts_event"] = np.arange(first, first + count)
    made["symbol"] = [int.from_bytes(SYMBOLS[n % 3], "big") for n in range(first, first + count)]
    made["price"] = 1_000_000 + made["ts_event"].astype(np.int32)
    made["reject"] = np.where(made["ts_event"] % 4 == 3, 7, 0)
    return made


def writer(path: Path, key: bytes | None = None, **options: Any) -> AuditWriter:
    """A writer of `rows`, with a clock that stands still."""
    given = {"fsync": "none", "hints": HINTS, "clock": lambda: NOW, **options}
    return AuditWriter(path, DTYPE, IDENTITY, key, **given)


def audit(path: Path, *blocks: int, key: bytes | None = None, closed: bool = True) -> Path:
    """A file with blocks of so many records."""
    made = writer(path, key)
    for count in blocks:
        made.append(rows(count, made.next_record))
    if closed:
        made.close()
    else:
        made.__exit__(KeyError, None, None)
    return path


class Read(NamedTuple):
    """What the second reader found."""

    preamble: dict[str, Any]
    description: dict[str, Any]
    header_bytes: int
    blocks: list[tuple[BlockHeader, bytes]]


def read(raw: bytes, key: bytes | None = None) -> Read:
    """Read a sound file by its description alone: fixed offsets, `hashlib`, nothing shared."""

    def digest(data: bytes) -> bytes:
        return hmac.digest(key, data, "sha256") if key else hashlib.sha256(data).digest()

    names = ["magic", "format_version", "scheme", "ts_created", "file_id", "key_id"]
    names.append("description_length")
    preamble = dict(zip(names, struct.unpack_from("<8sIIQ16s8sI", raw), strict=True))
    at = 52 + preamble["description_length"]
    previous = raw[at : at + 32]
    assert previous == digest(raw[:at])
    header_bytes = at = at + 32
    blocks = []
    while at < len(raw):
        header = BlockHeader(*struct.unpack_from("<4sIQQIIQQ32s16s", raw, at))
        behind = at + 96 + header.payload_length
        assert header.magic == b"TPAB" and header.block_number == len(blocks)
        assert header.previous == previous
        assert header.check == digest(raw[at : at + 80])[:16]
        previous = raw[behind : behind + 32]
        assert previous == digest(raw[at:behind])
        blocks.append((header, raw[at + 96 : behind]))
        at = behind + 32
    assert at == len(raw)
    return Read(preamble, json.loads(raw[52 : header_bytes - 32]), header_bytes, blocks)


def offsets(raw: bytes) -> list[int]:
    """Where each block begins, and the file's end."""
    return list(np.cumsum([read(raw).header_bytes, *map(len, split(raw)[1:])]).tolist())


def split(raw: bytes) -> list[bytes]:
    """A file's header and its blocks; digests are not looked at."""
    at = PREAMBLE.size + PREAMBLE.unpack_from(raw)[-1] + DIGEST_BYTES
    parts = [raw[:at]]
    while at < len(raw):
        length = BlockHeader(*BLOCK_HEADER.unpack_from(raw, at)).payload_length + BLOCK_OVERHEAD
        parts.append(raw[at : at + length])
        at += length
    return parts


def forged(
    previous: bytes,
    number: int,
    payload: bytes = b"",
    key: bytes | None = None,
    magic: bytes = BLOCK_MAGIC,
    **fields: int,
) -> bytes:
    """A block that is sound as far as hashing goes."""
    given = {"kind": BlockKind.RECORDS, "first_record": 0, "record_count": 0, "lost": 0, **fields}
    header = BlockHeader(
        magic,
        given["kind"],
        number,
        given["first_record"],
        given["record_count"],
        given.get("payload_length", len(payload)),
        given["lost"],
        NOW,
        previous,
        b"",
    )
    packed, digest = block_parts(Chain(key), header, payload)
    return packed + payload + digest


# ---------------------------------------------------------------- the form


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "keyed"])
def test_a_file_is_what_the_description_says(tmp_path, key):
    with writer(tmp_path / "a", key) as made:
        made.append(rows(3))
        made.append(rows(0), lost=2)
        made.append(rows(5, 9), lost=4)
        file_head = made.head
    raw = (tmp_path / "a").read_bytes()
    found = read(raw, key)
    assert found.preamble["magic"] == b"TPAUDIT\n" and found.preamble["format_version"] == 1
    assert found.preamble["scheme"] == (2 if key else 1) and found.preamble["ts_created"] == NOW
    key_id = hmac.digest(KEY, b"tickpath audit key", "sha256")[:8] if key else bytes(8)
    assert found.preamble["key_id"] == key_id
    assert found.description["identity"] == {
        "build": "0.1.0",
        "tables": {"reject": {"0": "ACCEPTED", "7": "QUANTITY"}},
    }
    assert found.description["record"] == {
        "size": 21,
        "fields": [
            {"name": "ts_event", "type": "<u8", "form": "since_midnight", "unit": "ns"},
            {"name": "symbol", "type": "<u8", "form": "symbol"},
            {"name": "price", "type": "<i4", "form": "decimal:4", "unit": "1e-4"},
            {"name": "reject", "type": "|u1", "form": "code:reject"},
        ],
    }
    headers = [header for header, _ in found.blocks]
    assert [(h.kind, h.first_record, h.record_count, h.lost) for h in headers] == [
        (1, 0, 3, 0),
        (1, 5, 0, 2),
        (1, 9, 5, 4),
        (3, 14, 0, 0),
    ]
    assert {h.ts_written for h in headers} == {NOW}
    assert [payload for _, payload in found.blocks] == [
        rows(3).tobytes(),
        b"",
        rows(5, 9).tobytes(),
        struct.pack("<4Q", 3, 8, 6, 0),
    ]
    assert headers[-1].previous.hex() == file_head


def test_two_files_never_begin_with_the_same_digest(tmp_path):
    first, second = (audit(tmp_path / name, 1).read_bytes() for name in "ab")
    assert split(first)[0] != split(second)[0]
    assert read(first).preamble["file_id"] != read(second).preamble["file_id"]


def test_tables_add_up():
    assert [(each.name, each.length) for each in AUDIT.messages] == [
        ("preamble", 52),
        ("block_header", 96),
        ("totals", 32),
    ]


# ---------------------------------------------------------------- keys


def key_file(path: Path, content: bytes = KEY.hex().encode() + b"\n", mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_key_is_the_files_bytes_without_line_ends(tmp_path):
    assert read_key(key_file(tmp_path / "k")) == KEY.hex().encode()
    assert read_key(key_file(tmp_path / "r", b"\r" + KEY + b"\r\n", 0o400)) == b"\r" + KEY
    longest = b"k" * 4096
    assert read_key(key_file(tmp_path / "l", longest + b"\n")) == longest


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666])
def test_a_key_that_others_may_touch_is_refused(tmp_path, mode):
    path = key_file(tmp_path / "k", mode=mode)
    with pytest.raises(AuditError, match=f"mode {mode:03o}.*chmod 600 {path}"):
        read_key(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_of_another_user_is_refused(tmp_path):
    path = key_file(tmp_path / "k")
    os.chown(path, 12345, -1)
    with pytest.raises(AuditError, match="belongs to another user"):
        read_key(path)


def test_what_is_no_key_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, content, text in [
        ("empty", b"", "32 to 4096 bytes, not 0"),
        ("short", b"k" * 31 + b"\n", "not 31"),
        ("long", b"k" * 4097, "not 4097"),
    ]:
        with pytest.raises(AuditError, match=text):
            read_key(key_file(tmp_path / name, content))
    for path, text in [
        (tmp_path, "is not a file"),
        (tmp_path / "pipe", "is not a file"),
        (tmp_path / "none", "No such file"),
    ]:
        with pytest.raises(AuditError, match=text):
            read_key(path)
