"""Books that lack orders: what found no room is only counted by the engine, which goes on.

Whoever trades by such books has to stop: a price level that looks empty may not be.  A replay says
it as a finding (`report.findings`), `tickpath trade` latches its kill switch, a node holds trading.
"""

from tickpath.counters import Counter
from tickpath.state import Block

WITHOUT_ROOM = (Counter.ORDER_STORE_FULL, Counter.LEVEL_STORE_FULL, Counter.LEVEL_FULL)
"""Each counts orders that are in no book."""
_PLACES = [int(each) for each in WITHOUT_ROOM]


def lacking(block: Block) -> int:
    """How many orders found no room in the books of an engine's state."""
    return int(block.counter["value"][_PLACES].sum())


def words(orders: int) -> str:
    """What an operator should know."""
    return (
        f"{orders:,} orders found no room, so books lack them: raise capacity.orders or "
        "capacity.overflow_levels"
    )
