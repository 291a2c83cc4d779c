"""The reader of pickled arrays: it reads what it must, refuses the rest, and runs nothing."""

import ast
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sdk.datasets
from runtime.errors import InputError
from sdk.datasets._npy_objects import read_object_npy
from tests.datasets.archives import array, call, dtype, encoded, listed, npy, number, numbers, seglearn_npy, text


def read(pickled):
    return read_object_npy(npy(pickled), "x.npy")


@pytest.mark.parametrize("fortran", [False, True])
@pytest.mark.parametrize("kind", ["<f8", ">f4", "<i8", "|u1"])
def test_arrays(fortran, kind):
    values = np.arange(6).reshape(2, 3).astype(kind)
    content = array(encoded(values.tobytes("F" if fortran else "C")), (2, 3), dtype(kind[1:], kind[0]), fortran)
    got = read(content)
    assert got.dtype == values.dtype
    assert np.array_equal(got, values)


def test_objects_of_every_kind():
    got = read(
        listed(
            text("é"), number(7), number(-7), b"M\x00\x01", b"N", b"\x88", b"\x89", b")", b"K\x01K\x02\x86", b"]K\x05a"
        )
    )
    assert got == ["é", 7, -7, 256, None, True, False, (), (1, 2), [5]]


def test_what_is_remembered_is_the_built_thing():
    kind = call("numpy dtype", text("f8") + number(0) + number(1)) + b"q\x05"
    kind += b"(" + number(3) + text("<") + b"NNN" + number(-1) * 2 + number(0) + b"tb"
    first = array(encoded(np.float64([1, 2]).tobytes()), (2,), kind)
    again = array(encoded(np.float64([3]).tobytes()), (1,), b"h\x05")
    got = read(listed(first, again, b"j\x05\x00\x00\x00"))
    assert got[0].tolist() == [1, 2]
    assert got[1].tolist() == [3]
    assert got[2] == np.dtype("<f8")


def test_an_array_of_arrays_stays_one_of_objects():
    items = listed(numbers(np.ones(2)), numbers(np.ones(2)))
    got = read(array(items, (2,), dtype("O8", "|")))
    assert got.shape == (2,)
    assert got[1].tolist() == [1, 1]


@pytest.mark.parametrize("module", ["os", "posix", "nt"])
def test_a_command_is_refused_and_not_run(tmp_path, module):
    witness = tmp_path / "ran"
    with pytest.raises(InputError, match=f"x.npy: expected .* got the name '{module}.system', which was not run"):
        read(call(f"{module} system", text(f"touch {witness}")))
    assert not witness.exists()


@pytest.mark.parametrize(
    "name",
    [
        "builtins eval",
        "numpy.core.multiarray scalar",
        "numpy._core.multiarray _reconstruct",
        "numpy.testing run_module",
    ],
)
def test_other_names_are_refused(name):
    with pytest.raises(InputError, match=f"got the name '{name.replace(' ', '.')}'"):
        read(call(name, text("1")))


@pytest.mark.parametrize(
    ("content", "opcode"),
    [
        (b"(ios\nsystem\n", "INST"),
        (b"(cnumpy\nndarray\no", "OBJ"),
        (b"cnumpy\nndarray\n)\x81", "NEWOBJ"),
        (text("os") + text("system") + b"\x93", "STACK_GLOBAL"),
        (b"\x82\x01", "EXT1"),
        (b"Pid\n", "PERSID"),
        (b"Nb0", "POP"),
        (b"G" + bytes(8), "BINFLOAT"),
        (b"C\x01a", "SHORT_BINBYTES"),
    ],
)
def test_other_opcodes_are_refused(content, opcode):
    with pytest.raises(InputError, match=f"opcode {opcode} at byte|where tuple belongs|a damaged one"):
        read(content)


def test_a_refused_opcode_is_named_with_its_place():
    with pytest.raises(InputError, match="opcode STACK_GLOBAL at byte 20"):
        read(text("os") + text("system") + b"\x93")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (call("_codecs encode", text("x") + text("rot13")), "a call of _codecs encode that such a file does not need"),
        (call("numpy ndarray", number(1)), "a call of numpy ndarray"),
        (text("f") + b")R", "a call of str"),
        (call("numpy.core.multiarray _reconstruct", text("x")), "a call of numpy.core.multiarray _reconstruct"),
        (dtype("V8"), "the data type 'V8'"),
        (dtype("O8") + b"0", "POP"),
        (array(encoded(bytes(7)), (1,), dtype("f8")), "a damaged one"),
        (array(encoded(bytes(8)), (2,), dtype("f8")), r"an array of shape \(2,\) with 1 values"),
        (array(encoded(bytes(8)), (-1, -1), dtype("f8")), r"an array of shape \(-1, -1\)"),
        (array(encoded(bytes(8)), (1,), text("f8")), "str where dtype belongs"),
        (array(text("abc"), (1,), dtype("f8")), "str where bytes belongs"),
        (text("x") + b"K\x01a", "str where list belongs"),
        (b"h\x09", "a damaged one"),
        (b"t", "a damaged one"),
        (b"\x86", "a tuple of more than there is"),
        (b"}(" + text("a") + b"u", "a damaged one"),
        (b"}(]K\x01u", "a damaged one"),
        (b"", "a damaged one"),
        (b"K\x01K\x02", "a damaged one"),
        (b")K\x01b", "int where tuple belongs"),
        (b"K\x01)b", "int where _Unbuilt belongs"),
    ],
)
def test_what_does_not_fit_is_refused(content, message):
    with pytest.raises(InputError, match=message):
        read(content)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x02\x00", b"\x93NUMPY\x01\x00v\x00{'descr'"])
def test_what_is_no_npy_file_is_refused(content):
    with pytest.raises(InputError, match=r"x.npy: expected a .npy file of version 1.0"):
        read_object_npy(content, "x.npy")


def test_an_ordinary_array_is_refused():
    buffer = io.BytesIO()
    np.save(buffer, np.ones(3))
    with pytest.raises(InputError, match=r"expected one object, got an array \(3,\) of float64"):
        read_object_npy(buffer.getvalue(), "x.npy")


def test_every_cut_is_refused():
    whole = seglearn_npy()
    for size in range(len(whole)):
        with pytest.raises(InputError):
            read_object_npy(whole[:size], "x.npy")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_is_read_or_refused_but_nothing_else(data):
    damaged = bytearray(seglearn_npy())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(128, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_object_npy(bytes(damaged), "x.npy")
    except InputError as error:
        assert str(error).startswith("x.npy: ")  # noqa: PT017


def test_the_room_never_imports_pickle():
    for path in Path(sdk.datasets.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not {"pickle", "_pickle", "cPickle", "torch"} & {str(name).split(".")[0] for name in names}, path
            assert not (isinstance(node, ast.keyword) and node.arg == "allow_pickle"), path
