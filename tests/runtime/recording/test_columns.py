"""Columns of any name, unit and clock become the same samples at the same times, or it is said what to write."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import InputError
from runtime.recording import Recording
from runtime.recording.columns import Columns
from runtime.recording.placement import placement
from runtime.recording.reading import Reading, split_path
from runtime.recording.rows import Rows
from runtime.recording.table import Table
from runtime.recording.units import factor, take_apart
from runtime.specs import Modality, Signal

XYZ = ("x", "y", "z")
SIGNAL = Signal((Modality("acc", "m/s^2", XYZ, 50.0), Modality("gyro", "rad/s", XYZ, 50.0)))
NAMES = SIGNAL.channel_names
N = 512
VALUES = np.random.default_rng(0).normal(size=(N, 6)).round(3)
STEPS = np.arange(float(N))


def table(t, values=VALUES, texts=None):
    return Table(np.column_stack([np.asarray(t, float), values]), texts or {}, np.arange(len(values)))


def read(names, given_table, options="", pieces=()):
    columns = Columns.plan(names, given_table, SIGNAL, reading=Reading.of(options), where="a.csv")
    edges = [0, *sorted(pieces), len(given_table.values)]
    rows = [
        columns.apply(
            Table(
                given_table.values[a:b],
                {i: cells[a:b] for i, cells in given_table.texts.items()},
                given_table.lines[a:b],
            )
        )
        for a, b in pairwise(edges)
    ]
    return columns, Rows.joined([*rows, columns.flush()])


@pytest.mark.parametrize(
    ("name", "written", "options", "told"),
    [
        ("t", STEPS / 50, "", ""),
        ("T", STEPS / 50, "", "time: column T, seconds"),
        ("t (s)", STEPS / 50, "", "time: column t (s), seconds (as its name says)"),
        ("timestamp", STEPS / 50, "", "time: column timestamp, seconds"),
        ("seconds_elapsed", STEPS / 50, "", "time: column seconds_elapsed, seconds (as its name says)"),
        ("t", STEPS * 20, "", "time: column t, milliseconds (by its steps of 20)"),
        ("time", STEPS * 20, "", "time: column time, milliseconds (by its steps of 20)"),
        ("time_us", STEPS * 20_000, "", "time: column time_us, microseconds (as its name says)"),
        ("millis", STEPS * 20, "", "time: column millis, milliseconds (as its name says)"),
        ("Sensor Timestamp [ns]", STEPS * 2e7, "", "nanoseconds (as its name says)"),
        ("uptime", STEPS * 20, "t=uptime:ms", ""),
        ("uptime", STEPS / 50, "t=uptime:s", ""),
        ("t", (STEPS / 50).astype(np.float32), "", ""),
    ],
)
def test_a_time_column_by_any_name_and_unit(name, written, options, told):
    columns, rows = read((name, *NAMES), table(written), options)
    assert rows.t == pytest.approx(STEPS / 50, abs=1e-6)
    assert told in " ".join(columns.told)
    assert bool(columns.told) == bool(told)
    assert np.array_equal(rows.samples, VALUES.astype(np.float32))


@pytest.mark.parametrize(
    ("unit", "per_s"), [("seconds", 1), ("milliseconds", 1e3), ("microseconds", 1e6), ("nanoseconds", 1e9)]
)
@pytest.mark.parametrize("rate_hz", [12.5, 50, 400])
def test_times_since_1970_are_known_by_their_size(unit, per_s, rate_hz):
    columns, rows = read(("timestamp", *NAMES), table((1_717_400_000 + STEPS / rate_hz) * per_s))
    assert f"epoch {unit}" in columns.told[0]
    assert rows.t - 1_717_400_000 == pytest.approx(STEPS / rate_hz, abs=1e-6)


@pytest.mark.parametrize("zone", ["+02:00", "Z", ""])
def test_times_in_iso_8601_whatever_the_column_is_called(zone):
    from datetime import datetime, timedelta, timezone

    at = [datetime(2024, 2, 28, 23, 59, 58, tzinfo=timezone.utc) + timedelta(milliseconds=20 * i) for i in range(N)]
    texts = [when.replace(tzinfo=None).isoformat(timespec="milliseconds") + zone for when in at]
    columns, rows = read(("when", *NAMES), table(np.full(N, np.nan), texts={0: texts}))
    assert columns.told == ("time: column when, ISO 8601",)
    off_s = 7200 if zone == "+02:00" else 0
    assert rows.t == pytest.approx(np.array([when.timestamp() for when in at]) - off_s, abs=1e-5)


def test_a_column_that_rises_as_times_do_is_asked_about_and_an_index_is_not():
    with pytest.raises(InputError, match=r"a column Zeit that rises as times do\. Say what it is: t=Zeit:s"):
        read(("Zeit", *NAMES), table(STEPS * 20))
    assert read(("Zeit", *NAMES), table(STEPS * 20), "t=none")[1].t is None
    assert read(("row", *NAMES), table(STEPS))[1].t is None


def test_two_columns_of_times_agree_or_are_asked_about():
    names, seconds = ("time", *NAMES, "seconds_elapsed"), np.column_stack([VALUES, STEPS / 50])
    columns, rows = read(names, table((1_717_400_000 + STEPS / 50) * 1e9, seconds))
    assert columns.told[0] == "time: column time, epoch nanoseconds (seconds_elapsed tells the same)"
    assert rows.t[0] == pytest.approx(1_717_400_000)
    with pytest.raises(InputError, match=r"time and seconds_elapsed, which do not agree\. Say which: t=time:ns"):
        read(names, table((1_717_400_000 + STEPS / 25) * 1e9, seconds))
    with pytest.raises(InputError, match=r"a\.csv: t: expected a column among time, acc_x"):
        read(names, table(STEPS, seconds), "t=clock:ms")


PIECES = st.lists(st.integers(0, N), max_size=8)
SHAPES = {
    "even": STEPS / 50,
    "whole seconds": np.floor((STEPS + 13) / 50),
    "whole seconds, 49.7 Hz": 1_717_400_000 + np.floor((STEPS + 31) / 49.7),
    "blocks out of order": np.concatenate([np.arange(b, b + 64) for b in (64, 0, 192, 448, 128, 256, 384, 320)]) / 50,
    "newest first": STEPS[::-1] / 50,
    "16 bits": (STEPS * 20 + 60_000) % 2**16,
    "32 bits, signed": (STEPS.astype(np.int64) * 20_000 + 2**31 - 3_000_000 + 2**31) % 2**32 - 2**31,
    "a clock that was set back": np.where(STEPS < 300, STEPS, STEPS - 300) / 50,
}


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=15, deadline=None)
@given(pieces=PIECES)
def test_pieces_of_any_size_give_the_same(shape, pieces):
    names, labels = ("t", *NAMES, "label"), [str(i % 7) for i in range(N)]
    whole = table(SHAPES[shape], np.column_stack([VALUES, np.full(N, np.nan)]), {7: labels})
    _, one = read(names, whole)
    _, many = read(names, whole, pieces=pieces)
    assert np.array_equal(one.t, many.t)
    assert np.array_equal(one.samples, many.samples)
    assert list(one.labels) == list(many.labels)
    assert len(one.t) == N


def test_equal_stamps_are_spread_over_their_interval():
    for rate_hz in (50, 49.7, 104):
        true = (STEPS + 13) / rate_hz  # the first second is not whole, and neither is the last
        columns, rows = read(("time", *NAMES), table(1_717_400_000 + np.floor(true)))
        assert "stamps: one for" in columns.told[1]
        assert np.abs(rows.t - 1_717_400_000 - true).max() < 1.01 / rate_hz
        assert np.abs(np.diff(rows.t) * rate_hz - 1).max() < 0.05


def test_a_hole_between_whole_seconds_stays_a_hole():
    true = np.where(STEPS < 250, STEPS, STEPS + 500) / 50
    _, rows = read(("time", *NAMES), table(np.floor(true)))
    assert rows.t == pytest.approx(true, abs=0.02)


def test_rows_out_of_order_are_sorted_with_their_samples_and_labels():
    order = np.round(SHAPES["blocks out of order"] * 50).astype(int)
    labels = [str(i) for i in order]
    given_table = table(order / 50, np.column_stack([VALUES[order], np.full(N, np.nan)]), {7: labels})
    columns, rows = read(("t", *NAMES, "label"), given_table)
    assert columns.told == ("rows are out of order: they are sorted by time",)
    assert rows.t == pytest.approx(STEPS / 50)
    assert np.array_equal(rows.samples, VALUES.astype(np.float32))
    assert list(rows.labels) == [str(i) for i in range(N)]


def test_a_clock_that_was_set_back_stays_one():
    _, rows = read(("t", *NAMES), table(SHAPES["a clock that was set back"]))
    assert np.array_equal(rows.t, SHAPES["a clock that was set back"])


def bunches(seed):
    """True times at 100 Hz, and those at which an Android phone might have handed them over, in ms."""
    random = np.random.default_rng(seed)
    true = STEPS / 100
    late = true + np.repeat(random.exponential(0.012, N // 4), 4)
    return true, np.floor(np.maximum.accumulate(late) * 1000)


@pytest.mark.parametrize("seed", range(5))
def test_repeated_and_uneven_stamps_are_times_of_arrival(seed):
    columns, rows = read(("timestamp", *NAMES), table(bunches(seed)[1]))
    assert columns.stamps == "arrival"
    assert "taken as times of arrival" in columns.told[-1]
    assert np.array_equal(rows.t, bunches(seed)[1] / 1000)  # the stream's clock smooths them
    assert read(("timestamp", *NAMES), table(bunches(seed)[1]), "stamps=measured")[0].stamps == "measured"


def test_stamps_that_jitter_miss_samples_or_come_twice_are_of_measurement():
    random = np.random.default_rng(1)
    jitter = STEPS / 50 + random.normal(0, 0.004, N)
    lost = np.sort(random.choice(4 * N, N, replace=False)) / 50
    twice = np.repeat(STEPS[: N // 2], 2) / 50
    assert read(("t", *NAMES), table(jitter))[0].stamps is None
    assert read(("t", *NAMES), table(lost))[0].stamps is None
    assert read(("t", *NAMES), table(twice, np.repeat(VALUES[: N // 2], 2, axis=0)))[0].stamps is None


@pytest.mark.parametrize(
    "names",
    [
        ("ax", "ay", "az", "gx", "gy", "gz"),
        ("Acc_X", "ACC_Y", "acc-z", "GyroX", "GyroY", "gyro z"),
        ("x_acc", "y_acc", "z_acc", "x_gyro", "y_gyro", "z_gyro"),
        ("accel_x", "accel_y", "accel_z", "gyr_x", "gyr_y", "gyr_z"),
        ("accelerometer_x", "accelerometer_y", "accelerometer_z", "gyroscope_x", "gyroscope_y", "gyroscope_z"),
        ("Acceleration.x", "Acceleration.y", "Acceleration.z", "rotationRate.x", "rotationRate.y", "rotationRate.z"),
        ("acc_x (m/s^2)", "acc_y (m/s²)", "acc_z [m/s2]", "gyro_x (rad/s)", "gyro_y [rad/s]", "gyro_z_rads"),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_channels_by_their_usual_names_in_any_order(names, seed):
    order = np.random.default_rng(seed).permutation(6)
    placed = placement([names[i] for i in order], SIGNAL, Reading())
    assert np.array_equal(placed.apply(VALUES[:, order]), VALUES.astype(np.float32))


def test_two_columns_that_fit_are_asked_about_and_map_decides():
    names = ("accel_x", "ax", *NAMES[1:])
    with pytest.raises(
        InputError,
        match=r"acc_x: expected one column that it may be, got accel_x and ax\. Say which: map=acc_x:accel_x",
    ):
        placement(names, SIGNAL, Reading())
    assert placement(names, SIGNAL, Reading.of("map=acc_x:ax")).columns[0] == 1
    assert placement(("ax", *NAMES), SIGNAL, Reading()).columns[0] == 1  # its own name comes first


@pytest.mark.parametrize(
    ("unit", "wanted", "expected"),
    [
        ("g", "m/s^2", 9.80665),
        ("mg", "m/s^2", 0.00980665),
        ("m/s²", "m/s^2", 1),
        ("g/16384", "m/s^2", 9.80665 / 16384),
        ("deg/s", "rad/s", np.pi / 180),
        ("DPS", "rad/s", np.pi / 180),
        ("mdps", "rad/s", np.pi / 180_000),
        ("deg/s/131", "rad/s", np.pi / 180 / 131),
        ("rad/s", "deg/s", 180 / np.pi),
        ("G", "uT", 100),
        ("µT", "uT", 1),
        ("m/s^2", "g", 1 / 9.80665),
        ("V", "V", 1),
        ("V", "m/s^2", None),
        ("deg/s", "m/s^2", None),
    ],
)
def test_units(unit, wanted, expected):
    assert factor(unit, wanted) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("acc_x (g)", ("acc_x", "g")),
        ("gyro_z [deg/s]", ("gyro_z", "deg/s")),
        ("acc_y_mg", ("acc_y", "mg")),
        ("acc_x", ("acc_x", "")),
    ],
)
def test_a_unit_behind_a_name(column, expected):
    assert take_apart(column) == expected


def test_units_are_turned_into_the_models():
    g = tuple(f"{name} (g)" for name in NAMES[:3])
    placed = placement((*g, *NAMES[3:]), SIGNAL, Reading.of("units=gyro:deg/s"))
    expected = VALUES * np.repeat([9.80665, np.pi / 180], 3)
    assert placed.apply(VALUES) == pytest.approx(expected, rel=1e-6)
    assert placed.told == ("units: acc from g to m/s^2, gyro from deg/s to rad/s",)
    assert placement(NAMES, SIGNAL, Reading.of("units=g,deg/s")).apply(VALUES) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(InputError, match=r"unit of acc: expected one of m/s\^2, g, .* got deg/s"):
        placement(NAMES, SIGNAL, Reading.of("units=deg/s"))


def test_axes_are_turned_by_letters_and_by_a_matrix():
    letters = placement(NAMES, SIGNAL, Reading.of("axes=y,-x,z")).apply(VALUES)
    matrix = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    expected = np.hstack([VALUES[:, :3] @ matrix.T, VALUES[:, 3:] @ matrix.T]).astype(np.float32)
    assert np.array_equal(letters, expected)
    assert np.array_equal(placement(NAMES, SIGNAL, Reading.of("axes=0,1,0,-1,0,0,0,0,1")).apply(VALUES), expected)
    only = placement(NAMES, SIGNAL, Reading.of("axes=gyro:-x,-y,z")).apply(VALUES)
    assert np.array_equal(only, (VALUES * [1, 1, 1, -1, -1, 1]).astype(np.float32))
    tilted = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    text = ",".join(map(str, tilted.ravel()))
    assert placement(NAMES, SIGNAL, Reading.of(f"axes=acc:{text};gyro:x,y,z")).apply(VALUES) == pytest.approx(
        np.hstack([VALUES[:, :3] @ tilted.T, VALUES[:, 3:]]), abs=1e-5
    )


@pytest.mark.parametrize("freed", ["userAcceleration.", "linear_acceleration_", "lin_acc_"])
def test_acceleration_without_gravity_is_not_acceleration(freed):
    names = (*(f"{freed}{axis}" for axis in XYZ), *NAMES[3:])
    with pytest.raises(
        InputError, match=r"expected acceleration with gravity in acc_x, .*, got acceleration without gravity"
    ):
        placement(names, SIGNAL, Reading())
    said = ",".join(f"acc_{axis}:{freed}{axis}" for axis in XYZ)
    assert "without gravity, as you said" in placement(names, SIGNAL, Reading.of(f"map={said}")).told[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("t=time:min", r"options: t: expected COLUMN:UNIT with a unit of s, ms, us, ns, iso, got time:min"),
        ("bits=3", "options: bits: expected a whole number from 8 to 52"),
        ("stamps=late", "options: stamps: expected one of measured, arrival, spread"),
        ("units=g,,g", "options: units: expected WORD,WORD or NAME:WORD"),
        ("map=acc_x", "options: map: expected CHANNEL:COLUMN"),
        ("axes=x,x,z", "options: axes: expected three axes such as y,-x,z"),
        ("axes=1,0,0,0,1,0,0,0,0", "options: axes: .* can be inverted"),
        ("axis=x,y,z", "options: expected the options t, bits, stamps, units, map, axes, label, got axis"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(options, message):
    with pytest.raises(InputError, match=message):
        Reading.of(options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("units=mag:uT", "a.csv: units: expected names among acc, gyro, 0, 1, got mag"),
        ("map=mag_x:ax", "a.csv: map: expected names among acc_x"),
        ("map=acc_x:ax", "a.csv: map: expected columns among acc_x, .* got ax"),
        ("axes=mag:x,y,z", "a.csv: axes: expected names among acc, gyro"),
    ],
)
def test_an_option_that_names_what_is_not_there_is_named(options, message):
    with pytest.raises(InputError, match=message):
        placement(NAMES, SIGNAL, Reading.of(options), "a.csv")


def test_options_stand_behind_a_files_name(tmp_path):
    assert split_path("a/b.csv?t=time:ms&units=g/131.0") == (tmp_path.__class__("a/b.csv"), "t=time:ms&units=g/131.0")
    assert split_path("a.csv?") == (tmp_path.__class__("a.csv?"), "")
    strange = tmp_path / "what?t=ms"
    strange.write_text("")
    assert split_path(strange) == (strange, "")


@pytest.mark.parametrize("words", [("still", "going"), ("0", "1")])
def test_the_column_of_labels_is_said(tmp_path, words):
    """Words or numbers, in a column of any name, though another is called label."""
    path = tmp_path / "a.csv"
    rows = [f"{i / 50},{','.join(map(str, row))},old,{words[i // 256]}" for i, row in enumerate(VALUES)]
    path.write_text("\n".join([f"t,{','.join(NAMES)},label,klass", *rows]) + "\n")
    found = Recording.load(f"{path}?label=klass", signal=SIGNAL)
    assert [found.label_names[code] for code in found.labels[[0, 255, 256, 511]]] == [words[i] for i in (0, 0, 1, 1)]
    assert Recording.load(path, signal=SIGNAL).label_names == ("old",)
    with pytest.raises(InputError, match=r"a.csv: label: expected a column among t, acc_x, .*, klass, got nothing"):
        Recording.load(f"{path}?label=nothing", signal=SIGNAL)
