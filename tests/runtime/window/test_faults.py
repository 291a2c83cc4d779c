"""Bad streams: what is done to one, and what must come of it. docs/streaming.md has the same table."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from runtime.specs import ClockSpec, Modality, Signal, WindowSpec
from runtime.window import Windower

RATE_HZ, N = 50.0, 500  # 10 s
WINDOW = WindowSpec(50, 25)  # of 500 rows: 19 windows, and no row is left over
SIGNAL = Signal((Modality("acc", "m/s^2", ("x", "y"), RATE_HZ, 150.0),))
TWO = Signal((Modality("acc", "m/s^2", ("x", "y"), RATE_HZ), Modality("gyro", "rad/s", ("z",), RATE_HZ)))
MARK, HOLD = ClockSpec(gap="mark"), ClockSpec(gap="hold")
DOCUMENT = Path(__file__).parents[3] / "docs" / "streaming.md"


class Fault(NamedTuple):
    name: str  # in the table; the gap policy is split where it names no other
    change: Callable  # (rows, t) -> (rows, t)
    windows: int
    counters: dict  # all that are not 0, besides samples and windows
    touched: tuple = ()  # (begin, end), seconds of the stream; a window that touches them says so, or is not given
    says: str = ""  # where it says so: in one of these; or (begin, end, says)
    clock: ClockSpec = ClockSpec()
    source_hz: Any = None


def lose(begin, end):
    return lambda rows, t: (np.delete(rows, slice(begin, end), axis=0), np.delete(t, slice(begin, end)))


def row(at, value):
    def change(rows, t):
        rows[at] = value
        return rows, t

    return change


def stamp(at, value):
    def change(rows, t):
        t[at] = value(t) if callable(value) else value
        return rows, t

    return change


def shift(begin, seconds):
    return lambda rows, t: (rows, np.round(t + seconds * (np.arange(len(t)) >= begin), 6))


def order(*places):
    """Samples in this order between the first and the last of these places."""
    first, last = min(places), max(places) + 1
    index = np.r_[0:first, places, last:N]
    return lambda rows, t: (rows[index], t[index])


def slower(factor):
    return lambda rows, t: (rows, np.round(t * factor, 6))


def every_second(rows, t):
    return rows[::2], t[::2]


def jitter(rows, t):
    t[1:-1] += np.random.default_rng(1).uniform(-0.004, 0.004, N - 2)
    return rows, t


def bursts(spread_s):
    def change(rows, t):
        last = np.arange(N) // 10 * 10 + 9
        return rows, t[last] + spread_s * (np.arange(N) % 10)

    return change


def one_channel(rows, t):
    rows[:, 1] = np.nan
    return rows, t


def twice(rows, t):
    index = np.insert(np.arange(N), 200, 200)
    return rows[index], t[index]


def huge(rows, t):
    rows[:] = np.where(np.arange(len(rows)) // 8 % 2, 3.4e38, -3.4e38)[:, None]
    return rows, t


HOLE = {"gaps": 1, "rows_dropped": 24}  # 200 rows before it in 7 windows, 299 after it in 10
FAULTS = (
    Fault("nothing", lambda rows, t: (rows, t), 19, {}),
    Fault("one sample is lost", lose(200, 201), 17, HOLE, ((3.99, 4.01),), "no window"),
    Fault(
        "one sample is lost, mark",
        lose(200, 201),
        19,
        {"gaps": 1, "rows_filled": 1},
        ((3.99, 4.01),),
        "real, filled",
        MARK,
    ),
    Fault(
        "0.3 s are lost, hold",
        lose(200, 215),
        19,
        {"gaps": 1, "rows_filled": 15},
        ((3.99, 4.29),),
        "real, filled",
        HOLD,
    ),
    Fault("2 s are lost", lose(200, 300), 14, {"gaps": 1}, ((3.99, 5.99),), "no window"),
    Fault("2 s are lost, hold", lose(200, 300), 14, {"gaps": 1}, ((3.99, 5.99),), "no window", HOLD),
    Fault(
        "5 s are lost, mark",
        lose(100, 350),
        10,
        {"gaps": 1, "rows_filled": 100, "rows_dropped": 50, "windows_skipped": 9},
        ((2.0, 6.99),),
        "real, filled",
        MARK,
    ),
    Fault("a row with a NaN", row((200, 0), np.nan), 17, {"not_finite": 1, **HOLE}, ((3.99, 4.01),), "no window"),
    Fault("an infinite value", row((200, 1), -np.inf), 17, {"not_finite": 1, **HOLE}, ((3.99, 4.01),), "no window"),
    Fault("a channel that is NaN throughout", one_channel, 0, {"not_finite": 500}, ((0, 10),), "no window"),
    Fault("a stamp that is NaN", stamp(200, np.nan), 17, {"not_finite": 1, **HOLE}, ((3.99, 4.01),), "no window"),
    Fault(
        "a stamp far beyond all others", stamp(200, 1e18), 17, {"not_finite": 1, **HOLE}, ((3.99, 4.01),), "no window"
    ),
    Fault(
        "two samples with one stamp",
        stamp(200, lambda t: t[199]),
        17,
        {"duplicates": 1, **HOLE},
        ((3.99, 4.01),),
        "no window",
    ),
    Fault("a sample comes twice", twice, 19, {"duplicates": 1}),
    Fault(
        "a sample is 60 ms late, reorder_s 0.1",
        order(201, 202, 203, 200),
        19,
        {"reordered": 1},
        clock=ClockSpec(reorder_s=0.1),
    ),
    Fault("a sample is 60 ms late", order(201, 202, 203, 200), 17, {"late": 1, **HOLE}, ((3.99, 4.01),), "no window"),
    Fault(
        "two chunks of 16 are swapped, reorder_s 0.7",
        order(*range(216, 232), *range(200, 216)),
        19,
        {"reordered": 16},
        clock=ClockSpec(reorder_s=0.7),
    ),
    Fault(
        "two chunks of 16 are swapped",
        order(*range(216, 232), *range(200, 216)),
        17,
        {"late": 16, "gaps": 1, "rows_dropped": 9},
        ((3.99, 4.31),),
        "no window",
    ),
    Fault("the clock is set back by 2 s", shift(250, -2), 18, {"clock_back": 1}),
    Fault("the clock is set back by 0.5 s", shift(250, -0.5), 18, {"late": 24, "duplicates": 1}),
    Fault("the clock is set forward by a day", shift(250, 86400), 18, {"gaps": 1}, ((4.99, 86404.99),), "no window"),
    Fault(
        "the clock is set forward by a day, mark",
        shift(250, 86400),
        20,
        {"gaps": 1, "rows_filled": 100, "rows_dropped": 50, "windows_skipped": 172799},
        ((4.99, 86404.99),),
        "real, filled",
        MARK,
    ),
    Fault(
        "the clock stands still for 1 s",
        stamp(slice(200, 250), lambda t: t[199]),
        16,
        {"duplicates": 50, "gaps": 1},
        ((3.99, 4.99),),
        "no window",
    ),
    Fault("the sensor starts again at 0 s", shift(250, -5), 18, {"clock_back": 1}),
    Fault("the source's clock is 2 % slow", slower(1.02), 19, {"rows_dropped": 9}, ((0, 10),), "source_hz"),
    Fault("stamps jitter by 4 ms", jitter, 19, {}, ((0, 10),), "jitter_s", source_hz=50.0),
    Fault(
        "bursts of 10, stamps arrival",
        bursts(0.0),
        18,
        {"rows_dropped": 20},
        ((0, 10),),
        "source_hz, jitter_s",
        ClockSpec(stamps="arrival"),
    ),
    Fault(
        "bursts of 10 whose stamps are taken as measured",
        bursts(1e-4),
        0,
        {"gaps": 49, "rows_dropped": 50},
        ((0, 10),),
        "no window",
    ),
    Fault("half the rate", every_second, 18, {"rows_dropped": 24}, ((0, 10),), "source_hz"),
    Fault(
        "half the rate, source_hz 50",
        every_second,
        0,
        {"gaps": 249, "rows_dropped": 250},
        ((0, 10),),
        "no window",
        source_hz=50.0,
    ),
    Fault("twice the rate", slower(1 / 2), 9, {}, ((0, 5),), "source_hz"),
    Fault("four times the rate", slower(1 / 4), 4, {}, ((0, 2.5),), "source_hz"),
    Fault(
        "ten samples at the end of the range",
        row(slice(200, 210), 151),
        19,
        {"saturated": 10},
        ((4.0, 4.18),),
        "saturated",
    ),
    Fault(
        "ten of them at four times the rate",
        lambda rows, t: slower(1 / 4)(*row(slice(201, 211), 151)(rows, t)),
        4,
        {"saturated": 10},
        ((0, 2.5, "source_hz"), (1.005, 1.05, "saturated")),
        "saturated, source_hz",
    ),
    Fault("values of 3.4e38", huge, 19, {"saturated": 500}, ((0, 10),), "saturated"),
    Fault(
        "values of 3.4e38 at four times the rate",
        lambda rows, t: slower(1 / 4)(*huge(rows, t)),
        4,
        {"saturated": 500},
        ((0, 2.5),),
        "saturated",
    ),
    Fault("samples of int16", lambda rows, t: (rows.astype(np.int16), t), 19, {}),
    Fault("a sensor that never changes", row(slice(None), 9.81), 19, {}),
    Fault(
        "nanoseconds since 1970, unit ns",
        lambda rows, t: (rows, (t * 1e9).astype(np.int64) + 1_700_000_000 * 10**9),
        19,
        {},
        clock=ClockSpec(unit="ns"),
    ),
    Fault(
        "nanoseconds since 1970, unit s",
        lambda rows, t: (rows, (t * 1e9).astype(np.int64) + 1_700_000_000 * 10**9),
        0,
        {"not_finite": 500},
        ((0, 10),),
        "no window",
    ),
)


def stream():
    t = np.round(np.arange(N) / RATE_HZ, 6)
    return 50 * np.stack([np.sin(t), np.cos(3 * t)], axis=1).astype(np.float32), t


def given(fault, chunk):
    """What comes out, with an empty push after each chunk."""
    rows, t = fault.change(*stream())
    windower, windows = Windower(SIGNAL, WINDOW, fault.clock, fault.source_hz), []
    for begin in range(0, len(rows), chunk):
        windows += windower.push(rows[begin : begin + chunk], t[begin : begin + chunk])
        assert windower.push(rows[:0], t[:0]) == []
    return windows + windower.flush(), windower.counters


def says_so(quality):
    uneven = quality.jitter_s is not None and quality.jitter_s > 1e-3
    another_rate = any(abs(hz / RATE_HZ - 1) > 0.01 for hz in quality.source_hz)
    said = {
        "real": quality.real < 1,
        "filled": quality.filled > 0,
        "saturated": quality.saturated > 0,
        "jitter_s": uneven,
        "source_hz": another_rate,
    }
    return {name for name, is_said in said.items() if is_said}


def nonzero(counters):
    return {name: n for name, n in asdict(counters).items() if n and name not in ("samples", "windows")}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_counted_and_no_window_hides_it(fault):
    windows, counters = given(fault, N + 1)
    assert (len(windows), nonzero(counters)) == (fault.windows, fault.counters)
    assert counters.windows == fault.windows
    for window in windows:
        assert window.samples.shape == (50, 2)
        assert np.isfinite(window.samples).all()
        last_s = window.end_s - 1 / RATE_HZ
        touched = [span for span in fault.touched if window.start_s < span[1] and last_s > span[0]]
        for _, _, says in [(*span, fault.says)[:3] for span in touched]:
            assert says_so(window.quality) & set(says.split(", "))
        assert touched or not says_so(window.quality)
    for chunk in (1, 16):
        pieces, counted = given(fault, chunk)
        assert counted == counters
        assert [(w.samples.tobytes(), *w[1:]) for w in pieces] == [(w.samples.tobytes(), *w[1:]) for w in windows]


# Two modalities with clocks of their own: what is done to the second one.
TWO_FAULTS = (
    Fault("one modality dies after 5 s", lose(250, 500), 9, {"rows_dropped": 250}),
    Fault("one modality comes 0.5 s late", shift(0, 0.0), 19, {}),
    Fault("one modality's stamps are 1 s ahead", shift(0, 1.0), 17, {"rows_dropped": 100}),
    Fault(
        "one modality loses a sample",
        lose(200, 201),
        17,
        {"gaps": 1, "windows_skipped": 2, "rows_dropped": 49},
        ((3.99, 4.01),),
        "no window",
    ),
    Fault("one modality never begins", lose(0, 500), 0, {"rows_dropped": 500}),
)


@pytest.mark.parametrize("fault", TWO_FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("chunk", [1, 16])
def test_a_fault_of_one_of_two_modalities(fault, chunk):
    acc, t_acc = stream()
    gyro, t_gyro = fault.change(*stream())
    lag, windower, windows, at = 25 if "late" in fault.name else 0, Windower(TWO, WINDOW), [], 0
    for begin in range(0, N + lag, chunk):
        windows += windower.push(acc[begin : begin + chunk], t_acc[begin : begin + chunk], "acc")
        part = slice(max(begin - lag, 0), max(begin - lag + chunk, 0))
        windows += windower.push(gyro[part, :1], t_gyro[part], "gyro")
        at = part.stop
    windows += windower.push(gyro[at:, :1], t_gyro[at:], "gyro") + windower.flush()
    assert (len(windows), nonzero(windower.counters)) == (fault.windows, fault.counters)
    for window in windows:
        assert window.quality.real == 1
        assert not any(window.start_s < end and window.end_s - 0.02 > begin for begin, end in fault.touched)


def table():
    """The rows as they stand in the document."""
    lines = [
        "| what happens to 10 s at 50 Hz | windows of 19 | counters | the windows it touches |",
        "|---|---|---|---|",
    ]
    for fault in FAULTS + TWO_FAULTS:
        counters = ", ".join(f"{name} {n}" for name, n in fault.counters.items())
        says = f"say so: {fault.says}" if fault.windows and fault.says not in ("", "no window") else ""
        lines.append(
            f"| {fault.name} | {fault.windows} | {counters} | {says or ('are not given' if fault.says else '')} |"
        )
    return "\n".join(line.replace("  ", " ") for line in lines) + "\n"


def test_the_document_has_this_table():
    assert table() in DOCUMENT.read_text(encoding="utf-8"), f"put this into {DOCUMENT.name}:\n{table()}"
