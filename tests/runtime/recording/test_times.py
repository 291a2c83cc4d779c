"""Counters that wrap, against whole numbers that do not."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.recording.times import TimeReader, rate_of, seconds_of

UNITS = {"ms": 1_000, "us": 1_000_000}


@settings(max_examples=60, deadline=None)
@given(
    bits=st.sampled_from([16, 24, 32]),
    begin=st.integers(0, 2**32 - 1),
    steps=st.lists(st.integers(1, 2_000), min_size=2, max_size=60),
    edges=st.lists(st.integers(0, 60), max_size=5),
    signed=st.booleans(),
)
def test_a_counter_of_known_width_is_unwrapped_at_any_place(bits, begin, steps, edges, signed):
    true = begin + np.cumsum([0, *steps])
    written = true % 2**bits
    if signed:
        written = (written + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)
    times, cuts = TimeReader("us", bits), [0, *sorted(edges), len(true)]
    found = np.concatenate([times.seconds(written[a:b].astype(float)) for a, b in pairwise(cuts)])
    assert found - found[0] == pytest.approx((true - true[0]) / 1e6, abs=1e-9)
    assert found[0] == pytest.approx(written[0] / 1e6)


@settings(max_examples=60, deadline=None)
@given(
    bits=st.sampled_from([16, 32]),
    before=st.integers(3, 40),
    step=st.integers(1, 500),
    edges=st.lists(st.integers(0, 80), max_size=5),
    signed=st.booleans(),
)
def test_a_wrap_of_16_or_32_bits_is_recognised_at_any_place(bits, before, step, edges, signed):
    top = 2 ** (bits - 1) if signed else 2**bits
    true = top - 1 - before * step + np.arange(80) * step
    written = (true + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1) if signed else true % 2**bits
    times, cuts = TimeReader("ms"), [0, *sorted(edges), len(true)]
    found = np.concatenate([times.seconds(written[a:b].astype(float)) for a, b in pairwise(cuts)])
    assert found == pytest.approx(true / 1000)
    assert times.wraps == 1


@pytest.mark.parametrize("written", [[100, 120, 140, 0, 20, 40], [65_000, 65_020, 0, 20], [10, 30, 20, 40]])
def test_a_clock_that_was_set_back_or_is_late_is_no_wrap(written):
    times = TimeReader("ms")
    assert times.seconds(np.array(written, float)).tolist() == [x / 1000 for x in written]
    assert times.wraps == 0


def test_a_stamp_that_is_no_number_stays_none_and_breaks_no_wrap():
    times = TimeReader("ms", 16)
    found = times.seconds(np.array([65_500, np.nan, 65_530, 24, np.nan, 54.0]))
    assert found == pytest.approx([65.5, np.nan, 65.53, 65.56, np.nan, 65.59], nan_ok=True)


@pytest.mark.parametrize(
    ("text", "expected_s"),
    [
        ("1970-01-01T00:00:01Z", 1),
        ("2024-06-03T09:00:00.020+02:00", 1717398000.02),
        ("2024-06-03 09:00:00,020", 1717405200.02),
        ("2024/6/3 09:00:00-0130", 1717410600),
        ("09:30:00.5", 34200.5),
        ("2024-02-31T09:00:00", np.nan),
        ("yesterday", np.nan),
        ("", np.nan),
    ],
)
def test_iso_8601(text, expected_s):
    assert seconds_of([text])[0] == pytest.approx(expected_s, nan_ok=True)


def test_the_rate_of_stamps_regards_holes_and_bunches():
    even = np.arange(500) / 50
    assert rate_of(even) == pytest.approx(50)
    assert rate_of(np.concatenate([even, even + 60])) == pytest.approx(50)
    assert rate_of(np.floor(even)) == pytest.approx(50, rel=0.12)  # ten stamps
    assert rate_of(np.repeat(even[::10], 10)) == pytest.approx(50, rel=0.03)
    assert rate_of(np.zeros(9)) is None
    assert rate_of(np.zeros(1)) is None
