"""Reads the one published .npy file that holds a pickled dict, without unpickling it.

Unpickling runs whatever a file names. Here nothing in the file is ever imported, looked up or called: the opcodes come
from `pickletools.genops`, which only splits bytes, and a small stack machine knows those that such a file needs. Four
names may occur, and they stand for what this module does itself:

    numpy.core.multiarray _reconstruct   an array that the next BUILD fills
    numpy ndarray                        its only argument of interest: nothing
    numpy dtype                          float64, int64 and the like, or object
    _codecs encode                       text back to the bytes that it carries (latin1)

Everything else is an InputError that names the opcode or the name.
"""

from __future__ import annotations

import io
import math
import pickletools
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from runtime.errors import InputError

FIX = "Get the official file; do not unpickle this one."


class _Name(Enum):
    """The names that may occur; members are compared, never called."""

    RECONSTRUCT = "numpy.core.multiarray _reconstruct"
    NDARRAY = "numpy ndarray"
    DTYPE = "numpy dtype"
    ENCODE = "_codecs encode"


@dataclass
class _Unbuilt:
    """An array or dtype between REDUCE, which announces it, and BUILD, which fills it."""

    code: str | None  # of a dtype, such as "f8"; None: an array
    memo: int | None = None  # where the file remembered it


class _MalformedError(Exception):
    """What is wrong, in words; becomes an InputError with the place."""


def read_object_npy(data: bytes, where: str) -> object:
    """The object in a .npy file of one object: dicts, lists, numbers, text, arrays of numbers or of these.

    Args:
        data: the file.
        where: its name, for messages.

    Raises:
        InputError: not such a file, cut off, or with an opcode or a name that it has no business with.
    """
    file = io.BytesIO(data)
    try:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("another version than 1.0")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    except ValueError as error:
        raise InputError(where, expected="a .npy file of version 1.0", got=error, fix=FIX) from None
    if shape != () or dtype != np.dtype(object):
        raise InputError(where, expected="one object", got=f"an array {shape} of {dtype}", fix=FIX)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in a damaged text, which genops reads before we can refuse it
            return _run(file.read())
    except _MalformedError as error:
        got: object = error
    except (ValueError, TypeError, LookupError, OverflowError) as error:  # cut off, or a stack that does not fit
        got = f"a damaged one ({error})"
    raise InputError(where, expected="a dict of arrays, written by numpy.save", got=got, fix=FIX)


def _run(data: bytes) -> object:
    machine = _Machine()
    for opcode, argument, position in pickletools.genops(data):
        step = _STEPS.get(opcode.name)
        if step is None:
            raise _MalformedError(f"opcode {opcode.name} at byte {position}")
        step(machine, argument)
    return machine.result()


class _Machine:
    """The stack, its marks and the memo."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []  # stacks below the open marks
        self.memo: dict[int, Any] = {}

    def result(self) -> object:
        (outer,) = self.stack
        # numpy.save pickles an array of no dimensions that holds the object
        return outer.item() if isinstance(outer, np.ndarray) and outer.shape == () else outer

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self, _: Any) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def pop_tuple(self, size: int) -> None:
        if len(self.stack) < size:
            raise _MalformedError("a tuple of more than there is")
        items = tuple(self.stack[-size:])
        del self.stack[-size:]
        self.push(items)

    def put(self, index: int) -> None:
        top = self.stack[-1]
        self.memo[index] = top
        if isinstance(top, _Unbuilt):
            top.memo = index

    def name(self, argument: str) -> None:
        try:
            self.push(_Name(argument))
        except ValueError:
            raise _MalformedError(f"the name {argument.replace(' ', '.')!r}, which was not run") from None

    def append(self, items: list[Any]) -> None:
        _expect(self.stack[-1], list).extend(items)

    def set_items(self, _: Any) -> None:
        items = self.pop_mark()
        _expect(self.stack[-1], dict).update(zip(items[::2], items[1::2], strict=True))

    def reduce(self, _: Any) -> None:
        arguments, called = _expect(self.stack.pop(), tuple), self.stack.pop()
        if called is _Name.RECONSTRUCT and arguments[0] is _Name.NDARRAY:
            self.push(_Unbuilt(None))
        elif called is _Name.DTYPE:
            self.push(_Unbuilt(_expect(arguments[0], str)))
        elif called is _Name.ENCODE and arguments[1] == "latin1":
            self.push(_expect(arguments[0], str).encode("latin1"))
        else:
            what = called.value if isinstance(called, _Name) else type(called).__name__
            raise _MalformedError(f"a call of {what} that such a file does not need, which was not made")

    def build(self, _: Any) -> None:
        state, target = _expect(self.stack.pop(), tuple), _expect(self.stack.pop(), _Unbuilt)
        built = _array(*state) if target.code is None else _dtype(target.code, *state)
        self.push(built)
        if target.memo is not None:
            self.memo[target.memo] = built


def _array(_: Any, shape: Any, dtype: Any, fortran: Any, content: Any) -> np.ndarray[Any, Any]:
    """An array from the state that numpy pickles: version, shape, dtype, order, bytes or a list of objects."""
    size = math.prod(_expect(n, int) for n in _expect(shape, tuple))
    flat: np.ndarray[Any, Any]
    if _expect(dtype, np.dtype) == np.dtype(object):
        flat = np.empty(len(_expect(content, list)), object)
        for i, item in enumerate(content):  # at once, numpy would stack arrays
            flat[i] = item
    else:
        flat = np.frombuffer(_expect(content, bytes), dtype)
    if flat.size != size or any(n < 0 for n in shape):
        raise _MalformedError(f"an array of shape {shape} with {flat.size} values")
    shaped: np.ndarray[Any, Any] = flat.reshape(shape, order="F" if fortran else "C")
    return shaped


def _dtype(code: str, _: Any, order: Any, *rest: Any) -> np.dtype[Any]:
    """A dtype from its code and the state that numpy pickles: version, byte order and what structures would need."""
    if not re.fullmatch(r"[fiu][1248]|O8", code) or order not in ("<", ">", "|", "=") or rest[:3] != (None, None, None):
        raise _MalformedError(f"the data type {code!r}")
    return np.dtype(object) if code == "O8" else np.dtype(f"{order}{code}")


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise _MalformedError(f"{type(value).__name__} where {kind.__name__} belongs")
    return value


def _push_argument(machine: _Machine, argument: Any) -> None:
    machine.push(argument)


def _get(machine: _Machine, index: int) -> None:
    machine.push(machine.memo[index])


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda machine, argument: None,
    "STOP": lambda machine, argument: None,
    "GLOBAL": _Machine.name,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "BINGET": _get,
    "LONG_BINGET": _get,
    "BININT": _push_argument,
    "BININT1": _push_argument,
    "BININT2": _push_argument,
    "BINUNICODE": _push_argument,
    "NONE": _push_argument,  # its argument is None
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "MARK": _Machine.mark,
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_mark())),
    "TUPLE1": lambda machine, _: machine.pop_tuple(1),
    "TUPLE2": lambda machine, _: machine.pop_tuple(2),
    "TUPLE3": lambda machine, _: machine.pop_tuple(3),
    "APPEND": lambda machine, _: machine.append([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.pop_mark()),
    "SETITEMS": _Machine.set_items,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
}
