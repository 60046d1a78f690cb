"""Chance: a counter that SplitMix64 turns into 64 even bits, and the shapes drawn from them.

Everything is integer arithmetic, so a draw is the same on every machine; the same function exists
for hot code, one number at a time, and for NumPy, a column at a time.  Exponential and
heavy-tailed draws use the position of a number's first one bit, which has probability 2^-k, in
place of a logarithm.

Source: Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators (OOPSLA 2014).
"""

import numpy as np

from tickpath.generate.state import inner, session
from tickpath.jit import leaf
from tickpath.memory import leading_zeros

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31 = np.uint64(30), np.uint64(27), np.uint64(31)
_32, _48, _1 = np.uint64(32), np.uint64(48), np.uint64(1)


@leaf
def mix(counter):
    """64 even bits for a counter."""
    x = (counter ^ (counter >> _30)) * _MIX_1
    x = (x ^ (x >> _27)) * _MIX_2
    return x ^ (x >> _31)


@inner
def bits(s):
    """The session's next 64 bits."""
    counter = session.random(s) + GOLDEN
    session.set_random(s, counter)
    return mix(counter)


@leaf
def share(random_bits, n):
    """An integer in [0, n), from the upper 32 of 64 random bits; n below 2^31."""
    return np.int64(((random_bits >> _32) * np.uint64(n)) >> _32)


@inner
def below(s, n):
    """An integer in [0, n); n below 2^31."""
    return share(bits(s), n)


@inner
def chance(s, parts):
    """True in ``parts`` of 65,536 cases."""
    return np.int64(bits(s) >> _48) < parts


@inner
def exponential(s, mean):
    """An exponential wait with the given mean (to 2^40), within 9 % of the curve everywhere.

    -log2 of a number in (0, 1) is its count of leading zeros, plus one, less the logarithm of what
    follows the first one bit; that logarithm is taken as a straight line, which makes the mean 3/2.
    """
    drawn = bits(s) | _1
    zeros = leading_zeros(drawn)
    line = np.int64(((drawn << zeros) << _1) >> _48)
    halvings = ((np.int64(zeros) + 1) << 16) - line
    return (mean * (halvings * 2 // 3)) >> 16


@inner
def octave(s, octaves):
    """1 or more with P(at least 2^k) = 2^-k, below 2^octaves: a tail without a scale."""
    drawn = bits(s) | _1
    k = min(np.int64(leading_zeros(drawn)), octaves - 1)
    return (1 << k) + (np.int64(drawn >> _1) & ((1 << k) - 1))


def column(seed: int, name: str, size: int, first: int = 0) -> np.ndarray:
    """``uint64[size]`` of random bits, from the ``first`` on, of the seed's column of that name."""
    start = int.from_bytes(name.encode()[-8:], "big") ^ seed
    numbers = np.arange(first + 1, first + size + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        origin = _mix_column(np.array([start], np.uint64) + GOLDEN)
        return _mix_column(origin + numbers * GOLDEN)


def _mix_column(counter: np.ndarray) -> np.ndarray:
    x = (counter ^ (counter >> _30)) * _MIX_1
    x = (x ^ (x >> _27)) * _MIX_2
    return x ^ (x >> _31)


def share_column(random_bits: np.ndarray, n: int | np.ndarray) -> np.ndarray:
    """``int64``: `share` of every element."""
    return (((random_bits >> _32) * np.uint64(n)) >> _32).astype(np.int64)


def alias_table(weights: list[int], dtype: np.dtype) -> np.ndarray:
    """Walker's alias table: an even draw of an index and one comparison give the weights' odds."""
    total, n = sum(weights), len(weights)
    table = np.zeros(n, dtype)
    scaled = [weight * n for weight in weights]
    small = [index for index, weight in enumerate(scaled) if weight < total]
    large = [index for index, weight in enumerate(scaled) if weight >= total]
    table["keep"], table["other"] = 1 << 32, np.arange(n)
    while small and large:
        poor, rich = small.pop(), large[-1]
        table[poor] = ((scaled[poor] << 32) // total, rich)
        scaled[rich] -= total - scaled[poor]
        if scaled[rich] < total:
            small.append(large.pop())
    return table
