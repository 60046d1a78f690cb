"""Independent Python of what the DSLX kernels compute, written from the same words, not from them.

Numbers by the names of the hardware profile's structs, flattened as `hdl.signature` flattens them.
"""

from collections.abc import Mapping
from typing import Any

from tickpath.risk import MAX_PRICE, MAX_SHARES
from tickpath.wire.itch50 import ITCH50
from tickpath.wire.table import WireError
from tickpath_backends.hdl.profile import Check, Kind, Op, Trigger

Numbers = Mapping[str, int]

# ---------------------------------------------------------------- ITCH

_OPERATIONS = {
    "A": (Op.ADD, "order_reference_number"),
    "F": (Op.ADD, "order_reference_number"),
    "E": (Op.EXECUTE, "order_reference_number"),
    "C": (Op.EXECUTE, "order_reference_number"),
    "X": (Op.CANCEL, "order_reference_number"),
    "D": (Op.DELETE, "order_reference_number"),
    "U": (Op.REPLACE, "original_order_reference_number"),
}
_SHARES = ("shares", "executed_shares", "canceled_shares")
_STATES = {"H": "trading_state", "S": "event_code"}
_KINDS = {"H": Kind.TRADING_ACTION, "R": Kind.DIRECTORY, "S": Kind.SYSTEM_EVENT}
DECODED = (
    *("kind", "op", "stock_locate", "ts_event", "order_ref", "new_order_ref", "is_sell", "price"),
    *("shares", "stock", "state", "is_print"),
)


def itch_fields(message: bytes) -> dict[str, int]:
    """What the hardware makes of one ITCH message, by the tables' own decoder."""
    nothing = dict.fromkeys(DECODED, 0)
    code = chr(message[0]) if message else ""
    if code not in ITCH50.by_type:
        return {**nothing, "kind": Kind.UNKNOWN}
    try:
        layout = ITCH50.message_of(message)
    except WireError:
        return {**nothing, "kind": Kind.MALFORMED}
    fields = layout.decode(message)
    locate = fields[layout.fields[1].name]
    found = {**nothing, "stock_locate": locate, "ts_event": fields["timestamp"]}
    raw = {each.name: message[each.offset : each.offset + each.size] for each in layout.fields}
    if code in "AFHR":
        found["stock"] = int.from_bytes(raw["stock"], "big")
    if code in _STATES:
        found["state"] = raw[_STATES[code]][0]
    if code not in _OPERATIONS:
        return {**found, "kind": _KINDS.get(code, Kind.OTHER)}
    found["op"], reference = _OPERATIONS[code]
    found["order_ref"] = fields[reference]
    found["new_order_ref"] = fields.get("new_order_reference_number", 0)
    found["shares"] = next((fields[name] for name in _SHARES if name in fields), 0)
    price = fields.get("price", fields.get("execution_price", 0))
    found["price"] = int(price * 10_000)
    found["is_print"] = int(code == "E" or raw.get("printable") == b"Y")
    side = raw.get("buy_sell_indicator")
    found["is_sell"] = int(side == b"S")
    found["kind"] = Kind.OPERATION if side in (None, b"B", b"S") else Kind.SIDE_INVALID
    return found


# ---------------------------------------------------------------- book


def order_reduce(remaining: int, op: int, shares: int) -> dict[str, int]:
    taken = remaining if op in (Op.DELETE, Op.REPLACE) else min(shares, remaining)
    left = remaining - taken
    gone = op in (Op.DELETE, Op.REPLACE) or left == 0
    return {"remaining": left, "taken": taken, "is_gone": int(gone)}


def tick_of(price: int, base: int, is_cents: int) -> tuple[int, bool]:
    """(index, tracked); the index means nothing where the price is not tracked."""
    index, rest = divmod(price - base, 100 if is_cents else 1)
    return index, 0 <= index < 1024 and not rest


# ---------------------------------------------------------------- trigger


def trigger_step(top: Numbers, parameters: Numbers, held: int) -> dict[str, int]:
    """`fires`, `holds`, `is_sell`, and of an intent that fires price and reference."""
    bid, ask = top["bid_px"], top["ask_px"]
    buys = sells = False
    kind, own_sells = parameters["kind"], bool(parameters["is_sell"])
    usable = top["bid_sz"] and top["ask_sz"]
    if usable and not top["orders_overflow"] and not top["window_overflow"]:
        if kind == Trigger.THROUGH:
            sells = own_sells and bid >= parameters["price"]
            buys = not own_sells and ask <= parameters["price"]
        elif kind == Trigger.SPREAD:
            tight = ask - bid <= parameters["spread"]
            sells, buys = tight and own_sells, tight and not own_sells
        elif kind == Trigger.IMBALANCE:
            buys = _outweighs(top["bid_sz"], top["ask_sz"], parameters)
            sells = _outweighs(top["ask_sz"], top["bid_sz"], parameters)
    holds = int(buys) | int(sells) << 1
    new = holds & ~held
    is_sell = new == 2
    slippage = parameters["slippage"]
    price = max(bid - slippage, 0) if is_sell else min(ask + slippage, 0xFFFFFFFF)
    return {
        "fires": int(bool(new)),
        "holds": holds,
        "reference_px": bid if is_sell else ask,
        "intent_is_sell": int(is_sell),
        "intent_price": price,
        "intent_quantity": parameters["quantity"],
    }


def _outweighs(size: int, other: int, parameters: Numbers) -> bool:
    return size > 2 ** parameters["ratio_log2"] * other and size >= parameters["least"]


# ---------------------------------------------------------------- risk


def failed(
    intent: Numbers,
    now: int,
    reference: int,
    gate_limits: Numbers,
    limits: Numbers,
    gate: Numbers,
    state: Numbers,
) -> set[Check]:
    """The checks that an intent fails."""
    price, quantity, sells = intent["price"], intent["quantity"], bool(intent["is_sell"])
    beyond = (reference - price) if sells else (price - reference)
    ticks = limits["collar_ticks"] * (100 if limits["is_cents"] else 1)
    exposure = state["short_exposure"] if sells else state["long_exposure"]
    most = limits["max_short"] if sells else limits["max_long"]
    found = {
        Check.KILL_SWITCH: gate_limits["is_killed"],
        Check.SYMBOL_ENABLED: not limits["is_enabled"],
        Check.HALT: state["is_halted"],
        Check.QUANTITY: not 0 < quantity <= min(limits["max_quantity"], MAX_SHARES),
        Check.NOTIONAL: price * quantity > limits["max_notional"],
        Check.PRICE_COLLAR: not reference or beyond > ticks or not 0 < price <= MAX_PRICE,
        Check.POSITION: exposure + quantity > most,
        Check.ORDER_RATE: gate["rate_arrival"] - now > gate_limits["rate_burst"]
        or state["rate_arrival"] - now > limits["rate_burst"],
    }
    return {check for check, fails in found.items() if fails}


def risk_step(*arguments: Any) -> dict[str, int]:
    """The verdict and both states after it."""
    intent, now, _, gate_limits, limits, gate, state = arguments
    fails = failed(*arguments)
    sells, quantity = bool(intent["is_sell"]), intent["quantity"]
    after = dict(state)
    arrival = gate["rate_arrival"]
    if not fails:
        after["short_exposure" if sells else "long_exposure"] += quantity
        after["rate_arrival"] = max(after["rate_arrival"], now) + limits["rate_interval"]
        arrival = max(arrival, now) + gate_limits["rate_interval"]
    return {
        "verdict_is_accepted": int(not fails),
        "verdict_failed": sum(1 << check for check in fails),
        "verdict_is_short": int(sells and state["short_exposure"] + quantity > 0),
        "gate_rate_arrival": arrival,
        **{f"state_{name}": value for name, value in after.items()},
    }


# ---------------------------------------------------------------- indicators


def ema_step(has_print: int, value: int, window: int, price: int, shares: int) -> tuple[int, int]:
    """(has a print, average) after a print: tickpath.trades' words."""
    if not shares:
        return has_print, value
    scaled = price << 16
    return 1, value + 2 * (scaled - value) // (window + 1) if has_print else scaled
