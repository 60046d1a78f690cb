"""DSLX functions as machine code: from Python, from Numba, and what stands where."""

import numpy as np
import pytest
from numba import njit

from tickpath.memory import accessors
from tickpath_backends.hdl import signature, xls
from tickpath_backends.hdl.error import HdlError
from tickpath_backends.hdl.profile import STRUCTS, bits_of

pytestmark = pytest.mark.skipif(xls.why_not() is not None, reason=str(xls.why_not()))
if xls.why_not() is None:
    from tickpath_backends.hdl import aot


def test_records_have_the_profiles_names():
    function = aot.native("trigger", "trigger_step")
    top, parameters, held = function.parameters
    assert top.names == (
        *("symbol", "bid_px", "bid_sz", "ask_px", "ask_sz", "bid_changed", "ask_changed"),
        *("orders_overflow", "window_overflow", "sideband_ts_event", "sideband_input_number"),
        "sideband_tag",
    )
    assert top["bid_sz"] == np.uint64 and top["bid_px"] == np.uint32
    assert parameters.names[0] == "kind" and held.names == (aot.PLAIN,)
    assert function.result.names[:3] == ("fires", "holds", "reference_px")


def test_numba_calls_by_symbol_what_python_calls():
    function = aot.native("risk", "risk_notional")
    frame, call = aot.Frame(function), aot.external(function)
    products = accessors("products", function.parameters[0])
    value = accessors("notional", function.result)

    @njit
    def run(arguments, products_at, result_at, count):
        zero, last, total = np.uint64(0), np.int64(0), np.uint64(0)
        for n in range(count):
            products.set_high(products_at, np.uint64(n))
            products.set_low(products_at, np.uint64(n + 1))
            call(arguments[0], arguments[1], arguments[2], zero, zero, zero, last)
            total += value.value(result_at)
        return total

    at = np.uint64(frame.inputs[0].ctypes.data), np.uint64(frame.output.ctypes.data)
    found = int(run(frame.arguments, *at, 1000))
    assert found == sum((n << 32) + n + 1 for n in range(1000))
    last = {"high": 999, "low": 1000}
    assert aot.Frame(function).call(last) == (999 << 32) + 1000


def test_frames_of_one_function_are_apart():
    function = aot.native("book_step", "order_reduce")
    one, other = aot.Frame(function), aot.Frame(function)
    found = one.call(100, 1, 40)
    other.call(5, 1, 5)
    assert found == {"remaining": 60, "taken": 40, "is_gone": 0}
    assert int(one.output["remaining"][0]) == 60


def test_numbers_beyond_their_bits_are_cut():
    frame = aot.Frame(aot.native("risk", "risk_release"))
    found = frame.call({"long_exposure": -(1 << 38), "is_halted": 3}, -1, 0)
    assert found["long_exposure"] == -(1 << 38) - 1 and found["is_halted"] == 1


def test_a_number_that_a_struct_has_not_is_refused():
    with pytest.raises(AssertionError):
        aot.Frame(aot.native("risk", "risk_notional")).call({"hihg": 1})


def test_what_there_is_not_is_one_line():
    with pytest.raises(HdlError, match=r"risk\.x: no function is_rich"):
        aot.native("risk", "is_rich")


@pytest.mark.parametrize("struct", [each.name for each in STRUCTS])
def test_leaves_have_the_bits_of_their_struct(struct):
    leaves = [*signature.leaves(struct)]
    assert sum(bits_of(leaf.kind) for leaf in leaves) == bits_of(struct)
    assert len({leaf.name for leaf in leaves}) == len(leaves)


def test_every_kernel_has_a_signature_that_xls_agrees_with():
    for kernel in xls.KERNELS:
        kinds = xls.function(kernel.module, kernel.function).get_type()
        found = signature.of(kernel.module, kernel.function)
        assert kinds.get_param_count() == len(found.parameters)
        for n, (_, struct) in enumerate(found.parameters):
            if struct:
                bits = kinds.get_param_type(n).get_flat_bit_count()
                assert bits == bits_of(struct), (kernel, struct)
