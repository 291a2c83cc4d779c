"""Text as samples: what each form means, and that nothing in it ever raises."""

import json
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import InputError, Modality, Signal, Windower, WindowSpec
from runtime.recording.lines import MAX_LINE_BYTES, Lines
from runtime.recording.reading import Reading
from runtime.sources import SourceCounters
from runtime.sources.rows import RowReader

UNEVEN = Signal((Modality("acc", "m/s^2", ("x", "y"), 50.0), Modality("gyro", "rad/s", ("z",), 25.0)))
SIGNAL = Signal((Modality("acc", "m/s^2", ("x", "y"), 50.0), Modality("gyro", "rad/s", ("z",), 50.0)))


class Reader:
    """A reader that is asked line by line: what a line holds, or None."""

    def __init__(self, signal, **options):
        self._counters = SourceCounters()
        self._reader = RowReader(signal, self._counters, **options)
        self.read_first = self._reader.read_first

    @property
    def stamps(self):
        return self._reader.stamps

    def read(self, line):
        found = self._reader.read(line)
        assert len(found) <= 1
        return found[0] if found else None


def rows(times="auto", **options):
    return Reader(SIGNAL, reading=Reading(unit=times), **{"clock": lambda: 100.5, **options})


def plain(batch):
    return batch.samples.tolist(), None if batch.t is None else batch.t.tolist(), batch.modality


@pytest.mark.parametrize(
    ("line", "samples", "t", "modality"),
    [
        ('{"t": 2.5, "gyro_z": 3, "acc_x": 1, "acc_y": -2e0, "battery": "low"}', [[1, -2, 3]], [2.5], None),
        ('{"t": [1, 1.5], "samples": [[1, 2, 3], [4, 5, 6]]}', [[1, 2, 3], [4, 5, 6]], [1, 1.5], None),
        ('{"t": 4, "samples": [1, 2, 3]}', [[1, 2, 3]], [4], None),
        ('{"t": 4, "modality": "gyro", "samples": [[7]]}', [[7]], [4], "gyro"),
        ('{"t": 4, "modality": "acc", "acc_x": 1, "acc_y": 2}', [[1, 2]], [4], "acc"),
        ("[1, 2, 3]", [[1, 2, 3]], [100.5], None),
        ("[[1, 2, 3], [4, 5, 6]]", [[1, 2, 3], [4, 5, 6]], [100.5, 100.5], None),
        (" 9.25, 1,2 ,3\r\n", [[1, 2, 3]], [9.25], None),
        ("1,2,3", [[1, 2, 3]], [100.5], None),
    ],
)
def test_what_a_line_means(line, samples, t, modality):
    reader = rows()
    assert plain(reader.read(line.encode())) == (samples, t, modality)
    assert reader.stamps == ("arrival" if t[0] == 100.5 else None)  # as the manifest says


def test_what_is_null_or_empty_is_missing():
    assert np.isnan(rows().read(b'{"t": 1, "acc_x": null, "acc_y": 1, "gyro_z": 2}').samples[0]).tolist() == [1, 0, 0]
    assert np.isnan(rows().read(b"1,,3").samples[0]).tolist() == [0, 1, 0]
    assert rows().read(b"[1e39, 1, %d]" % 10**400).samples.tolist() == [[math.inf, 1, math.inf]]


def test_a_header_names_the_columns():
    reader = rows(times="ms")
    assert reader.read(b"battery,gyro_z,t,acc_y,acc_x") is None
    assert plain(reader.read(b"99,3,1500,2,1")) == ([[1, 2, 3]], [1.5], None)
    assert reader.read(b"99,3,1500,2") is None
    assert reader._counters.malformed == 1


def test_other_columns_do_not_matter():
    rows = Reader(SIGNAL)
    assert rows.read(b"device,t,acc_x,acc_y,gyro_z,note") is None
    batch = rows.read(b"watch,1.5,1,2,3,left arm")
    assert (batch.samples.tolist(), batch.t.tolist()) == ([[1, 2, 3]], [1.5])


def test_of_the_first_line_only_a_header_is_taken():
    reader = rows()
    reader.read_first(b"3,2,1")  # the end of a longer line
    reader.read_first(b'{"t": 1')
    assert reader.stamps is None
    reader.read_first(b"t,gyro_z,acc_y,acc_x")
    assert plain(reader.read(b"5,3,2,1")) == ([[1, 2, 3]], [5], None)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("hello", "not numbers"),
        ("1,2", "2 columns, and the bundle has 3 channels"),
        ("1,2,3,4,5", "5 columns"),
        ('{"t": 1', "no JSON"),
        ("[" * 100_000, "no JSON"),
        ('{"t": 1, "acc_x": 1}', "without acc_y, gyro_z"),
        ('{"t": 1, "samples": [[1, 2]]}', "rows that have not 3 values"),
        ('{"t": [1, 2], "samples": [[1, 2, 3]]}', "2 times for 1 rows"),
        ('{"t": "now", "samples": [[1, 2, 3]]}', "'now' where a number should be"),
        ('{"t": true, "samples": [[1, 2, 3]]}', "'True' where a number"),
        ('{"samples": {"a": 1}}', "samples that are no list"),
        ('{"samples": [[1, 2, [3]]]}', "where a number should be"),
        ('{"modality": "mag", "samples": []}', "no modality 'mag'"),
        ('{"modality": [], "samples": []}', "no modality"),
        ("7,1,2,3", "4 columns"),
        ('{"t": 7, "samples": [[1, 2, 3]]}', "times or modality: not as in the lines before"),
        (b"\xff\xfe1,2,3", "not UTF-8"),
        (b"1" * (MAX_LINE_BYTES + 1), "longer than"),
    ],
)
def test_malformed_lines_are_counted_and_the_first_is_shown(line, why, caplog):
    reader = rows()
    assert reader.read(b"[1, 2, 3]") is not None  # from here on without times
    line = line if isinstance(line, bytes) else line.encode()
    assert reader.read(line) is None
    assert reader.read(line) is None
    assert reader._counters.malformed == 2
    assert why in reader._counters.first_malformed
    assert [why in record.getMessage() for record in caplog.records] == [True]
    assert reader.read(b"[1, 2, 3]") is not None


@pytest.mark.parametrize("line", ["", "  ", "# a comment", '{"t": [], "samples": []}'])
def test_lines_that_say_nothing(line):
    reader = rows()
    assert reader.read(line.encode()) is None
    assert reader._counters.malformed == 0


def test_where_rates_differ_rows_of_all_channels_are_none():
    reader = Reader(UNEVEN)
    assert reader.read(b"1,2,3") is None
    assert "rates of their own" in reader._counters.first_malformed
    assert plain(reader.read(b'{"t": 1, "modality": "gyro", "samples": [[7]]}')) == ([[7]], [1], "gyro")


def test_without_any_clock_a_malformed_line_is_a_missing_sample():
    reader = rows(clock=None)
    assert reader.read(b"garbage") is None
    assert plain(reader.read(b"1,2,3")) == ([[1, 2, 3]], None, None)
    hole = reader.read(b"garb\x80ge")
    assert np.isnan(hole.samples).all()
    assert (hole.samples.shape, hole.t) == ((1, 3), None)


def test_times_that_were_promised():
    assert rows(times="us").read(b"1,2,3") is None
    assert rows(times="us").read(b"7,1,2,3").t.tolist() == [7e-6]
    assert rows(times="none").read(b"7,1,2,3") is None
    assert rows(times="none").stamps == "arrival"
    with pytest.raises(InputError, match="t: expected one of auto, s, ms, us, ns, iso, none, got min"):
        rows(times="min")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(
            st.sampled_from(["t", "samples", "acc_x", "acc_y", "gyro_z", "modality"]), children, max_size=6
        )
    ),
)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        values.map(json.dumps).map(str.encode) | st.binary(max_size=40) | st.text("0123456789.,-e nai").map(str.encode),
        max_size=5,
    )
)
def test_nothing_raises_and_a_stream_takes_what_comes(lines):
    for signal in (SIGNAL, UNEVEN):
        for clock in (lambda: 100.5, None):
            reader, windower = RowReader(signal, SourceCounters(), clock=clock), Windower(signal, WindowSpec(4, 2))
            try:
                batches = [batch for line in lines for batch in reader.read(line)] + reader.flush()
            except InputError:
                assert clock is None  # where one can wait for a header, one with other names is refused
                continue
            for batch in batches:
                assert batch.samples.shape == (len(batch.samples), len(signal.names_of(batch.modality)))
                windower.push(*batch)


@settings(max_examples=50, deadline=None)
@given(st.text("ab1,\r\n\0", max_size=200).map(str.encode), st.data())
def test_lines_do_not_depend_on_how_the_bytes_came(data, draw):
    cutter, found, at = Lines(), b"", 0
    while at < len(data):
        n = draw.draw(st.integers(1, len(data) - at))
        found += cutter.push(data[at : at + n])
        at += n
    found += cutter.flush()
    lines = re.split(rb"\r\n|\r|\n|\0", data)
    assert list(filter(None, found.split(b"\n"))) == list(filter(None, lines))


def test_a_line_without_end_does_not_grow():
    cutter = Lines()
    for _ in range(40):
        cutter.push(b"1" * 65536)
        assert sum(map(len, cutter._rest)) <= MAX_LINE_BYTES


@pytest.mark.parametrize("step", [1000, 65536, 1 << 22])
def test_of_a_line_that_is_too_long_nothing_is_taken(step):
    """Its end looks like a sample: it begins wherever the line was given up."""
    data = b"1,2,3,4\n" + b"9" * (3 * MAX_LINE_BYTES) + b",4,5,6\n6,7,8,9\n"
    cutter, counters = Lines(), SourceCounters()
    rows = RowReader(SIGNAL, counters, clock=None)
    pieces = (data[at : at + step] for at in range(0, len(data), step))
    batches = [batch for piece in pieces if (lines := cutter.push(piece)) for batch in rows.read(lines)] + rows.flush()
    assert [t for batch in batches for t in batch.t.tolist()] == [1, 6]
    assert counters.malformed == 1
