"""What docs/streaming.md says becomes of samples, one sample at a time, without arrays, buffers or pieces."""

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from runtime.specs import ClockSpec

ON_GRID = 1e-3  # rows; nearer than a thousandth of a period is on the beat
SLACK_S = 1e-6  # stamps are rounded
FILLED_WINDOWS, FILLED_ROWS = 8, 1024  # a step fills no more than the more of these


class Sample(NamedTuple):
    t: float
    row: tuple
    saturated: bool
    hz: float | None = None  # of the source, when it came


class Row(NamedTuple):
    values: tuple
    filled: bool
    saturated: bool
    place: float | None  # at which sample it lies
    padded: bool = False


class Cut(NamedTuple):
    start_s: float
    end_s: float
    values: list
    real: float
    filled: int
    saturated: int
    padded: int
    source_hz: tuple
    jitter_s: float | None


def reference(rows, t, *, rate_hz, length, hop, spec=None, source_hz=None, full_scale=math.inf, pad=None):
    """All windows of a stream of one clock, and its counters."""
    spec, counters = spec or ClockSpec(), Counter()
    if t is None:
        source_hz = source_hz or rate_hz
        t = [i / source_hz for i in range(len(rows))]
        runs = [readable(rows, t, full_scale, counters)]
        stamped = False
    else:
        t = [stamp / 1e9 for stamp in t] if spec.unit == "ns" else t
        runs = in_order(readable(rows, t, full_scale, counters), spec, counters)
        stamped = True
    runs = rated(runs, rate_hz, (length - 1.5) / rate_hz, source_hz, counters)
    most_s = max(FILLED_WINDOWS * length, FILLED_ROWS) / rate_hz

    def is_gap(before, after):
        gap_s = 1.5 / after.hz if spec.gap_s is None else spec.gap_s
        return after.t - before.t > min(gap_s, most_s) + SLACK_S

    spec = replace(spec, longest_hold_s=min(spec.longest_hold_s, most_s))
    windows = []
    segments = [s for run in runs for s in segments_of(run, is_gap, spec, counters)]
    for i, segment in enumerate(segments):
        segment = low_passed(segment, is_gap, rate_hz)
        beat = rows_of(segment, rate_hz, is_gap, length, spec)
        counters["rows_filled"] += sum(row is not None and row.filled for row in beat)
        padding = pad if i == len(segments) - 1 else None
        windows += cut(beat, segment[0].t, rate_hz, length, hop, spec, stamped, padding, counters)
    return windows, counters


def readable(rows, t, full_scale, counters):
    good = []
    for row, stamp in zip(rows, t, strict=True):
        counters["samples"] += 1
        if not math.isfinite(stamp) or abs(stamp) > 1e11 or not all(math.isfinite(value) for value in row):
            counters["not_finite"] += 1
            continue
        saturated = any(abs(value) >= full_scale for value in row)
        counters["saturated"] += saturated
        good.append(Sample(float(stamp), tuple(map(float, row)), saturated))
    return good


def in_order(samples, spec, counters):
    """Runs of rising stamps; between two of them the clock was set back."""
    runs, held, newest = [[]], [], -math.inf

    def release(until):
        for sample in sorted(held, key=lambda s: s.t):  # stable: the first that came counts
            if sample.t <= until:
                held.remove(sample)
                if runs[-1] and sample.t <= runs[-1][-1].t:
                    counters["duplicates"] += 1
                else:
                    runs[-1].append(sample)

    for sample in samples:
        if sample.t < newest - spec.back_s:
            counters["clock_back"] += 1
            release(math.inf)
            runs.append([])
            newest = -math.inf
        if sample.t < newest - spec.reorder_s:
            counters["late"] += 1
            continue
        counters["reordered"] += sample.t < newest
        newest = max(newest, sample.t)
        held.append(sample)
        release(newest - spec.reorder_s)
    release(math.inf)
    return runs


def measured_hz(run, rate_hz):
    steps = [after.t - before.t for before, after in pairwise(run)]
    return float(f"{min(max(1 / median(steps), rate_hz / 50), rate_hz * 50):.4g}") if steps else None


def rated(runs, rate_hz, held_s, told_hz, counters):
    """The samples with the rate that is known when each goes on."""
    hz, settled, out = told_hz, told_hz is not None, []
    for run in runs:
        begin = 0  # of the blocks; the samples before it were held back
        if not settled:
            known = [n for n in range(17, len(run) + 1) if n == 65 or run[n - 1].t >= run[0].t + held_s]
            held = run[: known[0]] if known else run
            settled, begin = bool(known), len(held) - 1
            hz = measured_hz(held, rate_hz) or hz or rate_hz
        out.append([])
        for i, sample in enumerate(run):
            out[-1].append(sample._replace(hz=hz))
            steps = i - begin
            if told_hz or i <= begin:
                continue
            for block, by, most in ((16, 1.5, 12), (64, 1.05, 0)):
                if steps % block:
                    continue
                each = [1 / (after.t - before.t) for before, after in pairwise(run[i - block : i + 1])]
                if max(sum(one < hz / by for one in each), sum(one > hz * by for one in each)) < most:
                    continue
                mean = (sample.t - run[i - block].t) / block
                found = measured_hz(run[i - block : i + 1], rate_hz)
                if max(1 / mean, found) < hz / by or min(1 / mean, found) > hz * by:
                    counters["rate_changes"] += not hz / 1.2 <= found <= hz * 1.2
                    hz, begin = found, i
                    break
            if steps == 64:
                begin = i
    return out


def segments_of(run, is_gap, spec, counters):
    segments = [[run[0]]] if run else []
    for before, after in pairwise(run):
        parted = is_gap(before, after)
        counters["gaps"] += parted
        too_long = spec.gap == "hold" and after.t - before.t > spec.longest_hold_s
        if parted and (spec.gap == "split" or too_long):
            segments.append([])
        segments[-1].append(after)
    return segments


def low_passed(segment, is_gap, rate_hz):
    """Every stretch of one rate and without a gap through the windowed sinc, its ends repeated."""
    stretches = [[segment[0]]]
    for before, after in pairwise(segment):
        if is_gap(before, after) or before.hz != after.hz:
            stretches.append([])
        stretches[-1].append(after)
    return [sample for stretch in stretches for sample in smoothed(stretch, rate_hz)]


def smoothed(stretch, rate_hz):
    source_hz = stretch[0].hz
    if source_hz <= 1.25 * rate_hz:
        return stretch
    half, cutoff, taps, out = round(5 * source_hz / rate_hz), 0.8 * rate_hz / source_hz, [], []
    for k in range(-half, half + 1):
        sinc = 1.0 if k == 0 else math.sin(math.pi * cutoff * k) / (math.pi * cutoff * k)
        taps.append(sinc * (0.54 + 0.46 * math.cos(math.pi * k / half)))
    for i, sample in enumerate(stretch):
        near = [stretch[min(max(i + k, 0), len(stretch) - 1)].row for k in range(-half, half + 1)]
        sums = [sum(w * row[c] for w, row in zip(taps, near, strict=True)) for c in range(len(sample.row))]
        out.append(sample._replace(row=tuple(total / sum(taps) for total in sums)))
    return out


def rows_of(segment, rate_hz, is_gap, length, spec):
    """Row k lies at origin + k / rate_hz; None: in the middle of a long gap."""
    origin = segment[0].t
    places = [(sample.t - origin) * rate_hz for sample in segment]
    rows, after, told = [], 0, 0  # samples before `told` belong to rows that were before
    for k in range(math.floor(places[-1] + ON_GRID) + 1):
        while places[after] + ON_GRID < k:
            after += 1
        sample, previous = segment[after], segment[after - 1]
        is_row = places[after] - k <= ON_GRID
        saturated = any(s.saturated for s in segment[told : after + 1])
        told = after + is_row
        if is_row:
            rows.append(Row(sample.row, False, saturated, after))
            continue
        step_s = sample.t - previous.t
        parted = is_gap(previous, sample)
        if parted and spec.gap == "mark":
            first = math.floor(places[after - 1] + ON_GRID) + 1
            if first + length <= k < math.ceil(places[after] - ON_GRID) - length:
                rows.append(None)
                continue
        share = (k - places[after - 1]) / (places[after] - places[after - 1])
        if parted and spec.gap == "hold":
            share = 0.0
        values = tuple(a + share * (b - a) for a, b in zip(previous.row, sample.row, strict=True))
        filled = step_s * rate_hz > 1.5 * rate_hz / sample.hz + ON_GRID
        rows.append(Row(values, filled, saturated or previous.saturated, after - 1 + share))
    return rows


def cut(beat, origin, rate_hz, length, hop, spec, stamped, pad, counters):
    """The windows of one segment."""
    windows, used = [], set()
    n_beats = (len(beat) - length) // hop + 1 if len(beat) >= length else 0
    for k in range(n_beats + (pad is not None)):
        begin = k * hop
        if k == n_beats:
            waiting = [i for i in range(begin, len(beat)) if beat[i] is not None and i not in used]
            if not waiting:
                break
            last = beat[-1].values if pad == "hold" else (0.0,) * len(beat[-1].values)
            beat = beat + [Row(last, False, False, None, True)] * (begin + length - len(beat))
        window = beat[begin : begin + length]
        if any(row is None for row in window):
            counters["windows_skipped"] += 1
            continue
        made = quality(window, rate_hz, stamped)
        if spec.gap == "mark" and made[0] < spec.least_real:
            counters["windows_skipped"] += 1
            continue
        used |= set(range(begin, begin + length))
        start_s, end_s = origin + begin / rate_hz, origin + (begin + length) / rate_hz
        windows.append(Cut(start_s, end_s, [row.values for row in window], *made))
    counters["windows"] += len(windows)
    for i, row in enumerate(beat):
        if row is not None and not row.padded and i % hop < length:
            counters["rows_dropped"] += i not in used
    return windows


def quality(window, rate_hz, stamped):
    filled, saturated, padded = (
        sum(getattr(row, name) for row in window) for name in ("filled", "saturated", "padded")
    )
    n = len(window)
    places = [row.place for row in window]
    if not stamped or None in places:
        return 1 - (filled + padded) / n, filled, saturated, padded, (), None
    if n == 1:
        return 1 - filled, filled, saturated, padded, (rate_hz,), 0.0
    middle, mean = (n - 1) / 2, sum(places) / n
    slope = sum((k - middle) * p for k, p in enumerate(places)) / sum((k - middle) ** 2 for k in range(n))
    off = math.sqrt(sum((p - mean - slope * (k - middle)) ** 2 for k, p in enumerate(places)) / n)
    source_hz = slope * rate_hz
    return 1 - filled / n, filled, saturated, padded, (source_hz,), off / source_hz if source_hz > 1e-9 else None
