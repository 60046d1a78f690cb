"""Gap Request Proxy and Spin: the tables against the published layouts, and bytes by hand."""

import csv
from pathlib import Path

import pytest

from tickpath.recovery.unit_link import message
from tickpath.wire.cboe_grp import CBOE_GRP
from tickpath.wire.cboe_spin import CBOE_SPIN

SPECS = Path(__file__).parents[2] / "shared" / "specs"
NO_SPECS = "the spec tables (../shared/specs) are not here"


@pytest.mark.skipif(not SPECS.is_dir(), reason=NO_SPECS)
@pytest.mark.parametrize("protocol", [CBOE_GRP, CBOE_SPIN], ids=lambda each: each.name)
def test_tables_are_the_published_ones(protocol):
    with (SPECS / f"{protocol.name}.csv").open() as rows:
        published = [
            (r["message"], int(r["type"] or "0", 16), r["field"], int(r["offset"]), int(r["size"]))
            for r in csv.DictReader(rows)
        ]
    ours = [
        (each.name, ord(each.type or "\0"), field.name, field.offset, field.size)
        for each in protocol.messages
        for field in each.fields
    ]
    assert ours == published
    assert {each.order for each in protocol.messages} == {"little"}


@pytest.mark.skipif(not SPECS.is_dir(), reason=NO_SPECS)
def test_codes_are_the_published_ones():
    with (SPECS / "cboe_grp.enums.csv").open() as rows:
        published = [(r["enum"], r["code"], r["value"]) for r in csv.DictReader(rows)]
    ours = [(e, c, v) for e, codes in CBOE_GRP.enums.items() for c, v in codes.items()]
    assert ours == published


def test_by_hand():
    login = message(CBOE_GRP["login"], session_sub_id="0001", username="FIRM", password="ABCD00")
    assert login.hex(" ", 1) == (
        "16 01 30 30 30 31 46 49 52 4d 20 20 41 42 43 44 30 30 20 20 20 20"
    )
    request = message(CBOE_GRP["gap_request"], unit=1, sequence=3, count=5)
    assert request.hex() == "0903" + "01" + "03000000" + "0500"
    response = message(CBOE_GRP["gap_response"], unit=1, sequence=3, count=5, status="A")
    assert response.hex() == "0a04" + "01" + "03000000" + "0500" + "41"
    spin = message(CBOE_SPIN["spin_response"], sequence=0x0A0B0C0D, order_count=2, status="O")
    assert spin.hex() == "0b82" + "0d0c0b0a" + "02000000" + "4f"
    assert CBOE_SPIN.decode(spin)["message"] == "spin_response"
