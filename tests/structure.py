"""What must hold inside the engine's block at any moment, checked in plain Python.

Nothing here says what a book should contain (that is the reference's part): only that windows,
trees, queues, pages, tables and free lists agree with each other and with what is kept about them.
"""

from collections import defaultdict

import numpy as np

from tickpath import Engine, order_store, overflow
from tickpath.digest import C1, VENUES
from tickpath.layout import PAGE, PAGE_BITS, WINDOW
from tickpath.own_orders import State
from tickpath.window import NO_WINDOW

KEY_MASK, PRICE_MASK = (1 << 26) - 1, (1 << 32) - 1
QUANTITY_MASK, COUNT_SHIFT = (1 << 44) - 1, 44
U64 = (1 << 64) - 1
BASE_MASK = (1 << 31) - 1
SPARSE = int(order_store.SPARSE)
MIX, MIX_AGAIN = int(overflow._MIX), int(overflow._MIX_AGAIN)


def validate(engine: Engine) -> None:
    """Fail where the block contradicts itself; takes a time that grows with its capacity."""
    block = engine.block
    levels = [  # (level, side, price) of every level in use
        *(found for sd in range(len(block.side)) for found in _window(engine, sd)),
        *_trees(engine),
    ]
    totals = block.level["total"]
    assert set(np.flatnonzero(totals).tolist()) == {level for level, _, _ in levels}
    _bests(engine, levels)
    slots: set[int] = set()
    for level, _, _ in levels:
        queue = _queue(engine, level)
        assert not slots & set(queue), f"an order of level {level} is in two queues"
        slots |= set(queue)
    assert slots == set(np.flatnonzero(block.order["level"]).tolist())
    assert len(slots) == engine.orders_live
    owners = engine.block.page_owner["number"]
    sparse = {slot for slot in slots if int(owners[slot >> PAGE_BITS]) == SPARSE}
    sparse_pages = _sparse(engine, sparse)
    _directory(engine, slots - sparse, sparse_pages)
    _listed(engine)
    _own_books(engine)


def _window(engine: Engine, sd: int) -> list[tuple[int, int, int]]:
    """The window's levels in use, which bitmap and summary must name."""
    block = engine.block
    base, tick = _base(engine, sd)
    summary = int(block.side["summary"][sd])
    words = block.bitmap["value"][sd * (WINDOW // 64) : (sd + 1) * (WINDOW // 64)].tolist()
    assert summary == sum(1 << at for at, word in enumerate(words) if word), f"side {sd}"
    marked = [at for at in range(WINDOW) if words[at >> 6] >> (at & 63) & 1]
    totals = block.level["total"][sd * WINDOW : (sd + 1) * WINDOW]
    assert np.flatnonzero(totals).tolist() == marked, f"side {sd}: bitmap and levels differ"
    if not marked:
        return []
    assert base != NO_WINDOW and base % 64 == 0 and base + WINDOW <= KEY_MASK + 1
    found = []
    for at in marked:
        key = base + ((at - base) % WINDOW)
        price = (key ^ (KEY_MASK if sd & 1 else 0)) * tick
        assert price <= PRICE_MASK
        found.append((sd * WINDOW + at, sd, price))
    return found


def _base(engine: Engine, sd: int) -> tuple[int, int]:
    """First key of a side's window, and the size of its ticks in 1e-4."""
    first = int(engine.block.side["base"][sd])
    return first & BASE_MASK, 1 if first > BASE_MASK else 100


def _trees(engine: Engine) -> list[tuple[int, int, int]]:
    """The levels outside the windows: order, heap and links of the trees, and the free list."""
    block, found, used = engine.block, [], set()
    far0 = block.get("far0")
    for sd in range(len(block.side)):
        nodes = _tree(engine, sd)
        prices = [price for _, price in nodes]
        for node, price in nodes:
            assert node not in used, f"node {node} is in two trees"
            used.add(node)
            found.append((far0 + node, sd, price))
            assert not _is_inside(engine, sd, price), f"side {sd} has {price} inside and outside"
        assert len(set(prices)) == len(prices)
        best = int(block.side["far_best"][sd])
        assert best == (nodes[-1][0] if nodes else 0)
    free, node = set(), block.get("far_free")
    while node:
        assert node not in free, "the free list of nodes has a loop"
        free.add(node)
        node = int(block.far["next_free"][node])
    assert not free & used
    assert free | used == set(range(1, block.get("far_fresh")))
    assert block.get("far_used") == len(used)
    return found


def _tree(engine: Engine, sd: int) -> list[tuple[int, int]]:
    """(node, price) of a side's tree, worst first."""
    far = engine.block.far
    found: list[tuple[int, int]] = []
    waiting: list[int] = []
    node = int(engine.block.side["far_root"][sd])
    if node:
        assert far["parent"][node] == 0
    while waiting or node:
        while node:
            for child in (int(far["left"][node]), int(far["right"][node])):
                assert not child or far["parent"][child] == node
                assert not child or _priority(far, child) <= _priority(far, node)
            waiting.append(node)
            assert len(waiting) < 200, "a tree that is not one, or far too deep"
            node = int(far["left"][node])
        node = waiting.pop()
        key = int(far["price_key"][node])
        assert far["side"][node] == sd
        assert not found or key > _key(found[-1][1], sd), "a tree out of order"
        found.append((node, key ^ (PRICE_MASK if sd & 1 else 0)))
        node = int(far["right"][node])
    return found


def _priority(far: np.ndarray, node: int) -> int:
    mixed = (int(far["price_key"][node]) + 1) * MIX & U64
    return ((mixed ^ mixed >> 32) * MIX_AGAIN & U64) >> 32


def _key(price: int, sd: int) -> int:
    return price ^ (PRICE_MASK if sd & 1 else 0)


def _is_inside(engine: Engine, sd: int, price: int) -> bool:
    base, tick = _base(engine, sd)
    key = (price // tick) ^ (KEY_MASK if sd & 1 else 0)
    return price % tick == 0 and 0 <= key - base < WINDOW


def _bests(engine: Engine, levels: list[tuple[int, int, int]]) -> None:
    block, by_side = engine.block, defaultdict(list)
    for level, sd, price in levels:
        by_side[sd].append((_key(price, sd), level, price))
    for sd in range(len(block.side)):
        record = block.side[sd]
        if by_side[sd]:
            _, level, price = max(by_side[sd])
        else:
            level, price = 0, PRICE_MASK if sd & 1 else 0
        assert (int(record["best"]), int(record["best_px"])) == (level, price), f"side {sd}"


def _queue(engine: Engine, level: int) -> list[int]:
    """Slots of a level's orders, whose links, quantities and total must agree."""
    block, previous = engine.block, 0
    found: list[int] = []
    slot, quantity = int(block.level["head"][level]), 0
    while slot:
        record = block.order[slot]
        assert slot >= PAGE and len(found) <= engine.orders_live
        assert int(record["level"]) == level and int(record["previous"]) == previous
        assert int(record["quantity"]) > 0
        quantity += int(record["quantity"])
        found.append(slot)
        previous, slot = slot, int(record["next"])
    assert int(block.level["tail"][level]) == previous
    total = int(block.level["total"][level])
    assert (total & QUANTITY_MASK, total >> COUNT_SHIFT) == (quantity, len(found))
    return found


def _directory(engine: Engine, slots: set[int], sparse_pages: set[int]) -> None:
    """Every page in use has one entry that is found from its home, and the rest are free."""
    block, mask = engine.block, engine.block.get("page_mask")
    entries = block.page_entry
    live: dict[int, int] = defaultdict(int)
    for slot in slots:
        live[slot >> PAGE_BITS] += 1
    used = {}
    for at in np.flatnonzero(entries["page"]).tolist():
        number, page = int(entries["number"][at]), int(entries["page"][at])
        assert page not in used, f"page {page} has two entries"
        used[page] = number
        assert int(block.page_owner["number"][page]) == number
        assert int(entries["live"][at]) == live[page] > 0
        step = (number ^ (number >> 24)) & mask
        while step != at:
            assert int(entries["page"][step]), f"page number {number} cannot be found"
            step = (step + 1) & mask
    assert len(set(used.values())) == len(used)
    assert set(used) == set(live) and block.get("page_entries") == len(used)
    free, page = set(), block.get("page_free")
    while page:
        assert page not in free, "the free list of pages has a loop"
        free.add(page)
        page = int(block.page_owner["next_free"][page])
    assert not free & set(used) and not sparse_pages & (free | set(used))
    assert free | set(used) | sparse_pages == set(range(1, block.get("page_fresh")))


def _home(engine: Engine, region: str, number: int, venue: int) -> int:
    """Where a table's search for a number of a venue begins."""
    shift = 65 - len(engine.block.views[region]).bit_length()
    return ((number + venue) * C1 & U64) >> shift


def _sparse(engine: Engine, slots: set[int]) -> set[int]:
    """The sparse store: its table leads to every slot, the rest are free; gives its pages."""
    block, table = engine.block, engine.block.sparse_entry
    found = {}
    for at in np.flatnonzero(table["slot"]).tolist():
        ref, slot, venue = (int(table[name][at]) for name in ("ref", "slot", "venue"))
        assert slot not in found, f"slot {slot} has two entries"
        found[slot] = ref
        side = _side_of(engine, int(block.order["level"][slot]))
        assert int(block.book["venue"][side >> 1]) == venue
        step = _home(engine, "sparse_entry", ref, venue)
        while step != at:
            assert int(table["slot"][step]), f"reference {ref} cannot be found"
            step = (step + 1) % len(table)
    assert set(found) == slots and block.get("sparse_live") == len(slots) <= len(table) // 2
    ages = block.sparse_order["age"][sorted(slots)].tolist()
    ours = [age for age in ages if age]
    assert len(set(ours)) == len(ours) and max(ages, default=0) <= block.get("sparse_age")
    for slot in slots:
        following = int(block.order["next"][slot])
        younger = int(block.sparse_order["age"][following])
        own = int(block.sparse_order["age"][slot])
        assert not following or younger > own or younger == own == 0
    free, slot = set(), block.get("sparse_free")
    while slot:
        assert slot not in free, "the free list of slots has a loop"
        free.add(slot)
        slot = int(block.order["next"][slot])
    assert not free & slots
    taken = range(1, block.get("page_fresh"))
    pages = {page for page in taken if int(block.page_owner["number"][page]) == SPARSE}
    used = {slot for page in pages for slot in range(page * PAGE, (page + 1) * PAGE)}
    fresh = block.get("sparse_fresh")
    never = set(range(fresh, -(-fresh // PAGE) * PAGE))
    assert free | slots | never == used and not never & (free | slots)
    return pages


def _side_of(engine: Engine, level: int) -> int:
    """The side of a level in use."""
    far0 = engine.block.get("far0")
    return int(engine.block.far["side"][level - far0]) if level >= far0 else level // WINDOW


def _listed(engine: Engine) -> None:
    """The table of symbols leads to their books; books of one symbol share a position."""
    block, table, books = engine.block, engine.block.listed, engine.block.book
    found = {}
    used = np.flatnonzero(table["book"]).tolist()
    for at in used:
        symbol, venue = int(table["symbol"][at]), int(table["venue"][at])
        assert (venue, symbol) not in found, "a symbol has two entries"
        found[venue, symbol] = int(table["book"][at])
        step = _home(engine, "listed", symbol, venue)
        while step != at:
            assert int(table["book"][step]), f"symbol {symbol:x} cannot be found"
            step = (step + 1) % len(table)
    assert block.get("listed_used") == len(used) <= len(table) // 2
    first, end = block.get("locates"), block.get("listed")
    assert np.flatnonzero(books["venue"][first:]).tolist() == list(range(end - first))
    for number in np.flatnonzero(books["venue"]).tolist():
        venue, symbol = int(books["venue"][number]), int(books["symbol"][number])
        assert (venue == VENUES["nasdaq"]) == (number < first)
        # Of Nasdaq's locates that have one symbol, the table knows the last.
        assert found[venue, symbol] == number or number < first
        position = int(books["position"][number]) or number
        assert block.position["symbol"][position] == symbol
    _holdings(engine)


def _holdings(engine: Engine) -> None:
    """The table of positions has each of them once, by its symbol."""
    table, positions = engine.block.holding, engine.block.position
    used = np.flatnonzero(table["position"])
    # A damaged message can have a symbol of zeros, which is one like others.
    named = used[table["symbol"][used] != 0]
    owned = np.flatnonzero(positions["symbol"])
    assert sorted(table["position"][named].tolist()) == owned.tolist()
    assert len(used) - len(named) <= 1 and 0 not in table["position"][used]
    assert len(used) <= len(table) // 2
    for at in used.tolist():
        symbol = int(table["symbol"][at])
        assert positions["symbol"][table["position"][at]] == symbol
        step = _home(engine, "holding", symbol, 0)
        while step != at:
            assert table["position"][step], f"position of {symbol:x} cannot be found"
            step = (step + 1) % len(table)


def _own_books(engine: Engine) -> None:
    """A book with open orders of our own has its bit."""
    own, words = engine.block.own, engine.block.own_books["value"]
    is_open = (own["state"] != State.FREE) & (own["state"] <= State.PARTIALLY_FILLED)
    for number in set(own["book"][is_open].tolist()):
        assert int(words[number >> 6]) >> (number & 63) & 1, f"book {number} has no bit"
