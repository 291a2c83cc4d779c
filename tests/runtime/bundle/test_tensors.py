"""The safetensors format against the package that defines it, and against files that are not in it."""

import json

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from runtime.bundle.tensors import dump_tensors, load_tensors
from runtime.errors import BundleError

tensors = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(lambda name: name != "__metadata__"),
    array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5).flatmap(
        lambda shape: arrays("<f4", shape, elements=st.floats(width=32, allow_nan=False, allow_infinity=False))
    ),
    max_size=5,
)
ours = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def same(found, expected):
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == np.float32
        assert found[name].shape == tensor.shape
        assert found[name].tobytes() == np.ascontiguousarray(tensor, "<f4").tobytes()


@ours
@given(tensors)
def test_the_package_reads_what_we_write(found):
    same(safetensors.numpy.load(dump_tensors(found)), found)


@ours
@given(tensors, st.dictionaries(st.sampled_from("abc"), st.text(st.characters(exclude_categories=["Cs"]))))
def test_we_read_what_the_package_writes(tmp_path, found, metadata):
    (tmp_path / "a").write_bytes(safetensors.numpy.save(found, metadata or None))
    same(load_tensors(tmp_path / "a"), found)


@ours
@given(tensors)
def test_round_trip(tmp_path, found):
    (tmp_path / "a").write_bytes(dump_tensors(found))
    same(load_tensors(tmp_path / "a"), found)


def test_metadata_and_order(tmp_path):
    found = {"b": np.ones(2, np.float32), "a": np.zeros(1, np.float32)}
    (tmp_path / "a").write_bytes(dump_tensors(found, {"b": "3"}))
    with safetensors.safe_open(tmp_path / "a", "np") as file:
        assert file.metadata() == {"b": "3"}
    data = (tmp_path / "a").read_bytes()
    assert data.endswith(np.array([0, 1, 1], "<f4").tobytes())
    assert int.from_bytes(data[:8], "little") % 8 == 0  # the values start aligned
    assert dump_tensors(dict(reversed(found.items())), {"b": "3"}) == data


def test_other_layouts_and_types_are_written_as_float32(tmp_path):
    grid = np.arange(6.0).reshape(2, 3)
    (tmp_path / "a").write_bytes(dump_tensors({"t": grid.T, "big": grid.astype(">f4"), "half": grid.astype("f2")}))
    same(load_tensors(tmp_path / "a"), {"t": grid.T, "big": grid, "half": grid})


SMALL = {"head.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "head.bias": np.ones(2, np.float32)}


def test_every_truncation_is_a_bundle_error(tmp_path):
    whole = dump_tensors(SMALL)
    for size in range(len(whole)):
        (tmp_path / "w.safetensors").write_bytes(whole[:size])
        with pytest.raises(BundleError, match=r"w.safetensors.* expected .*Restore the file from where it came\."):
            load_tensors(tmp_path / "w.safetensors")


def test_every_single_bit_flip_is_a_bundle_error_or_other_numbers(tmp_path):
    whole, path = dump_tensors(SMALL), tmp_path / "w.safetensors"
    for bit in range(8 * len(whole)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        try:
            found = load_tensors(path)
        except BundleError as error:
            assert str(path) in str(error)  # noqa: PT017
        else:
            assert sum(tensor.nbytes for tensor in found.values()) <= len(whole)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=2, max_size=8))
def test_many_flips_are_a_bundle_error_or_other_numbers(tmp_path, flips):
    data, path = bytearray(dump_tensors(SMALL)), tmp_path / "w.safetensors"
    for place, byte in flips:
        data[place % len(data)] = byte
    path.write_bytes(data)
    try:
        found = load_tensors(path)
    except BundleError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert sum(tensor.nbytes for tensor in found.values()) <= len(data)


def with_header(header, data=b"\0" * 32):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"x": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"w.safetensors: expected a safetensors file, got 0 bytes with a broken header. Restore the file from"),
        (b"\xff" * 8 + b"{}", "expected a safetensors file, got 10 bytes with a broken header"),
        ((1 << 40).to_bytes(8, "little") + b"{}", "expected a safetensors file, got 10 bytes with a broken header"),
        (with_header(b"no json!"), "expected a safetensors header, got JSONDecodeError"),
        (with_header(b"\xff{}    "), "expected a safetensors header, got UnicodeDecodeError"),
        (with_header([]), "expected a safetensors header, got TypeError"),
        (with_header("text"), "expected a safetensors header, got AttributeError"),
        (with_header({"x": 1}), "expected a safetensors header, got TypeError"),
        (with_header({"x": {"dtype": "F32"}}), "expected a safetensors header, got KeyError"),
        (with_header(b"[" * 100_000), "expected a safetensors header, got ValueError.*recursion"),
        (with_header(b'{"x":' * 100_000), "expected a safetensors header, got ValueError.*recursion"),
        (with_header(b"9" * 10_000), "expected a safetensors header, got "),
        (
            with_header(entry("F16")),
            r"w.safetensors: x: expected F32 values of shape \[2\] inside the file, got F16 at bytes 0 to 8 of 32",
        ),
        (
            with_header(entry(shape=(3,))),
            r"x: expected F32 values of shape \[3\] inside the file, got F32 at bytes 0 to 8",
        ),
        (with_header(entry(offsets=(28, 36))), "got F32 at bytes 28 to 36 of 32"),
        (with_header(entry(offsets=(-8, 0))), "got F32 at bytes -8 to 0 of 32"),
        (with_header(entry(offsets=(16, 8), shape=(-2,))), "got F32 at bytes 16 to 8 of 32"),
        (with_header(entry(shape=(-1, -2))), r"x: expected F32 values of shape \[-1, -2\] inside the file"),
        (with_header(entry(shape=(2.0,))), "w.safetensors"),
        (with_header(entry(shape=("a",))), "w.safetensors"),
        (with_header(entry(shape=None)), "w.safetensors"),
        (with_header(entry(shape=(1 << 62, 1 << 62))), "w.safetensors: x: expected F32 values"),
        (with_header(entry(shape=(0, 1 << 70), offsets=(0, 0))), "w.safetensors"),
        (with_header(entry(offsets=(0, 8, 9))), "expected a safetensors header, got ValueError"),
        (with_header(entry(offsets=(0.0, 8.0))), "w.safetensors"),
        (with_header(entry(offsets=("0", "8"))), "w.safetensors"),
        (
            with_header(b'{"x":{"dtype":"F32","shape":[1e999],"data_offsets":[0,8]}}'),
            "the constant 1e999, which is not a finite",
        ),
        (
            with_header(b'{"x":{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}}'),
            "the constant NaN, which is not a finite",
        ),
        (
            with_header(entry(), np.array([1, np.nan], "<f4").tobytes()),
            "x: expected finite numbers, got NaN or infinity",
        ),
        (
            with_header(entry(), np.array([-np.inf, 1], "<f4").tobytes()),
            "x: expected finite numbers, got NaN or infinity",
        ),
    ],
)
def test_what_is_refused(tmp_path, data, message):
    (tmp_path / "w.safetensors").write_bytes(data)
    with pytest.raises(BundleError, match=message):
        load_tensors(tmp_path / "w.safetensors")


def test_a_missing_file_is_a_bundle_error(tmp_path):
    with pytest.raises(BundleError, match=r"none: expected a safetensors file, got No such file or directory"):
        load_tensors(tmp_path / "none")
