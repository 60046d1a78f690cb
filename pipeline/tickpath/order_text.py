"""Text of order messages that go by ClOrdID (BOE, FIX): names of orders, symbols, decimal digits.

Where a message that makes an order smaller gives it a new ClOrdID, an order is named by its
order_id and by the quantity that it has then: a reduction's name follows from the order and from
what is asked for, every version of an order has another one, and an answer to any of them says
which order it is about.  The text has 20 characters: what OUCH calls the order (a prefix and 13
digits in base 32, `tickpath.ouch.token_of`), then the quantity in six digits more:

    T0000000000030 000034      order_id 96, 100 shares
    T0000000000030 00001S      the same order, reduced to 60

A request that is no order (FIX gives its cancels a ClOrdID too) is named by its own order_id and a
quantity of 0.  A quantity of `MOST_SHARES` or more has no name, and its order is not encoded.

Hot functions take and give ``uint64``; text is the big-endian number that its bytes spell.
"""

import numpy as np

from tickpath.jit import leaf
from tickpath.memory import leading_zeros, trailing_zeros, wire_store
from tickpath.ouch import DIGITS, TOKEN_LENGTH, OuchError, order_id_of, token_of
from tickpath.ouch_encode import eight_digits
from tickpath.wire.boe23 import BOE23

PREFIX = "T"
QUANTITY_DIGITS = 6
LENGTH = TOKEN_LENGTH + QUANTITY_DIGITS
MOST_SHARES = len(DIGITS) ** QUANTITY_DIGITS
assert BOE23["new_order"]["cl_ord_id"].size == LENGTH


def cl_ord_id_of(order_id: int, quantity: int) -> str:
    """The 20 characters by which an order of this quantity is named on the wire.

    Raises `OuchError` where either number is beyond its range.
    """
    if not 0 <= quantity < MOST_SHARES:
        raise OuchError(f"a quantity in a ClOrdID is less than {MOST_SHARES}; got {quantity}")
    digits = (DIGITS[quantity >> 5 * n & 31] for n in reversed(range(QUANTITY_DIGITS)))
    return token_of(order_id, PREFIX) + "".join(digits)


def order_of(cl_ord_id: str) -> tuple[int, int]:
    """(order_id, quantity) of a ClOrdID.  Raises `OuchError` where it is none of ours."""
    digits = cl_ord_id[TOKEN_LENGTH:]
    if len(cl_ord_id) != LENGTH or cl_ord_id[0] != PREFIX or not set(digits) <= set(DIGITS):
        raise OuchError(f"{cl_ord_id!r} is not {PREFIX} and {LENGTH - 1} digits of {DIGITS}")
    return order_id_of(cl_ord_id[:TOKEN_LENGTH]), int(digits, len(DIGITS))


# ---------------------------------------------------------------- the hot path's

ZERO, ONE = np.uint64(0), np.uint64(1)
store_text = wire_store(64, 0, True)
"""``store_text(address, word)``: eight characters, the first one topmost."""

_ONES = np.uint64(0x0101010101010101)
_TOPS = _ONES * np.uint64(0x80)
_BLANKS = _ONES * np.uint64(0x20)
_LETTERS = _ONES * np.uint64(0x41)
_LEAST = _ONES * np.uint64(0x21)
_ZEROS = _ONES * np.uint64(ord("0"))
_EVEN = np.uint64(0x00FF00FF00FF00FF)
_SUMS = np.uint64(0x0001000100010001)
_3, _7, _8, _10, _16, _20, _32, _48 = (np.uint64(n) for n in (3, 7, 8, 10, 16, 20, 32, 48))
EIGHT = _8
_NONE = ~ZERO


@leaf
def byte_sum(word):
    """The sum of a word's eight bytes."""
    pairs = (word & _EVEN) + ((word >> _8) & _EVEN)
    return (pairs * _SUMS) >> _48


@leaf
def trimmed(symbol):
    """(characters, length) of a space-padded symbol: NULs in place of the padding.

    The length is 0 for what cannot be sent: nothing, a blank or a control character inside, a byte
    beyond ASCII.
    """
    differing = symbol ^ _BLANKS
    blanks = trailing_zeros(differing) >> _3 if differing != ZERO else _8
    padding = (ONE << (blanks << _3)) - ONE if blanks < _8 else _NONE
    kept = symbol & ~padding
    filled = kept | (_LETTERS & padding)
    # A byte below the least printable one borrows its top bit; one above the last carries into it.
    wrong = ((filled - _LEAST) & ~filled | (filled + _ONES) | filled) & _TOPS
    return kept, (_8 - blanks if wrong == ZERO else ZERO)


_HUNDREDTH, _HUNDRED = np.uint64(10_486), np.uint64(100)  # of 2**20, exact below 10,000
_TENTH, _TEN = np.uint64(103), np.uint64(10)  # of 2**10, exact below 100
_TEN_THOUSAND = np.uint64(10_000)
_TWO_LANES = np.uint64(0x0000007F0000007F)
_FOUR_LANES = np.uint64(0x000F000F000F000F)
MOST_DECIMAL = np.uint64(100_000_000)
"""One more than the most that has eight digits."""


@leaf
def decimal(value):
    """The eight decimal digits of a value below `MOST_DECIMAL`, with leading zeros.

    As in `eight_digits`, each step cuts every lane in two: 10,000s, 100s, 10s.
    """
    thousands = value // _TEN_THOUSAND
    lanes = (thousands << _32) | (value - thousands * _TEN_THOUSAND)
    hundreds = (lanes * _HUNDREDTH) >> _20 & _TWO_LANES
    lanes = (hundreds << _16) | (lanes - hundreds * _HUNDRED)
    tens = (lanes * _TENTH) >> _10 & _FOUR_LANES
    return ((tens << _8) | (lanes - tens * _TEN)) + _ZEROS


@leaf
def without_zeros(digits):
    """(characters, length) of eight digits without leading zeros, NULs behind them."""
    leading = leading_zeros((digits - _ZEROS) | ONE) >> _3
    return digits << (leading << _3), _8 - leading


_TOP_DIGITS = np.uint64(25)  # 13 digits are 65 bits: the first eight begin here
_MIDDLE = np.uint64((1 << 25) - 1)
_SHIFT = np.uint64(15)
_LOW = np.uint64((1 << 30) - 1)
_30 = np.uint64(30)
_FORTY_BITS = np.uint64((1 << 40) - 1)
_LAST_THREE = np.uint64(0xFFFFFF)
_AT_FIRST, _AT_MIDDLE, _AT_LAST = ONE, np.uint64(1 + 8), np.uint64(LENGTH - 8)
SHARES = np.uint64(MOST_SHARES)


@leaf
def store_cl_ord_id(at, order_id, quantity):
    """Write a ClOrdID behind its prefix; the sum of the bytes written.

    Nineteen digits in three words: eight, eight, and the last eight, of which five are written
    twice.
    """
    first = eight_digits(order_id >> _TOP_DIGITS)
    middle = eight_digits((order_id & _MIDDLE) << _SHIFT | quantity >> _SHIFT)
    last = eight_digits(order_id << _30 & _FORTY_BITS | quantity & _LOW)
    store_text(at + _AT_FIRST, first)
    store_text(at + _AT_MIDDLE, middle)
    store_text(at + _AT_LAST, last)
    return byte_sum(first) + byte_sum(middle) + byte_sum(last & _LAST_THREE)


_BUY, _SELL, _SHORT, _EXEMPT = (np.uint64(ord(code)) for code in "BSTE")
_FIX_BUY, _FIX_SELL, _FIX_SHORT, _FIX_EXEMPT = (np.uint64(ord(code)) for code in "1256")


@leaf
def side_text(side):
    """FIX's and BOE's code of a side B, S, T or E; 0 for anything else."""
    if side == _BUY:
        return _FIX_BUY
    if side == _SELL:
        return _FIX_SELL
    if side == _SHORT:
        return _FIX_SHORT
    return _FIX_EXEMPT if side == _EXEMPT else ZERO
