"""Logins of BOE: units with their sequences, and the param groups that ask for return bitfields.

A login_request carries param groups, each its length (which counts itself), its type and its
contents: unit_sequences (where to go on, unit by unit) and return_bitfields (which optional fields
the exchange shall put into which message).  A login_response has units and repeats the groups, a
logout has units.  A group of a type that the table has not is kept as its bytes and counted.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tickpath.wire.boe23 import PARAM_GROUPS, PARAM_HEADER, UNIT_SEQUENCE
from tickpath.wire.table import Message, WireError

UNKNOWN_PARAM_GROUP = "unknown_param_group"
MOST = 255
"""Units or param groups of one message."""


def return_bitfields(login: Mapping[str, Any]) -> dict[int, bytes]:
    """The bitfields that a decoded login_request (or the answer to it) asks for, by message type.

    ``layout`` of a message and its bitfields is where its fields then are.
    """
    return {
        each["application_message_type"]: each["return_bitfields"]
        for each in login["param_groups"]
        if "return_bitfields" in each
    }


def take_apart(message: Message, values: dict[str, Any], counters: Counter[str]) -> dict[str, Any]:
    """A session message's values with its units and param groups taken apart."""
    name = message.name
    if name == "login_request":
        number, rest = values["number_of_param_groups"], values.pop("param_groups")
        return values | {"param_groups": _param_groups(rest, number, counters)}
    if name == "logout":
        units, rest = _units(values.pop("units"), values["number_of_units"], name)
        _nothing_behind(rest, name)
        return values | {"units": units}
    if name == "login_response":
        rest = values.pop("units_and_param_groups")
        values["units"], rest = _units(rest, values["number_of_units"], name)
        if not rest:
            raise WireError(f"boe23 {name}: number_of_param_groups is missing")
        values["number_of_param_groups"] = rest[0]
        return values | {"param_groups": _param_groups(rest[1:], rest[0], counters)}
    return values


def _nothing_behind(rest: bytes, name: str) -> None:
    if rest:
        raise WireError(f"boe23 {name}: {len(rest)} bytes behind its last group")


def _units(raw: bytes, number: int, name: str) -> tuple[list[dict[str, Any]], bytes]:
    """(unit sequences, what is behind them)."""
    end = number * UNIT_SEQUENCE.length
    if len(raw) < end:
        raise WireError(f"boe23 {name}: {number} units take {end} bytes, got {len(raw)}")
    units = [UNIT_SEQUENCE.decode(raw, at) for at in range(0, end, UNIT_SEQUENCE.length)]
    return units, raw[end:]


def _param_groups(raw: bytes, number: int, counters: Counter[str]) -> list[dict[str, Any]]:
    groups = []
    for _ in range(number):
        header = PARAM_HEADER.decode(raw)
        length, code = header["param_group_length"], header["param_group_type"]
        if not PARAM_HEADER.length <= length <= len(raw):
            raise WireError(f"boe23: a param group of {length} bytes, {len(raw)} are left")
        body, raw = raw[PARAM_HEADER.length : length], raw[length:]
        kind = PARAM_GROUPS.get(code)
        if kind is None:
            counters[UNKNOWN_PARAM_GROUP] += 1
            groups.append({"param_group_type": code, "contents": body})
            continue
        group = {"param_group_type": code, **kind.decode(body)}
        if "units" in group:
            group["units"], rest = _units(group["units"], group["number_of_units"], kind.name)
            _nothing_behind(rest, kind.name)
        elif len(group["return_bitfields"]) != group["number_of_return_bitfields"]:
            raise WireError(
                f"boe23: {group['number_of_return_bitfields']} return_bitfields, "
                f"{len(group['return_bitfields'])} bytes"
            )
        groups.append(group)
    _nothing_behind(raw, "param groups")
    return groups


def put_together(message: Message, values: dict[str, Any]) -> dict[str, Any]:
    """Units and param groups as the bytes of the field that the table has for them."""
    name = message.name
    if name not in ("login_request", "login_response", "logout"):
        return values
    values, units = dict(values), values.get("units", [])
    groups = values.pop("param_groups", [])
    values.pop("number_of_param_groups", None)
    values.pop("units", None)
    raw_units = b"".join(UNIT_SEQUENCE.encode(**each) for each in units)
    raw_groups = b"".join(_group(each) for each in groups)
    if max(len(units), len(groups)) > MOST:
        raise WireError(f"boe23 {name}: more than {MOST} units or param groups")
    if name == "login_request":
        return values | {"number_of_param_groups": len(groups), "param_groups": raw_groups}
    values["number_of_units"] = len(units)
    if name == "logout":
        return values | {"units": raw_units}
    return values | {"units_and_param_groups": raw_units + bytes([len(groups)]) + raw_groups}


def _group(group: Mapping[str, Any]) -> bytes:
    values, code = dict(group), group.get("param_group_type", -1)
    values.pop("param_group_type", None)
    kind = PARAM_GROUPS.get(code)
    if kind is None:
        body = bytes(values.get("contents", b""))
    elif "units" in kind.by_name:
        units = values.get("units", [])
        raw = b"".join(UNIT_SEQUENCE.encode(**each) for each in units)
        body = kind.encode(**values | {"units": raw, "number_of_units": len(units)})
    else:
        number = len(values.get("return_bitfields", b""))
        body = kind.encode(**values | {"number_of_return_bitfields": number})
    length = PARAM_HEADER.length + len(body)
    return PARAM_HEADER.encode(param_group_length=length, param_group_type=code) + body
