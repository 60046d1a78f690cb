"""Numbers as a person reads them: three significant digits and the unit that fits.

Invariant: None, and whatever is not a finite number, is shown as a dash and never as zero.
"""

import math
from collections.abc import Sequence
from typing import Any

NOTHING = "\N{EN DASH}"
_NS = ((1.0, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s"))
_THOUSANDS = ((1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G"))
_BINARY = tuple((1024.0**n, unit) for n, unit in enumerate(("B", "KiB", "MiB", "GiB", "TiB")))


def number(value: Any) -> float | None:
    """The value as a finite float; None where it is anything else."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def column(values: Any) -> list[Any]:
    """A list of the values, whatever holds them; of None an empty one."""
    return [] if values is None else list(values)


def _scaled(value: Any, scale: Sequence[tuple[float, str]]) -> str:
    found = number(value)
    if found is None:
        return NOTHING
    # A value that rounds up to the next unit belongs to it: 999.9 ns is 1 µs.
    fitting = [each for each in scale if abs(found) >= each[0] * 0.9995]
    size, unit = fitting[-1] if fitting else scale[0]
    return f"{_three_digits(found / size)} {unit}".rstrip()


def _three_digits(value: float) -> str:
    if value == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(value) * 1.0005)))
    text = f"{value:,.{min(decimals, 6)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def nanoseconds(value: Any) -> str:
    """``412 ns``, ``1.23 µs``."""
    return _scaled(value, _NS)


def magnitude(value: Any) -> str:
    """``12.3 M``."""
    return _scaled(value, _THOUSANDS)


def size(value: Any) -> str:
    """Bytes: ``1.5 GiB``."""
    return _scaled(value, _BINARY)


def whole(value: Any) -> str:
    """``1,234,567``; what is no integer with three significant digits."""
    found = number(value)
    if found is None:
        return NOTHING
    return f"{int(value):,}" if found == int(found) else _three_digits(found)


def share(part: Any, total: Any) -> str:
    """``12.3 %``."""
    above, below = number(part), number(total)
    if above is None or not below:
        return NOTHING
    percent = 100 * above / below
    if 0 < percent < 0.01:
        return "<0.01 %"
    return f"{percent:.1f} %" if percent >= 0.1 else f"{percent:.2f} %"


def percentile(inverse: float) -> str:
    """The percentile at ``1 / (1 - p) = inverse``: 1000 is ``99.9 %``."""
    decimals = max(0, math.ceil(math.log10(inverse) - 1e-9) - 2)
    return f"{100 * (1 - 1 / inverse):.{decimals}f} %"


def words(name: Any) -> str:
    """``tick_to_order`` as ``tick to order``."""
    return str(name).replace("_", " ")
