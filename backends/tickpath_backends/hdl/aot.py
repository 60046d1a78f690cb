"""DSLX functions as machine code in this process: a C simulation for Numba and for tests.

libxls compiles an optimised function to an object, llvmlite links it in place; no compiler of the
machine is needed, and it takes a tenth of a second.  Compiled, a function is

    int64_t f(inputs, outputs, temporary, 0, 0, 0, 0)

where ``inputs`` and ``outputs`` are addresses of tables of addresses, one a parameter, and
``temporary`` is scratch memory of the caller's own.  What stands where in a parameter is the
compiler's choice; libxls says it in a message of Protocol Buffers, of which the few fields that are
needed are read here, and `Native` makes NumPy dtypes of it.

Numbers stand in whole words of 1, 2, 4 or 8 bytes, unsigned, signed ones as two's complement of
their own width.  Longer ones are bytes, the lowest first: a wire message stands there backwards.
A caller zeroes a frame once and never writes beyond a number's bits.
"""

import ctypes
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np

from tickpath_backends.hdl import signature, xls
from tickpath_backends.hdl.error import HdlError

PLAIN = "value"
"""The name of the only number of a parameter or result that is no struct."""
_ARGUMENTS = 7
_KEPT: list[Any] = []
"""Engines of linked objects: code lives as long as they do."""
# Fields of the list of entry points, of one, and of the layouts in it.
_ENTRY = 1
_TEMPORARY_BYTES, _INPUTS, _OUTPUTS = 13, 18, 19
_LAYOUT, _LAYOUT_SIZE, _LAYOUT_LEAF = 1, 2, 3
_LEAF_OFFSET, _LEAF_SIZE = 1, 2


class _Place(NamedTuple):
    """Where the numbers of one parameter are: its size, and (offset, size) of each."""

    size: int
    numbers: tuple[tuple[int, int], ...]


# ---------------------------------------------------------------- Protocol Buffers


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _fields(raw: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of a message's fields: integers and bytes, which is all there is."""
    at = 0
    while at < len(raw):
        key, at = _varint(raw, at)
        value, at = _varint(raw, at)
        if key & 7 == 0:
            yield key >> 3, value
        elif key & 7 == 2:
            yield key >> 3, raw[at : at + value]
            at += value
        else:
            raise HdlError(f"libxls describes a function in a way that is not known: field {key}")


def _places(raw: bytes) -> tuple[_Place, ...]:
    """The parameters of a list of layouts."""
    found = []
    for number, layout in _fields(raw):
        if number != _LAYOUT:
            continue
        size, numbers = 0, []
        for field, value in _fields(layout):
            if field == _LAYOUT_SIZE:
                size = value
            elif field == _LAYOUT_LEAF:
                leaf = dict(_fields(value))
                numbers.append((leaf.get(_LEAF_OFFSET, 0), leaf[_LEAF_SIZE]))
        found.append(_Place(size, tuple(numbers)))
    return tuple(found)


# ---------------------------------------------------------------- compiling


@cache
def _library() -> Any:
    xls.api()
    import xls as package

    path = Path(package.__file__).parent / "_blob" / "libxls.so"
    return ctypes.CDLL(str(path))


def _object(module: str, function: str) -> tuple[bytes, bytes]:
    """(object code, description) of a function."""
    library, name = _library(), xls.mangled(module, function).encode()
    text = xls.optimised_text(module, function).encode()
    error, package, found = ctypes.c_char_p(), ctypes.c_void_p(), ctypes.c_void_p()
    code, code_size = ctypes.c_void_p(), ctypes.c_size_t()
    about, about_size = ctypes.c_void_p(), ctypes.c_size_t()

    def did(name: str, *arguments: Any) -> None:
        call = getattr(library, name)
        call.restype = ctypes.c_bool
        if not call(*arguments):
            said = (error.value or b"").decode(errors="replace")
            raise HdlError(f"{module}.{function}: {name}: {said}")

    by = ctypes.byref
    did("xls_parse_ir_package", text, b"", by(error), by(package))
    did("xls_package_get_function", package, name, by(error), by(found))
    sizes = (by(code), by(code_size), by(about), by(about_size))
    did("xls_aot_compile_function", found, by(error), *sizes)
    result = ctypes.string_at(code, code_size.value), ctypes.string_at(about, about_size.value)
    library.xls_aot_object_code_free(code)
    library.xls_aot_entrypoints_proto_free(about)
    library.xls_package_free(package)
    return result


def _linked(code: bytes, name: str) -> int:
    """The address of a function of an object, linked into this process."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _KEPT.append(engine)
    address = engine.get_function_address(name)
    if not address:
        raise HdlError(f"{name}: not in what libxls compiled")
    return address


def _dtype(struct: str, place: _Place, what: str) -> np.dtype:
    """The record of a parameter."""
    leaves = [*signature.leaves(struct)]
    if len(leaves) != len(place.numbers):
        raise HdlError(f"{what}: {len(leaves)} numbers in the profile, {len(place.numbers)} in XLS")
    formats: list[Any] = []
    for _, size in place.numbers:
        word = 1 << (size - 1).bit_length()
        formats.append(f"u{word}" if word <= 8 else ("u1", (size,)))
    names = [leaf.name or PLAIN for leaf in leaves]
    offsets = [offset for offset, _ in place.numbers]
    return np.dtype(
        {"names": names, "formats": formats, "offsets": offsets, "itemsize": place.size}
    )


class Native:
    """One function: ``address``, ``symbol``, and the records of its parameters and its result."""

    def __init__(self, module: str, function: str) -> None:
        self.symbol = xls.mangled(module, function)
        self.signature = signature.of(module, function)
        code, about = _object(module, function)
        entry = next(value for number, value in _fields(about) if number == _ENTRY)
        described = dict(_fields(entry))
        self.temporary_bytes: int = described.get(_TEMPORARY_BYTES, 0)
        places, results = _places(described[_INPUTS]), _places(described[_OUTPUTS])
        self.parameters = tuple(
            _dtype(struct, place, f"{function}.{name}")
            for (name, struct), place in zip(self.signature.parameters, places, strict=True)
        )
        self.result = _dtype(self.signature.result, results[0], function)
        self.parameter_leaves = tuple(
            (*signature.leaves(struct),) for _, struct in self.signature.parameters
        )
        self.result_leaves = (*signature.leaves(self.signature.result),)
        self.address = _linked(code, self.symbol)
        # What Numba declares as an ExternalFunction of this name is this function.
        llvm.add_symbol(self.symbol, self.address)


@cache
def native(module: str, function: str) -> Native:
    """A function of hdl/dslx, compiled once a process.  Raises `HdlError`."""
    return Native(module, function)


def external(function: Native) -> Any:
    """What a Numba function calls: ``f(inputs, outputs, temporary, 0, 0, 0, 0)``, all uint64."""
    from numba import types

    return types.ExternalFunction(
        function.symbol, types.int64(*([types.uint64] * (_ARGUMENTS - 1)), types.int64)
    )


class Frame:
    """Memory of one caller of a function: records of one element, and the tables of addresses.

    ``arguments`` is what the call takes: uint64[3].
    """

    def __init__(self, function: Native) -> None:
        self.function = function
        self.inputs = tuple(np.zeros(1, each) for each in function.parameters)
        self.output = np.zeros(1, function.result)
        self._temporary = np.zeros(function.temporary_bytes + 64, np.uint8)
        self._input_table = np.array([each.ctypes.data for each in self.inputs], np.uint64)
        self._output_table = np.array([self.output.ctypes.data], np.uint64)
        # Its alignment is at most that of a cache line.
        start = self._temporary.ctypes.data + 63 & ~63
        self.arguments = np.array(
            [self._input_table.ctypes.data, self._output_table.ctypes.data, start], np.uint64
        )
        kind = ctypes.CFUNCTYPE(ctypes.c_int64, *([ctypes.c_uint64] * 6), ctypes.c_int64)
        self._call = kind(function.address)

    def call(self, *values: int | Mapping[str, int]) -> Any:
        """Call from Python: a number, or numbers by name (others are 0), for each parameter.

        Gives a number, or the result's numbers by name.
        """
        for record, leaves, value in zip(
            self.inputs, self.function.parameter_leaves, values, strict=True
        ):
            given = value if isinstance(value, Mapping) else {PLAIN: value}
            assert record.dtype.names is not None and given.keys() <= {*record.dtype.names}
            for name, leaf in zip(record.dtype.names, leaves, strict=True):
                _put(record, name, leaf.kind, given.get(name, 0))
        self._call(*(int(each) for each in self.arguments), 0, 0, 0, 0)
        names, leaves = self.output.dtype.names, self.function.result_leaves
        assert names is not None
        found = {
            name: _number(self.output[name][0], leaf.kind)
            for name, leaf in zip(names, leaves, strict=True)
        }
        return found if self.function.signature.result else found[PLAIN]


def _put(record: np.ndarray, name: str, kind: str, value: int) -> None:
    bits = int(kind[1:]) if kind else 8 * record.dtype[name].itemsize
    unsigned = value & ((1 << bits) - 1)
    if record.dtype[name].shape:
        raw = unsigned.to_bytes(record.dtype[name].itemsize, "little")
        record[name][0] = np.frombuffer(raw, np.uint8)
    else:
        record[name] = unsigned


def _number(value: Any, kind: str) -> int:
    number = int.from_bytes(value.tobytes(), "little") if np.ndim(value) else int(value)
    if kind[:1] == "s" and number >> (int(kind[1:]) - 1) & 1:
        number -= 1 << int(kind[1:])
    return number
