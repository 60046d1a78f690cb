"""Scrubbing: slice by slice, an engine says what its state is, and who follows compares.

Every record of the input stream says how many inputs were taken, which books they led to and how
many bytes of orders; a follower compares that before it takes the record.  What is left, positions,
own orders, executions, limits, the gate's state and the strategy's cells, is some 20 MB: too much
to add up between two packets, so one slice of it at a time is.  When the loop has nothing to do and
`scrub_every` records have gone by, a record says the checksum of the next slice.  After as many
such records as there are slices all of it has been compared.

Worst case: `SLICE_BYTES` are added up while a packet arrives, some 8 us.
"""

import numpy as np

from tickpath import publish
from tickpath.jit import cold, entry
from tickpath.layout import OWN, engine
from tickpath.memory import accessors, load_u64
from tickpath.publish import checksum_of
from tickpath.state import Block

SLICE_BYTES = 1 << 16
EVERY = 1_000
"""Records between two slices, where nothing else is said: all is compared in some 300,000."""
REGIONS = ("position", "own", "execution", "recent", "revert", "limit", "cell")
SCALARS = ("user_ref_num", "newest_ref", "next_match", "revert_next")

SLICE = np.dtype(
    [
        ("offset", "<u8"),  # from the block's begin
        ("length", "<u8"),
        ("row", "<u8"),  # bytes of a row of which a word is left out in part; 0: nothing is
        ("word", "<u8"),  # where in the row that word is
        ("mask", "<u8"),  # its bits that count
    ]
)
piece = accessors("scrub_slice", SLICE)
ZERO, ONE = np.uint64(0), np.uint64(1)
_WORD = np.uint64(8)
_WORD_BYTES = 8


def slices(block: Block) -> np.ndarray:
    """`SLICE` records of all of a block's state that no record of the stream says."""
    rows: list[tuple[int, int, int, int, int]] = []
    for name in REGIONS:
        view = block.views[name]
        offset, size = int(view.ctypes.data) - int(block.address), view.dtype.itemsize
        left_out = _left_out() if view.dtype == OWN else (0, 0, 0)
        step = SLICE_BYTES // size * size
        for begin in range(0, view.nbytes, step):
            rows.append((offset + begin, min(step, view.nbytes - begin), *left_out))
    gate = block.gate
    rows.append((int(gate.ctypes.data) - int(block.address), gate.nbytes, 0, 0, 0))
    base = int(block.engine.ctypes.data) - int(block.address)
    fields = block.engine.dtype.fields
    assert fields is not None
    rows += [(base + fields[name][1], _WORD_BYTES, 0, 0, 0) for name in SCALARS]
    return np.array(rows, SLICE)


def _left_out() -> tuple[int, int, int]:
    """The order in a chain of a hash is nobody's business: it may differ after a restart."""
    assert OWN.fields is not None
    at = OWN.fields["next_named"][1]
    within = at % _WORD_BYTES * 8
    mask = ((1 << 64) - 1) ^ (0xFFFF_FFFF << within)
    return OWN.itemsize, at - at % _WORD_BYTES, mask


@cold
def checksum(eng, index):
    """The checksum of a slice as it is now."""
    s = engine.scrub_table(eng) + index * piece.SIZE
    at = eng + piece.offset(s)
    end = at + piece.length(s)
    row, word = piece.row(s), piece.word(s)
    if row == ZERO:
        return checksum_of(at, end)
    total = ZERO
    while at < end:
        kept = load_u64(at + word) & piece.mask(s)
        total = publish.mixed(total, checksum_of(at, at + word))
        total = publish.mixed(total, kept)
        total = publish.mixed(total, checksum_of(at + word + _WORD, at + row))
        at += row
    return total


@cold
def step(eng):
    """Say the next slice, if one is due and no packet is under way."""
    number = engine.record_number(eng)
    if number < engine.scrub_next(eng) or engine.cursor(eng) != ZERO:
        return
    index = engine.scrub_slice(eng)
    engine.set_scrub_slice(eng, (index + ONE) % engine.scrub_slices(eng))
    engine.set_scrub_next(eng, number + engine.scrub_every(eng))
    publish.scrub(eng, index, checksum(eng, index))


@entry
def due(eng):
    """`step`, from Python: where the loop is not the live one."""
    if engine.publishes(eng) != ZERO and engine.scrub_every(eng) != ZERO:
        step(eng)
