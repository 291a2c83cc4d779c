"""Two sensors on one clock, and columns of text in blocks of any size."""

import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import InputError
from sdk.datasets import _archive
from sdk.datasets._archive import Archive
from sdk.datasets._clock import Timed, in_order, side_by_side
from sdk.datasets._text import iter_columns
from tests.datasets.archives import zip_bytes

TIMES_MS = st.lists(st.integers(0, 2_000), min_size=0, max_size=40, unique=True).map(sorted)


def timed(times_ms, columns=1):
    t = np.array(times_ms, float) / 1000
    return Timed(t, np.stack([t * 10 + k for k in range(columns)], axis=1).astype(np.float32))


@given(TIMES_MS, TIMES_MS, st.integers(1, 500))
def test_the_second_sensor_is_interpolated_and_holes_are_left_out(first_ms, second_ms, gap_ms):
    """A signal that is linear in time comes out exactly; which rows stay is decided by a plain search."""
    first, second = timed(first_ms), timed(second_ms, columns=2)
    keep, samples = side_by_side(first, second, gap_s=gap_ms / 1000 + 1e-9)
    steps = [(a, b) for a, b in pairwise(second_ms) if b - a <= gap_ms]
    assert keep.tolist() == [t in second_ms or any(a <= t <= b for a, b in steps) for t in first_ms]
    t = first.t[keep]
    assert samples == pytest.approx(np.stack([t * 10, t * 10, t * 10 + 1], axis=1), abs=1e-4)


def test_in_order():
    sensor = Timed(np.array([3.0, 1.0, 2.0, 1.0]), np.array([[3.0], [1.0], [2.0], [9.0]], np.float32))
    assert in_order(sensor).t.tolist() == [1, 2, 3]
    assert in_order(sensor).samples.tolist() == [[1], [2], [3]]


ROWS = [f"{i},{i / 8},name{i % 3}" for i in range(50)]


@given(st.integers(1, 400), st.booleans())
def test_blocks_of_any_size_give_the_same_columns(block_bytes, ends):
    content = zip_bytes({"data/a.csv": ("i,x,who\n" + "\n".join(ROWS) + ("\n" if ends else "")).encode()})
    archive = Archive(Path("a.zip"), io.BytesIO(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_archive, "_BLOCK_BYTES", block_bytes)
        ((name, blocks),) = ((name, list(blocks)) for name, blocks in archive.blocks("a.csv"))
    assert name == "a.csv"
    assert all(block.endswith(b"\n") for block in blocks)
    numbers, words = zip(*iter_columns(blocks, "a.csv", ("x", "i"), ("who",)), strict=True)
    assert np.concatenate(numbers).tolist() == [[i / 8, i] for i in range(50)]
    assert np.concatenate(words)[:, 0].tolist() == [f"name{i % 3}" for i in range(50)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"a.csv: line 1: expected a header with i, x, got ''"),
        (b"i,x\n", r"a.csv: expected a header and rows below it"),
        (b"i,y\n1,2\n", r"a.csv: line 1: expected a header with x, got 'i,y'"),
        (b"i,x\n1,2\n3,\n", r"a.csv: expected rows of 2 columns, got could not convert"),
        (b"i,x\n1,2\n3\n", r"a.csv: expected rows of 2 columns, got "),
        (b"i,x\n1,2\n3,-inf\n", r"a.csv: line 3: expected finite numbers, got -inf"),
    ],
)
def test_wrong_columns(content, message):
    with pytest.raises(InputError, match=message):
        list(iter_columns([content], "a.csv", ("i", "x")))


def test_a_header_may_begin_with_a_byte_order_mark_and_quotes():
    ((numbers, words),) = iter_columns([b'\xef\xbb\xbf"i","a, b"\r\n1,"x, y"\r\n'], "a.csv", ("i",), ())
    assert numbers.tolist() == [[1]]
    assert words.shape == (1, 0)
