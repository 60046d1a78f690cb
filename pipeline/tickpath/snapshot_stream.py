"""The form of a portable snapshot: named sections of records that describe themselves.

    preamble    "TICKPATH"  u4 version  u4 sections  u8 size of it all  digest of these
    section     u4 header length  u8 rows' length  digest of header and rows
                header, JSON: {"name": ..., "fields": [[name, type], ...]}
                rows, packed one behind the other
    end         digest of all sections' digests

Numbers are little-endian, digests BLAKE2b of 16 bytes, types as NumPy writes them (``<u4``,
``|u1``, ``|S32``).  Fields are found by name, so a build whose records are laid out otherwise reads
the same snapshot; what it does not know, or misses, it names.  The invariant: every byte is under a
digest that is verified before the byte is used, so a flipped bit or a missing tail is an error that
says where, and never a state.
"""

import hashlib
import json
import re
import struct
from collections.abc import Iterable, Mapping

import numpy as np

MAGIC = b"TICKPATH"
FORMAT_VERSION = 1
_DIGEST_BYTES = 16
_PREAMBLE = struct.Struct("<8sIIQ")
_SECTION = struct.Struct(f"<IQ{_DIGEST_BYTES}s")
_TYPE = re.compile(r"<[ui][248]|\|u1|\|S[1-9]\d{0,2}")


class SnapshotError(ValueError):
    """A snapshot that cannot be taken or restored; the message says what, where and why."""


def _digest(*parts: bytes | memoryview) -> bytes:
    hashed = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        hashed.update(part)
    return hashed.digest()


def pack(sections: Mapping[str, np.ndarray]) -> bytes:
    """The stream of sections: packed little-endian record arrays by name."""
    parts: list[bytes] = []
    digests: list[bytes] = []
    for name, rows in sections.items():
        fields = [[field, rows.dtype[field].str] for field in rows.dtype.names or ()]
        header = json.dumps({"name": name, "fields": fields}, separators=(",", ":")).encode()
        payload = rows.tobytes()
        digests.append(_digest(header, payload))
        parts += [_SECTION.pack(len(header), len(payload), digests[-1]), header, payload]
    size = _PREAMBLE.size + _DIGEST_BYTES + sum(map(len, parts)) + _DIGEST_BYTES
    preamble = _PREAMBLE.pack(MAGIC, FORMAT_VERSION, len(sections), size)
    return b"".join([preamble, _digest(preamble), *parts, _digest(*digests)])


def _sections_of(data: memoryview) -> int:
    """Number of sections, from a preamble that is sound."""
    if len(data) < _PREAMBLE.size + _DIGEST_BYTES or data[: len(MAGIC)] != MAGIC:
        raise SnapshotError("not a snapshot: it does not begin with TICKPATH and a preamble")
    _, version, sections, size = _PREAMBLE.unpack_from(data)
    behind = _PREAMBLE.size + _DIGEST_BYTES
    if data[_PREAMBLE.size : behind] != _digest(data[: _PREAMBLE.size]):
        raise SnapshotError("damaged: the preamble does not match its digest")
    if version != FORMAT_VERSION:
        raise SnapshotError(
            f"format version {version}; this package reads version {FORMAT_VERSION}: "
            "restore it with the package that wrote it"
        )
    if size != len(data):
        what = "truncated" if len(data) < size else "followed by other bytes"
        raise SnapshotError(f"{what}: it has {len(data)} bytes, {size} were written")
    return sections


def _header(raw: memoryview, number: int) -> tuple[str, np.dtype]:
    try:
        header = json.loads(bytes(raw))
        name, fields = header["name"], [(str(field), kind) for field, kind in header["fields"]]
        unknown = [kind for _, kind in fields if not _TYPE.fullmatch(kind)]
        if unknown:
            raise ValueError(f"type {unknown[0]!r}")
        return str(name), np.dtype(fields)
    except (ValueError, KeyError, TypeError) as error:
        raise SnapshotError(f"section {number} does not describe itself: {error}") from None


def unpack(data: bytes | bytearray | memoryview) -> dict[str, np.ndarray]:
    """The sections of a stream, read-only views of its bytes.  Raises `SnapshotError`."""
    view = memoryview(data).cast("B")
    number = _sections_of(view)
    at, end = _PREAMBLE.size + _DIGEST_BYTES, len(view) - _DIGEST_BYTES
    found: dict[str, np.ndarray] = {}
    digests: list[bytes] = []
    for n in range(1, number + 1):
        where = f"section {n} of {number}, at offset {at}"
        if end - at < _SECTION.size:
            raise SnapshotError(f"damaged: {where}, is missing")
        header_length, length, digest = _SECTION.unpack_from(view, at)
        begin = at + _SECTION.size
        behind = begin + header_length + length
        if behind > end:
            raise SnapshotError(f"damaged: {where}, is longer than what is left")
        if _digest(view[begin:behind]) != digest:
            name = re.match(rb'\{"name":"(\w{1,32})"', view[begin : begin + 48])
            called = f" ({name[1].decode()})" if name else ""
            raise SnapshotError(f"damaged: {where}{called}, does not match its digest")
        digests.append(digest)
        name_text, dtype = _header(view[begin : begin + header_length], n)
        if name_text in found or length % max(dtype.itemsize, 1):
            raise SnapshotError(f"{where} ({name_text}) occurs twice or is cut inside a row")
        found[name_text] = np.frombuffer(view[begin + header_length : behind], dtype)
        at = behind
    if at != end or _digest(*digests) != view[end:]:
        raise SnapshotError(f"damaged: the end, at offset {end}, does not match the sections")
    return found


def conform(found: Mapping[str, np.ndarray], expected: Mapping[str, np.dtype]) -> dict:
    """The sections with this build's dtypes, fields matched by name.

    Raises `SnapshotError` for a section or a field that is missing or not known here, and for a
    value that this build's field cannot hold.
    """
    _same_names("section", found, expected)
    return {name: _converted(name, found[name], dtype) for name, dtype in expected.items()}


def _same_names(what: str, found: Iterable[str], expected: Iterable[str]) -> None:
    missing = [name for name in expected if name not in set(found)]
    unknown = [name for name in found if name not in set(expected)]
    if missing:
        raise SnapshotError(f"{what} {missing[0]} is missing")
    if unknown:
        raise SnapshotError(f"{what} {unknown[0]} is not known to this version of the package")


def _converted(name: str, rows: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if rows.dtype == dtype:
        return rows
    assert rows.dtype.names and dtype.names
    _same_names(f"in section {name}, field", rows.dtype.names, dtype.names)
    result = np.zeros(len(rows), dtype)
    for field in dtype.names:
        result[field] = rows[field]
        if not np.array_equal(result[field], rows[field]):
            raise SnapshotError(f"section {name}: a {field} does not fit {dtype[field].str}")
    return result
